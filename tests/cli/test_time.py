# SPDX-License-Identifier: Apache-2.0
"""What a store offers over time: watch, history, and --at."""
import json
import signal
import subprocess
import threading

from support import DAMAGED, DONE, IO, LIMIT_S, NOT_FOUND, TOOL, USAGE, CliTest

STALE = 6


class Time(CliTest):
    def put(self, key, value):
        return self.on_store("write", key, stdin=value)

    def tail(self):
        return self.json_of("info")["tail"]

    def some_history(self):
        """Writes and deletes; gives [(operation, size, tail)]."""
        made = []
        for operation, key, value in (("put", "a", b"one"), ("put", "b", b"other"), ("put", "a", b"second"),
                                      ("delete", "b", b""), ("put", "c", b"x" * 5000)):
            if operation == "put":
                self.put(key, value)
            else:
                self.on_store("delete", key)
            made.append((operation, len(value), self.tail()))
        return made

    def lines_of(self, *arguments, **more):
        return [json.loads(line) for line in self.on_store(*arguments, "--json", **more).splitlines()]

    def start(self, *arguments):
        process = subprocess.Popen([TOOL, self.store, "watch", *arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait, LIMIT_S)
        self.addCleanup(process.kill)
        return process

    # ----- watch -----

    def test_watch_tells_all_from_a_position_on(self):
        made = self.some_history()
        seen = self.lines_of("watch", "--since", "0", "--no-wait")
        self.assertEqual([(line["operation"], line["size"], line["offset"]) for line in seen], made)
        self.assertEqual(seen[0]["key_hash"], seen[2]["key_hash"])
        text = self.on_store("watch", "--since", "0", "--no-wait").split(b"\n")[:-1]
        self.assertEqual([line.split()[:2] for line in text],
                         [[str(tail).encode(), operation.encode()] for operation, _, tail in made])
        for i, line in enumerate(seen):
            self.assertEqual(line["position"], f"{line['offset']}:{line['check']}")
            for since in (line["position"], str(line["offset"])):
                self.assertEqual(self.lines_of("watch", "--since", since, "--no-wait"), seen[i + 1:])
        self.assertEqual(self.lines_of("watch", "--since", "0", "--count", "2"), seen[:2])
        self.assertEqual(self.lines_of("watch", "--no-wait"), [])
        self.assertEqual(self.lines_of("watch", "--since", "0", "--timeout", "50"), seen)

    def test_watch_tells_void_positions(self):
        made = self.some_history()
        position = self.lines_of("watch", "--since", "0", "--no-wait")[2]["position"]
        for since in (str(made[0][2] + 1), f"{made[0][2]}:0000000000123456", "99999999"):
            self.on_store("watch", "--since", since, "--no-wait", expect=STALE)
        self.on_store("compact")
        self.on_store("watch", "--since", position, "--no-wait", expect=STALE)
        for since in ("", "x", "-1", "1:", "1:xyz", ":1", "1:2:3", "99999999999999999999"):
            self.on_store("watch", "--since", since, expect=USAGE)
        for option in ("--count", "--timeout"):
            self.on_store("watch", option, "0", expect=USAGE)

    def test_watch_waits_and_follows_a_compaction(self):
        self.some_history()
        process = self.start("--json")
        seen = []
        # The first line shows that it watches; whatever was written before it looked is not told.
        first = threading.Thread(target=lambda: seen.append(json.loads(process.stdout.readline())))
        first.start()
        while first.is_alive():
            self.put("tick", b"t")
        self.on_store("delete", "tick")
        self.put("d", b"last of the old file")
        self.on_store("compact")
        self.put("e", b"first of the new file, which is found here")
        while seen[-1].get("size") != 42:
            seen.append(json.loads(process.stdout.readline()))
        self.assertEqual(seen[0]["operation"], "put")
        moved = [i for i, line in enumerate(seen) if line["operation"] == "compacted"]
        self.assertEqual(len(moved), 1)
        self.assertEqual(seen[moved[0]]["offset"], 0)
        self.assertEqual((seen[moved[0] - 1]["operation"], seen[moved[0] - 1]["size"]), ("put", 20))
        live = {line["key_hash"] for line in self.lines_of("list")}
        self.assertEqual({line["key_hash"] for line in seen[moved[0] + 1:]}, live)
        process.send_signal(signal.SIGTERM)
        self.assertEqual((process.wait(LIMIT_S), process.stderr.read()), (DONE, b""))

    def test_watch_ends_quietly_when_asked_to(self):
        self.some_history()
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("--since", "0")
            process.stdout.readline()
            process.send_signal(number)
            self.assertEqual((process.wait(LIMIT_S), process.stderr.read()), (DONE, b""))

    def test_watch_ends_when_nobody_reads(self):
        self.some_history()
        process = self.start("--since", "0")
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual((process.wait(LIMIT_S), process.stderr.read()), (IO, b""))

    def test_watch_and_history_tell_damage(self):
        made = self.some_history()
        self.flip_byte(made[2][2] - 20 - 3)
        seen = self.lines_of("watch", "--since", "0", "--no-wait", expect=DAMAGED)
        self.assertEqual([line["operation"] for line in seen], ["put", "put", "damaged", "delete", "put"])
        found = self.lines_of("history", "a", expect=DAMAGED)
        self.assertEqual([(line["damaged"], line["live"]) for line in found], [(True, True), (False, False)])
        self.assertIn(b"damaged", self.on_store("history", "a", expect=DAMAGED))

    # ----- history and --at -----

    def test_history_lists_versions(self):
        made = self.some_history()
        found = self.lines_of("history", "b")
        self.assertEqual([(line["operation"], line["size"], line["offset"], line["live"]) for line in found],
                         [(*made[3], False), (*made[1], False)])
        text = self.on_store("history", "a").decode().split("\n")
        self.assertEqual([line.split() for line in text[:-1]], [[str(made[2][2]), "put", "6", "live"],
                                                                [str(made[0][2]), "put", "3"]])
        self.on_store("history", "never", expect=NOT_FOUND)
        self.on_store("compact")
        self.on_store("history", "b", expect=NOT_FOUND)
        self.assertEqual(len(self.lines_of("history", "a")), 1)

    def test_reading_commands_show_what_was(self):
        made = self.some_history()
        at = [str(tail) for _, _, tail in made]
        self.assertEqual(self.on_store("read", "--at", at[0], "a"), b"one")
        self.assertEqual(self.on_store("read", "--at", at[2], "a"), b"second")
        self.assertEqual(self.on_store("read", "--at", at[2], "b"), b"other")
        self.on_store("read", "--at", at[3], "b", expect=NOT_FOUND)
        self.on_store("exists", "--at", at[0], "b", expect=NOT_FOUND)
        self.assertEqual([self.json_of("info", "--at", offset)["entries"] for offset in at], [1, 2, 2, 1, 2])
        self.assertEqual([len(self.lines_of("list", "--at", offset)) for offset in at], [1, 2, 2, 1, 2])
        self.assertEqual(self.json_of("metadata", "--at", at[0], "a")["size"], 3)
        self.assertEqual(self.json_of("verify", "--at", at[2])["entries_checked"], 3)
        self.assertEqual(len(self.lines_of("history", "--at", at[0], "a")), 1)
        for command in (["read", "a"], ["info"], ["list"], ["verify"], ["exists", "a"], ["metadata", "a"],
                        ["history", "a"], ["export", "out"]):
            self.on_store(*command, "--at", str(made[0][2] + 1), expect=STALE)
            self.on_store(*command, "--at", "0", expect=USAGE)
        self.on_store("write", "--at", at[0], "a", "b", expect=USAGE)

    def test_export_gives_back_an_earlier_tree(self):
        tree = self.path("tree")
        subprocess.run(["sh", "-c", 'mkdir "$1" && echo one > "$1/file"', "sh", tree], check=True, timeout=LIMIT_S)
        self.on_store("import", "tree")
        before = str(self.tail())
        subprocess.run(["sh", "-c", 'echo two > "$1/file"', "sh", tree], check=True, timeout=LIMIT_S)
        self.on_store("import", "tree")
        self.on_store("export", "--at", before, "old")
        self.on_store("export", "new")
        self.assertEqual((self.file_bytes(self.path("old/file")), self.file_bytes(self.path("new/file"))),
                         (b"one\n", b"two\n"))
