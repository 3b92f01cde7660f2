# SPDX-License-Identifier: GPL-2.0

"""
An RX queue of the NIC, leased to a netkit device in another network namespace,
and the ways of the packets there and back.
"""

import json
import os
import socket

from net.lib.py import NetNS, NetNSEnter, UserNetNS, cmd, defer, ip

from .binding import Binding, netdev_family
from .bpf import redirect_queue

HOST = "dmhost"
GUEST = "dmguest"
# Enough for queue 0, which cannot be leased, and two more.
QUEUES = 3

# for a moment, as ip-netns(8) wants a name
_OURS = "dmours"
_OURS_ID = 0
_FORWARDING = "/proc/sys/net/ipv6/conf/all/forwarding"
_PREFIX = "2001:db8:dead"
_HOST_ADDR = f"{_PREFIX}::1"
GUEST_ADDR = f"{_PREFIX}::2"


class Netkit:
    """
    A pair of netkit devices: HOST beside the NIC, GUEST in a netns of its own.

    All of it goes with the test case, or with delete().

    Attributes:
      ns: the network namespace of GUEST, a NetNS or UserNetNS
      ifindex: of GUEST
      host_ifindex: of HOST
    """

    def __init__(self, cfg, user_ns=False):
        self._cfg = cfg
        self._redirect = None
        # the first one is kept for later; in GUEST's netns it would keep that
        netdev_family().close()
        self.ns = UserNetNS() if user_ns else NetNS()
        defer(self.delete_ns)
        # before the move below gives ours an id there by itself
        self._name_our_netns()
        ip(f"link add {HOST} numrxqueues {QUEUES} type netkit mode l2 "
           f"forward peer forward name {GUEST} numrxqueues {QUEUES}")
        defer(self.delete)
        ip(f"link set dev {GUEST} netns {self.ns.name}")
        self.host_ifindex = self._find(ip(f"link show dev {HOST}", json=True))
        self.ifindex = self._find(ip(f"link show dev {GUEST}", json=True,
                                     ns=self.ns))

    def _name_our_netns(self):
        """An id in GUEST's netns for ours, by which a lease names the NIC."""
        ip(f"netns attach {_OURS} {os.getpid()}")
        try:
            ip(f"netns set {_OURS} {_OURS_ID}", ns=self.ns)
        finally:
            ip(f"netns del {_OURS}")

    @staticmethod
    def _find(links):
        return links[0]["ifindex"]

    def netdev(self):
        """A NetdevFamily whose socket is in GUEST's netns."""
        with NetNSEnter(self.ns.name):
            return netdev_family()

    def lease(self, queue):
        """Lease a queue of the NIC; returns its number in GUEST."""
        with self.netdev() as netdev:
            return netdev.queue_create({
                "ifindex": self.ifindex, "type": "rx",
                "lease": {"ifindex": self._cfg.ifindex, "netns-id": _OURS_ID,
                          "queue": {"id": queue, "type": "rx"}}})["id"]

    def bind(self, fd, queues):
        """Bind a dma-buf to queues of GUEST; ends with the test case."""
        with NetNSEnter(self.ns.name):
            binding = Binding(self.ifindex, fd, queues)
        defer(binding.close)
        return binding

    def up(self):
        """Addresses and routes; GUEST can be reached from the remote end."""
        with open(_FORWARDING, encoding="ascii") as file:
            old = file.read()
        self._forward("1")
        defer(self._forward, old)
        ip(f"-6 addr add {_HOST_ADDR}/64 dev {HOST} nodad")
        ip(f"link set dev {HOST} up")
        ip("link set dev lo up", ns=self.ns)
        ip(f"-6 addr add {GUEST_ADDR}/64 dev {GUEST} nodad", ns=self.ns)
        ip(f"link set dev {GUEST} up", ns=self.ns)
        ip(f"-6 route add default via {_HOST_ADDR}", ns=self.ns)
        route = f"{_PREFIX}::/64 via {self._cfg.addr_v['6']}"
        ip(f"-6 route add {route}", ns=self._cfg.remote_ns)
        defer(ip, f"-6 route del {route}", ns=self._cfg.remote_ns)

    @staticmethod
    def _forward(value):
        with open(_FORWARDING, "w", encoding="ascii") as file:
            file.write(value)

    def redirect(self, queue):
        """Let what arrives on a queue of the NIC go to GUEST."""
        link = redirect_queue(self._cfg.ifindex, queue, self.host_ifindex)
        self._redirect = defer(os.close, link)

    def no_redirect(self):
        """Let it stay with the NIC again."""
        if self._redirect is not None:
            self._redirect.exec()
            self._redirect = None

    def connect(self, queue):
        """
        A connection from the remote end to GUEST by way of a queue of the NIC.

        Returns (receiving socket, sending socket), closed with the test case.
        """
        with NetNSEnter(self.ns.name):
            listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        with listener:
            listener.bind((GUEST_ADDR, 0))
            listener.listen(1)
            listener.settimeout(60)
            port = listener.getsockname()[1]
            self._cfg.steer("6", port, queue)
            with NetNSEnter(self._cfg.remote_ns):
                sender = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            defer(sender.close)
            sender.settimeout(60)
            sender.connect((GUEST_ADDR, port))
            receiver, _ = listener.accept()
        receiver.setblocking(True)
        defer(receiver.close)
        return receiver, sender

    def exists(self):
        """Whether HOST is still there."""
        links = json.loads(cmd("ip -j link show").stdout)
        return any(link["ifname"] == HOST for link in links)

    def delete(self):
        """Delete both devices, and so end all leases."""
        if self.exists():
            ip(f"link del dev {HOST}")

    def delete_ns(self):
        """Remove the name of GUEST's netns; it ends with its last socket."""
        if self.ns is not None:
            ns, self.ns = self.ns, None
            ns.__del__()
