# SPDX-License-Identifier: Apache-2.0
"""Standard output, pipes and terminals: nothing is lost silently, nothing binary upsets a terminal."""
import json
import os
import subprocess
import unittest

from support import DONE, IO, LIMIT_S, NOT_FOUND, TOOL, USAGE, CliTest, run_on_terminal


class Pipes(CliTest):
    def closed_early(self, *arguments):
        process = subprocess.Popen([TOOL, self.store, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(len(process.stdout.read(1)), 1)
        process.stdout.close()
        error = process.stderr.read()
        process.stderr.close()
        return process.wait(LIMIT_S), error

    def test_a_pipe_closed_early_ends_quietly(self):
        self.on_store("write", "big", stdin=b"x" * 5_000_000)
        self.assertEqual(self.closed_early("read", "big"), (IO, b""))
        self.assertEqual(self.closed_early("read", "-b", "64K", "big"), (IO, b""))

    def test_a_long_list_into_a_closed_pipe_ends_quietly(self):
        tree = self.path("tree")
        os.mkdir(tree)
        for i in range(3000):
            with open(os.path.join(tree, f"a-file-with-a-long-name-{i}"), "w", encoding="ascii") as file:
                file.write("x")
        self.on_store("import", "tree")
        self.assertEqual(self.closed_early("list"), (IO, b""))
        self.assertEqual(self.closed_early("list", "--json"), (IO, b""))

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_full_output_is_an_error(self):
        self.on_store("write", "key", "value")
        for command in (["read", "key"], ["read", "-b", "1", "key"], ["info"], ["list"], ["verify", "--json"],
                        ["metadata", "key"], ["exists", "key"], ["help"], ["compact"]):
            arguments = command if command == ["help"] else [self.store, *command]
            with self.subTest(command=command), open("/dev/full", "wb") as full:
                self.run_tool(*arguments, stdout=full, expect=IO)
                self.assertIn(b"standard output", self.stderr)

    def test_a_closed_output_is_an_error_and_never_the_store(self):
        self.on_store("write", "key", "value")
        before = self.file_bytes()
        for command in (["read", "key"], ["info"], ["write", "--json", "key", "value"]):
            done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", TOOL, self.store, *command],
                                  timeout=LIMIT_S, check=False)
            self.assertEqual(done.returncode, IO)
        self.assertEqual(self.file_bytes()[:len(before)], before)
        self.on_store("verify")

    def test_a_closed_input_is_an_error(self):
        done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", TOOL, self.store, "write", "key"],
                              timeout=LIMIT_S, check=False, capture_output=True)
        self.assertEqual(done.returncode, IO, done.stderr)
        self.assertFalse(os.path.exists(self.store))


class Terminals(CliTest):
    def test_binary_is_not_printed_to_a_terminal_unless_forced(self):
        for value in (b"\x00\x01\x02", b"\xff\xfe", b"text with \x1b[31m colour", "\u009b31m".encode(), b"cut \xc3"):
            self.on_store("write", "key", stdin=value)
            for options in ([], ["-b", "4"]):
                status, shown, error = run_on_terminal([self.store, "read", "key", *options], "stdout")
                self.assertEqual((status, shown), (USAGE, b""))
                self.assertIn(b"-f", error)
            status, shown, _ = run_on_terminal([self.store, "read", "-f", "key"], "stdout")
            self.assertEqual((status, shown), (DONE, value))

    def test_text_is_printed_to_a_terminal(self):
        text = "Grüße, 世界\tend".encode()
        self.on_store("write", "key", stdin=text)
        self.assertEqual(run_on_terminal([self.store, "read", "key"], "stdout"), (DONE, text, b""))

    def test_progress_is_shown_on_a_terminal_only(self):
        os.mkdir(self.path("tree"))
        with open(self.path("tree/file"), "wb") as file:
            file.write(b"x" * 2_000_000)
        runs = {"import": ["tree"], "export": ["out"], "verify": [], "backup": ["copy.store"],
                "salvage": ["saved.store"], "compact": [], "reclaim": [], "bench": ["--entries", "100"]}
        for command, operands in runs.items():
            store = "bench.store" if command == "bench" else self.store
            status, shown, _ = run_on_terminal([store, command, *operands], "stderr", cwd=self.folder)
            self.assertEqual(status, DONE, (command, shown))
            self.assertIn(command.encode(), shown)
            self.assertIn(b"100%", shown)
            behind_the_bar = shown.split(b"\r\x1b[K")[-1]
            self.assertRegex(behind_the_bar, rb"\Asimdrive: note: [^\r\n]+\r\n\Z" if command == "backup" else rb"\A\Z")
        self.on_store("verify")
        self.assertEqual(self.stderr, b"")

    def test_progress_can_be_chosen(self):
        self.on_store("write", "key", "value")
        for options in (["--no-progress"], ["-q"]):
            status, shown, _ = run_on_terminal([self.store, "verify", *options], "stderr")
            self.assertEqual((status, shown), (DONE, b""))
        status, shown, _ = run_on_terminal([self.store, "verify"], "stderr", env={"TERM": "dumb"})
        self.assertEqual((status, shown), (DONE, b""))
        done = subprocess.run([TOOL, self.store, "verify", "--progress"], capture_output=True, timeout=LIMIT_S,
                              check=True)
        self.assertIn(b"100%", done.stderr)
        self.assertNotIn(b"\x1b", done.stderr)

    def test_no_color_takes_the_colour_away(self):
        self.on_store("write", "key", "value")
        _, coloured, _ = run_on_terminal([self.store, "verify"], "stderr", env={"NO_COLOR": ""})
        _, plain, _ = run_on_terminal([self.store, "verify"], "stderr", env={"NO_COLOR": "1"})
        self.assertIn(b"\x1b[32m", coloured)
        self.assertNotIn(b"\x1b[32m", plain)


class Keys(CliTest):
    def test_hexadecimal_keys_are_any_bytes(self):
        self.on_store("write", "-x", "00ff0A", "value")
        self.assertEqual(self.on_store("read", "-x", "00FF0a"), b"value")
        found = self.json_of("metadata", "-x", "00ff0a")
        self.assertEqual((found["key"], found["key_hex"]), ("\0\ufffd\n", "00ff0a"))
        self.on_store("rename", "-x", "00ff0a", "616c696365")
        self.assertEqual(self.on_store("read", "alice"), b"value")

    def test_the_empty_key(self):
        self.on_store("write", "-x", "", "value")
        self.assertEqual(self.json_of("metadata", "-x", "")["key_hash"], "2d06800538d394c2")
        self.assertEqual(self.on_store("read", ""), b"value")
        self.on_store("delete", "-x", "")
        self.on_store("exists", "-q", "", expect=NOT_FOUND)

    def test_a_key_that_is_not_utf8_is_shown_in_both_forms(self):
        self.on_store("write", b"caf\xe9", "value")
        found = self.json_of("exists", b"caf\xe9")["keys"][0]
        self.assertEqual((found["key"], found["key_hex"]), ("caf\ufffd", "636166e9"))
        found = self.json_of("exists", "café", expect=NOT_FOUND)["keys"][0]
        self.assertEqual(found["key"], "café")
        self.assertNotIn("key_hex", found)

    def test_quotes_and_control_characters_stay_valid_json(self):
        key = 'a"b\\c\nd\x1b\x7f'
        self.on_store("write", key, "value")
        self.assertEqual(json.loads(self.on_store("metadata", key, "--json"))["key"], key)

    def test_keys_of_a_namespace_are_apart(self):
        self.on_store("write", "-n", "namespace1", "key1", "inner")
        self.on_store("exists", "-q", "key1", expect=NOT_FOUND)
        self.assertEqual(self.on_store("read", "--namespace=namespace1", "key1"), b"inner")
        self.assertEqual(self.on_store("read", "-x", "7c066c9df2e6eccbe229d8d50c074d38"), b"inner")
        self.on_store("write", "-n", "namespace1", "key2", "x")
        self.on_store("rename", "-n", "namespace1", "key2", "key1")
        self.on_store("delete", "-n", "namespace1", "key1")
