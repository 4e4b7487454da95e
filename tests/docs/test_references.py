# SPDX-License-Identifier: Apache-2.0
"""Whatever the documentation names is there: files, headings, tests, functions, commands."""
import re
import unittest

from pages import TOP, Page, all_pages

# What is built, what comes later, and patterns. NAME stands for any name.
NO_FILES = re.compile(r"^(build/|ext/|python/|server/|\.\./|/|https?:|[a-z]+/\*)")
A_PATH = re.compile(r"^[\w.\-]+(/[\w.\-*]+)+/?$")


def read(path):
    return (TOP / path).read_text(encoding="utf-8")


def sources(pattern):
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(TOP.glob(pattern)))


class References(unittest.TestCase):
    def check_all(self, find_fault):
        faults = ["%s: %s" % (page.name, fault) for page in all_pages() for fault in find_fault(page)]
        self.assertEqual([], faults, "\n" + "\n".join(faults))

    def test_every_relative_link_leads_somewhere(self):
        def find(page):
            for text, target in page.links():
                if re.match(r"^(https?|mailto):", target):
                    continue
                path, _, anchor = target.partition("#")
                found = (page.path.parent / path).resolve() if path else page.path
                if not found.exists():
                    yield "link [%s] to %s: no such file" % (text, target)
                elif anchor and anchor not in Page(found).anchors():
                    yield "link [%s] to %s: no such heading" % (text, target)

        self.check_all(find)

    def test_every_named_test_is_there(self):
        """A link into tests/ whose text is `file: name` names a function of that file."""
        seen = []

        def find(page):
            for text, target in page.links():
                match = re.match(r"^`(\w+): ([\w.]+)`$", text)
                if not match or "tests/" not in target:
                    continue
                stem, name = match.groups()
                path = (page.path.parent / target).resolve()
                seen.append(name)
                if path.stem not in (stem, "test_" + stem):
                    yield "`%s: %s` leads to %s" % (stem, name, target)
                elif not path.exists() or not re.search(r"\b%s\(" % re.escape(name), path.read_text("utf-8")):
                    yield "%s has no test %s" % (target, name)
                elif path.suffix == ".c" and not re.search(r"[\w]\(%s\)|[\w]\(%s," % (name, name),
                                                           path.read_text("utf-8")):
                    yield "%s of %s is never run" % (name, target)

        self.check_all(find)
        self.assertGreater(len(seen), 50)

    def test_every_path_in_code_spans_is_there(self):
        def find(page):
            for span in page.code_spans():
                if not A_PATH.match(span) or NO_FILES.match(span):
                    continue
                pattern = span.rstrip("/").replace("NAME", "*")
                if not list(TOP.glob(pattern)) and not list((TOP / "src").glob(pattern)):
                    yield "`%s`: no such file" % span

        self.check_all(find)

    def test_every_public_name_is_in_the_header(self):
        header = read("include/simdrive.h")
        statuses = {"SIMDRIVE_" + name for name in re.findall(r"^    X\((\w+),", header, flags=re.MULTILINE)}
        options = set(re.findall(r"SIMDRIVE_[A-Z_]+", sources("CMakeLists.txt") + sources("tests/support/*.c")))
        metrics = {"simdrive_" + name for name in re.findall(r",\s+\"(\w+)\",\s+\"", read("src/store/metrics.c"))}

        def find(page):
            for span in page.code_spans():
                for name in re.findall(r"\b(?:simdrive|SIMDRIVE)_\w+", span):
                    known = re.search(r"\b%s\b" % name, header) or name in statuses | options | metrics
                    if not known:
                        yield "`%s` is not in the header" % name

        self.check_all(find)

    def test_every_internal_name_is_in_the_sources(self):
        text = sources("src/**/*.[ch]") + sources("tests/support/*.[ch]")

        def find(page):
            for span in page.code_spans():
                for name in re.findall(r"\b(?:sdi|SDI)_\w+", span):
                    if not re.search(r"\b%s\b" % name, text):
                        yield "`%s` is not in the sources" % name

        self.check_all(find)

    def test_every_command_of_dev_is_there(self):
        dev = read("dev")

        def find(page):
            for command in re.findall(r"\./dev ([\w-]+)", page.text):
                if "command_%s()" % command not in dev:
                    yield "./dev %s: no such command" % command
            for stages in re.findall(r"\./dev test ([a-z0-9 ]+)", page.text):
                for stage in stages.split():
                    if "stage_%s()" % stage not in dev:
                        yield "./dev test %s: no such stage" % stage

        self.check_all(find)

    def test_every_ctest_name_has_a_file(self):
        def find(page):
            for folder, name in re.findall(r"`(unit|store)\.(\w+)`", page.prose):
                if name != "NAME" and not (TOP / "tests" / folder / ("test_%s.c" % name)).exists():
                    yield "`%s.%s`: no such test" % (folder, name)

        self.check_all(find)


if __name__ == "__main__":
    unittest.main()
