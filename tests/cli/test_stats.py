# SPDX-License-Identifier: Apache-2.0
"""`stats`: every member of the library's struct in each form, figures that are right, and text that Prometheus accepts:
its lines are parsed here after the grammar of the exposition format 0.0.4, and held against the rules of its linter."""
import math
import os
import re
import unittest

from support import DAMAGED, IO, USAGE, CliTest

HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "include", "simdrive.h")
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
LABEL_VALUE = r'"((?:[^"\\\n]|\\[\\"n])*)"'
NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|Inf|NaN)"
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")


def struct_members():
    """Names of the members of simdrive_statistics, from the public header."""
    with open(HEADER, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    body = re.search(r"typedef struct simdrive_statistics \{(.*?)\} simdrive_statistics;", text, re.DOTALL).group(1)
    members = []
    for declaration in body.split(";"):
        words = re.findall(r"\w+", declaration)
        members += words[1:] if words else []
    members.remove("struct_size")
    return members


class Metric:
    def __init__(self, name):
        self.name = name
        self.type = self.help = None
        self.samples = []  # (suffix, labels, value)


def unescape(value):
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found.group(1), found.group(1)), value)


def parse_labels(text, fail):
    labels = {}
    while text:
        found = re.match(rf"({LABEL_NAME})={LABEL_VALUE}(,|$)", text)
        if not found or found.group(1) in labels:
            fail(f"labels: {text}")
        labels[found.group(1)] = unescape(found.group(2))
        text = text[found.end():]
    return labels


def parse_exposition(text, fail):
    """The metrics of a text in exposition format 0.0.4, in order. What the format does not allow fails."""
    metrics = {}
    current = None
    if not text.endswith("\n"):
        fail("the last line does not end")
    for line in text[:-1].split("\n"):
        comment = re.fullmatch(rf"# (HELP|TYPE) ({NAME})(?: (.*))?", line)
        sample = re.fullmatch(rf"({NAME})(?:\{{(.*)\}})? ({NUMBER})", line)
        if comment:
            kind, name, rest = comment.groups()
            if current is None or current.name != name:
                if name in metrics:
                    fail(f"{name} is in two groups")
                current = metrics[name] = Metric(name)
            if current.samples or getattr(current, kind.lower()) is not None:
                fail(f"{kind} of {name} comes twice, or behind a sample")
            if kind == "TYPE" and rest not in TYPES:
                fail(f"type {rest}")
            if kind == "HELP" and re.search(r"\\(?![\\n])", rest):
                fail(f"help {rest}")
            setattr(current, kind.lower(), rest)
        elif sample:
            name, labels, value = sample.groups()
            suffixes = ("", "_sum", "_count") if current.type == "summary" else ("",)
            suffix = name[len(current.name):]
            if not name.startswith(current.name) or suffix not in suffixes:
                fail(f"{name} is not of the group of {current.name}")
            labels = parse_labels(labels or "", fail)
            if any(labels == other and suffix == of for of, other, _ in current.samples):
                fail(f"the same sample twice: {line}")
            current.samples.append((suffix, labels, float(value)))
        else:
            fail(f"no line of the format: {line!r}")
    return metrics


class Stats(CliTest):
    def setUp(self):
        super().setUp()
        for number in range(20):
            self.on_store("write", f"key-{number % 12}", "x" * (number * 10 + 5))
        self.on_store("delete", "key-3", "key-4")

    def prometheus_of(self, store=None):
        text = self.run_tool(store or self.store, "stats", "--prometheus").decode("utf-8")
        return parse_exposition(text, self.fail)

    def value_of(self, metrics, name):
        metric = metrics["simdrive_" + name]
        self.assertEqual(len(metric.samples), 1, name)
        return metric.samples[0][2]

    def test_json_has_the_members_of_the_struct(self):
        found = self.json_of("stats")
        self.assertEqual(set(found), set(struct_members()) | {"file", "version"})
        self.assertEqual(set(found["sync"]),
                         {"count", "total_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"})

    def test_people_see_every_member_in_groups(self):
        lines = self.on_store("stats").decode().splitlines()
        self.assertEqual(lines[0].split(), ["file", self.store])
        shown = [line.split()[0] for line in lines if line.startswith("  ")]
        self.assertEqual(sorted(shown), sorted(struct_members()))
        groups = [line for line in lines[1:] if not line.startswith("  ")]
        self.assertEqual(groups, ["the file", "its opening", "the index", "held by this process",
                                  "work of this process", "compaction by this process"])

    def test_figures_are_those_of_info_and_add_up(self):
        info, stats = self.json_of("info"), self.json_of("stats")
        for name in ("file_size", "tail", "entries", "tombstones", "stale_entries", "live_bytes", "stale_bytes",
                     "damaged_tail_bytes", "corrupt_entries", "index_bytes", "damage"):
            self.assertEqual(stats[name], info[name], name)
        self.assertEqual(stats["file_size"], os.path.getsize(self.store))
        self.assertEqual(stats["disk_bytes"], os.stat(self.store).st_blocks * 512)
        self.assertEqual((stats["entries"], stats["stale_entries"], stats["tombstones"]), (10, 10, 2))
        self.assertEqual(stats["metadata_bytes"], 22 * 20 + 2)
        self.assertEqual(stats["live_bytes"] + stats["stale_bytes"] + stats["padding_bytes"] +
                         stats["metadata_bytes"], stats["file_size"])
        self.assertEqual((stats["generations"], stats["pins"], stats["writes"], stats["syncs"]), (1, 0, 0, 0))
        self.assertEqual((stats["open_entries_walked"], stats["read_only"]), (22, True))

    def test_sizes_are_readable(self):
        self.on_store("write", "large", stdin=b"x" * 3_500_000)
        text = self.on_store("stats").decode()
        self.assertRegex(text, r"\n  file_size +35\d{5} \(3\.\d MiB\)\n")
        self.assertRegex(text, r"\n  damaged_tail_bytes +0\n")
        self.assertRegex(text, r"\n  open_ns +\d+ \(\d+(\.\d)? (ns|us|ms|s)\)\n")

    def test_prometheus_can_read_it(self):
        metrics = self.prometheus_of()
        for name, metric in metrics.items():
            self.assertTrue(metric.help and metric.type and metric.samples, name)
            self.assertTrue(all(labels["store"] == self.store for _, labels, _ in metric.samples))
            if metric.type == "summary":
                self.assertEqual([labels.get("quantile") for _, labels, _ in metric.samples],
                                 ["0.5", "0.9", "0.99", "0.999", "1", None, None])
                self.assertEqual([suffix for suffix, _, _ in metric.samples][-2:], ["_sum", "_count"])
                self.assertTrue(all(math.isnan(value) for _, _, value in metric.samples[:5]))

    def test_names_are_as_the_linter_of_prometheus_wants_them(self):
        for name, metric in self.prometheus_of().items():
            self.assertRegex(name, r"\Asimdrive_[a-z][a-z0-9_]*\Z")
            self.assertEqual(metric.type == "counter", name.endswith("_total"), name)
            self.assertNotRegex(name, r"_(count|sum|bucket)\Z")
            self.assertNotRegex(name, r"(milli|micro|nano)seconds|_(ns|ms|us|kib|mib|gauge|counter|summary)(_|\Z)")
            self.assertEqual(metric.type == "summary", "duration_seconds" in name and "open" not in name)

    def test_prometheus_has_the_figures_of_the_json_form(self):
        metrics, stats = self.prometheus_of(), self.json_of("stats")
        self.assertEqual(len(metrics), len(struct_members()))
        for name in ("disk_bytes", "entries", "stale_entries", "tombstones", "live_bytes", "stale_bytes",
                     "padding_bytes", "metadata_bytes", "index_bytes", "index_keys", "index_slots", "generations",
                     "open_entries_walked", "read_only"):
            self.assertEqual(self.value_of(metrics, name), stats[name], name)
        self.assertEqual(self.value_of(metrics, "file_bytes"), stats["file_size"])
        self.assertEqual(self.value_of(metrics, "tail_bytes"), stats["tail"])

    def test_any_path_makes_a_valid_label(self):
        for name, shown in (('quote" back\\slash', 'quote" back\\slash'), ("two\nlines", "two\nlines"),
                            ("Grüße 世界", "Grüße 世界"), (b"caf\xe9", "caf\ufffd"), ("}", "}")):
            path = os.path.join(os.fsencode(self.folder), os.fsencode(name))
            with open(path, "wb"):
                pass
            metrics = self.prometheus_of(path)
            self.assertEqual(os.path.basename(metrics["simdrive_entries"].samples[0][1]["store"]), shown)

    def test_the_store_is_not_changed(self):
        before = self.file_bytes()
        for options in ([], ["--json"], ["--prometheus"]):
            self.on_store("stats", *options)
        self.assertEqual(self.file_bytes(), before)
        self.assertEqual(os.listdir(self.folder), ["s.store"])

    def test_damage_is_told(self):
        with open(self.store, "ab") as file:
            file.write(b"garbage" * 10)
        found = self.json_of("stats")
        self.assertEqual((found["damaged_tail_bytes"], found["damage"]), (70, "tail"))
        self.assertEqual(self.value_of(self.prometheus_of(), "damage"), 1)
        self.flip_byte(found["tail"] // 2)
        self.assertEqual(self.json_of("stats")["file_size"], os.path.getsize(self.store))

    def test_mistakes(self):
        self.on_store("stats", "--json", "--prometheus", expect=USAGE)
        self.on_store("info", "--prometheus", expect=USAGE)
        self.on_store("stats", "operand", expect=USAGE)
        self.run_tool(self.path("none"), "stats", expect=IO)
        with open(self.path("foreign"), "wb") as file:
            file.write(b"no store at all" * 100)
        self.run_tool(self.path("foreign"), "stats", expect=DAMAGED)

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_full_output_is_an_error(self):
        for options in ([], ["--json"], ["--prometheus"]):
            with open("/dev/full", "wb") as full:
                self.on_store("stats", *options, stdout=full, expect=IO)


if __name__ == "__main__":
    unittest.main()
