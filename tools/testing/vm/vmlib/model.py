# SPDX-License-Identifier: GPL-2.0
"""The emulated gVNIC: built in the build root, run beside QEMU."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import paths, sandbox, ui
from .errors import HarnessError

SOURCE = paths.REPO / "tools/testing/gve"
TARGET = paths.CACHE / "target-gve"
BINARY = TARGET / "release/gvnic"
READY_TIMEOUT = 20  # seconds
# In the results: a test in the guest writes faults there, see `gvnic --help`.
FAULTS = "faults"


@dataclass(frozen=True)
class Options:
    """What the device model is asked for; see `gvnic --help`."""

    ports: int = 2
    topology: str = "wire"
    queues: int = 16
    mtu: int = 9000
    split_late: int = 0  # bytes of payload that stay in the header buffer
    extra: tuple = ()

    def arguments(self, folder, results):
        argv = ["--fault-file", str(results / FAULTS)]
        for socket in self.sockets(folder):
            argv += ["--socket", str(socket)]
        argv += ["--topology", self.topology, "--queues", str(self.queues),
                 "--mtu", str(self.mtu)]
        if self.split_late:
            argv += ["--split-late", str(self.split_late)]
        return argv + list(self.extra)

    def sockets(self, folder):
        return [Path(folder) / f"nic{port}" for port in range(self.ports)]


def build(stage):
    """Build the model with cargo; cargo knows what it can reuse."""
    cargo(stage, SOURCE, TARGET, "build", "--release", "--locked")
    if not BINARY.is_file():
        raise HarnessError(f"{SOURCE} built, but made no {BINARY.name}")


def cargo(stage, source, target, *arguments, log=None):
    """Run cargo on a workspace of ours, in the build root."""
    if not (source / "Cargo.toml").is_file():
        raise HarnessError(f"{source} has no Cargo.toml")
    target.mkdir(parents=True, exist_ok=True)
    return stage.run(sandbox.command(["cargo", *arguments], cwd=source), log=log,
                     env=sandbox.environment(CARGO_TARGET_DIR=target, CARGO_TERM_COLOR="never"))


@contextlib.contextmanager
def running(options, folder, log):
    """Run the model with its sockets in `folder` while the body runs.

    Its log, counters and faults are in the log's folder. Ends it with
    SIGTERM, so that it can write its counters.
    """
    ready = Path(folder) / "ready"
    line = sandbox.command(
        [BINARY, *options.arguments(folder, log.parent), "--ready-file", ready,
         "--stats", log.with_suffix(".json")],
        writable=(folder, log.parent))
    with open(log, "w") as sink:
        child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=sink,
                                 stderr=subprocess.STDOUT, env=sandbox.environment())
        try:
            deadline = time.monotonic() + READY_TIMEOUT
            while not ready.exists():
                if child.poll() is not None:
                    raise HarnessError(f"gvnic ended with status {child.returncode}\n"
                                       f"{ui.tail(log)}")
                if time.monotonic() > deadline:
                    raise HarnessError(f"gvnic was not ready after {READY_TIMEOUT} s\n"
                                       f"{ui.tail(log)}")
                time.sleep(0.05)
            yield child
        finally:
            stop(child)


def stop(child, grace=5):
    """End a sandboxed command: SIGTERM to it, then SIGKILL to the sandbox."""
    if child.poll() is None:
        for pid in _descendants(child.pid)[2:] or [child.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _descendants(pid):
    """`pid` and the processes below it, outermost first.

    bwrap is two of them: the one outside and pid 1 of the sandbox.
    """
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for inner in (task / "children").read_text().split():
                found += _descendants(int(inner))
    return found
