# SPDX-License-Identifier: GPL-2.0
"""The small parsers: apt's listings, cargo's and the compilers' output."""

import types
import unittest
from pathlib import Path

from vmlib import mirror, source
from vmlib.checks import cargo, kernelbuild
from vmlib.errors import HarnessError

CARGO = """\
     Running unittests src/lib.rs (target/debug/deps/gve-1)

running 3 tests
test rings::wraps ... ok
test rings::full ... FAILED
test slow ... ignored, takes a minute
test result: FAILED. 1 passed; 1 failed; 1 ignored
   Doc-tests gve
test src/lib.rs - Ring (line 3) ... ok
"""

RUSTC = """\
  CLIPPY L net/core/devmem/devmem_main.o
warning: unused variable: `x`
 --> /cache/tree/net/core/devmem/genpool.rs:3:9
  |
warning: this `if` has identical blocks
   --> /cache/tree/rust/kernel/cpufreq.rs:10:1
error[E0308]: mismatched types
  --> net/core/devmem/ffi.rs:7:1
net/core/hook.c:12:3: warning: unused variable 'y' [-Wunused-variable]
"""


class Parsers(unittest.TestCase):
    def test_mirror(self):
        listing = ("Debian|Debian-Security|http://a/security/\n"
                   "Google|Google|http://b/\nDebian|Debian|http://c/debian/\n")
        self.assertEqual(mirror.pick(listing), "http://c/debian")
        self.assertIsNone(mirror.pick("Ubuntu|Ubuntu|http://d/\n"))

    def test_pinned_version(self):
        line = "linux-source-7.3 | {} | http://x trixie-backports/main amd64 Packages\n"
        listing = line.format("7.3.5-1~bpo13+1") + line.format("7.3.4-1~bpo13+1")
        self.assertEqual(source.pick(listing), "7.3.4-1~bpo13+1")
        with self.assertRaisesRegex(HarnessError, "7.3.40-1.*KERNEL_SRC="):
            source.pick(line.format("7.3.40-1"))
        with self.assertRaisesRegex(HarnessError, "none.*KERNEL_SRC="):
            source.pick("")

    def test_cargo(self):
        self.assertEqual(cargo.parse(CARGO), [
            ("src/lib.rs: rings::wraps", "pass", ""),
            ("src/lib.rs: rings::full", "fail", "see the log"),
            ("src/lib.rs: slow", "skip", "takes a minute"),
            ("doc gve: src/lib.rs - Ring (line 3)", "pass", ""),
        ])

    def test_warnings_in_our_files_only(self):
        kernel = types.SimpleNamespace(tree=types.SimpleNamespace(where=Path("/cache/tree")))
        ours = ["net/core/devmem/genpool.rs", "net/core/devmem/ffi.rs", "net/core/hook.c"]
        self.assertEqual(kernelbuild._warnings(kernel, RUSTC, ours), {
            "net/core/devmem/genpool.rs": ["3: unused variable: `x`"],
            "net/core/devmem/ffi.rs": ["7: mismatched types"],
            "net/core/hook.c": ["12: unused variable 'y' [-Wunused-variable]"],
        })


if __name__ == "__main__":
    unittest.main()
