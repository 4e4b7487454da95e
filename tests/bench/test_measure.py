# SPDX-License-Identifier: Apache-2.0
"""Running in turns: which workloads in which round, what is kept, and what a program's end means."""
import contextlib
import io
import pathlib
import tempfile
import textwrap
import unittest
import unittest.mock

from support import growth, machine, measure, results, systems, workloads

# Stands in for a benchmark program: knows some workloads, of which one fails and one does not end, and notes how it
# was called.
PROGRAM = textwrap.dedent("""\
    #!/bin/sh
    echo "$1 $3 $BENCH_APPEND" >>"$2/calls"
    case $1 in
    W1) echo '{"workload": "W1", "metric": "rate", "unit": "entries/s", "value": 1000}'
        echo '{"workload": "W1", "metric": "index", "unit": "bytes/key", "value": 12}' ;;
    R1) echo '{"workload": "R1", "metric": "time", "unit": "ns/read", "value": 50}' ;;
    R2) echo "no memory" >&2; exit 1 ;;
    R4) exec sleep 600 ;;
    warm) ;;
    *) exit 2 ;;
    esac
    """)


def some(*names):
    return [workloads.BY_NAME[name] for name in names]


class Plan(unittest.TestCase):
    def test_long_workloads_run_in_every_second_round(self):
        plan = measure.plan(some("W1", "C1"), 5, warm_up=False)
        self.assertEqual([["W1", "C1"], ["W1"], ["W1", "C1"], ["W1"], ["W1", "C1"]],
                         [[one.name for one in chosen] for _, chosen in plan])

    def test_the_round_to_warm_up_goes_ahead_and_does_not_count(self):
        plan = measure.plan(some("W1", "C1"), 2, warm_up=True)
        self.assertEqual([-1, 0, 1], [place for place, _ in plan])
        self.assertEqual(["W1"], [one.name for one in plan[0][1]])

    def test_each_system_is_first_once(self):
        self.assertEqual([["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]],
                         [measure.rotated(["a", "b", "c"], by) for by in range(4)])

    def test_the_store_of_the_reading_workloads_is_written_in_each_round(self):
        self.assertEqual(1, workloads.BY_NAME["W1"].every)
        self.assertEqual("W1", workloads.WORKLOADS[0].name)

    def test_names_are_unique_and_groups_have_titles(self):
        self.assertEqual(len(workloads.WORKLOADS + workloads.LARGER_THAN_MEMORY), len(workloads.BY_NAME))
        self.assertLessEqual({one.group for one in workloads.WORKLOADS}, set(workloads.GROUPS))
        self.assertEqual(len(systems.SYSTEMS), len(systems.TITLES))


class Running(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        program = self.folder / "program"
        program.write_text(PROGRAM, encoding="utf-8")
        program.chmod(0o755)
        self.systems = [one for one in systems.SYSTEMS if one.name in ("simdrive", "simdrive-map", "lmdb")]
        programs = {"simdrive": program, "simdrive-map": program}
        self.results = results.Results()
        self.measurement = measure.Measurement(self.systems, programs, self.folder, self.results, 0.5)

    def run_rounds(self, names, rounds, warm_up=False):
        with contextlib.redirect_stderr(io.StringIO()) as self.said:
            self.measurement.run_rounds(some(*names), rounds, warm_up)

    def calls(self, system):
        return (self.folder / system / "calls").read_text(encoding="utf-8").splitlines()

    def test_figures_are_kept_by_round(self):
        self.run_rounds(["W1", "R1"], 2, warm_up=True)
        self.assertEqual([1000, 1000], self.results.figure("W1", "rate").of("simdrive"))
        self.assertEqual([12, 12], self.results.figure("W1", "index").of("simdrive"))
        self.assertEqual(6, len(self.calls("simdrive")))

    def test_a_variant_has_its_environment_and_only_what_differs(self):
        self.run_rounds(["W1", "R1"], 1)
        self.assertEqual(["W1 0.5 map"], self.calls("simdrive-map"))
        self.assertEqual(["W1 0.5 ", "R1 0.5 "], self.calls("simdrive"))

    def test_an_unknown_workload_is_no_failure_and_is_asked_for_once(self):
        self.run_rounds(["R3"], 2)
        self.assertEqual(["R3 0.5 "], self.calls("simdrive"))
        self.assertEqual([], self.results.failures)

    def test_a_failure_is_kept_and_the_rest_goes_on(self):
        self.run_rounds(["R2", "R1"], 1)
        self.assertEqual(["simdrive R2: no memory"], self.results.failures)
        self.assertEqual([50], self.results.figure("R1", "time").of("simdrive"))

    def test_what_does_not_end_is_tried_once(self):
        with unittest.mock.patch.object(measure, "TIMEOUT_SECONDS", 0.2):
            self.run_rounds(["R4", "R1"], 2)
        self.assertEqual(["R4 0.5 ", "R1 0.5 ", "R1 0.5 "], self.calls("simdrive"))
        self.assertEqual(1, len(self.results.failures))

    def test_a_system_without_a_program_is_left_out(self):
        self.assertEqual(["simdrive", "simdrive-map"], [one.name for one in self.measurement.systems])

    def test_growth_keeps_figures_by_size_and_removes_the_stores(self):
        with contextlib.redirect_stderr(io.StringIO()):
            growth.measure(self.measurement, [10000, 10**7])
        self.assertEqual([1000] * growth.ROUNDS_OF_SMALL, self.results.figure("W1", "rate", 10000).of("simdrive"))
        self.assertEqual([1000], self.results.figure("W1", "rate", 10**7).of("simdrive"))
        self.assertIsNone(self.results.figure("W1", "rate"))
        self.assertFalse((self.folder / "simdrive").exists())


class Growth(unittest.TestCase):
    def test_what_does_not_fit_is_left_out_and_said(self):
        gib = 1 << 30
        self.assertTrue(growth.fits(10**6, gib, gib, in_memory=False))
        self.assertFalse(growth.fits(10**7, gib, 100 * gib, in_memory=False))
        self.assertFalse(growth.fits(10**7, 100 * gib, gib, in_memory=False))
        self.assertFalse(growth.fits(10**7, 3 * gib, 100 * gib, in_memory=True))
        self.assertIn("50 000 000", growth.left_out([10**4]))

    def test_other_sizes_are_added_and_measured_ones_kept(self):
        earlier, now = results.Results(), results.Results()
        for size in (10**4, 10**5):
            earlier.add("R1", "time", "ns/read", "simdrive", 0, 10, size)
        now.add("R1", "time", "ns/read", "simdrive", 0, 20, 10**5)
        growth.add_other_sizes(now, earlier)
        self.assertEqual([10, 20], [now.figure("R1", "time", size).median("simdrive") for size in (10**4, 10**5)])

    def test_other_systems_stop_earlier(self):
        by_name = {one.name: one for one in systems.SYSTEMS}
        self.assertEqual([], [one.name for one in growth.workloads_of(by_name["rust"], 5 * 10**7)])
        self.assertEqual(["W1", "R1", "O1"], [one.name for one in growth.workloads_of(by_name["lmdb"], 10**6)])
        self.assertEqual((), growth.workloads_of(by_name["tkrzw"], 10**4))
        self.assertEqual(growth.WORKLOADS, growth.workloads_of(by_name["simdrive"], 5 * 10**7))


class Machine(unittest.TestCase):
    def test_no_path_and_no_name_of_the_machine_is_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            text = repr(machine.describe(pathlib.Path(folder), pathlib.Path(folder), systems.SYSTEMS))
            self.assertNotIn(folder, text)
        self.assertNotIn(repr(machine.platform.node()), text)


if __name__ == "__main__":
    unittest.main()
