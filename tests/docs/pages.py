# SPDX-License-Identifier: Apache-2.0
"""The documentation as the tests see it: pages, their headings, links and code blocks."""
import os
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[2]
NAMES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]


class Page:
    """One Markdown file."""

    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(TOP))
        self.text = path.read_text(encoding="utf-8")
        without_blocks = re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        self.prose = re.sub(r"<!--.*?-->", "", without_blocks, flags=re.DOTALL)

    def anchors(self):
        """Names of the headings, as hosting pages make them."""
        found = set()
        for heading in re.findall(r"^#+ +(.*)$", self.prose, flags=re.MULTILINE):
            plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
            found.add(plain.replace(" ", "-"))
        return found

    def links(self):
        """Pairs of text and target, whichever way the link is written."""
        targets = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", self.prose, flags=re.MULTILINE))
        inline = re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", self.prose)
        images = re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", self.prose)
        by_name = []
        for text, name in re.findall(r"\[([^\]]*)\]\[([^\]]+)\]", self.prose):
            by_name.append((text, targets.get(name, "missing definition of [%s]" % name)))
        return inline + by_name + [("", image) for image in images]

    def code_spans(self):
        """What stands between single backticks."""
        return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", self.prose)

    def blocks(self, heading, language):
        """Code blocks of a language in the section of that heading."""
        start = re.search(r"^#+ +%s$" % re.escape(heading), self.text, flags=re.MULTILINE)
        if not start:
            raise AssertionError("%s has no section '%s'" % (self.name, heading))
        rest = self.text[start.end():]
        section, fenced = [], False
        for line in rest.splitlines():
            if line.startswith("```"):
                fenced = not fenced
            if not fenced and re.match(r"^#+ ", line):
                break
            section.append(line)
        return re.findall(r"^```%s\n(.*?)^```$" % re.escape(language), "\n".join(section) + "\n",
                          flags=re.MULTILINE | re.DOTALL)


def all_pages():
    """Every page there is."""
    paths = [TOP / name for name in NAMES] + sorted((TOP / "docs").glob("*.md"))
    return [Page(path) for path in paths]


def page(name):
    """One page."""
    return Page(TOP / name)


def tool():
    """The command line under test."""
    return os.environ["SIMDRIVE"]
