# SPDX-License-Identifier: GPL-2.0

"""
Clones of packets that others are still at.
"""

import socket

from net.lib.py import defer

from .uapi import SO_RCVBUFFORCE

_ETH_P_ALL = 0x0003
_ROOM = 8 << 20


def hold_clones(cfg):
    """
    A packet socket that gets all that arrives, and does not read it. Its clones
    are there until it is closed, with the test case at the latest.
    """
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                            socket.htons(_ETH_P_ALL))
    defer(sniffer.close)
    sniffer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _ROOM)
    sniffer.bind((cfg.ifname, 0))
    return sniffer
