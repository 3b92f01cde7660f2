# SPDX-License-Identifier: GPL-2.0
"""The parts of the guest's programs that need no guest."""

import doctest
import importlib.util
import sys
import unittest
from pathlib import Path

VM = Path(__file__).resolve().parents[1]
SELFTESTS = VM.parents[1] / "testing/selftests/net/devmem"
sys.path.insert(0, str(VM / "guest"))

from guestlib import suite                           # noqa: E402
from guestlib.errors import GuestError               # noqa: E402
from guestlib.tap import Tap                         # noqa: E402


def _feed(text, **kwargs):
    tap = Tap(**kwargs)
    for line in text.splitlines():
        tap.feed(line)
    return tap


class TapTest(unittest.TestCase):
    """What a test program prints is counted as what it means."""

    def test_outcomes(self):
        tap = _feed("TAP version 13\n1..4\nok 1 t.a\nnot ok 2 t.b\n"
                    "ok 3 t.c # SKIP no NIC\nok 4 t.d # XFAIL known\n")
        self.assertEqual([case.outcome for case in tap.cases], ["pass", "fail", "skip", "skip"])
        self.assertEqual(tap.cases[2].note, "SKIP no NIC")
        self.assertEqual(tap.close("t"), [])

    def test_a_skip_that_may_not_be_fails(self):
        tap = Tap(must_pass=("check_rx",))
        tap.feed("1..1")
        line = tap.feed("ok 1 devmem.check_rx # SKIP Test requires devmem support")
        self.assertTrue(line.startswith("not ok 1 devmem.check_rx"))
        self.assertIn("Test requires devmem support", line)
        self.assertEqual(tap.count("fail"), 1)

    def test_what_must_pass_must_run(self):
        tap = _feed("1..1\nok 1 devmem.check_rx_hds\n", must_pass=("check_rx", "check_rx_hds"))
        self.assertEqual(len(tap.close("devmem")), 1)
        self.assertEqual(tap.cases[-1].outcome, "fail")

    def test_a_short_run_fails(self):
        tap = _feed("1..3\nok 1 t.a\n")
        self.assertEqual(tap.close("t"), ["not ok 2 t.plan # 3 planned, 1 ran"])

    def test_no_plan_fails(self):
        tap = _feed("Traceback (most recent call last):\n")
        self.assertEqual(len(tap.close("t")), 1)
        self.assertEqual(tap.count("fail"), 1)

    def test_a_file_that_skips_says_why(self):
        tap = _feed("TAP version 13\n1..0 # SKIP /dev/udmabuf is missing\n")
        self.assertEqual(tap.close("t"), [])
        self.assertEqual(tap.cases[0].note, "/dev/udmabuf is missing")

    def test_colour_is_taken_off(self):
        tap = Tap()
        self.assertEqual(tap.feed("\033[32mok 1 t.a\033[0m"), "ok 1 t.a")
        self.assertEqual(tap.count("pass"), 1)


class SuiteTest(unittest.TestCase):
    """The lists name programs that exist."""

    def test_our_files_exist(self):
        listed = set()
        for profile in suite.PROFILES:
            for entry in suite.of_profile(profile):
                if getattr(entry, "origin", None) == "ours":
                    listed.add(entry.path)
                    self.assertTrue((SELFTESTS / entry.path).is_file(), entry.path)
        self.assertEqual(listed, {path.name for path in SELFTESTS.glob("*.py")})

    def test_unknown_profile(self):
        self.assertRaises(GuestError, suite.of_profile, "no-such")


class LibraryTest(unittest.TestCase):
    """The examples in the selftests' library hold."""

    def test_examples(self):
        for name in ("leftover", "pattern"):
            spec = importlib.util.spec_from_file_location(name, SELFTESTS / f"lib/py/{name}.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            result = doctest.testmod(module)
            self.assertGreater(result.attempted, 0)
            self.assertEqual(result.failed, 0)


if __name__ == "__main__":
    unittest.main()
