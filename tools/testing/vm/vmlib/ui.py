# SPDX-License-Identifier: GPL-2.0
"""Progress for people: one line a stage, with the time it took.

On a terminal the running stage shows a spinner, the elapsed time and the
last line of the command it runs; elsewhere (CI, a pipe) plain lines remain.
"""

import contextlib
import subprocess
import time

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from . import paths
from .errors import HarnessError

console = Console(highlight=False, soft_wrap=True)


class Stage:
    """A running stage; what it says ends up on its line."""

    def __init__(self, name, status):
        self.name = name
        self.started = time.monotonic()
        self._status = status
        self._result = "done"

    @property
    def seconds(self):
        return time.monotonic() - self.started

    def took(self, seconds):
        """The work was done before, beside another stage's, in so many seconds."""
        self.started = time.monotonic() - seconds

    def result(self, text):
        """What the finished line says instead of "done"."""
        self._result = text

    def note(self, text):
        """Say something now, below the lines so far."""
        console.print(f"  {self.name:<18} {escape(text)}")

    def tick(self, text):
        """Show `text` beside the spinner; nothing where there is none."""
        if self._status:
            room = max(console.width - 34, 10)
            line = Text(f"{self.name:<18} {self.seconds:5.0f} s  {text.strip()[:room]}")
            self._status.update(line)

    def log_path(self, name=None):
        """Where the log `name` is, build/logs/NAME.log."""
        return paths.LOGS / f"{(name or self.name).replace(' ', '-')}.log"

    def run(self, command, *, log=None, cwd=None, env=None, timeout=None, stdin=subprocess.DEVNULL):
        """Run a command, its output into a log, and fail loudly.

        Returns the log's path. The log is build/logs/NAME.log.
        """
        log = self.log_path(log)
        log.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout if timeout else None
        with open(log, "w") as sink:
            child = subprocess.Popen(
                [str(word) for word in command],
                stdin=stdin, stdout=sink, stderr=subprocess.STDOUT, cwd=cwd, env=env,
            )
            try:
                while True:
                    try:
                        status = child.wait(0.5)
                        break
                    except subprocess.TimeoutExpired:
                        self.tick(_last_line(log))
                    if deadline and time.monotonic() > deadline:
                        raise HarnessError(f"{self.name}: no end after {timeout} s; see {log}")
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
        if status != 0:
            raise HarnessError(f"{self.name}: exit status {status}\n{tail(log)}\n"
                               f"  whole log: {log}")
        return log


def tail(log, lines=25):
    """The last lines of a log, indented, for an error message; that there is none, if so."""
    if not log.is_file():
        return f"  | there is no {log.name}"
    text = log.read_text(errors="replace").rstrip().splitlines()[-lines:]
    return "\n".join("  | " + line for line in text)


def _last_line(log):
    with open(log, "rb") as handle:
        handle.seek(0, 2)
        handle.seek(max(handle.tell() - 4096, 0))
        lines = handle.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def stage(name):
    """Run a stage: print it when it ends, with its time and result."""
    spinner = console.status(name) if console.is_terminal else contextlib.nullcontext()
    with spinner as status:
        current = Stage(name, status)
        current.tick("")
        if not console.is_terminal:
            console.print(f"{name:<18} ...")
        try:
            yield current
        except BaseException:
            console.print(f"[red]{name:<18}[/] {current.seconds:5.0f} s  failed")
            raise
    console.print(f"[green]{name:<18}[/] {current.seconds:5.0f} s  {escape(current._result)}")
