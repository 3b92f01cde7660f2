# SPDX-License-Identifier: GPL-2.0
"""TAP and KTAP: what the kselftests and KUnit print, as a list of cases.

Only leaves count. A parent counts itself where it disagrees with its
children: it failed although none of them did, or fewer ran than it planned.
"""

import re
from dataclasses import dataclass

_TIME = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[[^\]]*\])? ?")
_CASE = re.compile(
    r"(?P<indent>(?:# |    )*)(?P<result>ok|not ok) (?P<number>\d+)(?:\s+-)?\s*"
    r"(?P<name>.*?)\s*(?:#\s*(?P<directive>SKIP|XFAIL|TODO)\b\s*(?P<reason>.*))?$")
# How ksft.py tells what went wrong, before the result.
_WHY = re.compile(r"# (?P<why>Check failed .*|(?:Check|(?:Defer )?Exception)\| (?P<error>[\w.]+: .*))$")
_PLAN = re.compile(r"(?P<indent>(?:# |    )*)1\.\.(?P<count>\d+)\s*(?:#\s*SKIP\s*(?P<reason>.*))?$")


@dataclass(frozen=True)
class Case:
    """One test case: `outcome` is "pass", "fail" or "skip"."""

    name: str
    outcome: str
    reason: str = ""


class _Level:
    """What one depth holds since the last result of the depth above it."""

    def __init__(self):
        self.planned = None
        self.seen = 0
        self.cases = []

    def close(self, name):
        """The cases, with one more if fewer ran than were planned."""
        if self.planned is not None and self.seen < self.planned:
            self.cases.append(Case(name, "fail", f"{self.planned} planned, {self.seen} ran"))
        return self.cases


def parse(text, suite="tests"):
    """All cases in `text`, their names prefixed with `suite`.

    Lines that are no TAP are skipped, and so are kernel time stamps.
    """
    levels = [_Level()]
    why = ""
    for raw in text.splitlines():
        line = _TIME.sub("", raw.rstrip())
        if match := _PLAN.match(line):
            levels = _reach(levels, _depth(match), suite)
            levels[-1].planned = int(match["count"])
            if not levels[-1].planned:
                levels[-1].cases.append(Case("all", "skip", match["reason"] or "nothing planned"))
        elif match := _CASE.match(line):
            levels = _result(levels, match, why)
            why = ""
        elif match := _WHY.match(line):
            why = match["error"] or match["why"]
    while len(levels) > 1:
        _fold(levels, "unfinished")
    return [Case(f"{suite}: {case.name}", case.outcome, case.reason)
            for case in levels[0].close("plan")]


def _result(levels, match, why):
    """Take a result; `why` is what was said before it, good for a failure."""
    depth = _depth(match)
    name = match["name"] or match["number"]
    while len(levels) > depth + 2:
        _fold(levels, "unfinished")
    children = levels.pop().close("plan") if len(levels) > depth + 1 else []
    levels = _reach(levels, depth, name)
    level = levels[-1]
    level.seen += 1
    if match["directive"]:
        outcome = "skip"
    else:
        outcome = "pass" if match["result"] == "ok" else "fail"
    level.cases += [Case(f"{name}.{case.name}", case.outcome, case.reason) for case in children]
    if not children:
        reason = match["reason"] or (why if outcome == "fail" else "")
        level.cases.append(Case(name, outcome, reason.strip()))
    elif outcome == "fail" and all(case.outcome != "fail" for case in children):
        level.cases.append(Case(name, "fail", "failed although none of its cases did"))
    return levels


def _reach(levels, depth, name):
    """Make `depth` the deepest level there is."""
    while len(levels) > depth + 1:
        _fold(levels, name)
    while len(levels) <= depth:
        levels.append(_Level())
    return levels


def _fold(levels, name):
    """Close the deepest level into the one above: its parent never reported."""
    cases = levels.pop().close(name)
    levels[-1].cases += cases


def _depth(match):
    return len(match["indent"].replace("# ", "    ")) // 4
