# SPDX-License-Identifier: GPL-2.0
"""Runs one test program in the server's namespace and collects its TAP."""

import os
import time
from pathlib import Path

from . import nic
from .process import follow
from .tap import Tap

_GUEST = Path(__file__).resolve().parents[1]
# `ip netns exec` mounts a fresh /sys, without what is mounted below it. What warns
# once does so for each program.
_WITH_DEBUGFS = ("mount -t debugfs none /sys/kernel/debug && "
                 "{ mount -t tracefs none /sys/kernel/tracing || true; } && "
                 "echo 1 >/sys/kernel/debug/clear_warn_once && exec \"$@\"")


def endpoints():
    """What the base's NetDrvEpEnv wants to know of the two NICs."""
    return {
        "NETIF": nic.SERVER.ifname,
        "LOCAL_V4": nic.SERVER.address["4"],
        "LOCAL_V6": nic.SERVER.address["6"],
        "REMOTE_V4": nic.CLIENT.address["4"],
        "REMOTE_V6": nic.CLIENT.address["6"],
        "REMOTE_TYPE": "netns",
        "REMOTE_ARGS": nic.CLIENT.ns,
    }


def wrapper(test):
    """The program of guest/ that a test runs through: one word of its command, or none."""
    return [_GUEST / test.through] if test.through else []


def environment(impl, split_late, fixed):
    """The environment of our kselftests and of the base's for the NIC."""
    return {
        **os.environ,
        **endpoints(),
        "DEVMEM_IMPL": impl,
        "DEVMEM_FIXED": "1" if fixed else "",
        "DEVMEM_SPLIT_LATE": str(split_late),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
    }


class Runner:
    """Runs test files one after the other; results go to `out`."""

    def __init__(self, places, out, env, kernel_log, say):
        self._places = places
        self._out = out
        self._env = env
        self._log = kernel_log
        self._say = say

    def run(self, test):
        """Run one TestFile; returns its Tap, also written to NAME.tap."""
        folder = self._places.selftests if test.origin == "ours" else self._places.base_selftests
        program = folder / test.path
        tap = Tap(test.must_pass)
        started = time.monotonic()
        self._log.new_lines()
        with open(self._out / f"{test.name}.tap", "w", encoding="utf-8") as sink:
            def take(line):
                sink.write(line + "\n")
                sink.flush()
                self._say(line)

            timed_out = self._execute(program, test, lambda line: take(tap.feed(line)))
            if timed_out:
                take(tap.fail(f"{program.stem}.timeout", f"no end after {test.timeout} s"))
            for line in self._judge_log(program, tap):
                take(line)
            for line in tap.close(program.stem):
                take(line)
            took = time.monotonic() - started
            take(f"# {test.name}: {tap.count('pass')} passed, {tap.count('fail')} failed, "
                 f"{tap.count('skip')} skipped, {took:.0f} s")
        return tap

    def leave_out(self, entry):
        """Write the TAP of cases that are not run."""
        tap = Tap()
        lines = ["TAP version 13", f"1..{len(entry.cases)}"]
        lines += [f"ok {number} {entry.name}.{case} # SKIP {entry.reason}"
                  for number, case in enumerate(entry.cases, 1)]
        for line in lines:
            self._say(tap.feed(line))
        (self._out / f"{entry.name}.tap").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tap

    def _judge_log(self, program, tap):
        """A complaint of the kernel's fails the file, if no case failed for it."""
        complaints = self._log.complaints()
        if not complaints:
            return
        if tap.count("fail"):
            # the case that failed for it has shown it whole
            yield f"# kernel: {complaints[0]}"
            return
        for line in complaints:
            yield f"# kernel: {line}"
        yield tap.fail(f"{program.stem}.kernel_log", complaints[0])

    def _execute(self, program, test, take):
        """Run the program, its lines to `take`; True if it ran out of time."""
        argv = ["ip", "netns", "exec", nic.SERVER.ns, "sh", "-c", _WITH_DEBUGFS, "sh",
                "python3", *wrapper(test), program.name, *test.arguments]
        status, timed_out = follow(argv, program.parent, self._env, test.timeout, take)
        if status not in (0, 1, 4) and not timed_out:
            take(f"# {program.name} ended with status {status}")
        return timed_out
