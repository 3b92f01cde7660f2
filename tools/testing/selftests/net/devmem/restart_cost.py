#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What a queue's restart costs, itself and the other queues: a dma-buf is bound to
queues 1, 2, and so on in turn and unbound again, DEVMEM_RESTARTS times (1,000 by
default), while a stream and numbered datagrams, both ways, pass through queue 0.

The figures go to restart_cost.json in the folder that RESULTS names.
"""

import json
import os
import statistics
import time

from lib.py import (Binding, Flow, MIB, Pace, Probe, Receiver, Traffic,
                    Udmabuf, bound_queues, defer, ethtool, ksft_eq, ksft_exit,
                    ksft_pr, ksft_run, leaves_nothing, run_in_env)

TURNS = 1000
# A restart posts as many buffers as the ring has: the smallest is enough.
RING = 512
PROGRESS = 64 << 10


def _figures(seconds):
    """Milliseconds: how long it takes as a rule, and at worst."""
    ordered = sorted(seconds)
    return {"median_ms": round(statistics.median(ordered) * 1000, 3),
            "p95_ms": round(ordered[len(ordered) * 95 // 100] * 1000, 3),
            "max_ms": round(ordered[-1] * 1000, 3)}


def _timed(took, work, *args):
    """Do it, and note how long it took."""
    start = time.monotonic()
    done = work(*args)
    took.append(time.monotonic() - start)
    return done


def _restart_in_turn(cfg, turns, check):
    """Bind and unbind; returns how long each took, in seconds."""
    bind, unbind = [], []
    dmabuf = Udmabuf(MIB)
    defer(dmabuf.close)
    pace = Pace(turns)
    for turn in range(turns):
        queue = 1 + turn % (cfg.num_queues - 1)
        binding = _timed(bind, Binding, cfg.ifindex, dmabuf.fd, [queue])
        _timed(unbind, binding.close)
        check()
        pace(turn + 1)
    return bind, unbind


@leaves_nothing
def restart_in_turn(cfg):
    """No connection fails, nothing is left, and the figures are written."""
    turns = int(os.environ.get("DEVMEM_RESTARTS") or TURNS)
    cfg.use_rx_ring(RING)
    ethtool(f"-X {cfg.ifname} equal 1")
    probes = {"rx": Probe(cfg, True), "tx": Probe(cfg, False)}
    sock, sender = cfg.connect("4", 0)
    flow = Flow(Receiver(sock, None, 0), sender)
    traffic = Traffic([flow])
    resets, losses = cfg.resets(), cfg.carrier_losses()
    try:
        bind, unbind = _restart_in_turn(cfg, turns, traffic.check)
        packets = {}
        for way, probe in probes.items():
            sent, lost = probe.finish()
            packets[way] = {"sent": sent, "lost": lost}
        traffic.wait_progress([flow], PROGRESS)
    finally:
        traffic.stop()
        flow.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    ksft_eq(cfg.resets(), resets)
    figures = {"turns": turns, "bind": _figures(bind),
               "unbind": _figures(unbind), "packets_of_queue_0": packets,
               "carrier_losses": cfg.carrier_losses() - losses}
    ksft_pr(json.dumps(figures))
    folder = os.environ.get("RESULTS")
    if folder:
        with open(f"{folder}/restart_cost.json", "w", encoding="ascii") as out:
            json.dump(figures, out)


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run([restart_in_turn], args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
