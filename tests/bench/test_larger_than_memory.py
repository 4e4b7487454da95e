# SPDX-License-Identifier: Apache-2.0
"""Stores larger than memory: the limit, what is said of it, which workloads it is for, and what is reported."""
import contextlib
import io
import os
import pathlib
import tempfile
import textwrap
import unittest

from support import larger_than_memory, measure, memory_limit, results, systems, tables, workloads

# Tells in which group it was started.
PROGRAM = textwrap.dedent("""\
    #!/bin/sh
    echo "$1" >>"$2/calls"
    case $1 in
    L-fill-4K) echo '{"workload": "L-fill-4K", "metric": "rate", "unit": "bytes/s", "value": 1000000000}' ;;
    L-read-4K) echo '{"workload": "L-read-4K", "metric": "rate", "unit": "reads/s", "value": 20000}' ;;
    L-open-4K) exit 1 ;;
    *) exit 2 ;;
    esac
    """)


class Groups(unittest.TestCase):
    """On folders of the test's own, which look like control groups as far as that goes."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)

    def test_without_a_hierarchy_there_is_no_limit(self):
        self.assertIsNone(memory_limit.find(self.root / "nothing"))

    def test_the_limit_and_the_process_stand_in_the_group(self):
        for files in memory_limit.known(self.root):
            with self.subTest(version=files.version):
                files.top.mkdir(exist_ok=True)
                group = memory_limit.Group(files, 12345)
                group.__enter__()
                self.assertEqual("12345", (group.folder / files.limit).read_text(encoding="ascii"))
                group.join()
                self.assertEqual(str(os.getpid()), (group.folder / "cgroup.procs").read_text(encoding="ascii"))
                self.assertIsNone(group.peak())
                (group.folder / files.peak).write_text("777\n", encoding="ascii")
                self.assertEqual(777, group.peak())

    def test_a_group_that_can_be_had_limits_a_process(self):
        files = memory_limit.find()
        if files is None:
            self.skipTest("no control group can be made here")
        with memory_limit.Group(files, 64 << 20) as group:
            pid = os.fork()
            if pid == 0:
                group.join()
                touched = bytearray(16 << 20)
                os._exit(0 if len(touched) else 1)
            self.assertEqual(0, os.waitpid(pid, 0)[1])
            peak = group.peak()
            self.assertTrue(peak is None or 16 << 20 <= peak <= 64 << 20, peak)
        self.assertFalse(group.folder.exists())


class Running(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        program = self.folder / "program"
        program.write_text(PROGRAM, encoding="utf-8")
        program.chmod(0o755)
        self.results = results.Results({"settings": {}})
        own = [one for one in systems.SYSTEMS if one.name == "simdrive"]
        self.measurement = measure.Measurement(own, {"simdrive": program}, self.folder, self.results, 1)

    def run_all(self, files):
        with contextlib.redirect_stderr(io.StringIO()):
            larger_than_memory.measure(self.measurement, 2, files)

    def test_every_workload_runs_in_every_round_and_the_store_goes(self):
        self.run_all(None)
        self.assertEqual([1e9, 1e9], self.results.figure("L-fill-4K", "rate").of("simdrive"))
        self.assertEqual([20000, 20000], self.results.figure("L-read-4K", "rate").of("simdrive"))
        self.assertEqual(2, len(self.results.failures))
        self.assertFalse((self.folder / "simdrive").exists())

    def test_what_was_charged_is_kept_of_what_was_limited_and_ended_well(self):
        files = memory_limit.find()
        if files is None:
            self.skipTest("no control group can be made here")
        self.run_all(files)
        charged = {figure.workload for figure in self.results.figures() if figure.metric == "charged"}
        self.assertEqual({"L-read-4K"}, charged)
        self.assertIsNone(self.measurement.join)

    def test_the_report_has_the_figures_and_the_way_memory_was_kept_short(self):
        self.run_all(None)
        self.results.about["memory"] = larger_than_memory.said(None, 1)
        report = tables.larger_than_memory_report(self.results)
        self.assertIn("No control group could be made", report)
        title = workloads.BY_NAME["L-fill-4K"].title
        self.assertIn(f"| L-fill-4K | {title} | GB/s | 1.00 |", report)


class Sizes(unittest.TestCase):
    def test_the_limit_goes_with_the_store_down_to_what_a_program_needs(self):
        self.assertEqual(256 << 20, larger_than_memory.limit_at(1))
        self.assertEqual(128 << 20, larger_than_memory.limit_at(0.5))
        self.assertEqual(32 << 20, larger_than_memory.limit_at(0.001))
        self.assertEqual(256 << 20, larger_than_memory.limit_at(3))

    def test_what_is_said_names_the_proportion(self):
        files = memory_limit.known(pathlib.Path("/"))[0]
        self.assertIn("Values of 1024 MiB, 4.0 times what a control group (version 1) leaves",
                      larger_than_memory.said(files, 1))

    def test_names_are_those_of_the_programs(self):
        self.assertEqual(len(workloads.LARGER_THAN_MEMORY), len(larger_than_memory.NAMES))
        self.assertTrue(all(name in workloads.BY_NAME for name in larger_than_memory.NAMES))


if __name__ == "__main__":
    unittest.main()
