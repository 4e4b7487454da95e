# SPDX-License-Identifier: Apache-2.0
"""What is computed from figures: medians, ratios within rounds, changes beyond the spread, files."""
import json
import pathlib
import tempfile
import unittest

from support import full_results, results, results_of


class Statistics(unittest.TestCase):
    def test_rounds_without_a_value_do_not_count(self):
        self.assertEqual(3, results.median([5, None, 1, 3]))
        self.assertIsNone(results.median([None]))
        self.assertIsNone(results.median([]))

    def test_ratios_are_of_the_same_round_only(self):
        self.assertEqual([2, 4], results.ratios([10, None, 40, 8], [5, 1, 10], more_is_better=True))

    def test_ratios_say_how_much_better_whichever_way_is_better(self):
        self.assertEqual([2.0], results.ratios([50], [100], more_is_better=False))
        self.assertEqual([0.5], results.ratios([50], [100], more_is_better=True))

    def test_nothing_is_divided_by_zero(self):
        self.assertEqual([], results.ratios([0, 1], [1, 0], more_is_better=True))

    def test_the_median_of_ratios_is_not_the_ratio_of_medians(self):
        figure = results.Figure("R1", "time", "ns/read", None, {"simdrive": [10, 100, 30], "lmdb": [20, 400, 30]})
        self.assertEqual([2, 4, 1], figure.ratios("simdrive", "lmdb"))

    def test_the_best_has_the_best_median(self):
        values = {"lmdb": [1, 9, 9], "tkrzw": [5, 5, 5], "rocksdb": [None, None, None]}
        time = results.Figure("R1", "time", "ns/read", None, values)
        rate = results.Figure("W1", "rate", "entries/s", None, values)
        self.assertEqual("tkrzw", time.best(values))
        self.assertEqual("lmdb", rate.best(values))
        self.assertIsNone(rate.best(["rocksdb", "leveldb"]))

    def test_values_keep_the_place_of_their_round(self):
        made = results.Results()
        made.add("R1", "time", "ns/read", "lmdb", 2, 7.0)
        made.add("R1", "time", "ns/read", "lmdb", 0, 5.0)
        self.assertEqual([5.0, None, 7.0], made.figure("R1", "time").of("lmdb"))


class Changes(unittest.TestCase):
    def change(self, before, after, workload="R1", metric="time"):
        found = results.changes(results_of({(workload, metric): {"simdrive": before}}),
                                results_of({(workload, metric): {"simdrive": after}}))
        self.assertEqual(1, len(found))
        return found[0]

    def test_a_change_beyond_the_spread_is_marked(self):
        faster = self.change([100, 110, 120], [50, 55, 60])
        self.assertEqual(("better", 2.0), (faster.mark, faster.ratio))
        self.assertEqual("worse", self.change([50, 55, 60], [100, 110, 120]).mark)

    def test_more_of_a_rate_is_better(self):
        self.assertEqual("better", self.change([10, 11], [20, 21], "W1", "rate").mark)

    def test_ranges_that_touch_are_no_change(self):
        self.assertEqual("", self.change([100, 110, 120], [50, 55, 100]).mark)
        self.assertEqual("", self.change([100, 110], [90, 130]).mark)

    def test_what_only_one_run_has_is_left_out(self):
        before = results_of({("R1", "time"): {"simdrive": [1], "lmdb": [1]}, ("R2", "time"): {"simdrive": [1]}})
        after = results_of({("R1", "time"): {"simdrive": [1], "rust": [1]}, ("R3", "time"): {"simdrive": [1]}})
        self.assertEqual([("R1", "simdrive")],
                         [(one.figure.workload, one.system) for one in results.changes(before, after)])

    def test_a_figure_of_another_unit_is_left_out(self):
        before, after = (results_of({("R1", "time"): {"simdrive": [1]}}) for _ in range(2))
        after.figure("R1", "time").unit = "ms"
        self.assertEqual([], results.changes(before, after))

    def test_zeros_have_no_ratio(self):
        self.assertIsNone(self.change([0, 0], [0, 0]).ratio)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "results.json"

    def test_what_is_saved_is_loaded(self):
        made = full_results()
        made.add("R1", "time", "ns/read", "simdrive", 0, 12.0, entries=10000)
        made.failures.append("lmdb W1: no")
        made.save(self.path)
        loaded = results.Results.load(self.path)
        self.assertEqual(made.about, loaded.about)
        self.assertEqual(made.failures, loaded.failures)
        self.assertEqual([(one.key, one.unit, one.values) for one in made.figures()],
                         [(one.key, one.unit, one.values) for one in loaded.figures()])

    def test_other_files_are_refused(self):
        for text in ("", "[]", "{}", "no json", json.dumps({"format": 1, "figures": []}),
                     json.dumps({"format": results.FORMAT, "about": {}, "failures": [], "figures": [{}]})):
            self.path.write_text(text, encoding="utf-8")
            with self.assertRaises(ValueError, msg=text):
                results.Results.load(self.path)

    def test_systems_come_in_the_order_of_the_run(self):
        made = results_of({("R1", "time"): {"rust": [1], "simdrive": [1], "unheard-of": [1]}},
                          {"settings": {"simdrive": "", "lmdb": "", "rust": ""}})
        self.assertEqual(["simdrive", "rust", "unheard-of"], made.systems())


if __name__ == "__main__":
    unittest.main()
