# SPDX-License-Identifier: GPL-2.0

"""Streams in a state that many test cases begin with."""

from net.lib.py import ksft_eq, ksft_ne

from .env import send
from .leftover import wait_for
from .uapi import CMSG_SPACE

# How long to look whether bytes that must not come do come. A retransmission
# or two fit in.
A_WHILE = 2


def queued_stream(cfg, size, ipver="4", chunk=1 << 16):
    """A Receiver with @size bytes waiting in the receive queue."""
    receiver, sender, _ = cfg.stream(ipver)
    send(sender, 0, size, chunk).finish()
    receiver.wait_queued(size)
    return receiver


def check_rest(receiver, size):
    """All of the stream is still to be had, in device memory."""
    before = receiver.position
    receiver.receive_all(size)
    ksft_eq(receiver.position, size)
    ksft_eq(receiver.kinds["plain"] + receiver.kinds["linear"], 0)
    ksft_ne(before, size, "there was nothing left to look for")


def with_tokens(cfg, size=20000, ipver="4"):
    """A Receiver that holds the tokens of the first @size bytes."""
    receiver, sender, _ = cfg.stream(ipver)
    send(sender, 0, size).finish()
    receiver.receive_all(size, keep=1 << 30)
    ksft_ne(len(receiver.tokens), 0)
    return receiver


def with_byte_tokens(cfg, count):
    """A Receiver that holds @count tokens of one byte each."""
    receiver, sender, _ = cfg.stream("6")
    send(sender, 0, count).finish()
    receiver.wait_queued(count)
    for _ in range(count):
        receiver.receive(size=1, control=CMSG_SPACE)
    ksft_eq(len(receiver.tokens), count)
    return receiver


def check_nothing_comes(receiver):
    """Nothing is delivered for a while."""
    wait_for(receiver.queued, A_WHILE)
    ksft_eq(receiver.queued(), 0, "bytes that should have been dropped")
