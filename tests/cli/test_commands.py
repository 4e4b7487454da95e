# SPDX-License-Identifier: Apache-2.0
"""Each command does what its help says, in its text and its JSON form."""
import json
import os
import random

from support import DAMAGED, DONE, IO, NOT_FOUND, USAGE, CliTest


class Values(CliTest):
    def test_a_written_value_is_read_back_byte_for_byte(self):
        self.on_store("write", "greeting", "hello world")
        self.assertEqual(self.on_store("read", "greeting"), b"hello world")

    def test_standard_input_is_stored_without_VALUE(self):
        value = random.Random(1).randbytes(3_000_000)
        self.on_store("write", "blob", stdin=value)
        self.assertEqual(self.on_store("read", "blob"), value)
        for size in ("20", "4k", "1M", "1G"):
            self.assertEqual(self.on_store("read", "blob", "-b", size), value)
        self.assertEqual(self.on_store("read", "-b4K", "blob"), value)
        self.assertEqual(self.on_store("read", "--buffer-size=4K", "blob"), value)

    def test_a_buffer_of_one_byte_is_enough(self):
        self.on_store("write", "-b", "1", "key", stdin=b"several bytes")
        self.assertEqual(self.on_store("read", "-b", "1", "key"), b"several bytes")

    def test_writing_again_replaces(self):
        self.on_store("write", "key", "old")
        self.on_store("write", "key", "new")
        self.assertEqual(self.on_store("read", "key"), b"new")

    def test_values_and_keys_may_begin_with_a_dash_behind_two_dashes(self):
        self.on_store("write", "--", "-key", "--value")
        self.assertEqual(self.on_store("read", "--", "-key"), b"--value")

    def test_options_may_stand_anywhere(self):
        self.run_tool("-q", self.store, "write", "--json", "key", "-v", "value")
        self.assertEqual(self.run_tool("-b", "7", self.store, "read", "key"), b"value")

    def test_write_reports_in_json(self):
        found = self.json_of("write", "alice", "value")
        self.assertEqual(found, {"key": "alice", "key_hash": "4da10dd61a0116b0", "size": 5,
                                 "tail": os.path.getsize(self.store)})

    def test_an_empty_or_zero_value_is_refused_and_leaves_no_file(self):
        self.on_store("write", "key", "", expect=USAGE)
        self.on_store("write", "key", stdin=b"", expect=USAGE)
        self.on_store("write", "key", stdin=b"\0", expect=USAGE)
        self.assertFalse(os.path.exists(self.store))
        self.on_store("write", "key", "x")
        before = self.file_bytes()
        self.on_store("write", "key", stdin=b"", expect=USAGE)
        self.assertEqual(self.file_bytes(), before)

    def test_every_sync_policy_stores_the_same(self):
        self.on_store("write", "key", "value", "--sync")
        self.assertEqual(self.on_store("read", "key"), b"value")

    def test_copy_keeps_the_source_and_creates_the_target(self):
        self.on_store("write", "key", "value")
        found = self.json_of("copy", "key", "t.store")
        self.assertEqual((found["key"], found["target"]), ("key", "t.store"))
        self.assertEqual(found["target_tail"], os.path.getsize(self.path("t.store")))
        self.assertEqual(self.run_tool("t.store", "read", "key"), b"value")
        self.assertEqual(self.on_store("read", "key"), b"value")

    def test_move_deletes_at_the_source(self):
        self.on_store("write", "key", "value")
        self.on_store("move", "key", "t.store")
        self.assertEqual(self.run_tool("t.store", "read", "key"), b"value")
        self.on_store("read", "key", expect=NOT_FOUND)

    def test_copy_and_move_of_a_missing_key_create_no_target(self):
        self.on_store("write", "key", "value")
        self.on_store("copy", "other", "t.store", expect=NOT_FOUND)
        self.on_store("move", "other", "t.store", expect=NOT_FOUND)
        self.assertFalse(os.path.exists(self.path("t.store")))

    def test_copy_and_move_onto_the_same_store_are_refused(self):
        self.on_store("write", "key", "value")
        os.symlink("s.store", self.path("link"))
        for target in ("s.store", "link", self.store):
            self.on_store("copy", "key", target, expect=USAGE)
            self.on_store("move", "key", target, expect=USAGE)
        self.assertEqual(self.on_store("read", "key"), b"value")

    def test_rename(self):
        self.on_store("write", "old", "value")
        found = self.json_of("rename", "old", "new")
        self.assertEqual((found["old_key"], found["key"]), ("old", "new"))
        self.assertEqual(self.on_store("read", "new"), b"value")
        self.on_store("read", "old", expect=NOT_FOUND)
        self.on_store("rename", "old", "other", expect=NOT_FOUND)
        self.on_store("rename", "new", "new", expect=USAGE)

    def test_delete_tells_which_keys_were_not_there_and_deletes_the_others(self):
        for key in ("a", "b", "c"):
            self.on_store("write", key, "value")
        found = self.json_of("delete", "a", "nothing", "b", expect=NOT_FOUND)
        self.assertIn(b"'nothing'", self.stderr)
        self.assertEqual(found["deleted"], 2)
        self.assertEqual([key["deleted"] for key in found["keys"]], [True, False, True])
        self.on_store("read", "a", expect=NOT_FOUND)
        self.assertEqual(self.on_store("read", "c"), b"value")
        self.on_store("delete", "c", expect=DONE)

    def test_exists(self):
        self.on_store("write", "a", "value")
        self.assertEqual(self.on_store("exists", "a"), b"yes a\n")
        self.assertEqual(self.on_store("exists", "a", "b", expect=NOT_FOUND), b"yes a\nno  b\n")
        self.assertEqual(self.on_store("exists", "-q", "b", expect=NOT_FOUND), b"")
        found = self.json_of("exists", "a", "b", expect=NOT_FOUND)
        self.assertEqual((found["found"], found["missing"]), (1, 1))
        self.assertEqual([key["exists"] for key in found["keys"]], [True, False])


class Reports(CliTest):
    def test_metadata(self):
        self.on_store("write", "first", "x")
        self.on_store("write", "bob", "0123456789")
        found = self.json_of("metadata", "bob")
        self.assertEqual(found, {**found, "key": "bob", "key_hash": "1403c0c40f49b8e5", "size": 10, "total_size": 30,
                                 "start": 64, "end": 74, "prev_offset": 21, "checksum_valid": True})
        self.assertIsInstance(found["checksum"], int)
        text = self.on_store("metadata", "bob")
        self.assertIn(b"1403c0c40f49b8e5", text)
        self.on_store("metadata", "nobody", expect=NOT_FOUND)

    def test_info(self):
        self.on_store("write", "a", "1234")
        self.on_store("write", "a", "56789")
        self.on_store("write", "b", "value")
        self.on_store("delete", "b")
        found = self.json_of("info")
        self.assert_fields(found, "file", "file_size", "tail", "entries", "tombstones", "stale_entries", "live_bytes",
                           "compaction_savings", "checksum", "alignment", "damaged_tail_bytes")
        self.assertEqual((found["entries"], found["tombstones"], found["stale_entries"], found["live_bytes"]),
                         (1, 1, 2, 5))
        self.assertEqual(found["file_size"], os.path.getsize(self.store))
        self.assertEqual((found["file"], found["checksum"], found["damaged_tail_bytes"]), (self.store, "crc32c", 0))
        for line in (b"entries              1\n", b"checksum             crc32c\n"):
            self.assertIn(line, self.on_store("info"))

    def test_the_checksum_kind_is_chosen_for_a_new_store(self):
        self.on_store("write", "--checksum", "crc32", "key", "value")
        self.assertEqual(self.json_of("info")["checksum"], "crc32")
        self.on_store("write", "--checksum", "crc32c", "key", "value")
        self.assertEqual(self.json_of("info")["checksum"], "crc32")
        self.on_store("write", "--checksum", "md5", "key", "value", expect=USAGE)

    def test_compact_gives_the_space_back_that_info_promised(self):
        for value in ("one", "two", "three"):
            self.on_store("write", "key", value)
        before = os.path.getsize(self.store)
        promised = self.json_of("info")["compaction_savings"]
        found = self.json_of("compact")
        self.assertEqual(found["saved_bytes"], promised)
        self.assertEqual((found["file_size_before"], found["file_size"]), (before, os.path.getsize(self.store)))
        self.assertEqual(os.path.getsize(self.store), before - promised)
        self.assertEqual(self.on_store("read", "key"), b"three")
        self.assertEqual(self.on_store("compact"), b"0 bytes saved, 25 left\n")

    def test_compact_if_stale_does_nothing_below_that_part(self):
        self.on_store("write", "key", "x" * 1000)
        self.on_store("write", "key", "y" * 500)
        before = self.file_bytes()
        savings = self.json_of("info")["compaction_savings"]
        stale = 100 * savings // len(before)  # whole percents that it reaches
        self.assertEqual(self.on_store("compact", "--if-stale", str(stale + 1)),
                         f"not compacted: it would save {savings} of {len(before)} bytes, less than {stale + 1} %\n"
                         .encode())
        found = self.json_of("compact", "--if-stale=100")
        self.assertEqual((found["compacted"], found["saved_bytes"]), (False, 0))
        self.assertEqual((found["file_size_before"], found["file_size"]), (len(before), len(before)))
        self.assertEqual(self.file_bytes(), before)
        found = self.json_of("compact", "--if-stale", str(stale))
        self.assertEqual((found["compacted"], found["saved_bytes"]), (True, savings))
        self.assertEqual(self.on_store("read", "key"), b"y" * 500)
        self.assertFalse(self.json_of("compact", "--if-stale", "1")["compacted"])
        for wrong in ("0", "101", "", "1K", "-1", "x", "50%"):
            self.on_store("compact", "--if-stale", wrong, expect=USAGE)

    def test_list_goes_from_newest_to_oldest(self):
        for key in ("alice", "bob", "test_key"):
            self.on_store("write", key, "value of " + key)
        self.on_store("write", "alice", "new")
        lines = [json.loads(line) for line in self.on_store("list", "--json").splitlines()]
        self.assertEqual([line["key_hash"] for line in lines],
                         ["4da10dd61a0116b0", "e0614cc5ecbeed92", "1403c0c40f49b8e5"])
        for line in lines:
            self.assert_fields(line, "key_hash", "size", "start")
            self.assertNotIn("key", line)
        text = self.on_store("list").splitlines()
        self.assertEqual([line.split()[0].decode() for line in text], [line["key_hash"] for line in lines])
        self.assertEqual([int(line.split()[2]) for line in text], [line["start"] for line in lines])

    def test_list_of_an_empty_store_is_empty(self):
        open(self.store, "wb").close()
        self.assertEqual(self.on_store("list"), b"")
        self.assertEqual(self.on_store("list", "--json"), b"")

    def test_reclaim_gives_disk_space_back_in_place(self):
        value = random.Random(2).randbytes(1 << 20)
        for key in "abca":
            self.on_store("write", key, stdin=value)
        self.on_store("write", "b", "short")
        size = os.path.getsize(self.store)
        before = os.stat(self.store).st_blocks * 512
        found = self.json_of("reclaim")
        after = os.stat(self.store).st_blocks * 512
        self.assertEqual((found["file"], found["file_size"], os.path.getsize(self.store)), (self.store, size, size))
        self.assertEqual((found["disk_bytes_before"], found["disk_bytes"]), (before, after))
        self.assertEqual(found["reclaimed_bytes"], before - after)
        self.assertGreater(before - after, (1 << 20) - 8192)  # of b; the first entry stays
        self.assertEqual(self.on_store("read", "a"), value)
        self.assertEqual(self.on_store("read", "b"), b"short")
        verified = self.json_of("verify")
        self.assertEqual((verified["ok"], verified["reclaimed"]), (True, 1))
        self.assertIn(b"reclaimed: 1 replaced", self.on_store("verify"))
        self.assertTrue(self.on_store("reclaim").startswith(b"0 bytes reclaimed, "))

    def test_verify_of_a_whole_store(self):
        self.on_store("write", "a", "value")
        self.on_store("write", "a", "value")
        found = self.json_of("verify")
        self.assertEqual((found["ok"], found["entries_checked"], found["corrupt"], found["damaged_tail_bytes"]),
                         (True, 2, [], 0))
        self.assertTrue(self.on_store("verify").startswith(b"ok: 2 entries"))

    def test_bench_removes_its_store_and_refuses_an_existing_one(self):
        found = self.json_of("bench", "--entries", "3K", "--value-size", "10")
        self.assertEqual((found["entries"], found["value_size"]), (3072, 10))
        names = [result["name"] for result in found["results"]]
        self.assertEqual(names, ["write batch", "write single", "read single", "read batch", "iterate", "open"])
        for result in found["results"]:
            self.assertGreater(result["operations"], 0)
            self.assertGreater(result["seconds"], 0)
        self.assertEqual(os.listdir(self.folder), [])
        self.assertIn(b"read batch", self.on_store("bench", "--entries", "1"))
        self.assertEqual(found["append"], "write")
        found = self.json_of("bench", "--entries", "3K", "--value-size", "10", "--append", "map")
        self.assertTrue(found["append"] == "map" or b"note: single values were written with calls" in self.stderr)
        self.on_store("bench", "--append", "both", expect=USAGE)
        self.on_store("write", "key", "value")
        before = self.file_bytes()
        self.on_store("bench", expect=IO)
        self.assertEqual(self.file_bytes(), before)


class Damage(CliTest):
    def setUp(self):
        super().setUp()
        for key in ("a", "b", "c"):
            self.on_store("write", key, "the value of " + key)
        self.start = self.json_of("metadata", "b")["start"]

    def test_a_damaged_value_is_not_given_out(self):
        self.flip_byte(self.start)
        self.assertEqual(self.on_store("read", "b", expect=DAMAGED), b"")
        self.assertEqual(self.on_store("read", "-b", "1K", "b", expect=DAMAGED), b"")
        self.assertEqual(self.on_store("read", "a"), b"the value of a")

    def test_damage_that_opening_did_not_see_is_told_behind_a_streamed_value(self):
        self.on_store("write", "far", stdin=bytes(65 << 20))
        self.flip_byte(self.start)
        self.assertEqual(self.on_store("read", "b", expect=DAMAGED), b"")
        streamed = self.on_store("read", "-b", "4", "b", expect=DAMAGED)
        self.assertEqual(streamed[1:], b"he value of b")

    def test_verify_names_the_damaged_entry(self):
        self.flip_byte(self.start)
        found = self.json_of("verify", expect=DAMAGED)
        self.assertFalse(found["ok"])
        self.assertEqual(len(found["corrupt"]), 1)
        self.assert_fields(found["corrupt"][0], "offset", "key_hash", "reason")
        self.assertEqual(found["corrupt"][0]["offset"], self.start)
        self.assertIn(b"damaged", self.on_store("verify", expect=DAMAGED))

    def test_metadata_says_that_the_checksum_is_wrong(self):
        self.on_store("write", "far", stdin=bytes(65 << 20))
        self.flip_byte(self.start)
        self.assertFalse(self.json_of("metadata", "b", expect=DAMAGED)["checksum_valid"])

    def test_a_broken_chain_is_shown_as_far_as_it_goes_and_never_written(self):
        self.flip_byte(self.json_of("metadata", "b")["end"] + 8 + 6)
        before = self.file_bytes()
        self.assertEqual(self.json_of("info")["damage"], "middle")
        self.assertIn(b"note: ", self.stderr)
        self.assertEqual(self.on_store("read", "c"), b"the value of c")
        self.assertFalse(self.json_of("verify", expect=DAMAGED)["ok"])
        for command in (["write", "k", "v"], ["delete", "c"], ["compact"]):
            self.on_store(*command, expect=DAMAGED)
        self.on_store("salvage", "saved.store")
        self.assertEqual(self.run_tool("saved.store", "read", "a"), b"the value of a")
        self.assertEqual(self.file_bytes(), before)

    def test_compact_refuses_damage_and_changes_nothing(self):
        self.on_store("write", "c", "again")
        self.flip_byte(self.start)
        before = self.file_bytes()
        self.on_store("compact", expect=DAMAGED)
        self.assertEqual(self.file_bytes(), before)
        self.assertEqual(os.listdir(self.folder), ["s.store"])

    def test_salvage_saves_the_others_and_never_changes_the_damaged_store(self):
        self.flip_byte(self.start)
        before = self.file_bytes()
        found = self.json_of("salvage", "saved.store")
        self.assertEqual((found["entries_written"], len(found["corrupt"])), (2, 1))
        self.assertEqual(self.file_bytes(), before)
        self.assertEqual(self.run_tool("saved.store", "read", "a"), b"the value of a")
        self.run_tool("saved.store", "read", "b", expect=NOT_FOUND)
        self.on_store("salvage", "saved.store", expect=IO)

    def test_a_damaged_tail_is_passed_over_and_told(self):
        with open(self.store, "ab") as file:
            file.write(b"torn" * 20)
        self.assertEqual(self.on_store("read", "c"), b"the value of c")
        self.assertIn(b"note: ", self.stderr)
        self.on_store("read", "-q", "c")
        self.assertEqual(self.stderr, b"")
        self.assertEqual(self.json_of("info")["damaged_tail_bytes"], 80)
        found = self.json_of("verify")
        self.assertEqual((found["ok"], found["damaged_tail_bytes"]), (True, 80))

    def test_zeros_behind_the_last_entry_are_room_and_no_damage(self):
        size = os.path.getsize(self.store)
        with open(self.store, "ab") as file:
            file.write(bytes(100))
        self.assertEqual(self.on_store("read", "c"), b"the value of c")
        self.assertEqual(self.stderr, b"")
        found = self.json_of("info")
        self.assertEqual((found["damage"], found["damaged_tail_bytes"], found["room_ahead_bytes"], found["file_size"]),
                         ("none", 0, 100, size))
        found = self.json_of("verify")
        self.assertEqual((found["ok"], found["damaged_tail_bytes"], found["room_ahead_bytes"]), (True, 0, 100))
        self.assertIn(b"room ahead: 100 zeros", self.on_store("verify"))
        self.assertEqual(self.json_of("stats")["append_map_status"], "SIMDRIVE_OK")

    def test_a_foreign_file_is_refused_and_stays_as_it_is(self):
        foreign = self.path("notes.txt")
        text = b"no store at all\n" * 40
        with open(foreign, "wb") as file:
            file.write(text)
        for command in (["info"], ["read", "k"], ["write", "k", "v"], ["delete", "k"], ["compact"], ["list"],
                        ["verify"], ["rename", "a", "b"], ["import", self.folder], ["backup", "o"], ["salvage", "o"]):
            self.run_tool(foreign, *command, expect=DAMAGED)
            self.assertEqual(self.file_bytes(foreign), text)
        self.assertFalse(os.path.exists(self.path("o")))
