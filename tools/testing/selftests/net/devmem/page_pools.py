#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What a page pool costs others while it waits for the memory that it has lent.
"""

import time

from lib.py import (Receiver, bound_queues, defer, ethtool, holding, ksft_eq,
                    ksft_exit, ksft_lt, ksft_ne, ksft_pr, ksft_run,
                    leaves_nothing, run_in_env, send, wait_for)

# Seconds to look, and how many function call interrupts in that time would make
# a difference: a dead page pool that wakes the CPUs does so once a second.
LOOK = 10
FEW = LOOK // 2
# How often to look: others send such interrupts as well, now and then.
LOOKS = 3


def _calls():
    """Function call interrupts so far, on all CPUs."""
    with open("/proc/interrupts", encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if fields[0] == "CAL:":
                return sum(int(n) for n in fields[1:] if n.isdigit())
    raise KeyError("CAL")


def _calls_while(what, enough=0):
    """How many more of them come in the quietest while, of @LOOKS or until @enough."""
    looks = []
    while len(looks) < LOOKS and min(looks, default=enough + 1) > enough:
        before = _calls()
        time.sleep(LOOK)
        looks.append(_calls() - before)
    ksft_pr(f"{looks} function call interrupts in {LOOK} s each {what}")
    return min(looks)


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
    idle = _calls_while("without a dead page pool", FEW)
    ksft_eq(_dead_pools(cfg), [])
    ethtool(f"-G {cfg.ifname} rx {rings // 2}")
    defer(cfg.wait_carrier)
    defer(ethtool, f"-G {cfg.ifname} rx {rings}")
    cfg.wait_carrier()
    time.sleep(2)
    ksft_ne(_dead_pools(cfg), [])
    calls = _calls_while("with a dead page pool", idle + FEW - 1)
    ksft_lt(calls, idle + FEW)
    ksft_ne(_dead_pools(cfg), [])
    receiver.receive_all(50000)
    ksft_eq(receiver.kinds["plain"], 50000)


@leaves_nothing
def device_memory(cfg):
    """
    A program keeps device memory beyond the binding. No CPU has put anything
    off that could be given back instead.
    """
    idle = _calls_while("without a dead page pool", FEW)
    receiver, _, binding = holding(cfg)
    binding.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: _dead_pools(cfg), 10)
    time.sleep(2)
    ksft_ne(_dead_pools(cfg), [])
    calls = _calls_while("with a dead page pool", idle + FEW - 1)
    ksft_lt(calls, idle + FEW)
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
