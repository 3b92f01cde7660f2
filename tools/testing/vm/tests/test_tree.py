# SPDX-License-Identifier: GPL-2.0

import os
import tempfile
import unittest
from pathlib import Path

from vmlib.errors import HarnessError
from vmlib.tree import Tree, touched

HOOK = """\
Subject: hook

---
--- a/net/Kconfig
+++ b/net/Kconfig
@@ -1,2 +1,3 @@
 one
+source "Kconfig.devmem"
 two
"""
ADDS = "--- /dev/null\n+++ b/net/new.h\n@@ -0,0 +1 @@\n+new\n"
PAST = 1_000_000_000  # seconds: long before any write of the tests


class Sync(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.top = Path(scratch.name)
        self.put("base/net/Kconfig", "one\ntwo\n")
        self.put("base/net/core.c", "core\n")
        self.put("a/Kconfig", "options\n")
        self.put("a/net/core/devmem/lib.rs", "rust\n")

    def put(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def patches(self, repo, **patches):
        for name, text in patches.items():
            self.put(f"{repo}/patches/{name}", text)
        self.put(f"{repo}/patches/series", "# hooks\n" + "\n".join(patches) + "\n")

    def tree(self, repo="a"):
        return Tree(self.top / "base", self.top / "tree", self.top / repo)

    def sync(self, repo="a"):
        return self.tree(repo).sync()

    def age(self):
        for folder, _names, files in os.walk(self.top / "tree"):
            for name in files:
                os.utime(Path(folder, name), (PAST, PAST))

    def read(self, name):
        return (self.top / "tree" / name).read_text()

    def stale(self, name):
        return (self.top / "tree" / name).stat().st_mtime == PAST

    def test_overlay_and_patch(self):
        self.patches("a", hook=HOOK)
        self.sync()
        self.assertEqual(self.read("net/Kconfig"), 'one\nsource "Kconfig.devmem"\ntwo\n')
        self.assertEqual(self.read("Kconfig.devmem"), "options\n")
        self.assertEqual(self.read("net/core/devmem/lib.rs"), "rust\n")
        self.assertEqual(self.read("net/core.c"), "core\n")

    def test_only_changes_are_written(self):
        self.patches("a", hook=HOOK)
        self.sync()
        self.age()
        self.assertEqual(self.sync(), [])
        self.put("a/net/core/devmem/lib.rs", "more rust\n")
        self.assertEqual(self.sync(), ["net/core/devmem/lib.rs"])
        self.assertTrue(self.stale("net/Kconfig"))
        self.assertFalse(self.stale("net/core/devmem/lib.rs"))

    def test_reverted_patch_restores_the_base_with_a_new_time(self):
        self.patches("a", hook=HOOK, adds=ADDS)
        self.sync()
        self.assertEqual(self.read("net/new.h"), "new\n")
        self.age()
        self.patches("a")
        self.assertEqual(self.sync(), ["net/Kconfig", "net/new.h"])
        self.assertEqual(self.read("net/Kconfig"), "one\ntwo\n")
        self.assertFalse(self.stale("net/Kconfig"))
        self.assertFalse((self.top / "tree/net/new.h").exists())

    def test_fixes_are_for_builds_that_want_them(self):
        self.patches("a", **{"hook": HOOK, "fixes/mend": ADDS})
        self.sync()
        self.assertEqual(self.read("net/new.h"), "new\n")
        self.assertEqual(self.tree().sync(fixes=False), ["net/new.h"])
        self.assertFalse((self.top / "tree/net/new.h").exists())
        self.assertIn("Kconfig.devmem", self.read("net/Kconfig"))

    def test_removed_file_vanishes_with_its_folder(self):
        self.sync()
        (self.top / "a/net/core/devmem/lib.rs").unlink()
        self.sync()
        self.assertFalse((self.top / "tree/net/core").exists())

    def test_other_clone(self):
        self.put("b/net/core/devmem/other.rs", "other\n")
        self.sync("a")
        self.sync("b")
        self.assertFalse((self.top / "tree/net/core/devmem/lib.rs").exists())
        self.assertFalse((self.top / "tree/Kconfig.devmem").exists())
        self.sync("a")
        self.assertEqual(self.read("net/core/devmem/lib.rs"), "rust\n")
        self.assertFalse((self.top / "tree/net/core/devmem/other.rs").exists())

    def test_bad_patch_is_named(self):
        self.patches("a", stale=HOOK.replace(" two", " three"))
        with self.assertRaisesRegex(HarnessError, "stale does not apply"):
            self.sync()

    def test_missing_patch_is_named(self):
        self.put("a/patches/series", "gone.patch\n")
        with self.assertRaisesRegex(HarnessError, "gone.patch"):
            self.sync()

    def test_patch_that_nobody_names_is_named(self):
        self.put("a/patches/series", "# none\n")
        self.put("a/patches/fixes/forgotten.patch", ADDS)
        with self.assertRaisesRegex(HarnessError, "forgotten.patch"):
            self.sync()

    def test_overlay_does_not_replace_base_files(self):
        self.put("a/net/core.c", "mine\n")
        with self.assertRaisesRegex(HarnessError, "net/core.c"):
            self.sync()

    def test_touched(self):
        self.assertEqual(touched(HOOK + ADDS), ["net/Kconfig", "net/new.h"])


if __name__ == "__main__":
    unittest.main()
