# SPDX-License-Identifier: GPL-2.0
"""The base's tests: their verdicts in the guest, and C beside Rust."""

import json
import os
import sys
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "guest"))

from guestlib import peerlist, process               # noqa: E402
from guestlib.peer import PeerRunner, verdicts       # noqa: E402
from guestlib.tap import Tap                         # noqa: E402
from vmlib import paths, peer, report                # noqa: E402
from vmlib.checks import peer as check               # noqa: E402


def run(**tests):
    """{test: record}; a case is given as name=(outcome, note)."""
    return {test: {"test": test, "seconds": 1, "cases": [
        {"name": name, "outcome": outcome, "note": note}
        for name, (outcome, note) in cases.items()]} for test, cases in tests.items()}


class Verdicts(unittest.TestCase):
    def verdicts(self, text, status=0, late="", counts=False):
        tap = Tap()
        for line in text.splitlines():
            tap.feed(line)
        last = text.splitlines()[-1] if text else ""
        return [(case.name, case.outcome, case.note)
                for case in verdicts(tap, status, late, last, counts)]

    def test_without_tap_the_status_counts(self):
        self.assertEqual(self.verdicts("OK\n"), [("exit status", "pass", "")])
        self.assertEqual(self.verdicts("no tool\n", 4), [("exit status", "skip", "no tool")])
        self.assertEqual(self.verdicts("", 139), [("exit status", "fail", "exit status 139")])
        self.assertEqual(self.verdicts("", -15, "no end after 9 s"),
                         [("end", "fail", "no end after 9 s")])

    def test_with_tap_its_cases_count(self):
        self.assertEqual(self.verdicts("1..2\nok 1 a\nok 2 b # SKIP no x\n"),
                         [("a", "pass", ""), ("b", "skip", "SKIP no x")])

    def test_what_tap_does_not_say_fails(self):
        self.assertEqual(self.verdicts("1..2\nok 1 a\n", 0)[-1],
                         ("plan", "fail", "2 planned, 1 ran"))
        self.assertEqual(self.verdicts("1..1\nok 1 a\n", 139)[-1][:2], ("exit status", "fail"))
        self.assertEqual(self.verdicts("1..3\nok 1 a\n", -9, "no end after 9 s"),
                         [("end", "fail", "no end after 9 s")])

    def test_two_of_one_name(self):
        self.assertEqual([name for name, *_rest in self.verdicts("1..2\nok 1 a\nnot ok 2 a\n", 1)],
                         ["a", "a #2"])

    def test_numbers_that_vary(self):
        self.assertEqual([name for name, *_rest in self.verdicts(
            "1..2\nok 1 sk[0] = 8\nok 2 sk[1] = 19\n", counts=True)],
            ["sk[N] = N", "sk[N] = N #2"])


class Running(unittest.TestCase):
    """Programs are run to their end, or as far as their time goes."""

    def follow(self, script, timeout=20):
        lines = []
        status, late = process.follow(["sh", "-c", script], "/", dict(os.environ), timeout,
                                      lines.append)
        return [line.rstrip("\n") for line in lines], status, late

    def test_to_the_end(self):
        self.assertEqual(self.follow("echo a; echo b >&2; exit 4"), (["a", "b"], 4, False))

    def test_out_of_time(self):
        lines, status, late = self.follow("while :; do echo on; sleep 0.2; done", timeout=0.5)
        self.assertTrue(lines and late)
        self.assertEqual(status, -15)

    def test_a_daemon_that_keeps_the_pipe_does_not_hold_it_up(self):
        self.assertEqual(self.follow("sleep 1000 & echo a"), (["a"], 0, False))

    def test_a_record(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            program = folder / "net/t.sh"
            program.parent.mkdir()
            program.write_text("#!/bin/sh\necho 1..1; echo ok 1 $0 $1; exit 0\n")
            program.chmod(0o755)
            log = types.SimpleNamespace(new_lines=list, complaints=lambda: ["WARNING: x"])
            said = []
            runner = PeerRunner(folder, folder, log, said.append)
            record = runner.run(peerlist.PeerTest("net/t.sh", arguments=("-x",)))
            self.assertEqual([(case["name"], case["outcome"]) for case in record["cases"]],
                             [("./t.sh -x", "pass"), ("kernel log", "fail")])
            self.assertIn("net/t.sh: 1 pass, 1 fail", said[0])
            absent = runner.run(peerlist.PeerTest("net/none"))
            self.assertEqual(absent["cases"][0]["outcome"], "skip")


class Stage(unittest.TestCase):
    """The stage of make test, with guests that are made up."""

    def check(self, *boots, finished=True):
        """Run the stage; `boots` are (C, Rust) outcomes of one case, a boot each."""
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        top = Path(scratch.name)
        (top / "results").mkdir()
        outcomes = {impl: iter(made) for impl, made in zip(check.IMPLEMENTATIONS, zip(*boots))}
        booted = []

        def run_guest(guest, _tick):
            guest.results.mkdir(parents=True, exist_ok=True)
            booted.append([str(word) for word in guest.commands[0][1]])
            outcome = next(outcomes[guest.image.name.removeprefix("bzImage-")])
            (guest.results / "peer.jsonl").write_text(json.dumps(
                run(t={"a": (outcome, "")})["t"]) + "\n")
            return types.SimpleNamespace(finished=finished)

        record = report.Report()
        kernel = types.SimpleNamespace(tree=types.SimpleNamespace(where="/tree"))
        images = {"c": top / "bzImage-c", "rust": top / "bzImage-rust"}
        with mock.patch.object(check.boot, "run", run_guest), \
                mock.patch.multiple(paths, REPO=top, BUILD=top, RESULTS=top / "results"), \
                mock.patch.object(check.ui, "console", mock.MagicMock(is_terminal=False)):
            check.check(record, images, kernel, "/selftests")
        written = json.loads((top / "results/peer.json").read_text())
        return record, written, booted

    def test_same(self):
        record, written, booted = self.check(("pass", "pass"))
        self.assertEqual((record.count("fail"), record.count("pass")), (0, 1))
        self.assertEqual(len(booted), 2)
        self.assertTrue(written["cases"][0]["same"] and written["left_out"])

    def test_a_guest_that_ends_early_fails(self):
        record, _written, _booted = self.check(("pass", "pass"), finished=False)
        self.assertEqual({entry.name for entry in record.entries if entry.outcome == "fail"},
                         {"c: all tests", "rust: all tests"})

    def test_a_difference_that_stays_fails(self):
        record, written, booted = self.check(("pass", "fail"), ("pass", "fail"))
        self.assertEqual(record.count("fail"), 1)
        self.assertEqual([words[-2:] for words in booted[2:]], [["--only", "t"]] * 2)
        self.assertFalse(written["cases"][0]["same"])

    def test_what_fails_now_and_then_on_both_is_no_difference(self):
        record, written, _booted = self.check(("pass", "fail"), ("fail", "pass"))
        self.assertEqual(record.count("fail"), 0)
        self.assertEqual(written["cases"][0]["first_run"], {"c": "pass", "rust": "fail"})

    def test_a_difference_that_goes_is_told(self):
        record, written, _booted = self.check(("fail", "pass"), ("pass", "pass"))
        self.assertEqual(record.count("fail"), 0)
        self.assertEqual(written["cases"][0]["first_run"], {"c": "fail", "rust": "pass"})


class SideBySide(unittest.TestCase):
    def report(self, c, rust):
        return list(peer.report(peer.pairs(c, rust)))

    def test_same_verdicts_pass_and_say_what_fails_on_both(self):
        both = run(t={"a": ("pass", ""), "b": ("fail", "x")})
        self.assertEqual(self.report(both, both), [("t", "pass", "fails on both: b")])

    def test_each_difference_fails(self):
        c = run(t={"a": ("pass", ""), "b": ("pass", ""), "c": ("fail", "late")})
        rust = run(t={"a": ("fail", "EIO"), "b": ("pass", ""), "c": ("pass", "")})
        self.assertEqual(self.report(c, rust), [
            ("t: a", "fail", "C: pass, Rust: fail; EIO"),
            ("t: c", "fail", "C: fail, Rust: pass; C: late; Rust: pass")])

    def test_a_complaint_of_the_kernel_counts_against_rust_only(self):
        clean, loud = run(t={"a": ("pass", "")}), run(t={
            "a": ("pass", ""), "kernel log": ("fail", "WARNING: x")})
        self.assertEqual(self.report(loud, clean), [
            ("t", "pass", "the kernel complains on C only: WARNING: x")])
        self.assertEqual(self.report(clean, loud)[0][:2], ("t: kernel log", "fail"))

    def test_a_test_that_one_kernel_did_not_reach_differs(self):
        found = peer.pairs(run(t={"a": ("pass", "")}), {})
        self.assertEqual(peer.differing(found), ["t"])
        self.assertEqual(found[0].rust, peer.ABSENT)

    def test_skips_are_shown_by_reason(self):
        both = run(t={"a": ("skip", "no tool"), "b": ("skip", "no tool"), "c": ("pass", "")})
        self.assertEqual(self.report(both, both), [
            ("t", "pass", ""), ("t: 2 cases", "skip", "no tool")])

    def test_the_second_run_counts_and_the_first_is_told(self):
        passed, failed = run(t={"a": ("pass", "")}), run(t={"a": ("fail", "late")})
        rows = peer.as_json(peer.pairs(passed, passed), peer.pairs(passed, failed))
        self.assertTrue(rows[0]["same"])
        self.assertEqual(rows[0]["first_run"], {"c": "pass", "rust": "fail"})

    def test_the_better_run_counts_but_for_complaints_of_the_kernel(self):
        late, good = run(t={"end": ("fail", "")})["t"], run(t={"a": ("pass", "")})["t"]
        loud = run(t={"a": ("fail", ""), "kernel log": ("fail", "WARNING: x")})["t"]
        self.assertIs(peer.better(late, good), good)
        self.assertIs(peer.better(good, late), good)
        self.assertIs(peer.better(loud, good), loud)
        self.assertIs(peer.better(good, loud), loud)

    def test_a_line_that_was_cut_is_not_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "peer.jsonl"
            path.write_text(json.dumps({"test": "t", "cases": []}) + '\n{"test": "u", "ca')
            self.assertEqual(list(peer.read(path)), ["t"])
            self.assertEqual(peer.read(path.with_name("none")), {})


class List(unittest.TestCase):
    def test_every_name_once_and_every_omission_with_a_reason(self):
        tests = peerlist.HOST + peerlist.NIC
        names = [test.name for test in tests]
        self.assertEqual(len(names), len(set(names)))
        self.assertTrue(all(test.why for test in tests if test.omit))
        self.assertTrue(all(test.nic for test in peerlist.NIC))
        self.assertTrue(all(test.why for test in peerlist.LEFT_OUT))
