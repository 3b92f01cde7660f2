# SPDX-License-Identifier: GPL-2.0

"""
Clones of packets that others are still at.
"""

import os
import socket

from net.lib.py import defer, ip, tc

from .bpf import clone_to
from .uapi import SO_RCVBUFFORCE

_ETH_P_ALL = 0x0003
_ROOM = 8 << 20


def hold_clones(cfg):
    """
    A packet socket that gets all that arrives, and does not read it. Its clones
    are there until it is closed, with the test case at the latest. They have
    no unreadable frags: the socket has cut those off.
    """
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                            socket.htons(_ETH_P_ALL))
    defer(sniffer.close)
    sniffer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _ROOM)
    sniffer.bind((cfg.ifname, 0))
    return sniffer


class Mirror:
    """
    A program has all that arrives cloned to another device, whose queue keeps
    it until this is closed, with the test case at the latest.

    The packets themselves go on with heads of their own, which are writable.
    """

    DEVICE = "clones0"

    def __init__(self, cfg):
        self._link = None
        ip(f"link add {self.DEVICE} type dummy")
        self._there = True
        defer(self.close)
        ip(f"link set {self.DEVICE} up")
        tc(f"qdisc add dev {self.DEVICE} root netem delay 200s limit 100000")
        self._link = clone_to(cfg.ifindex, socket.if_nametoindex(self.DEVICE))

    def waiting(self):
        """How many clones there are."""
        queue = tc(f"-s qdisc show dev {self.DEVICE}", json=True)[0]
        return queue["qlen"]

    def close(self):
        """Free the clones, and make no more."""
        if self._link is not None:
            os.close(self._link)
            self._link = None
        if self._there:
            self._there = False
            ip(f"link del {self.DEVICE}")
