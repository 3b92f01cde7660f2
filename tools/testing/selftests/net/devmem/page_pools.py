#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What a page pool costs others while it waits for the memory that it has lent.
"""

import time

from lib.py import (KsftSkipEx, Receiver, bound_queues, defer, ethtool, holding,
                    ksft_eq, ksft_exit, ksft_ne, ksft_run,
                    leaves_nothing, run_in_env, send, wait_for)
from lib.py.tracing import PurgeTrace, has_event

# Seconds to look: a dead page pool looks for its memory every second.
LOOK = 10


def _purges_in_a_while():
    """How often in a while a CPU was asked for what it has put off."""
    if not has_event(PurgeTrace.EVENT):
        raise KsftSkipEx(f"the kernel has no event {PurgeTrace.EVENT}")
    trace = PurgeTrace()
    try:
        time.sleep(LOOK)
        return trace.count()
    finally:
        trace.close()


def _dead_pools(cfg):
    """Page pools that are gone but for what they have lent."""
    return [pool for pool in cfg.netdev.page_pool_get({}, dump=True)
            if "detach-time" in pool and pool.get("inflight")]


@leaves_nothing
def ordinary(cfg):
    """
    The rings are made anew while a socket has unread packets of the old ones.
    There is no memory provider that waits for them.
    """
    rings = cfg.rings()["rx"]
    sock, sender = cfg.connect("4", cfg.queues[0])
    send(sender, 0, 50000).finish()
    receiver = Receiver(sock, None, 0)
    receiver.wait_queued(50000)
    ksft_eq(_dead_pools(cfg), [])
    ethtool(f"-G {cfg.ifname} rx {rings // 2}")
    defer(cfg.wait_carrier)
    defer(ethtool, f"-G {cfg.ifname} rx {rings}")
    cfg.wait_carrier()
    time.sleep(2)
    ksft_ne(_dead_pools(cfg), [])
    ksft_eq(_purges_in_a_while(), 0)
    ksft_ne(_dead_pools(cfg), [])
    receiver.receive_all(50000)
    ksft_eq(receiver.kinds["plain"], 50000)


@leaves_nothing
def device_memory(cfg):
    """
    A program keeps device memory beyond the binding. No CPU has put anything
    off that could be given back instead.
    """
    receiver, _, binding = holding(cfg)
    binding.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: _dead_pools(cfg), 10)
    time.sleep(2)
    ksft_ne(_dead_pools(cfg), [])
    ksft_eq(_purges_in_a_while(), 0)
    ksft_ne(_dead_pools(cfg), [])
    receiver.release()


CASES = [
    ordinary,
    device_memory,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
