# SPDX-License-Identifier: Apache-2.0
"""The golden files of the Rust implementation, seen through the command line."""
import json
import os

from support import NOT_FOUND, CliTest

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "rust-0.16.3")


class Golden(CliTest):
    def test_every_key_of_the_golden_files_is_shown_as_their_manifest_says(self):
        with open(os.path.join(FIXTURES, "manifest.json"), encoding="utf-8") as file:
            stores = json.load(file)
        self.assertGreater(len(stores), 5)
        for described in stores:
            self.store = os.path.join(FIXTURES, described["file"])
            info = self.json_of("info")
            self.assertEqual((info["file_size"], info["entries"], info["checksum"]),
                             (described["file_size"], described["live_entries"], "crc32"))
            self.assertTrue(self.json_of("verify")["ok"])
            self.assertEqual(len(self.on_store("list").splitlines()), described["live_entries"])
            self.check_keys(described["keys"])

    def check_keys(self, keys):
        found = self.json_of("exists", "-x", *[key["key"] for key in keys],
                             expect=0 if all(key["live"] for key in keys) else NOT_FOUND)
        self.assertEqual([key["exists"] for key in found["keys"]], [key["live"] for key in keys])
        for key in [key for key in keys if key["live"]][:5]:
            data = self.json_of("metadata", "-x", key["key"])
            self.assertEqual((data["size"], data["start"], data["checksum"], data["checksum_valid"]),
                             (key["size"], key["offset"], key["stored_checksum"], True))
