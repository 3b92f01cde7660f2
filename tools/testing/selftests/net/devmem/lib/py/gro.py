# SPDX-License-Identifier: GPL-2.0

"""GRO that finds something to merge."""

from net.lib.py import defer


def exchange(path, value):
    """Write to a file of sysfs or procfs; returns what it said before."""
    with open(path, encoding="ascii") as file:
        before = file.read().strip()
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))
    return before


def poll_seldom(cfg):
    """
    Let the driver poll every 20 ms in place of an interrupt per packet, so
    that GRO finds packets to merge however slow the machine is.
    """
    for name, value in (("napi_defer_hard_irqs", 1 << 20),
                        ("gro_flush_timeout", 20_000_000)):
        path = f"/sys/class/net/{cfg.ifname}/{name}"
        defer(exchange, path, exchange(path, value))
