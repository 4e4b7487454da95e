# SPDX-License-Identifier: Apache-2.0
"""Plots: well-formed, inside their ground, with a bar for each value and a place for each line."""
import unittest
import xml.etree.ElementTree as ElementTree

from support import full_results, growth, pictures, plot, results, results_of, systems

SVG = "{http://www.w3.org/2000/svg}"


def parse(picture):
    return ElementTree.fromstring(picture)


def bars_of(root):
    """Bars and the squares of the legend: rectangles with a colour of their own."""
    return [one for one in root.iter(f"{SVG}rect") if one.get("fill")]


def grown():
    made = results.Results({"settings": {}})
    for size in growth.SIZES:
        for workload in ("R1", "O1"):
            made.add(workload, "time", "ns/read" if workload == "R1" else "ms", "simdrive", 0, size ** 0.5, size)
        made.add("W1", "rate", "entries/s", "simdrive", 0, 1e7, size)
    made.add("R1", "time", "ns/read", "lmdb", 0, 300, growth.SIZES[0])
    return made


class Plots(unittest.TestCase):
    def all_plots(self):
        return pictures.bar_plots(full_results()) + pictures.growth_plots(grown())

    def test_everything_lies_on_the_ground(self):
        for (title, _), picture in self.all_plots():
            root = parse(picture)
            width, height = float(root.get("width")), float(root.get("height"))
            for one in bars_of(root):
                self.assertGreaterEqual(float(one.get("x")), 0, title)
                self.assertLessEqual(float(one.get("x")) + float(one.get("width")), width, title)
                self.assertLessEqual(float(one.get("y")) + float(one.get("height")), height, title)
            for one in root.iter(f"{SVG}text"):
                at = float(one.get("x")) + (plot.text_width(one.text) if one.get("text-anchor") is None else 0)
                self.assertLessEqual(at, width, f"{title}: {one.text}")

    def test_each_value_has_a_bar(self):
        groups = [plot.Group("first", "R1", {"simdrive": 100, "lmdb": 10}), plot.Group("second", "R2", {"lmdb": 1000})]
        root = parse(plot.bars("title", "subtitle", groups, systems.TITLES))
        in_legend = 2
        self.assertEqual(3 + in_legend, len(bars_of(root)))

    def test_ten_times_more_is_a_fixed_step_longer(self):
        groups = [plot.Group("", "", {"simdrive": 1000, "lmdb": 100, "rust": 10})]
        root = parse(plot.bars("", "", groups, systems.TITLES))
        long, middle, small = [float(one.get("width")) for one in bars_of(root)[3:]]
        self.assertAlmostEqual(long - middle, middle - small, delta=0.3)
        self.assertGreater(small, 0)

    def test_a_time_becomes_a_rate(self):
        group = pictures.bar_group(results_of({("R1", "time"): {"simdrive": [50], "lmdb": [500]}}), "", "R1", "time")
        self.assertEqual({"simdrive": 2e7, "lmdb": 2e6}, group.values)

    def test_a_rate_becomes_the_time_of_one(self):
        self.assertEqual([(size, 100) for size in growth.SIZES],
                         [(x, round(y)) for x, y in pictures.growth_points(grown(), "W1", "rate", "simdrive")])

    def test_names_are_escaped(self):
        picture = plot.bars("<a & b>", "x", [plot.Group("<&>", "R1", {"simdrive": 1})], systems.TITLES)
        self.assertIn("<a & b>", [one.text for one in parse(picture).iter(f"{SVG}text")])

    def test_every_system_has_a_colour_of_its_own(self):
        colours = [plot.COLOURS[system.name] for system in systems.SYSTEMS]
        self.assertEqual(len(colours), len(set(colours)))

    def test_one_value_alone_can_be_drawn(self):
        parse(plot.bars("", "", [plot.Group("", "", {"simdrive": 5})], systems.TITLES))
        parse(plot.lines("", "", [plot.Line("one", "simdrive", [(10, 5)])]))

    def test_labels_keep_apart_and_in_order(self):
        self.assertEqual([1, 16, 31, 60], plot.apart([1, 2, 3, 60], 15))

    def test_the_same_figures_give_the_same_bytes(self):
        self.assertEqual(self.all_plots(), self.all_plots())

    def test_ticks_are_round_and_on_the_scale(self):
        for values in ([3, 9], [1, 1e6], [7], [0.02, 0.5]):
            scale = plot.LogScale(values, 0, 100)
            ticks = scale.ticks()
            self.assertGreaterEqual(len(ticks), 1, values)
            for tick in ticks:
                self.assertTrue(-0.1 <= scale(tick) <= 100.1, (values, tick))

    def test_numbers_are_short(self):
        self.assertEqual(["1.25 M", "43 k", "999", "120 k", "0.31", "2 G"],
                         [plot.short(value) for value in (1.25e6, 43e3, 999, 120e3, 0.31, 2e9)])


if __name__ == "__main__":
    unittest.main()
