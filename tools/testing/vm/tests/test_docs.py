# SPDX-License-Identifier: GPL-2.0
"""The documentation check reads pages and sources as it should."""

import tempfile
import unittest
from pathlib import Path

from vmlib.checks import docs


class MissingPaths(unittest.TestCase):
    """Paths that a page names."""

    def test_known_and_unknown(self):
        with tempfile.TemporaryDirectory() as name:
            tree = Path(name)
            (tree / "net/core").mkdir(parents=True)
            (tree / "net/core/dev.c").touch()
            text = "See ``net/core/dev.c``, net/core/ and Documentation/gone.rst."
            self.assertEqual(docs.missing_paths(text, tree), {"Documentation/gone.rst"})

    def test_absolute_paths_are_not_the_trees(self):
        self.assertEqual(docs.missing_paths("/proc/net/tcp, /usr/include/net/x.h", Path("/none")),
                         set())


class WrittenKeys(unittest.TestCase):
    """Keys in Rust format strings."""

    def test_keys(self):
        source = 'writeln!(f, "id: {}", x)?; f.write_fmt(fmt!("a: {}\\nb: {}\\n", 1, 2)); // c: d'
        self.assertEqual(docs.written_keys(source), {"id", "a", "b"})


class CheckNames(unittest.TestCase):
    """Items of devmem check."""

    def test_names(self):
        source = 'pub const NAMES: [&str; 2] = [\n    "kernel",\n    "header-split",\n];'
        self.assertEqual(docs.check_names(source), {"kernel", "header-split"})

    def test_none(self):
        self.assertEqual(docs.check_names("fn main() {}"), set())


if __name__ == "__main__":
    unittest.main()
