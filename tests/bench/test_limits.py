# SPDX-License-Identifier: Apache-2.0
"""The limits: the table made of them, and, where BENCH_LIMITS names the program, each of its rows at a small size."""
import contextlib
import io
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from support import TOP, limits, results, tables, workloads

PROGRAM = os.environ.get("BENCH_LIMITS")
SCALE = 0.001


def some_results():
    made = results.Results({"machine": {"processor": "some processor"}, "settings": {limits.SYSTEM: ""}})
    for metric, unit, value in (("engine", "ns/read", 140), ("limit", "ns/read", 63), ("share", "of the limit", 0.45),
                                ("least share", "of the limit", 0.42), ("most share", "of the limit", 0.5)):
        made.add("R1", metric, unit, limits.SYSTEM, 0, value)
    made.add(limits.SCALING, "reads, 2 beside a writer", "reads/s", limits.SYSTEM, 0, 13e6)
    made.add(limits.SCALING, "writes, 2 beside a writer", "entries/s", limits.SYSTEM, 0, 4e5)
    return made


class Report(unittest.TestCase):
    def test_a_row_has_engine_limit_and_share(self):
        self.assertIn("| ns | 140 | 63.0 | 0.45 (0.42 to 0.50) |", limits.report(some_results()))

    def test_what_was_not_measured_is_not_invented(self):
        report = limits.report(some_results())
        self.assertNotIn("| R2 |", report)
        self.assertIn("| 2 | at full speed | 13.0 | 400 | – |", report)
        self.assertNotIn("| 4 |", report)

    def test_limits_are_told_from_other_results(self):
        self.assertTrue(limits.has_limits(some_results()))
        self.assertFalse(limits.has_limits(results.Results({})))

    def test_every_row_says_what_the_difference_is(self):
        for row in limits.ROWS:
            self.assertTrue(row.limit and row.difference, row.name)

    def test_the_page_has_the_marks(self):
        page = (TOP / "docs/benchmarks.md").read_text(encoding="utf-8")
        self.assertIn("new", tables.replace_block(page, "limits", "new"))


@unittest.skipUnless(PROGRAM, "no program is named")
class Program(unittest.TestCase):
    def test_it_has_the_rows_of_the_table(self):
        done = subprocess.run([PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        names = re.search(r"workloads: warm (.*)", done.stderr).group(1).split()
        self.assertEqual(sorted([row.name for row in limits.ROWS] + [limits.SCALING]), sorted(names))

    def test_every_row_is_measured(self):
        measured = results.Results({"settings": {limits.SYSTEM: ""}})
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            limits.measure(PROGRAM, pathlib.Path(folder), measured, SCALE)
            self.assertEqual([], os.listdir(folder))
        self.assertEqual([], measured.failures)
        for row in limits.ROWS:
            for metric in ("engine", "limit", "share", "least share", "most share"):
                self.assertGreater(measured.figure(row.name, metric).median(limits.SYSTEM), 0, row.name)
        for threads in limits.THREADS:
            self.assertGreater(measured.figure(limits.SCALING, f"reads, {threads}").median(limits.SYSTEM), 0)
        for figure in measured.figures():
            self.assertIn(figure.unit, workloads.UNITS)


if __name__ == "__main__":
    unittest.main()
