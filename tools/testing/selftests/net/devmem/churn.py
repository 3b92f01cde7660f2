#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Bindings come and go under traffic, as often as DEVMEM_CHURN says.

Each turn binds a dma-buf to a queue, which restarts the queue, and unbinds
it, which restarts it again, while two streams run: one through that queue,
one through its neighbour.
"""

import os
import time

from lib.py import (Binding, Flow, MIB, Receiver, Traffic, Udmabuf, bound_queues,
                    defer, ethtool, ksft_eq, ksft_exit, ksft_ne, ksft_pr,
                    ksft_run, leaves_nothing, run_in_env)

# Turns if nobody says otherwise.
TURNS = 1000
# A restart posts as many buffers as the ring has: the smallest is enough.
RING = 512
# Each turn moves so many bytes into the dma-buf; each hundredth is longer.
STEP, LONG = 1, 64 << 10


def _small_rings(cfg):
    before = cfg.rings()["rx"]
    ethtool(f"-G {cfg.ifname} rx {RING}")
    defer(ethtool, f"-G {cfg.ifname} rx {before}")
    cfg.wait_carrier()


def _flow(cfg, queue):
    """A stream through a queue, not yet into device memory."""
    sock, sender = cfg.connect("4", queue)
    dmabuf = Udmabuf(4 * MIB)
    defer(dmabuf.close)
    # no binding has this id
    return Flow(Receiver(sock, dmabuf, 0), sender), dmabuf


class Pace:
    """Says how it goes, now and then."""

    def __init__(self, turns):
        self._turns = turns
        self._began = self._said = time.monotonic()

    def __call__(self, turn):
        now = time.monotonic()
        if now - self._said > 20 or turn == self._turns:
            self._said = now
            ksft_pr(f"{turn} of {self._turns} turns, "
                    f"{(now - self._began) / turn * 1000:.0f} ms each")


@leaves_nothing
def bind_and_unbind(cfg):
    """Bind and unbind in a loop; both streams go on, and memory comes back."""
    turns = int(os.environ.get("DEVMEM_CHURN") or TURNS)
    _small_rings(cfg)
    queue, neighbour = cfg.queues[:2]
    flow, dmabuf = _flow(cfg, queue)
    other, _ = _flow(cfg, neighbour)
    traffic = Traffic([flow, other])
    pace = Pace(turns)
    ids = set()
    try:
        for turn in range(1, turns + 1):
            # the reader has to know the id before it sees it
            with flow.lock:
                binding = Binding(cfg.ifindex, dmabuf.fd, [queue])
                flow.receiver.expect(dmabuf, binding.id)
            try:
                ids.add(binding.id)
                traffic.wait_progress([flow, other],
                                      STEP if turn % 100 else LONG)
            finally:
                binding.close()
            pace(turn)
        traffic.wait_progress([flow, other], LONG)
        ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
        ksft_eq(len(ids), turns, "ids must differ")
        ksft_pr(f"{flow.receiver.kinds}, beside it {other.receiver.kinds}")
        ksft_ne(flow.receiver.kinds["dmabuf"], 0)
        ksft_eq(other.receiver.kinds["dmabuf"], 0)
    finally:
        traffic.stop()
        flow.close()
        other.close()


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run([bind_and_unbind], args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
