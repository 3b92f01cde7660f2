# SPDX-License-Identifier: GPL-2.0
"""The parts of the guest's programs that need no guest."""

import doctest
import importlib.util
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

from vmlib import boot, paths, report
from vmlib.checks import guest
from vmlib.errors import HarnessError

VM = Path(__file__).resolve().parents[1]
SELFTESTS = VM.parents[1] / "testing/selftests/net/devmem"
sys.path.insert(0, str(VM / "guest"))

import test as program                               # noqa: E402
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

    def test_what_tests_run_through_exists(self):
        entries = [entry for profile in suite.PROFILES for entry in suite.of_profile(profile)]
        through = {entry.through for entry in entries if getattr(entry, "through", "")}
        self.assertIn("patient.py", through)
        for name in through:
            self.assertTrue((VM / "guest" / name).is_file(), name)

    def test_host_knows_the_same_profiles(self):
        self.assertEqual(set(guest.PROFILES), set(suite.PROFILES))

    def test_nothing_is_listed_twice_for_one_kernel(self):
        entries = [entry.name for profile in guest.LONG for entry in suite.of_profile(profile)]
        self.assertEqual(len(entries), len(set(entries)))
        self.assertLessEqual(set(guest.LONG), {name for lane in guest.LANES for name in lane})

    def test_unknown_profile(self):
        self.assertRaises(GuestError, suite.of_profile, "no-such")


class TooLate(unittest.TestCase):
    """What begins after the time is over is listed, not run."""

    def left_out(self, seconds, gone):
        args = mock.Mock(seconds=seconds, began=time.monotonic() - gone)
        return program.too_late(args, suite.of_profile("jumbo")[0])

    def test_no_limit(self):
        self.assertIsNone(self.left_out(None, 1e6))

    def test_in_time(self):
        self.assertIsNone(self.left_out(600, 500))

    def test_over(self):
        entry = self.left_out(600, 700)
        self.assertEqual((entry.name, entry.cases), ("transfer", ("all",)))
        self.assertIn("10 minutes", entry.reason)


class SideBySide(unittest.TestCase):
    """Lanes run beside each other, the jobs of one after the other."""

    def setUp(self):
        # Not where a guest that did run left its results.
        self.build = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(paths, "BUILD", self.build))

    def jobs(self, run):
        lanes = [[guest.Job(name, Path("image"), "rust") for name in lane] for lane in guest.LANES]
        record = report.Report()
        with mock.patch.object(boot, "run", run):
            return guest.side_by_side(record, lanes, mock.Mock(), "selftests"), record

    def test_a_guest_that_cannot_start_is_reported(self):
        def run(machine, tick):
            raise HarnessError("no device model")

        jobs, record = self.jobs(run)
        self.assertEqual([(entry.name, entry.outcome, entry.reason) for entry in record.entries],
                         [(job.label, "fail", "no device model") for job in jobs])

    def test_outcomes(self):
        both = threading.Barrier(2, timeout=10)
        seen = []

        def run(machine, tick):
            seen.append(machine.results.name)
            if machine.results.name in ("guest-receive", "guest-lifecycle"):
                both.wait()
            tick("ok 1")
            machine.results.mkdir()
            (machine.results / "t.tap").write_text("1..1\nok 1 t.a\n")
            return boot.Outcome({"test": 0}, "", "", True, False, 1.0)

        jobs, record = self.jobs(run)
        self.assertEqual(record.count("fail"), 0)
        for job in jobs:
            self.assertEqual(record.count("pass", job.label), 2)
        self.assertEqual([job.profile for job in jobs], [n for lane in guest.LANES for n in lane])
        self.assertTrue(all(job.outcome.finished for job in jobs))
        self.assertEqual(set(seen[:2]), {"guest-receive", "guest-lifecycle"})

    def test_a_guest_without_results_is_reported(self):
        def run(machine, tick):
            return boot.Outcome({"test": 0}, "", "", True, False, 1.0)

        jobs, record = self.jobs(run)
        self.assertEqual([entry.outcome for entry in record.entries], ["fail"] * len(jobs))
        for entry, job in zip(record.entries, jobs):
            self.assertIn(str(job.guest.results), entry.reason)

    def test_a_limit_is_passed_on(self):
        job = guest.Job("receive", Path("image"), "rust", seconds=100)
        machine = guest.machine(job, mock.Mock(), "selftests")
        (_name, argv), = machine.commands
        self.assertEqual(argv[-2:], ["--seconds", 100])
        self.assertEqual(machine.timeout, 100 + guest.GRACE)

    def test_c_with_fixes_is_told_apart(self):
        images = {variant: Path("image") for variant in ("c", "c-gve-rust", "rust-gve-c")}
        with mock.patch.object(guest, "side_by_side") as run:
            guest.check_queue_management(mock.Mock(), images, mock.Mock(), "selftests")
        (_report, lanes, *_), _ = run.call_args
        for profile, jobs in zip(("queue-mgmt", "late-split"), zip(*lanes, strict=True),
                                 strict=True):
            self.assertEqual([job.profile for job in jobs], [profile] * len(images))
            told = ["--fixed" in guest.machine(job, mock.Mock(), "selftests").commands[0][1]
                    for job in jobs]
            self.assertEqual(told, [False, True, True])
            self.assertEqual([job.impl for job in jobs], ["c", "c", "rust"])

    def test_a_variant_says_which_implementation_it_is(self):
        with mock.patch.object(guest, "side_by_side") as run, \
                mock.patch.object(guest, "_transfer") as transfer:
            report = mock.Mock()
            report.left.return_value = None
            guest.check(report, Path("image"), mock.Mock(), "selftests", "rust-kasan")
        (_report, lanes, *_), _ = run.call_args
        self.assertEqual({(job.impl, job.on) for lane in lanes for job in lane},
                         {("rust", " on rust-kasan")})
        self.assertEqual(transfer.call_args.args[2:], ("rust", "transfer on rust-kasan"))


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
