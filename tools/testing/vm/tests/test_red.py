# SPDX-License-Identifier: GPL-2.0
"""`make red`: the list of defects, and what a guest's end means."""

import json
import re
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "guest"))

import test as program                               # noqa: E402
from guestlib import suite                           # noqa: E402
from guestlib.errors import GuestError               # noqa: E402
from vmlib import boot, paths, report                # noqa: E402
from vmlib.checks import red                         # noqa: E402
from vmlib.defects import (COLUMNS, DEFECTS, IMMUNE, Crashes, Defect, Fails,  # noqa: E402
                           NotRun)
from vmlib.errors import HarnessError                # noqa: E402



class TheList(unittest.TestCase):
    def test_ids_are_unique(self):
        self.assertEqual(len({row.id for row in DEFECTS}), len(DEFECTS))

    def test_all_are_there(self):
        ids = {row.id for row in DEFECTS}
        numbers = {re.match(r"\d*", name)[0] for name in ids}
        self.assertLessEqual({str(number) for number in range(1, 20)}, numbers)
        self.assertLessEqual({f"R{number}" for number in range(1, 7)}, ids)
        self.assertLessEqual({f"D{number}" for number in (3, 4, *range(7, 15))}, ids)

    def test_each_fix_mends_a_row_and_each_row_has_its_fix(self):
        there = {path.name[:4] for path in (paths.REPO / "patches/fixes").glob("*.patch")}
        self.assertEqual({fix for row in DEFECTS for fix in row.fix}, there)

    def test_the_cases_exist(self):
        for row in DEFECTS:
            not_run = [isinstance(row.expected(column), NotRun) for column in COLUMNS]
            self.assertTrue(row.test or all(not_run), f"{row.id} has neither a test nor a reason")
            if not row.test:
                continue
            name, _, cases = row.test.partition(":")
            entries = {entry.name: entry for entry in suite.of_profile(row.profile)}
            self.assertIn(name, entries, row.id)
            text = (paths.REPO / red.SELFTESTS / entries[name].path).read_text()
            for case in cases.split(","):
                function = case.partition(".")[0]
                self.assertRegex(text, rf"(?m)^def {function}\(cfg", row.id)
                variants = rf"(?ms)^@ksft_variants\((?:(?!^def ).)*^def {function}\("
                self.assertEqual("." in case, bool(re.search(variants, text)),
                                 f"{row.id}: {case} misses its variants, or has none")

    def test_ours_is_immune_or_says_why_not(self):
        for row in DEFECTS:
            self.assertIn(str(row.rust), ("immune", "not run"), row.id)

    def test_the_page_has_the_same(self):
        text = red.PAGE.read_text()
        self.assertEqual(re.findall(r"^   \* - (\S+)$", text, re.M)[1:],
                         [row.id for row in DEFECTS], "tools/testing/vm/vm red --document mends it")
        self.assertIn(f"\n{red.rst()}\n", text, "tools/testing/vm/vm red --document mends it")

    def test_the_page_is_written_around_the_table(self):
        with tempfile.TemporaryDirectory() as scratch:
            page = Path(scratch, "page.rst")
            page.write_text("Before.\n\n.. list-table::\n   :x:\n\n   * - 1\n\nAfter.\n")
            red.document(page)
            self.assertEqual(page.read_text(), f"Before.\n\n{red.rst()}\nAfter.\n")
            red.document(page)
            self.assertEqual(page.read_text(), f"Before.\n\n{red.rst()}\nAfter.\n")


class Program(unittest.TestCase):
    """test.py runs single cases, under the names that it is given."""

    def chosen(self, *only):
        return program.chosen(SimpleNamespace(profile="defects", only=only))

    def test_label_file_and_cases(self):
        first, second, third = self.chosen("1=stack:urgent_data.*,splice", "2=stack:hairpin",
                                           "tokens")
        self.assertEqual([entry.name for entry in (first, second, third)], ["1", "2", "tokens"])
        self.assertEqual(first.path, "stack.py")
        self.assertEqual(first.arguments, ("-t", "urgent_data.*", "-t", "splice"))
        self.assertEqual(third.arguments, ())

    def test_mistakes(self):
        self.assertRaisesRegex(GuestError, "no nothing", self.chosen, "1=nothing:x")
        self.assertRaisesRegex(GuestError, "stack twice", self.chosen, "stack:a", "stack:b")


def outcome(finished=True, log="", timed_out=False):
    return boot.Outcome({}, log, log, finished, timed_out, 900.0)


PANIC = """\
[   10.0] WARNING: CPU: 0 PID: 1 at net/core/skbuff.c:1 skb_checksum+0x1/0x2
[   10.0] RIP: 0010:skb_checksum+0x1/0x2
[   20.0] BUG: kernel NULL pointer dereference, address: 0000000000000008
[   20.0] RIP: 0010:dev_gro_receive+0x1/0x2
[   20.0] RIP: 0010:pv_native_safe_halt+0xb/0x10
[   20.0] Kernel panic - not syncing: Fatal exception in interrupt
"""
SAID = """\
## 1
TAP version 13
1..2
ok 1 stack.a
ok 2 stack.b
## 2
TAP version 13
1..1
# Exception| net.lib.py.ksft.KsftFailEx: returns 0
not ok 1 stack.splice
## 3
TAP version 13
1..2
ok 1 stack.c
"""


class Verdicts(unittest.TestCase):
    def test_of_a_guest_that_ended(self):
        said = SAID + "not ok 2 stack.d\n"
        self.assertEqual({name: str(verdict) for name, verdict
                          in red.verdicts(said, outcome()).items()},
                         {"1": "immune", "2": "fails: returns 0",
                          "3": "fails: it printed no reason"})

    def test_the_last_one_crashed(self):
        found = red.verdicts(SAID, outcome(False, PANIC))
        self.assertEqual(str(found["3"]), "crashes: BUG: kernel NULL pointer dereference, address: "
                         "0000000000000008 in dev_gro_receive()")
        self.assertEqual(found["2"].kind, "fails")
        self.assertEqual(str(red.verdicts(SAID, outcome(False, timed_out=True))["3"]),
                         "crashes: no end after 900 s")

    def test_what_the_kernel_says_counts_most(self):
        self.assertEqual(str(red.judge("1..1\n# kernel: WARNING: at x\n# kernel: more\n"
                                       "# Check failed 1 != 2\nnot ok 1 a\n")),
                         "fails: WARNING: at x")

    def test_leftovers_are_found_in_the_clean_up(self):
        self.assertEqual(str(red.judge("1..1\n# Defer Exception| lib.py.leftover.LeftoverError: "
                                       "page pool 1 has 2 niovs out\nnot ok 1 a\n")),
                         "fails: page pool 1 has 2 niovs out")

    def test_skips_and_silence_are_no_verdict(self):
        self.assertEqual(str(red.judge("1..2\nok 1 a\nok 2 b # SKIP no key\n")), "not run: no key")
        self.assertEqual(red.judge("Traceback\n").kind, "fails")
        self.assertEqual(red.judge("1..2\nok 1 a\n").kind, "fails")

    def test_expected(self):
        crash, fail = red.Verdict("crashes", "in dev_gro_receive()"), red.Verdict("fails", "WARNING")
        self.assertFalse(crash.unexpected(Crashes("gro")))
        self.assertTrue(crash.unexpected(Crashes("tcp_urg")))
        self.assertTrue(crash.unexpected(IMMUNE))
        self.assertTrue(fail.unexpected(Crashes("")))
        self.assertTrue(red.Verdict("immune").unexpected(Fails("")))
        self.assertFalse(red.Verdict("immune").unexpected(IMMUNE))


ROWS = (Defect("a", "A.", "stack:a", c=Crashes("gro")), Defect("b", "B.", "stack:b", c=Fails("x")),
        Defect("c", "C.", "linear:c", profile="late-split"), Defect("d", "D.", "stack:d"),
        Defect("e", "E.", c=NotRun("w"), c_fixed=NotRun("w"), rust=NotRun("w")),
        Defect("f", "F.", "stack:f", c=Fails("", alone=True)))


class Column(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.results = Path(scratch.name)
        for patch in (mock.patch.object(paths, "RESULTS", self.results),
                      mock.patch.object(red, "DEFECTS", ROWS),
                      mock.patch.object(paths, "REPO", self.results),
                      mock.patch.object(red.ui.console, "quiet", True)):
            patch.start()
            self.addCleanup(patch.stop)
        self.booted = []

    def check(self, guests, variants=("c",), rows=()):
        """`guests`: what each says, and the log of its end if it was early."""
        guests = iter(guests)

        def machine(job, *_):
            self.booted.append([word.partition("=")[0] for word in job.only])
            folder = self.results / str(len(self.booted))
            folder.mkdir()
            return boot.Guest(Path("image"), folder)

        def run(made, _tick):
            said, log = next(guests)
            (made.results / "stdout.log").write_text(said)
            return outcome(log is None, log or "")

        record = report.Report(target="red")
        with mock.patch.object(red.guest, "machine", machine), \
                mock.patch.object(red.boot, "run", run):
            red.check(record, {variant: Path("image") for variant in variants}, None, rows)
        return {entry.name: (entry.outcome, entry.reason) for entry in record.entries}

    def said(self, **rows):
        return "".join(f"## {name}\n1..1\n{line}\n" for name, line in rows.items())

    def test_guests(self):
        self.assertEqual([[row.id for row in rows] for rows in red.batches(ROWS, "c")],
                         [["b", "d"], ["c"], ["a"], ["f"]])
        self.assertEqual([[row.id for row in rows] for rows in red.batches(ROWS, "rust")],
                         [["a", "b", "d", "f"], ["c"]])

    def test_as_expected(self):
        entries = self.check([
            (self.said(b="# Check failed x\nnot ok 1 b", d="ok 1 d"), None),
            (self.said(c="ok 1 c"), None), ("## a\n1..1\n", PANIC),
            (self.said(f="not ok 1 f"), None)])
        self.assertEqual({name: what for name, (what, _) in entries.items()},
                         {"a": "pass", "b": "pass", "c": "pass", "d": "pass", "e": "skip",
                          "f": "pass"})
        rows = {row["id"]: row for row in json.loads((self.results / "defects.json").read_text())}
        self.assertEqual(set(rows["a"]), {"id", "what", "c", "c_fixed", "rust", "test", "fix"})
        self.assertIn("dev_gro_receive", rows["a"]["c"])
        self.assertEqual(rows["e"]["rust"], "not run: w")
        self.assertEqual(rows["d"]["rust"], "not run: not yet: make red ONLY=rust")

    def test_a_crash_where_none_belongs(self):
        entries = self.check([("## b\n1..1\n", PANIC), (self.said(d="ok 1 d"), None),
                              (self.said(c="ok 1 c"), None), (self.said(a="ok 1 a"), None),
                              (self.said(f="not ok 1 f"), None)])
        self.assertEqual(self.booted, [["b", "d"], ["d"], ["c"], ["a"], ["f"]])
        self.assertEqual({name: what for name, (what, _) in entries.items()},
                         {"a": "fail", "b": "fail", "c": "pass", "d": "pass", "e": "skip",
                          "f": "pass"})
        self.assertIn("dev_gro_receive", entries["b"][1])

    def test_a_guest_that_runs_nothing_ends_it(self):
        entries = self.check([("", PANIC)])
        self.assertEqual(len(self.booted), 1)
        self.assertEqual(entries["a"][0], "fail")
        self.assertIn("ran nothing", entries["a"][1])

    def test_some_rows_and_what_is_kept_of_the_others(self):
        red.keep("c", {"d": red.Verdict("immune"), "c": red.Verdict("immune")})
        entries = self.check([(self.said(d="not ok 1 d"), None)], rows=("d",))
        self.assertEqual(list(entries), ["d"])
        self.assertEqual(self.booted, [["d"]])
        self.assertEqual({name: verdict.kind for name, verdict in red.kept("c").items()},
                         {"d": "fails", "c": "immune"})
        self.assertRaisesRegex(HarnessError, "no defect is called zz", self.check, [], ("c",),
                               ("zz",))


if __name__ == "__main__":
    unittest.main()
