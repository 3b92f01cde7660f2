# SPDX-License-Identifier: GPL-2.0
"""The verdicts of the base's tests on two kernels, side by side."""

import json
from collections import Counter
from dataclasses import dataclass

ABSENT = "absent"   # this kernel's run has no such case
# No verdict of the test's: guestlib adds it when the kernel complained. The base
# may, where ours does not: its defects are mended for Rust only.
KERNEL_LOG = "kernel log"


@dataclass(frozen=True)
class Pair:
    """One case of one test; `seconds` are the whole test's, C and Rust."""

    test: str
    case: str
    c: str
    rust: str
    c_note: str = ""
    rust_note: str = ""
    seconds: tuple = (0, 0)

    @property
    def same(self):
        return self.c == self.rust or self.only_c_complains

    @property
    def only_c_complains(self):
        return self.case == KERNEL_LOG and self.rust == ABSENT

    @property
    def why(self):
        """What a person wants to know of a case that is not a pass twice."""
        if self.c_note == self.rust_note or not self.same and not self.c_note:
            return self.rust_note
        return f"C: {self.c_note or self.c}; Rust: {self.rust_note or self.rust}"


def read(path):
    """{test: record} of what a guest wrote; the last record of a test counts."""
    if not path.is_file():
        return {}
    records = (json.loads(line) for line in path.read_text().splitlines() if line.endswith("}"))
    return {record["test"]: record for record in records}


def better(first, again):
    """Of a test's two records on one kernel, the one that counts.

    A complaint of the kernel's is never forgotten. Else more passes count: what
    fails now and then on both kernels is no difference between them.
    """
    def rank(record):
        cases = record["cases"]
        return (any(case["name"] == KERNEL_LOG for case in cases),
                sum(case["outcome"] == "pass" for case in cases))

    return first if rank(first) > rank(again) else again


def pairs(c, rust):
    """All cases of both runs, in the order in which they ran."""
    found = []
    for test in dict.fromkeys([*c, *rust]):
        cases = [{case["name"]: case for case in run.get(test, {}).get("cases", ())}
                 for run in (c, rust)]
        seconds = tuple(run.get(test, {}).get("seconds", 0) for run in (c, rust))
        for name in dict.fromkeys([*cases[0], *cases[1]]):
            here = [side.get(name, {"outcome": ABSENT, "note": ""}) for side in cases]
            found.append(Pair(test, name, *(case["outcome"] for case in here),
                              *(case["note"] for case in here), seconds))
    return found


def differing(found):
    """The tests that have a case whose verdicts differ."""
    return list(dict.fromkeys(pair.test for pair in found if not pair.same))


def summary(found):
    """(test, cases, counts on C, counts on Rust, differences, seconds) a test."""
    for test in dict.fromkeys(pair.test for pair in found):
        here = [pair for pair in found if pair.test == test]
        yield (test, len(here), Counter(pair.c for pair in here),
               Counter(pair.rust for pair in here),
               sum(not pair.same for pair in here), here[0].seconds)


def report(found):
    """(name, outcome, reason) of the cases of `make test`.

    A test is one case, and each difference one more. Cases that skip on both
    are shown by their reason, so that a missing tool does not hide.
    """
    for test in dict.fromkeys(pair.test for pair in found):
        here = [pair for pair in found if pair.test == test]
        ran = [pair for pair in here if not pair.c == pair.rust == "skip"]
        different = [pair for pair in here if not pair.same]
        if ran and not different:
            yield test, "pass", "; ".join(
                f"the kernel complains on C only: {pair.c_note}" if pair.only_c_complains
                else f"fails on both: {pair.case}" for pair in here if pair.c == "fail")
        for pair in different:
            yield (f"{test}: {pair.case}", "fail",
                   f"C: {pair.c}, Rust: {pair.rust}; {pair.why}".removesuffix("; "))
        skipped = Counter(pair.why for pair in here if pair.c == pair.rust == "skip")
        for why, count in skipped.items():
            yield (f"{test}: {count} case{'s' * (count != 1)}", "skip", why)


def as_json(found, first):
    """The record for machines; `first` are verdicts that a second run changed."""
    before = {(pair.test, pair.case): pair for pair in first if not pair.same}
    rows = []
    for pair in found:
        row = {"test": pair.test, "case": pair.case, "c": pair.c, "rust": pair.rust,
               "same": pair.same, "seconds_c": pair.seconds[0], "seconds_rust": pair.seconds[1]}
        if pair.c_note or pair.rust_note:
            row["note_c"], row["note_rust"] = pair.c_note, pair.rust_note
        if old := before.get((pair.test, pair.case)):
            row["first_run"] = {"c": old.c, "rust": old.rust}
        rows.append(row)
    return rows
