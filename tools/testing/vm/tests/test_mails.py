# SPDX-License-Identifier: GPL-2.0
"""`make series`: what is sent, by whom, and what the messages name."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from vmlib import mails
from vmlib.checks import hooks, style
from vmlib.errors import HarnessError

FIX = """\
From: Device memory TCP in Rust <devmem-rust@localhost>
Subject: [PATCH] net: mend the core

It was broken.

Fixes: 65249feb6b3d ("net: add a core")
---
 net/core.c | 2 +-

--- a/net/core.c
+++ b/net/core.c
@@ -1,2 +1,2 @@
 core
-broken
+good
"""
HOOK = """\
From: Some Body <body@example.org>
Subject: [PATCH] net: take in the options

They are there now.
---
--- a/net/Kconfig
+++ b/net/Kconfig
@@ -1,2 +1,3 @@
 one
+source "Kconfig.devmem"
 two
"""
MESSAGE = "{0}: a subject\n\nWhy it is there.\n"
SENDER = mails.Person("Ann Sender", "sender@example.org")
SIGNED = "\n\nSigned-off-by: Ann Sender <sender@example.org>\n---\n"


class Mails(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.top = Path(scratch.name)
        self.put("base/net/Kconfig", "one\ntwo\n")
        self.put("base/net/core.c", "core\nbroken\n")
        self.put("repo/Kconfig", "options\n")
        self.put("repo/net/core/devmem/lib.rs", "rust\n")
        for name in ("cover-fixes", "cover", *dict(mails.ADDITIONS).values()):
            self.put(f"repo/patches/mails/{name}.txt", MESSAGE.format(name))
        self.put("repo/patches/fixes/0001-mend.patch", FIX)
        self.put("repo/patches/0001-hook.patch", HOOK)
        self.put("repo/patches/series", "fixes/0001-mend.patch\n0001-hook.patch\n")

    def put(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write(self):
        out = self.top / "out"
        written = mails.write(self.top / "base", out, self.top / "repo", SENDER)
        return {str(mail.relative_to(out)): mail.read_text() for mail in written}

    def test_two_series_and_their_messages(self):
        written = self.write()
        self.assertEqual(list(written), [
            "fixes/0000-cover-letter.patch", "fixes/0001-net-mend-the-core.patch",
            "0000-cover-letter.patch", "0001-devmem-a-subject.patch", "0002-options-a-subject.patch",
            "0003-net-take-in-the-options.patch"])
        fix = written["fixes/0001-net-mend-the-core.patch"]
        self.assertIn("Subject: [PATCH net 1/1] net: mend the core\n\nIt was broken.\n", fix)
        self.assertIn('Fixes: 65249feb6b3d ("net: add a core")\nSigned-off-by: Ann Sender', fix)
        new = written["0001-devmem-a-subject.patch"]
        self.assertIn(f"Subject: [PATCH net-next 1/3] devmem: a subject\n\nWhy it is there.{SIGNED}",
                      new)
        self.assertFalse([name for name, text in written.items() if mails.NOBODY in text])

    def test_cover_letters(self):
        written = self.write()
        cover = written["0000-cover-letter.patch"]
        self.assertIn("Subject: [PATCH net-next 0/3] cover: a subject\n\nWhy it is there.\n", cover)
        self.assertIn(" net/Kconfig ", cover)
        self.assertIn("  net: take in the options\n", cover)
        self.assertNotIn("***", cover)
        self.assertIn("[PATCH net 0/1] cover-fixes: a subject",
                      written["fixes/0000-cover-letter.patch"])

    def test_who_sends_is_not_who_wrote(self):
        hook = self.write()["0003-net-take-in-the-options.patch"]
        self.assertIn("\nFrom: Ann Sender <sender@example.org>\n", hook)
        self.assertIn("\n\nFrom: Some Body <body@example.org>\n\nThey are there now.", hook)
        self.assertIn(SIGNED, hook)

    def test_only_hooks_need_not_have_fixes(self):
        self.put("repo/patches/series", "0001-hook.patch\n")
        (self.top / "repo/patches/fixes/0001-mend.patch").unlink()
        self.assertNotIn("fixes/0000-cover-letter.patch", self.write())

    def test_files_and_messages_belong_together(self):
        (self.top / "repo/patches/mails/devmem.txt").unlink()
        self.assertRaisesRegex(HarnessError, "devmem.txt", self.write)
        self.put("repo/patches/mails/devmem.txt", "only a subject\n")
        self.assertRaisesRegex(HarnessError, "devmem.txt: a subject, an empty line", self.write)
        self.put("repo/samples/rust/new.rs", "new\n")
        self.assertRaisesRegex(HarnessError, "samples/rust/new.rs", self.write)

    def test_series_that_depend_on_each_other_are_refused(self):
        self.put("repo/patches/0001-hook.patch", HOOK.replace(
            "--- a/net/Kconfig", "--- a/net/core.c\n+++ b/net/core.c\n@@ -1,2 +1,3 @@\n core\n"
            " good\n+more\n--- a/net/Kconfig"))
        self.assertRaisesRegex(HarnessError, "git am", self.write)


class Identity(unittest.TestCase):
    def identity(self, **env):
        with tempfile.TemporaryDirectory() as repo:
            subprocess.run(["git", "init", "-q", repo], check=True)
            clean = {name: value for name, value in os.environ.items()
                     if not name.startswith("GIT_") and name != "EMAIL"}
            env = {**clean, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **env}
            with mock.patch.dict(os.environ, env, clear=True):
                return mails.identity(repo)

    def test_of_the_environment(self):
        both = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "Ann Sender"), ("EMAIL", "sender@example.org"))}
        self.assertEqual(self.identity(**both), SENDER)

    def test_of_the_configuration(self):
        self.assertEqual(self.identity(
            GIT_CONFIG_COUNT="2", GIT_CONFIG_KEY_0="user.name", GIT_CONFIG_VALUE_0="Ann Sender",
            GIT_CONFIG_KEY_1="user.email", GIT_CONFIG_VALUE_1="sender@example.org"), SENDER)

    def test_of_nobody_is_an_error_with_its_remedy(self):
        self.assertRaisesRegex(HarnessError, "git config --global user.email", self.identity)


class Tests(unittest.TestCase):
    """The tests that a fix names exist."""

    PATH = "tools/testing/selftests/net/devmem/stack.py"

    def untested(self, line):
        with tempfile.TemporaryDirectory() as tree:
            program = Path(tree, self.PATH)
            program.parent.mkdir(parents=True)
            program.write_text("def splice(cfg):\n    pass\n\ndef hairpin(cfg):\n    pass\n")
            Path(tree, "net/core").mkdir(parents=True)
            Path(tree, "net/core/net_test.c").write_text("static void gso(struct kunit *test)\n")
            suites = Path(tree, "net/core/devmem/tokens.rs")
            suites.parent.mkdir(parents=True)
            suites.write_text("#[kunit_tests(net_devmem_tokens)]\n")
            return hooks.untested(f"Subject: x\n\nWhy.\n\n{line}\n\nFixes: 1 (\"x\")\n---\n", Path(tree))

    def test_that_exist(self):
        for line in (f"Test: {self.PATH}, splice.", f"Test: {self.PATH},\nsplice and hairpin.",
                     f"Test: {self.PATH}, splice; with\nCONFIG_DMA_API_DEBUG.",
                     f"Test: the KUnit suite net_devmem_tokens, and\n{self.PATH}, hairpin.",
                     f"Test: net/core/net_test.c, gso.\nTest: {self.PATH}, splice.",
                     "No test: nobody has\nsuch a device."):
            self.assertEqual(self.untested(line), [], line)

    def test_that_do_not(self):
        for line, named in (("No test.", "no line"), ("No test: ", "no line"),
                            ("Test: net/core/net_test.c, splice.", "no case splice"), ("Test: the guest boots.", "no line"),
                            ("Test: tools/testing/gone.py, x.", "no tools/testing/gone.py"),
                            (f"Test: {self.PATH}, splice and sockmap.", "no case sockmap"),
                            (f"Test: {self.PATH}, splice, with KASAN.", "no case with KASAN"),
                            (f"Test: the KUnit suite net_x, and {self.PATH}.", "KUnit suite net_x")):
            wrong = self.untested(line)
            self.assertEqual(len(wrong), 1, line)
            self.assertIn(named, wrong[0])


class Shortened(unittest.TestCase):
    """What checkpatch sees of a mail that adds files."""

    NEW = "diff --git a/{0} b/{0}\nnew file mode 100644\n+{1}\n"

    def test_one_file_is_left(self):
        events = self.NEW.format("include/trace/events/x.h", "x")
        small, large = self.NEW.format("a.h", "x"), self.NEW.format("b.h", "x" * 99)
        head = "Subject: x\n\nwhy\n---\n"
        self.assertEqual(style.without_files(head + events + large + small), head + small)
        self.assertEqual(style.without_files(head + events), head + events)

    def test_changes_are_all_there(self):
        mail = "why\n---\n" + self.NEW.format("a.h", "x") + "diff --git a/b.h b/b.h\n+x\n"
        self.assertEqual(style.without_files(mail), mail)


if __name__ == "__main__":
    unittest.main()
