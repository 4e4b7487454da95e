# SPDX-License-Identifier: Apache-2.0
"""Each workload of a benchmark program ends well at a small size, and reports what the runner can show.

BENCH_PROGRAM names the program; without it there is nothing to test here."""
import json
import os
import re
import subprocess
import tempfile
import unittest

from support import workloads

PROGRAM = os.environ.get("BENCH_PROGRAM")
SCALE = "0.001"
UNKNOWN = 2


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=120)


@unittest.skipUnless(PROGRAM, "no program is named")
class Programs(unittest.TestCase):
    def test_every_workload_reports_figures(self):
        names = [name for name in re.search(r"workloads:(.*)", run().stderr).group(1).split() if name != "warm"]
        self.assertEqual([], [name for name in names if name not in workloads.BY_NAME])
        self.assertEqual("W1", names[0], "what the reading workloads need comes first")
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                with self.subTest(workload=name):
                    self.check(name, run(name, folder, SCALE))

    def check(self, name, done):
        self.assertEqual(0, done.returncode, done.stderr)
        figures = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertTrue(figures)
        for figure in figures:
            self.assertEqual(name, figure["workload"])
            self.assertIn(figure["unit"], workloads.UNITS)
            self.assertGreaterEqual(figure["value"], 0)
        metrics = [figure["metric"] for figure in figures]
        self.assertEqual(len(metrics), len(set(metrics)), metrics)

    def test_an_unknown_workload_is_told_from_a_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(UNKNOWN, run("no-such-workload", folder, SCALE).returncode)


if __name__ == "__main__":
    unittest.main()
