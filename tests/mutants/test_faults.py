# SPDX-License-Identifier: Apache-2.0
"""What can be said of mutants and faults without building any: they are made as they should be, and fit the sources."""
import importlib.machinery
import importlib.util
import pathlib
import unittest

import source

HERE = pathlib.Path(__file__).resolve().parent
loader = importlib.machinery.SourceFileLoader("run", str(HERE / "run"))
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)

SNIPPET = """
enum { A = 1 };
#define SMALL(x) ((x) < 2)
static bool is_small(unsigned *at, unsigned size) {
    /* a < b */
    if (!at || size <= 3) return false;
    *at = size * 2;
    free(at);
    return *at > 7 && "a < b";
}
simdrive_status other(void) { return SIMDRIVE_ERROR_IO; }
"""


class Mutants(unittest.TestCase):
    def setUp(self):
        self.found = [(mutant.operator, source.changed_line(SNIPPET, mutant))
                      for mutant in source.mutants_of("x.c", SNIPPET)]

    def test_every_operator_makes_its_mutants(self):
        for expected in [("LOG", "if (at || size <= 3) return false;"), ("LOG", "if (!at && size <= 3) return false;"),
                         ("REL", "if (!at || size < 3) return false;"), ("CON", "if (!at || size <= 4) return false;"),
                         ("CON", "if (!at || size <= 2) return false;"), ("RET", "if (!at || size <= 3) return true;"),
                         ("NEG", "if (!(!at || size <= 3)) return false;"), ("DEL", "without: *at = size * 2"),
                         ("ARI", "*at = size / 2;"), ("RET", 'return !(*at > 7 && "a < b");'),
                         ("RET", "simdrive_status other(void) { return SIMDRIVE_OK; }")]:
            self.assertIn(expected, self.found)

    def test_comments_strings_macros_and_what_is_outside_of_functions_stay(self):
        for operator, line in self.found:
            self.assertNotIn("A =", line, operator)
            self.assertNotIn("SMALL", line, operator)
            self.assertNotIn("a <= b", line, operator)
            self.assertNotIn("without: free", line, operator)

    def test_each_has_an_identity_that_moves_with_its_function(self):
        mutants = source.mutants_of("x.c", SNIPPET)
        identities = [source.identity(SNIPPET, mutant) for mutant in mutants]
        self.assertEqual(len(mutants), len(set(identities)))
        moved = "int before(void) {\n    return 0;\n}\n" + SNIPPET
        self.assertLessEqual(set(identities), {source.identity(moved, mutant)
                                               for mutant in source.mutants_of("x.c", moved)})


class Lists(unittest.TestCase):
    def test_every_fault_finds_its_place(self):
        found = run.faults()
        self.assertGreaterEqual(len(found), 20)
        for fault in found:
            with self.subTest(fault.name):
                self.assertTrue(fault.about and fault.tests and fault.changes)
                fault.texts()

    def test_the_tests_that_are_named_exist(self):
        named = {test for fault in run.faults() for test in fault.tests}
        named |= {test for tests in run.fitting_tests().values() for test in tests}
        for test in sorted(named):
            folder, name = test.split(".")
            self.assertTrue((HERE.parent / folder / f"test_{name}.c").exists(), test)

    def test_every_listed_mutant_exists(self):
        for entry in run.Equivalents().list:
            file, function, operator, part, reason = entry
            text = (run.TOP / "src" / file).read_text()
            fitting = [mutant for mutant in source.mutants_of(file, text)
                       if function in ("*", mutant.function) and operator in ("*", mutant.operator)
                       and (part == "*" or part in source.changed_line(text, mutant))]
            self.assertTrue(fitting and reason, entry)


if __name__ == "__main__":
    unittest.main()
