# SPDX-License-Identifier: Apache-2.0
"""Help, man page and completions: complete, and valid in the eyes of those that read them."""
import re
import shutil
import subprocess
import unittest

from support import LIMIT_S, CliTest

COMMANDS = ("read", "write", "copy", "move", "rename", "delete", "compact", "reclaim", "info", "stats", "metadata",
            "exists", "list", "history", "watch", "import", "export", "verify", "salvage", "backup", "bench")


class Documents(CliTest):
    def test_help_names_every_command_and_has_examples(self):
        text = self.run_tool("help").decode()
        self.assertEqual(text, self.run_tool("--help").decode())
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", text)
        self.assertIn("Examples:", text)
        self.assertIn("Exit status:", text)

    def test_each_command_has_help_with_examples_by_three_ways(self):
        for command in COMMANDS:
            text = self.run_tool("help", command).decode()
            self.assertEqual(text, self.on_store(command, "--help").decode())
            self.assertEqual(text, self.on_store(command, "-h").decode())
            self.assertIn("Examples:", text)
            self.assertIn(f"Usage: simdrive STORE {command}", text)

    def test_help_fits_a_terminal(self):
        for command in COMMANDS:
            for line in self.run_tool("help", command).decode().splitlines():
                self.assertLessEqual(len(line), 110, line)

    def test_json_members_of_the_help_are_printed(self):
        self.on_store("write", "key", "value")
        for command, operands in (("info", []), ("stats", []), ("metadata", ["key"]), ("exists", ["key"]),
                                  ("verify", []), ("compact", []), ("reclaim", []), ("backup", ["copy"]),
                                  ("salvage", ["saved"]),
                                  ("import", [self.folder]), ("export", ["out"])):
            described = self.run_tool("help", command).decode().split("\nJSON:\n")[1].split("\nExamples:")[0]
            described = re.sub(r"\([^)]*\)", "", described, flags=re.DOTALL)
            found = self.json_of(command, *operands)
            self.assertEqual(set(re.findall(r'"(\w+)"', described)), set(found), command)

    def test_version(self):
        self.assertRegex(self.run_tool("--version"), rb"\Asimdrive \d+\.\d+\.\d+ .*alignment \d+")

    def test_help_and_version_need_no_store(self):
        self.on_store("info", "--help")
        self.on_store("info", "--version")

    @unittest.skipUnless(shutil.which("mandoc"), "needs mandoc")
    def test_the_man_page_is_valid(self):
        page = self.run_tool("man")
        for command in COMMANDS:
            self.assertIn(f".SS {command}".encode(), page)
        found = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=page, capture_output=True, timeout=LIMIT_S,
                               check=False)
        self.assertEqual((found.returncode, found.stdout), (0, b""))

    def check_completion(self, shell):
        script = self.run_tool("completion", shell)
        for command in COMMANDS:
            self.assertIn(command.encode(), script)
        path = self.path("script")
        with open(path, "wb") as file:
            file.write(script)
        subprocess.run([shell, "-n", path], check=True, timeout=LIMIT_S)
        return path

    @unittest.skipUnless(shutil.which("bash"), "needs bash")
    def test_bash_completes_commands_options_and_choices(self):
        path = self.check_completion("bash")
        ask = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _simdrive 2>/dev/null; '
               'printf "%s\\n" "${COMPREPLY[@]}"')

        def complete(*words):
            return subprocess.run(["bash", "--norc", "-c", ask, "bash", path, *words], capture_output=True, check=True,
                                  timeout=LIMIT_S, cwd=self.folder, text=True).stdout.split()

        self.assertEqual(complete("simdrive", "s.store", "in"), ["info"])
        self.assertEqual(complete("simdrive", "s.store", "info", "--j"), ["--json"])
        self.assertEqual(complete("simdrive", "s.store", "read", "--j"), [])
        self.assertEqual(complete("simdrive", "s.store", "write", "--checksum", "crc32"), ["crc32c", "crc32"])
        self.assertEqual(complete("simdrive", "completion", "f"), ["fish"])
        self.assertEqual(complete("simdrive", "hel"), ["help"])

    @unittest.skipUnless(shutil.which("zsh"), "needs zsh")
    def test_zsh_takes_its_completion(self):
        path = self.check_completion("zsh")
        subprocess.run(["zsh", "-f", "-c", "autoload -U compinit; compinit -D; source $1; whence -w _simdrive", "zsh",
                        path], check=True, timeout=LIMIT_S, capture_output=True)

    @unittest.skipUnless(shutil.which("fish"), "needs fish")
    def test_fish_completes_commands_and_options(self):
        path = self.check_completion("fish")

        def complete(line):
            ask = f"source {path}; complete -C '{line}'"
            found = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, check=True,
                                   timeout=LIMIT_S, cwd=self.folder, text=True, env={"HOME": self.folder,
                                                                                     "PATH": "/usr/bin:/bin"})
            return [text.split("\t")[0] for text in found.stdout.splitlines()]

        self.assertEqual(complete("simdrive s.store inf"), ["info"])
        self.assertEqual(complete("simdrive s.store info --js"), ["--json"])
        self.assertEqual(complete("simd-r-drive s.store info --js"), ["--json"])
