# SPDX-License-Identifier: Apache-2.0
"""From a C source to its mutants: one small change each, inside a function.

A line of tokens is enough: no operator here needs a syntax tree, and what does not compile is counted as such and does
no harm. Comments, strings, preprocessor lines, and all outside of functions stay as they are.

    REL   <, <=, >, >= with and without the equal sign; == and !=
    ARI   + and -, * and /, % for /; += and -=; ++ and --
    BIT   & and |, ^, << and >>; ~ left out
    LOG   && and ||; ! left out
    CON   a number one larger, one smaller
    NEG   the condition of an if or a while turned around
    DEL   a statement left out: a call, an assignment, break, continue (but free(): that is the sanitizers' business)
    RET   another result: OK for any status, true and false swapped, a bool turned around, 0 for a number
"""

import collections
import hashlib
import re

Token = collections.namedtuple("Token", "kind text start end")

Mutant = collections.namedtuple("Mutant", "file function origin line operator start end text before")

TOKENS = re.compile(r"""
    (?P<skip>\s+|/\*.*?\*/|//[^\n]*|^[ \t]*\#(?:[^\n\\]|\\.)*)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<number>(?:0[xX][0-9a-fA-F]+|\d+)[uUlL]*(?![\w.]))
  | (?P<name>[A-Za-z_]\w*)
  | (?P<other>->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\d[\w.]*|.)
""", re.VERBOSE | re.DOTALL | re.MULTILINE)

SWAPS = {
    "REL": {"<": ["<="], "<=": ["<"], ">": [">="], ">=": [">"], "==": ["!="], "!=": ["=="]},
    "ARI": {"+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["/"], "+=": ["-="], "-=": ["+="], "++": ["--"],
            "--": ["++"]},
    "BIT": {"&": ["|"], "|": ["&"], "^": ["&"], "<<": [">>"], ">>": ["<<"], "|=": ["&="], "&=": ["|="]},
    "LOG": {"&&": ["||"], "||": ["&&"]},
}
BINARY_ONLY = {"+", "-", "*", "&"}
KEYWORDS = {"if", "else", "for", "while", "do", "switch", "case", "default", "return", "goto", "sizeof", "static",
            "const", "struct", "enum", "union", "unsigned", "int", "char", "void", "bool", "break", "continue",
            "typedef"}


def tokens_of(text):
    found = []
    for match in TOKENS.finditer(text):
        if match.lastgroup != "skip":
            found.append(Token(match.lastgroup, match.group(), match.start(), match.end()))
    return found


def matching(tokens, at, opening, closing):
    """Index of the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(tokens)):
        depth += (tokens[i].text == opening) - (tokens[i].text == closing)
        if depth == 0:
            return i
    raise ValueError(f"{opening} is not closed")


def functions(tokens):
    """(name, type, index of its first token, of its last) of each function's body: braces behind a parenthesis, outside
    of all other braces."""
    i = 0
    while i < len(tokens):
        if tokens[i].text != "{":
            i += 1
            continue
        end = matching(tokens, i, "{", "}")
        if i > 0 and tokens[i - 1].text == ")":
            opening, depth = i - 1, 0
            while True:
                depth += (tokens[opening].text == ")") - (tokens[opening].text == "(")
                if depth == 0:
                    break
                opening -= 1
            yield tokens[opening - 1].text, tokens[opening - 2].text, i, end
        i = end + 1


def is_operand(token):
    return token.kind in ("name", "number") and token.text not in KEYWORDS or token.text in (")", "]")


def swaps(tokens, i):
    before, token = tokens[i - 1], tokens[i]
    for operator, table in SWAPS.items():
        if token.text in BINARY_ONLY and not is_operand(before):
            continue
        for text in table.get(token.text, []):
            yield operator, token.start, token.end, text
    if token.text == "~":
        yield "BIT", token.start, token.end, ""
    if token.text == "!":
        yield "LOG", token.start, token.end, ""


def constants(token):
    digits, suffix = re.fullmatch(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)", token.text).groups()
    value = int(digits, 0) if digits[:2] in ("0x", "0X") or digits == "0" or digits[0] != "0" else int(digits, 8)
    yield "CON", token.start, token.end, f"{value + 1}{suffix}"
    if value > 0:
        yield "CON", token.start, token.end, f"{value - 1}{suffix}"


def negations(tokens, i):
    if tokens[i].text in ("if", "while") and tokens[i + 1].text == "(":
        end = matching(tokens, i + 1, "(", ")")
        yield "NEG", tokens[i + 1].end, tokens[end].start, None


def statement_end(tokens, i):
    """Index of the semicolon that ends the statement at `i`; None when a brace comes first."""
    depth = 0
    for at in range(i, len(tokens)):
        text = tokens[at].text
        depth += (text in "([{") - (text in ")]}") if len(text) == 1 else 0
        if depth < 0:
            return None
        if text == ";" and depth == 0:
            return at
    return None


def begins_statement(tokens, i, heads):
    return tokens[i - 1].text in (";", "{", "}", "else", "do") or i - 1 in heads


def deletions(tokens, i):
    token, following = tokens[i], tokens[i + 1].text
    jump = token.text in ("break", "continue") and following == ";"
    works = token.kind == "name" and token.text not in KEYWORDS and token.text != "free" and following in (
        "(", "=", ".", "->", "[", "+=", "-=", "*=", "|=", "&=", "++", "--", "<<=", ">>=")
    if token.text == "*" or jump or works:
        end = statement_end(tokens, i)
        if end is not None:
            yield "DEL", token.start, tokens[end].start, ""


def results(tokens, i, kind):
    if tokens[i].text != "return" or tokens[i + 1].text == ";":
        return
    end = statement_end(tokens, i)
    if end is None:
        return
    first, last = tokens[i + 1], tokens[end]
    if kind == "simdrive_status" and not (first.text == "SIMDRIVE_OK" and end == i + 2):
        yield "RET", first.start, last.start, "SIMDRIVE_OK"
    elif kind == "bool" and first.text in ("true", "false") and end == i + 2:
        yield "RET", first.start, last.start, "false" if first.text == "true" else "true"
    elif kind == "bool":
        yield "RET", first.start, last.start, None
    elif kind in ("uint64_t", "uint32_t", "size_t", "unsigned", "int") and end > i + 2:
        yield "RET", first.start, last.start, "0"


def heads_of(tokens, start, end):
    """Closing parentheses of if, for and while: a statement may follow."""
    heads = set()
    for i in range(start, end):
        if tokens[i].text in ("if", "for", "while") and tokens[i + 1].text == "(":
            heads.add(matching(tokens, i + 1, "(", ")"))
    return heads


def mutants_of(file, text):
    """All mutants of one source, in the order of its text."""
    tokens = tokens_of(text)
    found = []
    for name, kind, start, end in functions(tokens):
        heads = heads_of(tokens, start, end)
        for i in range(start + 1, end):
            changes = list(swaps(tokens, i)) + list(negations(tokens, i)) + list(results(tokens, i, kind))
            if tokens[i].kind == "number":
                changes += constants(tokens[i])
            if begins_statement(tokens, i, heads):
                changes += deletions(tokens, i)
            for operator, first, last, new in changes:
                old = text[first:last]
                line = text.count("\n", 0, first) + 1
                found.append(Mutant(file, name, tokens[start].start, line, operator, first, last,
                                    f"!({old})" if new is None else new, old))
    return found


def apply(text, mutant):
    return text[:mutant.start] + mutant.text + text[mutant.end:]


def changed_line(text, mutant):
    """The line in which the change begins, as it is with it, for people to read."""
    if mutant.operator == "DEL":
        return "without: " + " ".join(mutant.before.split())
    start = text.rfind("\n", 0, mutant.start) + 1
    end = text.find("\n", mutant.end)
    line = text[start:mutant.start] + mutant.text + text[mutant.end:end]
    return " ".join(line.split())


def identity(text, mutant):
    """Stays the same as long as the function's text up to the change does, wherever the function moves."""
    what = "\0".join([mutant.file, mutant.function, mutant.operator, text[mutant.origin:mutant.start],
                      mutant.before, mutant.text])
    return hashlib.sha256(what.encode()).hexdigest()[:16]
