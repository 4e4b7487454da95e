# SPDX-License-Identifier: Apache-2.0
"""Tables: cells, the best in bold, ratios to the right system, and the blocks of the pages."""
import unittest

from support import TOP, full_results, pictures, results, results_of, systems, tables, workloads

WRITES = {("W2", "rate"): {"simdrive": [1e6, 1.2e6, 1.1e6], "simdrive-map": [4e6, 4e6, 4.4e6],
                           "lmdb": [5e5, 6e5, 5.5e5], "tkrzw": [2e6, 2.4e6, 2.2e6], "rust": [1e5, 1e5, 1e5]}}


def rows_of(markdown):
    """Rows by their first cell, the first of a name; the other cells."""
    rows = {}
    for line in markdown.splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows.setdefault(cells[0], cells[1:])
    return rows


class Cells(unittest.TestCase):
    def test_numbers_have_three_digits(self):
        self.assertEqual(["13244", "100", "99.9", "10.0", "9.99", "0.10", "0.04", "0.00"],
                         [tables.number(value) for value in (13244, 100, 99.9, 10, 9.99, 0.1, 0.04, 0)])

    def test_durations_choose_their_unit(self):
        self.assertEqual(["0.50 ns", "161 ns", "2.30 µs", "1.20 ms", "3.00 s"],
                         [tables.duration(value) for value in (0.5, 161, 2300, 1.2e6, 3e9)])

    def test_a_spread_is_median_least_and_most(self):
        self.assertEqual("2.00 (1.00 to 9.00)", tables.spread([9, None, 1, 2]))
        self.assertEqual("2.00", tables.spread([2]))

    def test_every_metric_has_words_and_every_unit_a_direction(self):
        self.assertEqual("p99.9", workloads.metric_title("p99.9"))
        self.assertEqual("a write meanwhile, p99", workloads.metric_title("meanwhile p99"))
        self.assertEqual("something new", workloads.metric_title("something new"))
        self.assertTrue(workloads.unit_of("pages/s").more_is_better)
        self.assertFalse(workloads.unit_of("pages").more_is_better)


class Comparisons(unittest.TestCase):
    def setUp(self):
        self.results = results_of(WRITES, {"settings": {one.name: "set so" for one in systems.SYSTEMS}})
        self.row = rows_of(tables.report(self.results))["W2"]

    def test_the_best_is_bold_and_only_the_best(self):
        self.assertEqual(["1100", "**4000**", "550", "2200", "100"], self.row[2:7])

    def test_the_best_peer_is_neither_ourselves_nor_the_original(self):
        self.assertEqual("0.50 (0.50 to 0.50); map 2.00, tkrzw", self.row[7])
        self.assertEqual("11.0 (10.0 to 12.0); map 40.0", self.row[8])

    def test_columns_without_a_figure_are_left_out(self):
        report = tables.report(results_of({**WRITES, ("R1", "time"): {"simdrive": [50], "lmdb": [700]}},
                                          self.results.about))
        self.assertEqual(["random single reads", "ns", "**50.0**", "700", "14.0, LMDB"], rows_of(report)["R1"])

    def test_a_system_alone_is_not_the_best(self):
        alone = results_of({("R1", "time"): {"simdrive": [50]}})
        self.assertEqual(["random single reads", "ns", "50.0"], rows_of(tables.report(alone))["R1"])

    def test_zeros_are_compared_with_nothing(self):
        self.assertEqual("–", tables.to_best_peer(
            results.Figure("O1", "memory", "bytes/key", None, {"simdrive": [13], "tkrzw": [0]}), ["simdrive", "tkrzw"]))

    def test_latencies_stand_together_by_what_they_are_of(self):
        made = results_of({("C2", metric): {"simdrive": [1]} for metric in (
            "meanwhile max", "alone p99", "meanwhile p50", "alone max", "alone p50")})
        self.assertEqual(["alone p50", "alone p99", "alone max", "meanwhile p50", "meanwhile max"],
                         [one.metric for one in tables.ordered(made.figures())])

    def test_a_row_where_every_mode_is_behind_is_said(self):
        self.assertIn("No peer is ahead", tables.behind(self.results, self.results.systems()))
        slow = results_of({("R1", "time"): {"simdrive": [100], "lmdb": [50], "rust": [200]}})
        self.assertIn("R1: 0.50 of LMDB", tables.behind(slow, slow.systems()))
        beside_rust = results_of({("R1", "time"): {"simdrive": [100], "rust": [80]}})
        self.assertIn("R1: 0.80 of Rust original", tables.behind(beside_rust, beside_rust.systems()))

    def test_settings_of_each_system_are_said(self):
        for name in self.results.systems():
            self.assertIn(f"{systems.TITLES[name]}: set so", tables.report(self.results))

    def test_failures_are_said(self):
        self.results.failures.append("lmdb W1: no room")
        self.assertIn("lmdb W1: no room", tables.report(self.results))

    def test_changes_have_a_row_each(self):
        after = results_of({("W2", "rate"): {"simdrive": [2e6, 2.1e6, 2.2e6], "lmdb": [5e5, 6e5, 5.5e5]}},
                           self.results.about)
        lines = tables.comparison_report(self.results, after).splitlines()
        self.assertEqual(4, len(lines))
        self.assertTrue(lines[2].endswith("| 1100 | 2100 | 1.91 | better |"), lines[2])
        self.assertTrue(lines[3].endswith("| 550 | 550 | 1.00 |  |"), lines[3])


class Reports(unittest.TestCase):
    def test_all_groups_latencies_and_space_are_there(self):
        report = tables.report(full_results(), [name for name, _ in pictures.bar_plots(full_results())])
        for title in list(workloads.GROUPS.values()) + ["Latencies", "Space", "Settings, and who does less"]:
            self.assertEqual(1, report.count(f"### {title}\n"), title)
        for row in report.splitlines():
            if row.startswith("|"):
                self.assertEqual("|", row[-1])
        self.assertIn("](plots/reads.svg)", report)

    def test_tables_have_as_many_cells_in_each_row(self):
        for report in (tables.report(full_results()), tables.short_report(full_results())):
            for block in report.split("\n\n"):
                if block.startswith("|"):
                    self.assertEqual(1, len({line.count("|") for line in block.splitlines()}), block)

    def test_the_short_report_has_eight_to_ten_rows(self):
        rows = [line for line in tables.short_report(full_results()).splitlines() if line.startswith("| ")]
        self.assertIn(len(rows) - 1, (8, 9, 10))

    def test_nothing_measured_is_no_error(self):
        self.assertIn("No peer", tables.report(results_of({})))
        tables.short_report(results_of({}))

    def test_growth_has_a_column_for_each_size(self):
        grown = results.Results({"left_out": "all there"})
        for size in (10000, 100000):
            grown.add("R1", "time", "ns/read", "simdrive", 0, size / 1000, entries=size)
        grown.add("R1", "time", "ns/read", "lmdb", 0, 70, entries=10000)
        report = tables.growth_report(grown)
        self.assertIn("| R1 | simdrive | ns | 10.0 | 100 |", report)
        self.assertIn("| R1 | LMDB | ns | 70.0 | – |", report)
        self.assertIn("all there", report)

    def test_terminals_get_columns_without_marks(self):
        text = tables.plain_text("### Head\n\n| | a <sup>1</sup> |\n|---|---:|\n| x | **1** |\n| long | 22 |\n")
        self.assertEqual("Head\n\n       a\nx      1\nlong  22", text)


class Pages(unittest.TestCase):
    def test_a_block_is_replaced_and_nothing_else(self):
        page = "before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n"
        new = tables.replace_block(page, "results", "\nnew\n\n")
        self.assertEqual("before\n<!-- results: begin -->\nnew\n<!-- results: end -->\nafter\n", new)
        self.assertEqual(new, tables.replace_block(new, "results", "new"))

    def test_content_may_look_like_a_pattern(self):
        page = "<!-- results: begin -->\n<!-- results: end -->"
        self.assertIn(r"\1 \g<0> $1", tables.replace_block(page, "results", r"\1 \g<0> $1"))

    def test_a_page_without_its_marks_is_refused(self):
        marks = "<!-- results: begin -->", "<!-- results: end -->"
        for page in ("", marks[0], marks[1], marks[1] + marks[0], (marks[0] + marks[1]) * 2):
            with self.assertRaises(ValueError, msg=page):
                tables.replace_block(page, "results", "new")

    def test_the_pages_have_their_marks(self):
        for page, name in (("docs/benchmarks.md", "results"), ("docs/benchmarks.md", "growth"),
                           ("README.md", "benchmark table")):
            tables.replace_block((TOP / page).read_text(encoding="utf-8"), name, "new")


if __name__ == "__main__":
    unittest.main()
