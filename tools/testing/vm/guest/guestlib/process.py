# SPDX-License-Identifier: GPL-2.0
"""Runs one test program to its end, line by line, within its time."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time

# After SIGTERM a test library cleans up; that may take a while here.
_GRACE = 60
# How long nothing may be heard before the program is looked at.
_PATIENCE = 1


def follow(argv, cwd, env, timeout, take):
    """Run a command, giving each line of its output to `take`.

    Returns (exit status, whether it ran out of its `timeout` seconds). What
    it leaves behind in its session is killed with it.
    """
    child = subprocess.Popen([str(word) for word in argv], cwd=cwd, env=env,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace",
                             start_new_session=True)
    lines = queue.Queue()
    threading.Thread(target=_pump, args=(child, lines), daemon=True).start()
    deadline = time.monotonic() + timeout
    timed_out = False
    while True:
        if time.monotonic() > deadline:
            if timed_out:
                break
            timed_out = True
            child.terminate()
            deadline = time.monotonic() + _GRACE
        try:
            line = lines.get(timeout=_PATIENCE)
        except queue.Empty:
            if child.poll() is not None:
                break       # something in the background has its pipe still
            continue
        if line is None:
            break
        take(line)
    if not timed_out:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait(), timed_out


def _pump(child, lines):
    with child.stdout:
        for line in child.stdout:
            lines.put(line)
    lines.put(None)
