#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What a queue's restart costs, itself and the other queues: a dma-buf is bound to
one of the queues 1 to n and unbound again, over and over, then to the next one,
DEVMEM_RESTARTS times in all (1,000 by default). Meanwhile a stream passes
through each other queue, and numbered datagrams to one of them and back.

The figures go to restart_cost.json in the folder that RESULTS names.
"""

import contextlib
import json
import os
import statistics
import time

from lib.py import (Flow, MIB, Pace, Probe, Receiver, Traffic, Udmabuf,
                    bind_request, bound_queues, ethtool, ksft_eq, ksft_exit,
                    ksft_pr, ksft_run, leaves_nothing, netdev_family,
                    run_in_env)

TURNS = 1000
# A restart posts as many buffers as the ring has: the smallest is enough.
RING = 512
PROGRESS = 64 << 10


def _summary(seconds):
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


@contextlib.contextmanager
def _streams(cfg, queues):
    """
    A connection through each of @queues, busy while the body runs and alive
    after it. Gives a function that raises what went wrong so far.
    """
    flows = []
    for queue in queues:
        sock, sender = cfg.connect("4", queue)
        flows.append(Flow(Receiver(sock, None, 0), sender))
    traffic = Traffic(flows)
    try:
        yield traffic.check
        traffic.wait_progress(flows, PROGRESS)
    finally:
        traffic.stop()
        for flow in flows:
            flow.close()


class _Figures:
    """What is measured, over all queues."""

    def __init__(self):
        self.bind, self.unbind = [], []
        self._sent = {"rx": 0, "tx": 0}
        self._delays = {"rx": [], "tx": []}

    def take(self, way, probe):
        """The end of a probe."""
        sent, delays = probe.finish()
        self._sent[way] += sent
        self._delays[way] += delays

    def packets(self):
        """Of the probes: how many, and what became of them."""
        return {way: {"sent": sent, "lost": sent - len(self._delays[way]),
                      "delay": _summary(self._delays[way])}
                for way, sent in self._sent.items()}


def _restart(cfg, queue, turns, figures):
    """Bind and unbind @queue, while the others have traffic."""
    others = [other for other in range(cfg.num_queues) if other != queue]
    probes = {"rx": Probe(cfg, True, others[queue % len(others)]),
              "tx": Probe(cfg, False)}
    dmabuf = Udmabuf(MIB)
    request = bind_request(cfg.ifindex, dmabuf.fd, [queue])
    try:
        with _streams(cfg, others) as check:
            pace = Pace(turns)
            for turn in range(turns):
                # the socket, and the first time the spec, are not timed
                with netdev_family() as netdev:
                    _timed(figures.bind, netdev.bind_rx, request)
                    _timed(figures.unbind, netdev.close)
                check()
                pace(turn + 1)
            for way, probe in probes.items():
                figures.take(way, probe)
    finally:
        dmabuf.close()


@leaves_nothing
def restart_in_turn(cfg):
    """No connection fails, nothing is left, and the figures are written."""
    turns = int(os.environ.get("DEVMEM_RESTARTS") or TURNS)
    cfg.use_rx_ring(RING)
    ethtool(f"-X {cfg.ifname} equal 1")
    resets, losses = cfg.resets(), cfg.carrier_losses()
    figures = _Figures()
    queues = range(1, cfg.num_queues)
    for queue in queues:
        _restart(cfg, queue, (turns + queue - 1) // len(queues), figures)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    ksft_eq(cfg.resets(), resets)
    found = {"turns": len(figures.bind), "bind": _summary(figures.bind),
             "unbind": _summary(figures.unbind),
             "packets_of_others": figures.packets(),
             "carrier_losses": cfg.carrier_losses() - losses}
    ksft_pr(json.dumps(found))
    folder = os.environ.get("RESULTS")
    if folder:
        with open(f"{folder}/restart_cost.json", "w", encoding="ascii") as out:
            json.dump(found, out)


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run([restart_in_turn], args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
