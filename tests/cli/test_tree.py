# SPDX-License-Identifier: Apache-2.0
"""Import and export: the same tree comes back, nothing leaves the target folder, no byte of a manifest is trusted."""
import json
import os
import random
import socket
import stat

from support import (DAMAGED, DONE, FILE, FOLDER, IO, LINK, NOT_FOUND, ROOT, SHORT, CliTest, node, number, snapshot)

RESERVED = b"\xf7import\xfd"


class RoundTrip(CliTest):
    def setUp(self):
        super().setUp()
        self.tree = self.path("tree")
        os.mkdir(self.tree)

    def make(self, name, content=b"content", mode=0o644, mtime_ns=1_600_000_000_123_456_789):
        path = os.path.join(os.fsencode(self.tree), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        os.utime(path, ns=(mtime_ns, mtime_ns))
        return path

    def link(self, name, target):
        path = os.path.join(self.tree, name)
        os.symlink(target, path)
        os.utime(path, ns=(5, 1_500_000_000_000_000_007), follow_symlinks=False)

    def make_everything(self):
        seed = int(os.environ.get("SIMDRIVE_TEST_SEED", "20240229"))
        print(f"tree seed {seed}")
        source = random.Random(seed)
        self.make("plain.txt")
        self.make("5MB", source.randbytes(5_000_000))
        self.make("1MiB", source.randbytes(1 << 20))
        self.make("1MiB+1", source.randbytes((1 << 20) + 1))
        self.make("empty", b"")
        self.make("one-zero", b"\0")
        self.make("two-zeros", b"\0\0")
        self.make("zeros", bytes(100))
        self.make(b"not-utf8-\xff\xe9\x80")
        self.make("new\nline and\ttab \x1b[1m")
        self.make("-dash")
        self.make(" spaces  ")
        self.make("...dots")
        self.make("back\\slash'\"quote")
        self.make("ünïcödé/深い/フォルダ/file")
        self.make("a/b", mode=0o600)
        self.make("a-b", mode=0o755)
        self.make("a.b", mode=0o444)
        self.make("x" * 255)
        self.make("sticky", mode=0o1644)
        self.make("before-1970", mtime_ns=-1_000_000_001)
        self.make("far-future", mtime_ns=4_000_000_000_999_999_999)
        self.make("shut", b"not for all", mode=0o400)
        for i in range(1500):
            self.make(f"many/{i % 7}/file-{i}", source.randbytes(source.randrange(0, 300)))
        deep = "deep/" + "/".join(["d"] * 100)
        self.make(deep + "/bottom")
        os.makedirs(os.path.join(self.tree, "empty-folder/inside"))
        os.mkdir(os.path.join(self.tree, "read-only-folder"))
        self.make("read-only-folder/file")
        self.link("link-to-file", "plain.txt")
        self.link("dangling", "no/such/file")
        self.link("outside", "/etc")
        self.link("up", "../..")
        self.link("itself", "itself")
        self.link("long", "y" * 3000)
        os.chmod(os.path.join(self.tree, "read-only-folder"), 0o555)
        os.chmod(os.path.join(self.tree, "empty-folder"), 0o1777)
        for folder, _, _ in os.walk(self.tree, topdown=False):
            os.utime(folder, ns=(7, 1_400_000_000_000_000_000 + len(folder)))
        os.chmod(self.tree, 0o750)

    def test_everything_comes_back(self):
        self.make_everything()
        before = snapshot(self.tree)
        found = self.json_of("import", "tree")
        self.assertEqual(found["files"], sum(1 for kind, *_ in before.values() if kind == "file"))
        self.assertEqual(found["symlinks"], 6)
        self.assertEqual((found["skipped"], found["unreadable"]), (0, 0))
        self.assertEqual(snapshot(self.tree), before)
        self.on_store("export", "back")
        self.assertEqual(snapshot(self.path("back")), before)
        self.assertEqual(self.on_store("read", b"not-utf8-\xff\xe9\x80"), b"content")
        self.on_store("compact")
        self.on_store("verify")
        self.on_store("export", "--sync", "x", expect=2)
        self.on_store("export", "again")
        self.assertEqual(snapshot(self.path("again")), before)

    def test_everything_comes_back_from_a_namespace(self):
        self.make("file", b"one")
        self.make("empty", b"")
        before = snapshot(self.tree)
        self.on_store("import", "-n", "first", "tree", "--sync")
        self.make("file", b"two")
        self.on_store("import", "--namespace", "second", "tree")
        self.on_store("exists", "-q", "file", expect=NOT_FOUND)
        self.assertEqual(self.on_store("read", "-n", "first", "file"), b"one")
        self.on_store("export", "-n", "first", "back")
        self.assertEqual(snapshot(self.path("back")), before)
        self.on_store("export", "nothing", expect=NOT_FOUND)
        self.on_store("export", "-n", "third", "nothing", expect=NOT_FOUND)
        self.assertFalse(os.path.exists(self.path("nothing")))

    def test_list_knows_the_keys(self):
        self.make("b/c", b"12345")
        self.make(b"\xff", b"x")
        self.make("empty", b"")
        self.on_store("import", "-n", "ns", "tree")
        self.make("b/c", b"123")
        self.on_store("import", "tree")
        self.on_store("write", "unknown", "value")
        lines = [json.loads(line) for line in self.on_store("list", "--json").splitlines()]
        keys = {(line.get("namespace"), line.get("key"), line.get("key_hex")): line["size"] for line in lines}
        self.assertEqual(keys[(None, "b/c", None)], 3)
        self.assertEqual(keys[("ns", "b/c", None)], 5)
        self.assertEqual(keys[(None, "\ufffd", "ff")], 1)
        self.assertEqual(sum(line.get("manifest", False) for line in lines), 2)
        self.assertEqual(sum("key" not in line and "manifest" not in line for line in lines), 1)
        text = self.on_store("list").decode()
        self.assertIn("  b/c\n", text)
        self.assertIn("  b/c  [ns]\n", text)
        self.assertIn("  \\xff\n", text)

    def test_a_second_import_replaces_and_keeps(self):
        self.make("kept", b"kept")
        self.make("changed", b"old")
        self.make("now-empty", b"full")
        self.make("now-full", b"")
        self.make("now-link", b"file")
        self.make("now-folder", b"file")
        self.make("now-file/inside", b"gone")
        self.on_store("import", "tree")
        first = snapshot(self.tree)
        second = self.path("second")
        self.tree = second
        os.mkdir(second)
        self.make("changed", b"new")
        self.make("now-empty", b"")
        self.make("now-full", b"full")
        self.link("now-link", "kept")
        self.make("now-folder/inside", b"new")
        self.make("now-file", b"file")
        self.on_store("import", "second")
        expected = snapshot(second)
        expected[b"kept"] = first[b"kept"]
        self.on_store("export", "back")
        self.assertEqual(snapshot(self.path("back")), expected)
        for key in ("now-empty", "now-link", "now-folder", "now-file/inside"):
            self.on_store("exists", "-q", key, expect=NOT_FOUND)
        self.assertEqual(self.on_store("read", "now-folder/inside"), b"new")

    def test_importing_the_same_again_changes_no_content(self):
        self.make("file")
        self.make("empty", b"")
        self.on_store("import", "tree")
        self.on_store("import", "tree")
        self.on_store("export", "back")
        self.assertEqual(snapshot(self.path("back")), snapshot(self.tree))

    def test_an_empty_folder_is_a_tree(self):
        self.on_store("import", "tree")
        self.on_store("export", "back")
        self.assertEqual(snapshot(self.path("back")), snapshot(self.tree))

    def test_what_cannot_be_kept_is_told_and_left_out(self):
        self.make("file")
        os.mkfifo(os.path.join(self.tree, "fifo"))
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        here = os.getcwd()
        os.chdir(self.tree)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        found = self.json_of("import", "tree")
        self.assertEqual((found["files"], found["skipped"], found["unreadable"]), (1, 2, 0))
        self.assertIn(b"fifo", self.stderr)
        self.assertIn(b"socket", self.stderr)

    def test_the_store_within_the_tree_is_left_out(self):
        self.make("file")
        self.store = os.path.join(self.tree, "s.store")
        self.on_store("write", "key", "value")
        found = self.json_of("import", "tree")
        self.assertEqual((found["files"], found["skipped"]), (1, 1))

    def test_a_folder_that_is_not_there_creates_no_store(self):
        self.on_store("import", "nowhere", expect=IO)
        self.make("file")
        self.on_store("import", "tree/file", expect=IO)
        self.assertFalse(os.path.exists(self.store))

    def test_existing_files_are_left_alone_unless_forced(self):
        self.make("file", b"imported")
        self.make("other", b"imported")
        self.link("link", "other")
        self.on_store("import", "tree")
        self.make("file", b"changed since")
        os.unlink(os.path.join(self.tree, "other"))
        found = self.json_of("export", "tree", expect=IO)
        self.assertEqual((found["files"], found["symlinks"], found["failed"]), (1, 0, 2))
        with open(os.path.join(self.tree, "file"), "rb") as file:
            self.assertEqual(file.read(), b"changed since")
        self.on_store("export", "-f", "tree")
        with open(os.path.join(self.tree, "file"), "rb") as file:
            self.assertEqual(file.read(), b"imported")
        self.assertEqual(sorted(os.listdir(self.tree)), ["file", "link", "other"])

    def test_a_forced_export_replaces_a_link_and_not_what_it_leads_to(self):
        self.make("file", b"imported")
        self.on_store("import", "tree")
        victim = self.path("victim")
        with open(victim, "wb") as file:
            file.write(b"precious")
        os.mkdir(self.path("out"))
        os.symlink(victim, self.path("out/file"))
        self.on_store("export", "out", expect=IO)
        self.on_store("export", "-f", "out")
        self.assertEqual(self.file_bytes(victim), b"precious")
        self.assertTrue(stat.S_ISREG(os.lstat(self.path("out/file")).st_mode))

    def test_export_does_not_follow_links_in_the_target(self):
        self.make("folder/file", b"imported")
        self.on_store("import", "tree")
        elsewhere = self.path("elsewhere")
        os.mkdir(elsewhere)
        os.mkdir(self.path("out"))
        os.symlink(elsewhere, self.path("out/folder"))
        for force in ([], ["-f"]):
            self.on_store("export", "out", *force, expect=IO)
            self.assertEqual(os.listdir(elsewhere), [])

    def test_deleted_and_overwritten_keys(self):
        self.make("deleted")
        self.make("overwritten", b"old")
        self.make("empty", b"")
        self.on_store("import", "tree")
        self.on_store("delete", "deleted")
        self.on_store("write", "overwritten", "new")
        self.on_store("write", "empty", "full now")
        found = self.json_of("export", "back", expect=NOT_FOUND)
        self.assertEqual(found["missing"], 1)
        self.assertEqual(self.file_bytes(self.path("back/overwritten")), b"new")
        self.assertEqual(self.file_bytes(self.path("back/empty")), b"full now")

    def test_an_empty_file_replaces_a_value_that_was_written_before(self):
        self.on_store("write", "empty", "full")
        self.make("empty", b"")
        self.on_store("import", "tree")
        self.on_store("exists", "-q", "empty", expect=NOT_FOUND)
        self.on_store("export", "back")
        self.assertEqual(self.file_bytes(self.path("back/empty")), b"")

    def test_a_damaged_file_is_not_left_behind(self):
        self.make("good", b"good")
        self.make("bad", b"bad file")
        self.on_store("import", "tree")
        self.flip_byte(self.json_of("metadata", "bad")["start"])
        found = self.json_of("export", "back", expect=DAMAGED)
        self.assertEqual((found["files"], found["damaged"]), (1, 1))
        self.assertEqual(os.listdir(self.path("back")), ["good"])

    def test_a_file_whose_damage_is_found_at_its_end_is_not_left_behind(self):
        self.make("a", b"opening always checks the first one")
        self.make("bad", b"bad file")
        self.on_store("import", "tree")
        self.on_store("write", "so much that opening does not check the file", stdin=bytes(65 << 20))
        self.flip_byte(self.json_of("metadata", "bad")["start"])
        for force in ([], ["-f"]):
            self.on_store("export", "back", *force, expect=DAMAGED)
            self.assertNotIn(b"note: ", self.stderr)
            self.assertEqual(os.listdir(self.path("back")), ["a"])

    def test_set_user_bits_are_not_given_back(self):
        self.make("program", mode=0o4755)
        self.on_store("import", "tree")
        self.on_store("export", "back")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("back/program")).st_mode), 0o755)


class ForgedManifests(CliTest):
    """Manifests are entries that anybody can write."""

    def hash_of(self, data):
        scratch = self.path("scratch.store")
        text = self.run_tool(scratch, "write", "--json", "-x", data.hex(), "value")
        return int(json.loads(text)["key_hash"], 16)

    def forge(self, *nodes, head=b"SDRTREE\x01", name_space=b"", count=None, rest=b"", check=None):
        body = head + number(len(name_space)) + name_space
        body += number(len(nodes) if count is None else count) + b"".join(nodes) + rest
        body += (self.hash_of(body) if check is None else check).to_bytes(8, "little")
        self.on_store("write", "-n", RESERVED, "", stdin=body)

    def expect_refused(self, why=b"trust the manifest", status=DAMAGED):
        os.makedirs(self.path("a/b"), exist_ok=True)
        self.on_store("export", "a/b/out", expect=status)
        self.assertIn(why, self.stderr)
        self.assertEqual(os.listdir(self.path("a/b")), [])
        self.assertEqual(os.listdir(self.path("a")), ["b"])
        self.on_store("list")
        self.on_store("list", "--json")

    def test_a_well_formed_one_is_taken(self):
        self.forge(ROOT, node(SHORT, b"file", b""), node(FOLDER, b"folder"), node(LINK, b"link", b"file"))
        self.on_store("export", "out")
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["file", "folder", "link"])

    def test_paths_that_leave_the_folder_are_refused(self):
        for path in (b"../escape", b"..", b".", b"/etc/escape", b"folder/../../escape", b"folder//x", b"folder/",
                     b"/", b"folder/.", b"a\0b", b"folder/.."):
            with self.subTest(path=path):
                self.forge(ROOT, node(FOLDER, b"folder"), node(SHORT, path, b""))
                self.expect_refused()
                self.forge(ROOT, node(SHORT, path, b""))
                self.expect_refused()
                self.forge(ROOT, node(FOLDER, path))
                self.expect_refused()

    def test_nothing_can_be_below_a_link_or_a_file(self):
        outside = self.path("outside")
        os.mkdir(outside)
        self.forge(ROOT, node(LINK, b"way", outside.encode()), node(SHORT, b"way/escape", b""))
        self.expect_refused()
        self.forge(ROOT, node(SHORT, b"way", b""), node(SHORT, b"way/escape", b""))
        self.expect_refused()
        self.forge(ROOT, node(LINK, b"way", outside.encode()), node(FOLDER, b"way"), node(SHORT, b"way/escape", b""))
        self.expect_refused()
        self.assertEqual(os.listdir(outside), [])

    def test_a_link_planted_in_the_target_is_not_followed(self):
        outside = self.path("outside")
        os.makedirs(self.path("out"))
        os.mkdir(outside)
        os.symlink(outside, self.path("out/way"))
        self.forge(ROOT, node(FOLDER, b"way"), node(SHORT, b"way/escape", b""))
        self.on_store("export", "-f", "out", expect=IO)
        self.assertEqual(os.listdir(outside), [])

    def test_malformed_ones_are_refused(self):
        good = node(SHORT, b"file", b"")
        for forged in (dict(nodes=(), check=0), dict(nodes=(ROOT, good), check=1), dict(nodes=()),
                       dict(nodes=(good,)), dict(nodes=(ROOT, good, good)),
                       dict(nodes=(ROOT, node(SHORT, b"b", b""), node(SHORT, b"a", b""))),
                       dict(nodes=(ROOT,), count=2), dict(nodes=(ROOT, good), count=1),
                       dict(nodes=(ROOT,), count=2**64 - 1), dict(nodes=(ROOT,), count=2**40),
                       dict(nodes=(ROOT, good), rest=b"x"), dict(nodes=(ROOT, b"\x02\xff\xff\xff\xff\x0f")),
                       dict(nodes=(ROOT, b"\x02" + b"\xff" * 10)), dict(nodes=(ROOT, b"\x02" + b"\xff" * 30)),
                       dict(nodes=(ROOT, node(9, b"file"))), dict(nodes=(ROOT, node(0, b"file"))),
                       dict(nodes=(ROOT, node(SHORT, b"file", b"xy"))), dict(nodes=(ROOT, node(SHORT, b"f", b"x"))),
                       dict(nodes=(ROOT, node(LINK, b"link", b""))), dict(nodes=(ROOT, node(LINK, b"l", b"a\0b"))),
                       dict(nodes=(ROOT, node(SHORT, b"file", b"", mode=0o10000))),
                       dict(nodes=(ROOT, node(SHORT, b"nowhere/file", b""))), dict(nodes=(ROOT, ROOT)),
                       dict(nodes=(ROOT, b"\x02\x01f\x00\x00\x80\x94\xeb\xdc\x03\x00")),
                       dict(nodes=(ROOT, good), head=b"SDRTREF\x01")):
            with self.subTest(**forged):
                self.forge(*forged.pop("nodes"), **forged)
                self.expect_refused()

    def test_a_later_version_is_not_guessed_at(self):
        self.forge(ROOT, head=b"SDRTREE\x02")
        self.expect_refused(status=IO)
        os.mkdir(self.path("tree"))
        self.on_store("import", "tree", expect=IO)

    def test_every_cut_is_refused(self):
        self.forge(ROOT, node(FOLDER, b"folder"), node(FILE, b"folder/file", size=4), node(LINK, b"link", b"to"))
        whole = self.on_store("read", "-n", RESERVED, "")
        for size in range(1, len(whole) - 8):
            cut = whole[:size]
            self.on_store("write", "-n", RESERVED, "", stdin=cut + self.hash_of(cut).to_bytes(8, "little"))
            self.expect_refused()

    def test_a_manifest_elsewhere_is_an_ordinary_value(self):
        self.forge(ROOT, node(FILE, b"known", size=1))
        body = self.on_store("read", "-n", RESERVED, "")
        self.on_store("delete", "-n", RESERVED, "")
        self.on_store("write", "somewhere", stdin=body)
        self.on_store("write", "known", "x")
        for line in self.on_store("list", "--json").splitlines():
            self.assertNotIn("key", json.loads(line))

    def test_a_damaged_manifest_is_replaced_by_the_next_import(self):
        self.forge(ROOT, check=7)
        os.mkdir(self.path("tree"))
        self.on_store("import", "tree")
        self.assertIn(b"note: ", self.stderr)
        self.on_store("export", "out", expect=DONE)
