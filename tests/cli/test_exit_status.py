# SPDX-License-Identifier: Apache-2.0
"""Exit statuses are part of the interface: each one, and that reading commands never create a store."""
import os
import shutil
import signal
import subprocess
import unittest

from support import DONE, IO, LIMIT_S, LOCKED, NOT_FOUND, TOOL, USAGE, CliTest, snapshot

READING = (["read", "k"], ["info"], ["metadata", "k"], ["exists", "k"], ["list"], ["verify"], ["export", "out"],
           ["salvage", "out"], ["backup", "out"])
CHANGING = (["delete", "k"], ["compact"], ["reclaim"], ["rename", "a", "b"], ["move", "k", "t.store"])


def obey_interrupts():
    """Shells start what runs in the background with interrupts ignored, and a child inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Usage(CliTest):
    def test_wrong_usage_is_told_and_does_nothing(self):
        for arguments in ([], ["s.store"], ["s.store", "nonsense"], ["s.store", "read"], ["s.store", "read", "a", "b"],
                          ["s.store", "write"], ["s.store", "write", "a", "b", "c"], ["s.store", "read", "a", "--json"],
                          ["s.store", "read", "a", "-b", "0"], ["s.store", "read", "a", "-b", "4X"],
                          ["s.store", "read", "a", "-b", "99999999999999999999"], ["s.store", "read", "a", "-b"],
                          ["s.store", "info", "--no-such-option"], ["s.store", "info", "-Z"],
                          ["s.store", "info", "--json=yes"], ["s.store", "delete"], ["s.store", "import"],
                          ["s.store", "write", "-x", "0", "value"], ["s.store", "write", "-x", "zz", "value"],
                          ["help", "nonsense"], ["completion", "tcsh"], ["completion"]):
            with self.subTest(arguments=arguments):
                self.run_tool(*arguments, expect=USAGE)
                self.assertEqual(len(self.stderr.splitlines()), 1)
        self.assertEqual(os.listdir(self.folder), [])

    def test_only_writing_commands_create_a_store(self):
        for command in READING + CHANGING:
            with self.subTest(command=command):
                self.on_store(*command, expect=IO)
                self.assertIn(b"no such file", self.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_missing_key_is_status_1(self):
        self.on_store("write", "key", "value")
        for command in (["read", "k"], ["metadata", "k"], ["exists", "k"], ["delete", "k"], ["rename", "k", "l"]):
            self.on_store(*command, expect=NOT_FOUND)

    def test_reading_changes_nothing(self):
        self.on_store("write", "key", "value")
        before = self.file_bytes(), os.stat(self.store).st_mtime_ns
        for command in (["read", "key"], ["info"], ["metadata", "key"], ["exists", "key"], ["list"], ["verify"]):
            self.on_store(*command)
        self.assertEqual((self.file_bytes(), os.stat(self.store).st_mtime_ns), before)
        self.assertEqual(os.listdir(self.folder), ["s.store"])

    def test_a_folder_is_no_store(self):
        self.run_tool(self.folder, "info", expect=IO)
        self.run_tool(self.folder, "write", "k", "v", expect=IO)

    def test_messages_are_one_line_whatever_the_name(self):
        self.on_store("write", "key", "value")
        self.on_store("read", "a\nb\x1b[2J", expect=NOT_FOUND)
        self.assertIn(b"a\\x0ab\\x1b[2J", self.stderr)
        self.run_tool("no\nsuch", "info", expect=IO)


class Locked(CliTest):
    def hold(self):
        """A writer that waits for its value, once it certainly has the store open."""
        writer = subprocess.Popen([TOOL, self.store, "write", "-v", "held"], stdin=subprocess.PIPE,
                                  stderr=subprocess.PIPE, cwd=self.folder, preexec_fn=obey_interrupts)
        self.assertIn(b"opened", writer.stderr.readline())
        return writer

    def test_a_second_writer_is_told_at_once_and_readers_go_on(self):
        self.on_store("write", "key", "value")
        writer = self.hold()
        try:
            for command in (["write", "k", "v"], ["delete", "key"], ["compact"], ["rename", "key", "k"],
                            ["import", self.folder], ["move", "key", "t.store"]):
                self.on_store(*command, expect=LOCKED)
            self.run_tool("t2.store", "write", "k", "v")
            self.run_tool("t2.store", "copy", "k", self.store, expect=LOCKED)
            self.assertEqual(self.on_store("read", "key"), b"value")
            self.on_store("verify")
            self.on_store("read", "held", expect=NOT_FOUND)
        finally:
            writer.communicate(b"late value", timeout=LIMIT_S)
        self.assertEqual(writer.returncode, DONE)
        self.assertEqual(self.on_store("read", "held"), b"late value")

    def test_a_killed_writer_leaves_the_store_as_it_was(self):
        self.on_store("write", "key", "value")
        writer = self.hold()
        writer.stdin.write(b"x" * 3_000_000)
        writer.stdin.flush()
        writer.kill()
        writer.communicate(timeout=LIMIT_S)
        self.assertEqual(self.on_store("read", "-q", "key"), b"value")
        self.on_store("write", "-q", "key", "again")
        self.assertEqual(self.on_store("read", "key"), b"again")

    def test_an_interrupted_write_takes_everything_back(self):
        self.on_store("write", "key", "value")
        before = self.file_bytes()
        writer = self.hold()
        writer.stdin.write(b"x" * 3_000_000)
        writer.stdin.flush()
        writer.send_signal(signal.SIGINT)
        # The end of input may be seen before the signal is; it must not make the half of a value a whole one.
        writer.wait(LIMIT_S)
        error = writer.stderr.read()
        writer.stderr.close()
        writer.stdin.close()
        self.assertEqual(writer.returncode, -signal.SIGINT, error)
        self.assertIn(b"cancelled", error)
        self.assertEqual(self.file_bytes(), before)

    def test_an_interrupted_write_of_a_new_store_leaves_no_file(self):
        writer = self.hold()
        writer.send_signal(signal.SIGTERM)
        writer.wait(LIMIT_S)
        writer.stderr.close()
        writer.stdin.close()
        self.assertEqual(writer.returncode, -signal.SIGTERM)
        self.assertEqual(os.listdir(self.folder), [])


class InterruptedCompaction(CliTest):
    def test_an_interrupted_compaction_leaves_the_store_as_it_was(self):
        for value in (b"x", b"y"):
            self.on_store("write", "-q", "key", stdin=value * 150_000_000)
        before = os.path.getsize(self.store)
        for _ in range(20):  # until one is caught at work
            compaction = subprocess.Popen([TOOL, self.store, "compact"], stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, preexec_fn=obey_interrupts)
            while compaction.poll() is None and len(os.listdir(self.folder)) == 1:
                pass
            compaction.send_signal(signal.SIGINT)
            error = compaction.communicate(timeout=LIMIT_S)[1]
            self.assertEqual(os.listdir(self.folder), [os.path.basename(self.store)])
            if compaction.returncode == -signal.SIGINT:
                break
            self.assertEqual(compaction.returncode, 0, error)
            self.on_store("write", "-q", "key", stdin=b"y" * 150_000_000)
            before = os.path.getsize(self.store)
        self.assertEqual(compaction.returncode, -signal.SIGINT, error)
        self.assertIn(b"cancelled", error)
        self.assertEqual(os.path.getsize(self.store), before)
        self.assertEqual(self.on_store("read", "key", "-b", "1M"), b"y" * 150_000_000)


class Permissions(CliTest):
    """Runs the tool as somebody whom permissions bind; root becomes `nobody` for it."""

    def setUp(self):
        super().setUp()
        self.on_store("write", "key", "value")
        self.tool = self.path("tool")
        shutil.copy(TOOL, self.tool)
        os.chmod(self.tool, 0o755)
        os.chmod(self.folder, 0o755)
        os.chmod(self.store, 0o644)

    def run_bound(self, *arguments):
        who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([self.tool, self.store, *arguments], capture_output=True, timeout=LIMIT_S,
                              cwd=self.folder, check=False, **who)
        return done.returncode, done.stdout, done.stderr

    def test_a_read_only_store_can_be_read_and_not_written(self):
        os.chmod(self.store, 0o444)
        before = self.file_bytes()
        self.assertEqual(self.run_bound("read", "key"), (DONE, b"value", b""))
        self.assertEqual(self.run_bound("verify")[0], DONE)
        for command in (["write", "key", "other"], ["delete", "key"], ["compact"]):
            status, _, error = self.run_bound(*command)
            self.assertEqual(status, IO, error)
            self.assertIn(b"ermission", error)
        self.assertEqual(self.file_bytes(), before)

    def test_a_read_only_folder_can_be_read_and_takes_no_new_store(self):
        os.chmod(self.folder, 0o555)
        self.assertEqual(self.run_bound("read", "key"), (DONE, b"value", b""))
        status, _, error = self.run_bound("backup", "copy.store")
        self.assertEqual(status, IO, error)
        os.chmod(self.folder, 0o755)
        self.assertEqual(sorted(os.listdir(self.folder)), ["s.store", "tool"])

    def test_folders_that_forbid_to_look_inside_come_back(self):
        tree = self.path("tree")
        os.makedirs(os.path.join(tree, "shut/inner/innermost"))
        for name in ("shut/inner/innermost", "shut/inner", "shut"):
            os.chmod(os.path.join(tree, name), 0o400)
            os.utime(os.path.join(tree, name), ns=(0, 1_500_000_000_000_000_001))
        os.chmod(tree, 0o755)
        if os.geteuid() != 0:
            self.skipTest("only root can import such a tree")
        self.on_store("import", "tree")
        os.mkdir(self.path("out"))
        os.chmod(self.path("out"), 0o777)
        status, _, error = self.run_bound("export", "out/back")
        self.assertEqual((status, error), (DONE, b""))
        self.assertEqual(snapshot(self.path("out/back")), snapshot(tree))

    def test_import_stores_the_rest_when_a_file_cannot_be_read(self):
        tree = self.path("tree")
        os.mkdir(tree)
        for name, mode in (("open", 0o644), ("shut", 0o000)):
            with open(os.path.join(tree, name), "w", encoding="ascii") as file:
                file.write(name)
            os.chmod(os.path.join(tree, name), mode)
        os.mkdir(os.path.join(tree, "folder"), 0o000)
        os.chmod(self.folder, 0o777)
        os.chmod(self.store, 0o666)
        status, out, error = self.run_bound("import", "tree")
        self.assertEqual(status, IO, error)
        self.assertIn(b"shut", error)
        self.assertIn(b"folder", error)
        self.assertIn(b"2 unreadable", out)
        self.assertEqual(self.on_store("read", "open"), b"open")
        self.on_store("export", "back")
        self.assertEqual(sorted(os.listdir(self.path("back"))), ["folder", "open"])
        os.chmod(os.path.join(tree, "folder"), 0o755)


if __name__ == "__main__":
    unittest.main()
