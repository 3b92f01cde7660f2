# SPDX-License-Identifier: GPL-2.0

"""
What has to hold after a queue could not be restarted as it should have been.
"""

from net.lib.py import ethtool, ip, ksft_eq, ksft_true

from .env import base_fails, send
from .leftover import bound_queues, dmabufs, page_pools, wait_for
from .stream import Receiver

SIZE = 5000

needs_fixes = base_fails("warns, and leaves the queue or the NIC as it is "
                         "(defects 8, 17, 20)")


def check_gone(cfg, inode):
    """No queue, no page pool and no attachment is left of a binding."""
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: not page_pools(cfg.netdev, cfg.ifindex), 20)
    ksft_eq(page_pools(cfg.netdev, cfg.ifindex), [])
    wait_for(lambda: inode not in dmabufs(), 20)
    ksft_true(inode not in dmabufs(), "the dma-buf is still held")


def check_traffic(cfg):
    """The queues take ordinary traffic, and a new binding."""
    for queue in cfg.queues:
        sock, sender = cfg.connect("4", queue)
        receiver = Receiver(sock, None, 0)
        send(sender, 0, SIZE).finish()
        receiver.receive_all(SIZE)
        ksft_eq(receiver.kinds["plain"], SIZE)
    receiver, sender, _ = cfg.stream("4")
    send(sender, 0, SIZE).finish()
    receiver.receive_all(SIZE)
    ksft_eq(receiver.kinds["dmabuf"], SIZE)


def wait_up(cfg):
    """Wait for the carrier, which a reset takes away for a moment."""
    wait_for(lambda: ip(f"link show dev {cfg.ifname}",
                        json=True)[0]["operstate"] == "UP", 60)
    ksft_eq(ip(f"link show dev {cfg.ifname}", json=True)[0]["operstate"], "UP")
    # the device forgets it with a reset
    ethtool(f"-X {cfg.ifname} equal {cfg.queues[0]}")
