# SPDX-License-Identifier: GPL-2.0

"""
A stream over a NIC, or a wire, with faults: what a test of something else runs
under, too.
"""

import contextlib
import re
import socket
import time

from net.lib.py import ksft_eq, ksft_ge

from . import tcpinfo
from .pattern import pattern
from .stream import Receiver

_TCP_RTO_MAX_MS, _TCP_RTO_MIN_US = 44, 45

# Frames of the remote end that carry data: more than 66 bytes of headers, as
# TCP over IPv4 with timestamps has. The third and the fourth are struck, so
# that some go before and some come behind.
_DATA = "port=1,min-len=67,nth=3"
# What the stream begins with if a fault can only be had before that.
_FIRST = 1000
# How long to look whether that comes, in seconds.
_A_MOMENT = 0.5

KINDS = {
    "drop": f"drop={_DATA},count=2",
    "reorder": f"reorder={_DATA},count=2,by=2",
    "duplicate": f"duplicate={_DATA},count=4",
    "corrupt": f"corrupt={_DATA},count=2",
    "irq-lost": None,
    "queue-stuck": None,
}


def rx_block(cfg, queue):
    """Number of the notification block of an RX queue, by its interrupt."""
    napi = cfg.netdev.queue_get({"ifindex": cfg.ifindex, "type": "rx",
                                 "id": queue})["napi-id"]
    irq = cfg.netdev.napi_get({"id": napi})["irq"]
    with open("/proc/interrupts", encoding="ascii") as table:
        found = re.search(rf"^ *{irq}:.*ntfy-blk(\d+)", table.read(), re.M)
    return int(found.group(1))


def impatient(sender):
    """Have a socket send again soon what was lost."""
    sender.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MIN_US, 50000)
    sender.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, 1000)


class Weather:
    """
    One kind of fault (KINDS).

    A queue that is stuck, or whose interrupt was lost, stays silent until it
    is restarted. So these two strike a first binding; the second, which is the
    one that the test gets, has to take over from it.
    """

    def __init__(self, cfg, kind):
        self._cfg = cfg
        self._stack = None
        self.kind = kind

    def bind(self, sender=None, received=None):
        """
        A dma-buf and its binding, as cfg.bind() makes them.

        With a stream's ends, @received a function that returns the bytes in
        the receive queue, the first bytes of the stream go into the first
        binding and get lost there.
        """
        cfg, queue = self._cfg, self._cfg.queues[0]
        if self.kind not in ("irq-lost", "queue-stuck"):
            return cfg.bind()
        stuck = self.kind == "queue-stuck"
        with self._faults(f"queue-stuck=port=0,queue={queue}", stuck):
            dmabuf, binding = cfg.bind()
        if sender:
            lost = "" if stuck else \
                f"irq-lost=port=0,block={rx_block(cfg, queue)}"
            with self._faults(lost, not stuck):
                sender.sendall(pattern(0, _FIRST))
                time.sleep(_A_MOMENT)
                ksft_eq(received(), 0, "the queue should be silent")
        binding.close()
        dmabuf.close()
        return cfg.bind()

    def _faults(self, fault, wanted):
        """A context in which there is this fault, or none."""
        return self._cfg.faults(fault) if wanted else contextlib.nullcontext()

    def stream(self, ipver="4"):
        """
        Like cfg.stream(): (Receiver, sending socket, Binding). What was sent
        to get the fault is received already.
        """
        sock, sender = self._cfg.connect(ipver)
        impatient(sender)
        receiver = Receiver(sock, None, 0)
        dmabuf, binding = self.bind(sender, receiver.queued)
        receiver = Receiver(sock, dmabuf, binding.id)
        if KINDS[self.kind] is None:
            # they may come while the queue is not bound
            receiver.receive_all(_FIRST)
            receiver.kinds = dict.fromkeys(receiver.kinds, 0)
        return receiver, sender, binding

    def __enter__(self):
        """From here on frames are struck."""
        fault = KINDS[self.kind]
        self._stack = contextlib.ExitStack()
        if fault:
            self._stack.enter_context(self._cfg.faults(fault))
        return self

    def __exit__(self, *_):
        self._stack.close()

    def check_struck(self, sender):
        """Some of the faults can be seen at the sender."""
        if self.kind in ("drop", "corrupt", "irq-lost", "queue-stuck"):
            ksft_ge(tcpinfo.retransmitted(sender), 1)
