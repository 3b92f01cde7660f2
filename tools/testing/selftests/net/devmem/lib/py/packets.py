# SPDX-License-Identifier: GPL-2.0

"""What the stack got from the NIC: packets, counted where IP begins."""

import re

from .tracing import EventTrace, has_event

_EVENT = "net/netif_receive_skb"


def can_watch():
    """Whether the kernel lets a test watch packets."""
    return has_event(_EVENT)


class PacketWatch(EventTrace):
    """
    Records the length of every packet that a NIC's driver, or GRO on its
    behalf, hands to the stack.
    """

    def __init__(self, ifname):
        super().__init__(_EVENT)
        self._ifname = ifname

    def lengths(self):
        """
        Length of each packet since the start or the last call, IP header
        included, Ethernet header not.
        """
        found = re.findall(rf"dev={re.escape(self._ifname)} .*len=(\d+)",
                           self.text())
        self.forget()
        return [int(length) for length in found]
