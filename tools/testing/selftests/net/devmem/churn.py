#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Bindings come and go under traffic, as often as DEVMEM_CHURN says: 1,000 times
by default, which takes three minutes under full emulation with lock debugging.

Each turn binds a dma-buf to a queue, which restarts the queue, and unbinds
it, which restarts it again, while two streams run: one through that queue,
one through its neighbour.
"""

import os

from lib.py import (Binding, Flow, MIB, Pace, Receiver, Traffic, Udmabuf,
                    bound_queues, defer, ksft_eq, ksft_exit, ksft_ne, ksft_pr,
                    ksft_run, leaves_nothing, run_in_env)

# Turns if nobody says otherwise.
TURNS = 1000
# A restart posts as many buffers as the ring has: the smallest is enough.
RING = 512
# A restart loses what is under way, and TCP takes its time to notice: only each
# REST-th turn waits until data moves again, each LAP-th until all has arrived.
REST, LAP, LONG = 10, 50, 64 << 10


class Buffers:
    """
    A dma-buf for each turn: what came into the one before may still be queued,
    and would be overwritten if the same memory were bound again.
    """

    def __init__(self):
        self._open = []
        defer(self.close)

    def new(self):
        """Another one."""
        self._open.append(Udmabuf(MIB))
        return self._open[-1]

    def close(self):
        """Close them: all data has been received."""
        for dmabuf in self._open:
            dmabuf.close()
        self._open = []


def _flow(cfg, queue, dmabuf):
    """A stream through a queue, not yet into device memory."""
    sock, sender = cfg.connect("4", queue)
    # no binding has this id
    return Flow(Receiver(sock, dmabuf, 0), sender)


@leaves_nothing
def bind_and_unbind(cfg):
    """Bind and unbind in a loop; both streams go on, and memory comes back."""
    turns = int(os.environ.get("DEVMEM_CHURN") or TURNS)
    cfg.use_rx_ring(RING)
    queue, neighbour = cfg.queues[:2]
    buffers = Buffers()
    flow = _flow(cfg, queue, buffers.new())
    other = _flow(cfg, neighbour, buffers.new())
    flows = [flow, other]
    traffic = Traffic(flows)
    pace = Pace(turns)
    ids = set()
    try:
        for turn in range(1, turns + 1):
            dmabuf = buffers.new()
            # the reader has to know the id before it sees it
            with flow.lock:
                binding = Binding(cfg.ifindex, dmabuf.fd, [queue])
                flow.receiver.expect(dmabuf, binding.id)
            try:
                ids.add(binding.id)
                if turn % REST == 0:
                    traffic.wait_progress(flows,
                                          LONG if turn % LAP == 0 else 1)
                traffic.check()
            finally:
                binding.close()
            if turn % LAP == 0:
                traffic.drain()
                buffers.close()
            pace(turn)
        traffic.wait_progress(flows, LONG)
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
