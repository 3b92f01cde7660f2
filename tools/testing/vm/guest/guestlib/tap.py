# SPDX-License-Identifier: GPL-2.0
"""Reading the TAP of one test program, and mending what it may not say."""

import re
from dataclasses import dataclass

_RESULT = re.compile(r"(?P<verdict>ok|not ok) (?P<number>\d+)(?: -)? ?(?P<name>[^#]*?)"
                     r"(?: # (?P<note>.*))?$")
_PLAN = re.compile(r"1\.\.(?P<count>\d+)(?: # SKIP ?(?P<reason>.*))?$")
_COLOUR = re.compile(r"\033\[\d+m")


@dataclass
class Case:
    """One result line; outcome is "pass", "fail" or "skip"."""

    name: str
    outcome: str
    note: str = ""


class Tap:
    """The output of one test program, line by line.

    `must_pass` names cases (without the program's name before the dot) that
    may not skip: such a skip is turned into a failure that says so.
    """

    def __init__(self, must_pass=()):
        self.lines = []
        self.cases = []
        self.planned = None
        self._must_pass = set(must_pass)

    def feed(self, line):
        """Take a line; returns it as it goes to the TAP file."""
        line = _COLOUR.sub("", line.rstrip())
        if match := _RESULT.match(line):
            line = self._result(line, match)
        elif match := _PLAN.match(line):
            self.planned = int(match["count"])
            if match["reason"] is not None and not self.planned:
                self.cases.append(Case("all", "skip", match["reason"]))
        self.lines.append(line)
        return line

    def _result(self, line, match):
        name, note = match["name"], match["note"] or ""
        skipped = note.startswith(("SKIP", "XFAIL"))
        outcome = "fail" if match["verdict"] == "not ok" else "skip" if skipped else "pass"
        if outcome == "skip" and name.split(".", 1)[-1] in self._must_pass:
            outcome = "fail"
            note = f"may not skip here: {note.removeprefix('SKIP').strip()}"
            line = f"not ok {match['number']} {name} # {note}"
        self.cases.append(Case(name, outcome, note))
        return line

    def fail(self, name, note):
        """Add a failure of our own; returns the line."""
        return self.feed(f"not ok {len(self.cases) + 1} {name} # {note}")

    def close(self, program):
        """Add failures for what must have run and did not; returns the lines."""
        added = []
        ran = {case.name.split(".", 1)[-1] for case in self.cases}
        if self.planned is None:
            added.append(self.fail(f"{program}.plan", "the program printed no TAP plan"))
        elif len(self.cases) < self.planned:
            added.append(self.fail(f"{program}.plan",
                                   f"{self.planned} planned, {len(self.cases)} ran"))
        for name in sorted(self._must_pass - ran):
            added.append(self.fail(f"{program}.{name}", "did not run"))
        return added

    def count(self, outcome):
        """How many cases ended so."""
        return sum(case.outcome == outcome for case in self.cases)
