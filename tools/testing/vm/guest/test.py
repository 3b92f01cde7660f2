#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs the kselftests in the guest.

Each test file's TAP goes to DIR/NAME.tap; DIR/test.json sums up. A test file
also fails if the kernel log has a WARN, BUG, lockdep or similar report from
its time. The exit status is 0 only if nothing failed.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from guestlib import nic, suite                      # noqa: E402
from guestlib.errors import GuestError               # noqa: E402
from guestlib.places import Places                   # noqa: E402
from guestlib.runner import Runner, environment      # noqa: E402

RX_QUEUES = 4


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="test.py", description=__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR",
                        help="folder for the TAP files")
    parser.add_argument("--impl", choices=("rust", "c"), default="rust",
                        help="implementation that the kernel is built with (checked)")
    parser.add_argument("--fixed", action="store_true",
                        help="the kernel has patches/fixes, though --impl is c")
    parser.add_argument("--profile", choices=suite.PROFILES, default="receive",
                        help="which list of tests; late-split needs gvnic --split-late")
    parser.add_argument("--seconds", type=int, metavar="N",
                        help="begin no test file after N seconds; those left are skipped")
    parser.add_argument("--split-late", type=int, default=0, metavar="BYTES",
                        help="what the device model was given as --split-late")
    parser.add_argument("--mtu", type=int, default=1500, metavar="BYTES",
                        help="MTU of both NICs")
    parser.add_argument("--only", action="append", metavar="[LABEL=]NAME[:GLOB,...]",
                        help="run only this test file, or these cases of it; may be given more "
                        "than once, and for one file with a label each, which names the TAP file")
    parser.add_argument("--case", action="append", default=[], metavar="GLOB",
                        help="run only these cases of each test file")
    parser.add_argument("--cache", type=Path, metavar="DIR",
                        help="the host's cache (default: DEVMEM_CACHE, or "
                        "devmem-rust below XDG_CACHE_HOME or ~/.cache)")
    args = parser.parse_args()
    args.began = time.monotonic()
    return args


def too_late(args, entry):
    """What to list in place of a test file that nobody has time for, if so."""
    if args.seconds is None or time.monotonic() - args.began < args.seconds:
        return None
    return suite.LeftOut(entry.name, ("all",),
                         f"the {args.seconds / 60:.0f} minutes that these tests may take are over")


def chosen(args):
    """The profile's entries that the command line asks for."""
    entries = suite.of_profile(args.profile)
    if not args.only:
        return entries
    known = {entry.name: entry for entry in entries}
    found = {}
    for word in args.only:
        label, _, what = word.rpartition("=")
        name, _, globs = what.partition(":")
        if name not in known:
            raise GuestError(f"profile {args.profile} has no {name}")
        label = label or name
        if label in found:
            raise GuestError(f"{label} twice: --only LABEL={what}")
        found[label] = with_cases(dataclasses.replace(known[name], name=label),
                                  globs.split(",") if globs else ())
    return list(found.values())


def with_cases(test, globs):
    """The test file limited to some of its cases."""
    if not globs:
        return test
    flags = tuple(word for glob in globs for word in ("-t", glob))
    return dataclasses.replace(test, arguments=test.arguments + flags, must_pass=())


def main():
    """Set up the NICs, run the list, sum up."""
    args = arguments()
    places = Places(args.cache)
    args.out.mkdir(parents=True, exist_ok=True)
    entries = chosen(args)
    if args.profile == "late-split" and not args.split_late:
        raise GuestError("profile late-split needs --split-late BYTES, as gvnic was started")
    nic.setup(args.mtu, RX_QUEUES)
    library = places.import_selftest_library()
    say = lambda line: print(line, flush=True)       # noqa: E731
    runner = Runner(places, args.out, environment(args.impl, args.split_late, args.fixed),
                    library.KernelLog(), say)
    taps = {}
    for entry in entries:
        say(f"## {entry.name}")
        entry = too_late(args, entry) or entry
        if isinstance(entry, suite.LeftOut):
            taps[entry.name] = runner.leave_out(entry)
        else:
            taps[entry.name] = runner.run(with_cases(entry, args.case))
    return report(args.out, taps, say)


def report(out, taps, say):
    """Print the summary, write test.json, return the exit status."""
    for name, tap in taps.items():
        for case in tap.cases:
            if case.outcome != "pass":
                say(f"{case.outcome.upper()} {name}: {case.name}"
                    + (f" ({case.note})" if case.note else ""))
    totals = {outcome: sum(tap.count(outcome) for tap in taps.values())
              for outcome in ("pass", "fail", "skip")}
    (out / "test.json").write_text(json.dumps({
        "totals": totals,
        "files": {name: [vars(case) for case in tap.cases] for name, tap in taps.items()},
    }, indent=2) + "\n", encoding="utf-8")
    say(f"{totals['pass']} passed, {totals['fail']} failed, {totals['skip']} skipped")
    return 1 if totals["fail"] or not totals["pass"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuestError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
