# SPDX-License-Identifier: GPL-2.0
"""One transfer: `ncdevmem serve` at one end of the wire, `send` at the other,
with n-tuple rules that spread the flows over the bound queues.
"""

import json
import subprocess
import time
from dataclasses import dataclass

from . import nic
from .errors import GuestError
from .shell import run_json

# Sum up over the families of a run.
COUNTS = ("bytes_total", "bytes_devmem", "bytes_linear", "frags", "tokens_released")
SOURCE_PORT = 20000
SERVER_PORT = 5201
# Bytes in the dma-buf: less than is moved, so that all of it is used again.
DMABUF_SIZE = 64 << 20
# Nothing moved for this many seconds: under full emulation a lost segment
# costs several, a dead stream never comes back.
SILENCE = 120


@dataclass(frozen=True)
class Job:
    """What to transfer over one address family."""

    version: str
    bytes: int
    flows: int
    queues: tuple
    impl: str


def transfer(ncdevmem, job, out, say):
    """Run a job; returns (the server's record, what failed).

    `say` gets progress lines.
    """
    rules = [nic.add_rule(nic.SERVER, job.version,
                          f"dst-port {SERVER_PORT} src-port {SOURCE_PORT + flow}",
                          job.queues[flow % len(job.queues)])
             for flow in range(job.flows)]
    try:
        return _transfer(ncdevmem, job, out, say)
    finally:
        for rule in rules:
            nic.delete_rule(nic.SERVER, rule)


def _transfer(ncdevmem, job, out, say):
    name = f"ipv{job.version}"
    ready = out / f"{name}.ready"
    for stale in (ready, out / f"{name}-serve.json"):
        stale.unlink(missing_ok=True)
    address = nic.SERVER.address[job.version]
    host = f"[{address}]" if job.version == "6" else address
    server = _start(nic.SERVER, out / f"{name}-serve.log", [
        ncdevmem, "serve", "--dev", nic.SERVER.ifname,
        "--queues", ",".join(map(str, job.queues)), "--addr", address,
        "--port", SERVER_PORT, "--flows", job.flows, "--size", DMABUF_SIZE, "--verify",
        "--bytes", job.bytes, "--timeout", SILENCE, "--ready-file", ready,
        "--json", out / f"{name}-serve.json"])
    client = None
    try:
        _wait_ready(server, ready)
        client = _start(nic.CLIENT, out / f"{name}-send.log", [
            ncdevmem, "send", "--to", f"{host}:{SERVER_PORT}", "--flows", job.flows,
            "--bytes", job.bytes, "--bind-port", SOURCE_PORT, "--timeout", SILENCE,
            "--json", out / f"{name}-send.json"])
        _watch(job, server, client, say)
    finally:
        for child in filter(None, (client, server)):
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
    failed = [child.story() for child in (server, client) if child.process.returncode != 0]
    record = out / f"{name}-serve.json"
    if not record.is_file():
        raise GuestError("\n".join(failed) or f"{server.what} wrote no {record}")
    return json.loads(record.read_text()), failed


class _Child:
    """A running ncdevmem and where its words go."""

    def __init__(self, process, log, what):
        self.process = process
        self.log = log
        self.what = what

    def story(self):
        """How it ended and the last it said."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"{self.what} ended with status {self.process.returncode}:",
                          *("  | " + line for line in lines)])


def _start(end, log, argv):
    argv = ["ip", "netns", "exec", end.ns, *map(str, argv)]
    with open(log, "wb") as sink:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink,
                                   stderr=subprocess.STDOUT)
    return _Child(process, log, f"`ncdevmem {argv[5]}` in {end.ns}")


def _wait_ready(server, ready, deadline=120):
    end = time.monotonic() + deadline
    while not ready.exists():
        if server.process.poll() is not None:
            raise GuestError(server.story())
        if time.monotonic() > end:
            raise GuestError(f"{server.what} was not ready after {deadline} s\n{server.story()}")
        time.sleep(0.05)


def _received():
    """Bytes that the server's NIC has received so far."""
    link = run_json(f"ip -j -s link show dev {nic.SERVER.ifname}", ns=nic.SERVER.ns)[0]
    return link["stats64"]["rx"]["bytes"]


def _watch(job, server, client, say):
    """Wait for both ends, with a progress line now and then."""
    started = last = time.monotonic()
    base = before = _received()
    grace = None
    while server.process.poll() is None or client.process.poll() is None:
        time.sleep(0.1)
        now = time.monotonic()
        if any(child.process.poll() not in (None, 0) for child in (server, client)):
            # the other end may still say why
            grace = grace or now + 10
            if now > grace:
                return
        if now - last >= 3:
            total = _received()
            say(f"IPv{job.version}: {(total - base) >> 20} of {job.bytes >> 20} MiB on the wire, "
                f"{(total - before) / (now - last) / (1 << 20):.1f} MiB/s, {now - started:.0f} s")
            last, before = now, total
