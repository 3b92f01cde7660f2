# SPDX-License-Identifier: GPL-2.0

import unittest

from vmlib.tap import parse

KUNIT = """\
[    1.000000] KTAP version 1
[    1.000001] 1..2
[    1.100000]     KTAP version 1
[    1.100001]     # Subtest: genpool
[    1.100002]     # module: devmem
[    1.100003]     1..2
[    1.100004]     ok 1 alloc
[    1.100005]     # alloc: 3 of 3
[    1.100006]     not ok 2 free
[    1.100007] # genpool: pass:1 fail:1 skip:0 total:2
[    1.100008] not ok 1 genpool
[    1.200000]     KTAP version 1
[    1.200001]     1..1
[    1.200002]         KTAP version 1
[    1.200003]         ok 1 case one
[    1.200004]         ok 2 case two # SKIP too slow
[    1.200005]     ok 1 params
[    1.200006] ok 2 tokens
"""

KSFT = """\
TAP version 13
1..3
# selftests: net: a.sh
ok 1 a.check_rx
# some output
not ok 2 a.check_tx # exit=1
ok 3 - a.late # SKIP no such device
# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
"""


def summary(cases):
    return [(case.name, case.outcome) for case in cases]


class Tap(unittest.TestCase):
    def test_kunit_leaves_are_counted(self):
        self.assertEqual(summary(parse(KUNIT, "kunit")), [
            ("kunit: genpool.alloc", "pass"),
            ("kunit: genpool.free", "fail"),
            ("kunit: tokens.params.case one", "pass"),
            ("kunit: tokens.params.case two", "skip"),
        ])

    def test_flat_list(self):
        cases = parse(KSFT, "net")
        self.assertEqual([case.outcome for case in cases], ["pass", "fail", "skip"])
        self.assertEqual(cases[2].reason, "no such device")
        self.assertEqual(cases[2].name, "net: a.late")

    def test_a_failure_says_why(self):
        cases = parse("# Check failed 1 != 2\nok 1 a\n"
                      "# Check| At x.py, line 3, in b:\n# Check failed 40 != 0\nnot ok 2 b\n"
                      "# Exception|     func()\n# Exception| lib.Err: gone: 5\n"
                      "# Exception|\nnot ok 3 c\nnot ok 4 d\n", "s")
        self.assertEqual([case.reason for case in cases],
                         ["", "Check failed 40 != 0", "lib.Err: gone: 5", ""])

    def test_nested_with_hashes(self):
        cases = parse("1..1\n# 1..2\n# ok 1 x\n# ok 2 y\nok 1 prog\n", "s")
        self.assertEqual(summary(cases), [("s: prog.x", "pass"), ("s: prog.y", "pass")])

    def test_missing_results_fail(self):
        self.assertEqual([case.outcome for case in parse("1..3\nok 1 a\n")], ["pass", "fail"])
        cases = parse("1..1\n    1..2\n    ok 1 a\nok 1 s\n")
        self.assertEqual([case.outcome for case in cases], ["pass", "fail"])

    def test_crash_in_a_suite_fails(self):
        cases = parse("1..2\n    1..2\n    ok 1 a\n")
        self.assertEqual([case.outcome for case in cases], ["pass", "fail", "fail"])

    def test_parent_that_fails_alone(self):
        cases = parse("    ok 1 a\nnot ok 1 s\n")
        self.assertEqual([case.outcome for case in cases], ["pass", "fail"])

    def test_skipped_plan(self):
        cases = parse("1..0 # SKIP needs root\n")
        self.assertEqual((cases[0].outcome, cases[0].reason), ("skip", "needs root"))

    def test_noise(self):
        self.assertEqual(parse("[   0.1] booting\nok then\nnot okay 1\n"), [])


if __name__ == "__main__":
    unittest.main()
