# SPDX-License-Identifier: GPL-2.0

"""
Runs the `devmem` tool. DEVMEM_TOOLS is the folder of the built programs.
"""

import json
import os
import select
import subprocess
import time
from pathlib import Path

from net.lib.py import defer, ksft_eq, ksft_exit, ksft_run

from .env import run_in_env

# seconds; programs are slow under full emulation
PATIENCE = 60


def _tools():
    """Folder of the built programs."""
    if "DEVMEM_TOOLS" in os.environ:
        return Path(os.environ["DEVMEM_TOOLS"])
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("DEVMEM_CACHE") or home / "devmem-rust")
    return cache / "target-devmem/release"


TOOLS = _tools()
DEVMEM = TOOLS / "devmem"


def run(*arguments, status=0, **kwargs):
    """Run devmem; returns its standard output once its exit status is right."""
    done = subprocess.run([DEVMEM, *map(str, arguments)], text=True,
                          capture_output=True, timeout=PATIENCE, check=False,
                          **kwargs)
    ksft_eq(done.returncode, status,
            f"devmem {arguments}: {done.stdout}{done.stderr}")
    return done.stdout


def run_json(command, *arguments, status=0, schema=None, **kwargs):
    """Run devmem with --json; returns the object, which fits its schema."""
    found = json.loads(run(command, *arguments, "--json", status=status,
                           **kwargs))
    fits(found, schema or command)
    return found


_SCHEMAS = {}


def fits(found, name):
    """Compare an object with the schema that the tool prints."""
    try:
        import jsonschema                     # pylint: disable=C0415
    except ModuleNotFoundError:
        return
    if name not in _SCHEMAS:
        _SCHEMAS[name] = json.loads(run("schema", name))
    jsonschema.validate(found, _SCHEMAS[name])


def source(found, name):
    """What an object says of one of its sources."""
    return next(s for s in found["sources"] if s["name"] == name)


class Program:
    """A program that runs beside the test case, and is gone after it."""

    def __init__(self, *argv):
        self._child = subprocess.Popen([str(word) for word in argv], bufsize=0,
                                       stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
        self._text = b""
        defer(self._end)

    def line(self):
        """The next line that it prints."""
        limit = time.monotonic() + PATIENCE
        while b"\n" not in self._text:
            left = max(0, limit - time.monotonic())
            if not select.select([self._child.stdout], [], [], left)[0]:
                raise TimeoutError(f"{self._child.args} says nothing")
            piece = os.read(self._child.stdout.fileno(), 65536)
            if not piece:
                raise EOFError(f"{self._child.args} has ended")
            self._text += piece
        line, self._text = self._text.split(b"\n", 1)
        return line.decode().strip()

    def json(self):
        """The next object that it prints, on one line or several."""
        text = self.line()
        while True:
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                text += self.line()

    def say(self, line):
        """Give it a line to read."""
        self._child.stdin.write(line.encode() + b"\n")

    def signal(self, number):
        """Send it a signal."""
        self._child.send_signal(number)

    def status(self):
        """Its exit status, once it has one."""
        return self._child.wait(PATIENCE)

    def _end(self):
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()


def check_item(found, name):
    """An item of what `devmem check --json` found."""
    return next(item for item in found["items"] if item["name"] == name)


def run_tool_test(src_path, cases):
    """Run test cases that get a DevmemEnv; without the tool the file skips."""
    if not DEVMEM.exists():
        print("TAP version 13")
        print(f"1..0 # SKIP {DEVMEM} is not built")
        raise SystemExit(4)
    run_in_env(src_path, lambda cfg: ksft_run(cases, args=(cfg,)))
    ksft_exit()
