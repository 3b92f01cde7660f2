# SPDX-License-Identifier: GPL-2.0
"""Commands, in this network namespace or another."""

import json
import shlex
import subprocess

from .errors import GuestError


def run(command, ns=None, check=True, timeout=120):
    """Run a command line and return what it printed.

    Raises GuestError with the command and its output if it fails.
    """
    argv = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    if ns:
        argv = ["ip", "netns", "exec", ns, *argv]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, text=True)
    except FileNotFoundError:
        raise GuestError(f"{argv[0]} is not in the build root") from None
    except subprocess.TimeoutExpired:
        raise GuestError(f"`{shlex.join(argv)}` did not end within {timeout} s") from None
    if check and done.returncode != 0:
        raise GuestError(f"`{shlex.join(argv)}` failed with status {done.returncode}:\n"
                         f"{done.stdout.rstrip()}")
    return done.stdout


def run_json(command, ns=None):
    """Run a command that prints JSON."""
    text = run(command, ns)
    try:
        return json.loads(text)
    except ValueError as error:
        raise GuestError(f"`{command}` printed no JSON ({error}):\n{text}") from None
