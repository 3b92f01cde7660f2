# SPDX-License-Identifier: GPL-2.0

"""What the stack got from the NIC: packets, counted where IP begins."""

import os
import re

TRACING = "/sys/kernel/tracing"


def can_watch():
    """Whether the kernel lets a test watch packets."""
    return os.path.exists(f"{TRACING}/events/net/netif_receive_skb")


class PacketWatch:
    """
    Records the length of every packet that a NIC's driver, or GRO on its
    behalf, hands to the stack.
    """

    def __init__(self, ifname):
        self._instance = f"{TRACING}/instances/devmem-{os.getpid()}"
        self._ifname = ifname
        os.mkdir(self._instance)
        self._write("buffer_size_kb", "2048")
        self._write("events/net/netif_receive_skb/enable", "1")

    def _write(self, name, text):
        with open(f"{self._instance}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def lengths(self):
        """
        Length of each packet since the start or the last call, IP header
        included, Ethernet header not.
        """
        with open(f"{self._instance}/trace", encoding="ascii") as file:
            text = file.read()
        self._write("trace", "")
        found = re.findall(rf"dev={re.escape(self._ifname)} .*len=(\d+)", text)
        return [int(length) for length in found]

    def close(self):
        """Stop."""
        self._write("events/net/netif_receive_skb/enable", "0")
        os.rmdir(self._instance)
