# SPDX-License-Identifier: GPL-2.0
"""What must not compile: what a file names, what rustc says, and whether they agree."""

import json
import unittest

from vmlib.checks import compile_fail

MOVED = ("E0382", "use of moved value: `memory`")


def rustc(*errors):
    """Its output for errors of (code, message)."""
    said = [{"level": "warning", "code": {"code": "dead_code"}, "message": "never used"}]
    said += [{"level": "error", "code": code and {"code": code}, "message": message}
             for code, message in errors]
    said.append({"level": "error", "code": None, "message": "aborting due to 1 previous error"})
    return "\n".join(map(json.dumps, said))


class CompileFail(unittest.TestCase):
    def test_what_a_file_names(self):
        text = "//! Twice.\n//@ E0382 use of moved value: `memory`\n\nmod nic;\n"
        self.assertEqual(compile_fail.expected(text), MOVED)
        self.assertIsNone(compile_fail.expected("//! Fine.\n"))

    def test_each_subject_shows_what_is_right_as_well(self):
        subjects = {path.parent for path in compile_fail.sources()}
        self.assertTrue(subjects)
        for subject in subjects:
            wanted = [compile_fail.expected(path.read_text()) for path in subject.glob("*.rs")
                      if path.name not in compile_fail.SHARED]
            self.assertEqual(wanted.count(None), 1, subject.name)
            self.assertGreater(len(wanted), 1, subject.name)

    def test_the_error_that_was_named(self):
        self.assertEqual(compile_fail.verdict(MOVED, rustc(MOVED)), "")
        self.assertEqual(compile_fail.verdict(MOVED, rustc(MOVED, MOVED)), "")
        without_code = ("error", "lifetime may not live long enough")
        self.assertEqual(compile_fail.verdict(without_code, rustc((None, without_code[1]))), "")

    def test_anything_else(self):
        other = ("E0433", "failed to resolve: use of undeclared type `Idle`")
        for log in (rustc(other), rustc(MOVED, other), rustc(), "bwrap: no such file\n"):
            self.assertIn("wanted E0382", compile_fail.verdict(MOVED, log))
        self.assertIn("E0433 failed", compile_fail.verdict(MOVED, rustc(other)))
        self.assertIn("bwrap", compile_fail.verdict(MOVED, "bwrap: no such file\n"))

    def test_what_compiles(self):
        self.assertEqual(compile_fail.verdict(MOVED, ""), "it compiles")
        self.assertEqual(compile_fail.verdict(None, ""), "")
        self.assertIn("moved value", compile_fail.verdict(None, rustc(MOVED)))


if __name__ == "__main__":
    unittest.main()
