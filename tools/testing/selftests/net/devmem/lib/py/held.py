# SPDX-License-Identifier: GPL-2.0

"""
The numbers of a socket's tokens against a model of them: a new token gets the
lowest number that is free, one that came back is free, and 0 is no token.
"""

import socket

from net.lib.py import ksft_eq

from .stream import StreamError, dontneed
from .rawmsg import RawReceive
from .uapi import CMSG_SPACE, MAX_DONTNEED_FRAGS, MAX_DONTNEED_TOKENS

# Tokens of one call, at most.
ROOM = 1024


def lowest_free(held, count):
    """
    The @count lowest numbers that are not in @held.

    >>> lowest_free({1, 2, 5}, 3)
    [3, 4, 6]
    """
    found = []
    number = 1
    while len(found) < count:
        if number not in held:
            found.append(number)
        number += 1
    return found


def check_numbers(got, want, what=""):
    """Compare numbers with those that should be; says where they part."""
    for place, (one, other) in enumerate(zip(got, want)):
        if one != other:
            near = slice(max(0, place - 2), place + 6)
            raise StreamError(f"{what} token {place} of {len(got)} is {one} "
                              f"and should be {other}: {got[near]}, not "
                              f"{want[near]}")
    ksft_eq(len(got), len(want), what)


class Held:
    """
    What a socket holds. Each call is checked against the model.

    Attributes:
      sock: the socket
      held: numbers of the tokens that are out
    """

    def __init__(self, sock, held=()):
        self.sock = sock
        self.held = set(held)
        self._receive = RawReceive(size=1 << 20, control=ROOM * CMSG_SPACE)

    def receive(self, flags=0, control_at=None, **kwargs):
        """
        One recvmsg(), arguments as RawReceive has them; returns the numbers of
        its tokens.
        """
        got = self._receive(self.sock, flags, control_at=control_at, **kwargs)
        pieces = self._receive.pieces(control_at=control_at)
        ksft_eq(sum(piece.size for piece in pieces), got)
        return self.came([piece.token for piece in pieces])

    def peek(self, count):
        """@count tokens for what is queued, by as many calls as it takes."""
        numbers = []
        while len(numbers) < count:
            room = min(count - len(numbers), ROOM)
            new = self.receive(socket.MSG_PEEK, control=room * CMSG_SPACE)
            if not new:
                raise StreamError("nothing is queued")
            numbers += new
        return numbers

    def bytewise(self, count):
        """Receive @count single bytes; returns the numbers of their tokens."""
        numbers = []
        for _ in range(count):
            numbers += self.receive(size=1, control=CMSG_SPACE)
        ksft_eq(len(numbers), count)
        return numbers

    def came(self, numbers):
        """These came, in this order, from a call that began with all else."""
        check_numbers(numbers, lowest_free(self.held, len(numbers)),
                      f"with {len(self.held)} out")
        self.held.update(numbers)
        return numbers

    def give_back(self, *ranges):
        """
        One SO_DEVMEM_DONTNEED of (first, count) ranges, known or not; returns
        how many tokens it freed.
        """
        freed, budget = 0, MAX_DONTNEED_FRAGS
        for first, count in ranges:
            count = min(count, budget)
            budget -= count
            for number in range(first, first + count):
                if number in self.held:
                    self.held.remove(number)
                    freed += 1
        ksft_eq(dontneed(self.sock, ranges), freed)
        return freed

    def give_back_each(self, numbers):
        """Give back one by one, in this order, with few calls."""
        numbers = list(numbers)
        for first in range(0, len(numbers), MAX_DONTNEED_TOKENS):
            batch = numbers[first:first + MAX_DONTNEED_TOKENS]
            ksft_eq(self.give_back(*((number, 1) for number in batch)),
                    len(batch))

    def give_back_all(self):
        """Everything, by ranges of as many tokens as a call takes."""
        top = max(self.held, default=0)
        for first in range(1, top + 1, MAX_DONTNEED_FRAGS):
            self.give_back((first, MAX_DONTNEED_FRAGS))
        ksft_eq(self.held, set())
