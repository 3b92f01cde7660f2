# SPDX-License-Identifier: GPL-2.0

"""
A steady stream of numbered datagrams: what of it is lost on its way, and how
late the rest is.
"""

import mmap
import socket
import struct
import time

from net.lib.py import NetNSEnter

from .workers import Worker

# Seconds between two datagrams.
PERIOD = 0.002
# What the NIC or a qdisc keeps for a while has to arrive, too.
PATIENCE = 2
RCVBUF = 4 << 20
SO_RCVBUFFORCE = 33
# Its number, and when it was sent, by the clock that both ends have.
DATAGRAM = struct.Struct("!Id")

_GO, _STOP = range(2)


class Probe:
    """
    Datagrams between the two ends until finish(): with @inbound from the remote
    end to RX queue @queue of the local NIC, else from there to the remote end.

    Make it before anything else that a test opens: its processes keep that.
    """

    def __init__(self, cfg, inbound, queue=0):
        self._state = mmap.mmap(-1, 1)
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with NetNSEnter(cfg.remote_ns):
            there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here.bind((cfg.addr_v["4"], 0))
        there.bind((cfg.remote_addr_v["4"], 0))
        sender, receiver = (there, here) if inbound else (here, there)
        sender.connect(receiver.getsockname())
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RCVBUF)
        if inbound:
            cfg.steer("4", here.getsockname()[1], queue, "udp")
        self._receive = Worker(self._count, receiver)
        self._send = Worker(self._number, sender)
        here.close()
        there.close()

    def _number(self, sock):
        sent = 0
        due = time.monotonic()
        while self._state[0] == _GO:
            sock.send(DATAGRAM.pack(sent, time.monotonic()))
            sent += 1
            due += PERIOD
            time.sleep(max(0, due - time.monotonic()))
        return sent

    def _count(self, sock):
        sock.settimeout(PATIENCE)
        late = {}
        while True:
            try:
                number, when = DATAGRAM.unpack(sock.recv(64))
                late.setdefault(number, time.monotonic() - when)
            except TimeoutError:
                if self._state[0] == _STOP:
                    return sorted(late.values())

    def finish(self):
        """
        Stop; returns how many datagrams were sent, and in ascending order how
        many seconds each of those that arrived took.
        """
        self._state[0] = _STOP
        return self._send.result(), self._receive.result()
