# SPDX-License-Identifier: Apache-2.0
"""backup: a new copy, one brought up to date, bytes to a pipe or from a position on, and what is refused."""
import json
import os
import subprocess
import unittest

from support import DAMAGED, DONE, IO, LIMIT_S, STALE, TOOL, USAGE, CliTest, run_on_terminal


class Backup(CliTest):
    def setUp(self):
        super().setUp()
        self.copy = self.path("copy.store")
        self.on_store("write", "a", "value")

    def stream(self, *arguments):
        """The bytes on standard output, and the report in JSON, which is on standard error then."""
        done = subprocess.run([TOOL, self.store, "backup", "-", "--json", *arguments], capture_output=True,
                              cwd=self.folder, timeout=LIMIT_S, check=False)
        self.assertEqual(done.returncode, DONE, done.stderr)
        return done.stdout, json.loads(done.stderr)

    def test_a_copy_has_the_same_bytes_and_is_brought_up_to_date(self):
        found = self.json_of("backup", "copy.store")
        size = os.path.getsize(self.store)
        self.assertEqual((found["out"], found["bytes_written"], found["entries_written"], found["appended"]),
                         ("copy.store", size, 1, False))
        self.on_store("write", "b", "another value")
        self.on_store("delete", "a")
        found = self.json_of("backup", "copy.store")
        self.assertEqual((found["bytes_written"], found["entries_written"], found["appended"]),
                         (os.path.getsize(self.store) - size, 2, True))
        self.assertEqual(self.file_bytes(self.copy), self.file_bytes())
        self.assertEqual(self.json_of("backup", "copy.store")["bytes_written"], 0)
        self.on_store("backup", "copy.store")
        self.assertIn(b"0 bytes, 0 entries appended to 'copy.store'", self.stderr)
        self.on_store("backup", "-q", "copy.store")
        self.assertEqual(self.stderr, b"")

    def test_a_file_that_is_no_earlier_state_is_left_alone(self):
        self.on_store("backup", "copy.store")
        self.on_store("write", "a", "newer")
        self.on_store("compact")
        before = self.file_bytes(self.copy)
        self.on_store("backup", "copy.store", expect=STALE)
        self.assertIn(b"give another name", self.stderr)
        self.assertEqual(self.file_bytes(self.copy), before)
        with open(self.path("text"), "wb") as file:
            file.write(b"this is a text and no store at all")
        self.on_store("backup", "text", expect=DAMAGED)
        self.on_store("backup", self.store, expect=USAGE)

    def test_streams_put_together_make_the_store(self):
        whole, found = self.stream()
        self.assertEqual(whole, self.file_bytes())
        self.assertEqual(found["position"], f"{found['offset']}:{found['check']}")
        self.on_store("write", "b", "another value")
        more, later = self.stream("--since", found["position"])
        self.assertEqual(whole + more, self.file_bytes())
        self.assertEqual((later["bytes_written"], later["entries_written"]), (len(more), 1))
        self.assertEqual(self.stream("--since", str(found["offset"]))[0], more)
        self.assertEqual(self.stream("--since", "0")[0], whole + more)
        self.assertEqual(self.stream("--since", later["position"])[0], b"")

    def test_what_came_since_goes_to_a_new_file(self):
        at = self.stream()[1]["position"]
        before = self.file_bytes()
        self.on_store("write", "b", "another value")
        found = self.json_of("backup", "--since", at, "more")
        self.assertEqual((found["appended"], found["entries_written"]), (False, 1))
        self.assertEqual(before + self.file_bytes(self.path("more")), self.file_bytes())
        self.assertEqual(os.stat(self.path("more")).st_mode & 0o777, 0o600)
        self.on_store("backup", "--since", at, "more", expect=IO)
        self.on_store("backup", "--since", "7", "other", expect=STALE)
        self.on_store("backup", "--since", at, "no-folder/more", expect=IO)
        self.assertFalse(os.path.exists(self.path("other")))

    def test_a_position_from_before_a_compaction_is_refused(self):
        at = self.stream()[1]["position"]
        self.on_store("write", "a", "newer")
        self.on_store("compact")
        self.assertEqual(self.on_store("backup", "--since", at, "-", expect=STALE), b"")

    def test_what_is_no_position_is_wrong_usage(self):
        for text in ("", "x", "-1", "+1", " 1", "1 ", "1:", "1:12", "1:00000000000000g0", "1:00000000000000000",
                     "99999999999999999999", "0x10", ":0000000000000000"):
            self.on_store("backup", f"--since={text}", "-", expect=USAGE)
        self.on_store("backup", "--since=0:0000000000000000", "-")

    def test_nothing_goes_to_a_terminal_unless_forced(self):
        status, shown, _ = run_on_terminal([self.store, "backup", "-"], "stdout")
        self.assertEqual((status, shown), (USAGE, b""))
        status, shown, _ = run_on_terminal([self.store, "backup", "-f", "-"], "stdout")
        self.assertEqual(status, DONE)
        self.assertIn(b"value", shown)

    def test_a_full_output_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("needs /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([TOOL, self.store, "backup", "-"], stdout=full, stderr=subprocess.PIPE,
                                  timeout=LIMIT_S, check=False)
        self.assertEqual(done.returncode, IO)
        self.assertNotIn(b"--since", done.stderr)


if __name__ == "__main__":
    unittest.main()
