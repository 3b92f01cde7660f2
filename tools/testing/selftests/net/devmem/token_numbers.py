#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Which number a token gets: the lowest that is free, at any time and whatever
came back before, in whatever order. Programs rely on it: they remember the
first token of what some calls brought, and how many there were.

Elsewhere: what SO_DEVMEM_DONTNEED takes and refuses (tokens.py), numbers at the
limit (many_tokens.py), tokens of a socket that connects twice
(socket_states.py).
"""

import errno
import os
import random
import socket
import struct

from lib.py import (MIB, Binding, Receiver, Udmabuf, defect, defer, dontneed,
                    ksft_eq, ksft_exit, ksft_ge, ksft_gt, ksft_ne, ksft_pr,
                    ksft_run, ksft_true, ksft_variants, leaves_nothing,
                    os_error, run_in_env, send)
from lib.py.held import Held, check_numbers, lowest_free
from lib.py.rawmsg import Memory
from lib.py.stream import StreamError
from lib.py.uapi import (CMSG_SPACE, ETOOSMALL, MAX_DONTNEED_FRAGS,
                         MAX_DONTNEED_TOKENS)
from lib.py.workers import Worker

SEGMENT = 1400
RCVBUF = 4 * MIB
TOKEN = struct.Struct("=I")
# An address that no process has memory at.
NOWHERE = 8


def _queued(cfg, packets, ipver="4"):
    """A Held whose socket has @packets packets in its queue, each a frag."""
    receiver, sender, _ = cfg.stream(ipver, rcvbuf=RCVBUF)
    size = packets * SEGMENT
    send(sender, 0, size, chunk=SEGMENT).finish()
    receiver.wait_queued(size)
    return Held(receiver.sock)


@leaves_nothing
def from_one_on(cfg):
    """The first token is 1, then 2, 3, ..., in the order of the stream."""
    held = _queued(cfg, 100)
    for room in (1, 1, 2, 3, 5, 8, 13, 21, 34):
        held.receive(control=room * CMSG_SPACE)
    ksft_ge(max(held.held), 80)
    ksft_eq(held.held, set(range(1, max(held.held) + 1)))


@ksft_variants([32, 64, 256, 1024, 4096])
@leaves_nothing
def holes(cfg, border):
    """Holes on both sides of a border are filled first, lowest first."""
    held = _queued(cfg, 200)
    top = border + 40
    held.peek(top)
    for gone in ([border + 1, border, border - 1],
                 [1, border + 3, border // 2, border - 1, border + 1, 2],
                 list(range(border - 20, border + 20)),
                 [border], [1], [top], [top, 1]):
        held.give_back_each(gone)
        # in two calls at least, and on behind the last
        held.peek((len(gone) + 1) // 2)
        held.peek(len(gone) // 2 + 3)
        held.give_back((top + 1, 3))
        ksft_eq(held.held, set(range(1, top + 1)))


@leaves_nothing
def first_and_count(cfg):
    """
    A program that gives back (first token, count) of what some calls brought
    gives back all of it, turn after turn, under load.
    """
    receiver, sender, _ = cfg.stream("4", 16 * MIB, rcvbuf=8 * MIB)
    size = 3 * MIB
    thread = send(sender, 0, size)
    turns = []
    while receiver.position < size:
        tokens = []
        while len(tokens) < 200 and receiver.position < size:
            message = receiver.receive(size=1 << 19, control=256 * CMSG_SPACE)
            tokens += [piece.token for piece in message.pieces]
        receiver.tokens = []
        freed = dontneed(receiver.sock, [(tokens[0], len(tokens))])
        turns.append((tokens[0], len(tokens), freed))
        check_numbers(tokens, lowest_free((), len(tokens)),
                      f"turn {len(turns)}:")
    thread.finish()
    ksft_pr(f"(first, count, freed): {turns}")
    ksft_gt(len(turns), 4)
    ksft_eq([freed for _, _, freed in turns], [n for _, n, _ in turns])


@ksft_variants([31, 32, 33, 64, 65, 500])
@leaves_nothing
def range_again(cfg, count):
    """A range that was given back at once comes again in order."""
    held = _queued(cfg, 100)
    held.peek(600)
    for first in (1, 2, 33, 90):
        ksft_eq(held.give_back((first, count)), count)
        held.peek(count)
        ksft_eq(held.held, set(range(1, 601)))


@leaves_nothing
def given_back_in_any_order(cfg):
    """It does not matter in which order tokens came back."""
    held = _queued(cfg, 200)
    dice = random.Random(12)
    count = 700
    held.peek(count)
    for order in (range(1, count + 1), range(count, 0, -1),
                  dice.sample(range(1, count + 1), count),
                  [*range(2, count + 1, 2), *range(1, count + 1, 2)]):
        held.give_back_each(order)
        held.peek(count)
        # half of them, the same way
        held.give_back_each(list(order)[::2])
        held.peek(count // 2)


@leaves_nothing
def all_back(cfg):
    """After thousands that all came back it begins with 1 again."""
    held = _queued(cfg, 200)
    for count in (3000, 5000, 1):
        held.peek(count)
        held.give_back_all()
        ksft_eq(held.peek(3), [1, 2, 3])
        held.give_back_all()
        ksft_eq(held.bytewise(2), [1, 2])
        held.give_back_all()


@leaves_nothing
def peek_then_receive(cfg):
    """Tokens of a peek and of the receive have numbers from one row."""
    held = _queued(cfg, 60)
    peeked = held.peek(50)
    ksft_eq(peeked, list(range(1, 51)))
    received = held.receive(control=10 * CMSG_SPACE)
    ksft_eq(received, list(range(51, 61)))
    held.give_back((peeked[0], len(peeked)))
    ksft_eq(held.receive(socket.MSG_PEEK, control=5 * CMSG_SPACE),
            [1, 2, 3, 4, 5])
    ksft_eq(held.receive(control=5 * CMSG_SPACE), [6, 7, 8, 9, 10])
    held.give_back((received[0], len(received)))
    ksft_eq(held.peek(41), [*range(11, 51), 51])


@leaves_nothing
def cut_short(cfg):
    """
    Numbers that a call took and did not need are free again: one that ends
    for want of room in the control buffer or the iov.
    """
    held = _queued(cfg, 150)
    held.peek(100)
    held.give_back((10, 40), (90, 2))
    free = [*range(10, 50), 90, 91, *range(101, 200)]
    for arguments in ({"control": CMSG_SPACE}, {"control": 3 * CMSG_SPACE + 39},
                      {"size": 1}, {"size": SEGMENT}, {"size": SEGMENT + 1},
                      {"size": 10 * SEGMENT + 7},
                      {"control": 20 * CMSG_SPACE},
                      {"size": 1, "control": 30 * CMSG_SPACE},
                      {"flags": socket.MSG_PEEK, "size": 5},
                      {"control": 40 * CMSG_SPACE}):
        new = held.receive(**arguments)
        ksft_ne(new, [])
        check_numbers(new, free[:len(new)], f"{arguments}:")
        del free[:len(new)]
        # and a call that gets nothing at all takes no number
        ksft_eq(os_error(held.receive, control=CMSG_SPACE - 1), ETOOSMALL)
    ksft_gt(free[0], 100)


@leaves_nothing
def control_faults(cfg):
    """
    A message that cannot be written has no token: the number is the next one's,
    among holes too, and in the call that ends there.
    """
    held = _queued(cfg, 150)
    memory = Memory()
    defer(memory.close)
    held.peek(64)
    held.give_back((2, 1), (5, 1), (31, 4))
    # 2, 5, 31, 32, 33, 34, 65, ...
    for room in (0, 1, 0, 2, 3, 0, 1, 33):
        at = memory.end - room * CMSG_SPACE
        if room:
            ksft_eq(len(held.receive(control_at=at)), room)
        else:
            ksft_eq(os_error(held.receive, control_at=memory.end),
                    errno.EFAULT)
            ksft_eq(os_error(held.receive, socket.MSG_PEEK,
                             control_at=NOWHERE), errno.EFAULT)
    ksft_eq(held.held, set(range(1, 64 - 6 + 40 + 1)))


@leaves_nothing
def sockets_of_one_binding(cfg):
    """Each socket has numbers of its own, also on the same binding."""
    dmabuf, binding = cfg.bind()
    both = []
    for ipver in "46":
        sock, sender = cfg.connect(ipver)
        receiver = Receiver(sock, dmabuf, binding.id)
        send(sender, 0, 50 * 100, chunk=100).finish()
        receiver.wait_queued(50 * 100)
        both.append(Held(sock))
    one, two = both
    one.bytewise(70)
    ksft_eq(two.bytewise(3), [1, 2, 3])
    one.give_back((1, 40))
    ksft_eq(two.bytewise(40), list(range(4, 44)))
    two.give_back((2, 1))
    ksft_eq(one.bytewise(41), [*range(1, 41), 71])
    ksft_eq(two.bytewise(2), [2, 44])
    one.sock.close()
    ksft_eq(two.bytewise(1), [45])


@leaves_nothing
def bindings_of_one_socket(cfg):
    """Tokens of one binding take no number that another's still has."""
    queue = cfg.queues[0]
    sock, sender = cfg.connect("4", queue)
    held = Held(sock)
    at = 0
    for turn in range(3):
        dmabuf = Udmabuf(4 * MIB)
        defer(dmabuf.close)
        binding = Binding(cfg.ifindex, dmabuf.fd, [queue])
        defer(binding.close)
        receiver = Receiver(sock, dmabuf, binding.id)
        send(sender, at, 20).finish()
        at += 20
        receiver.wait_queued(20)
        held.bytewise(20)
        binding.close()
        # of this one's, and of those before
        held.give_back((20 * turn + 3, 2), (4, 1))
    ksft_eq(len(held.held), 60 - 8)
    held.give_back_all()


@leaves_nothing
def unknown_take_none(cfg):
    """
    Giving back what is not out, or the same twice, frees no number; numbers
    that are not out are not skipped.
    """
    held = _queued(cfg, 60)
    held.peek(40)
    held.give_back((41, 500), (0xffffffff, 1), (0x7fffffff, 1))
    ksft_eq(held.peek(2), [41, 42])
    held.give_back(*[(7, 1)] * MAX_DONTNEED_TOKENS)
    held.give_back((7, 1), (6, 3))
    held.give_back((6, 3))
    ksft_eq(held.peek(4), [6, 7, 8, 43])
    # a call ends after so many tokens, known or not: 10 is still out
    held.give_back((5000, MAX_DONTNEED_FRAGS - 1), (9, 2))
    ksft_eq(held.peek(2), [9, 44])


@leaves_nothing
def zero_is_no_token(cfg):
    """
    Giving 0 back frees nothing, and makes no token of it. C hands it out from
    then on: the table, which begins at 1, takes it for free.
    """
    held = _queued(cfg, 20)
    held.peek(3)
    ksft_eq(dontneed(held.sock, [(0, 1)]), 0)
    try:
        held.peek(2)
    except StreamError as error:
        ksft_pr(f"{error}")
        ksft_true(not cfg.is_rust, f"{error}")
        defect(True, "0 is handed out as a token")
    else:
        ksft_true(cfg.is_rust, "this defect of C is gone")


@leaves_nothing
def random_turns(cfg):
    """Many receives and releases of all sizes, each against the model."""
    held = _queued(cfg, 200)
    dice = random.Random(1)
    most = 0
    for _ in range(400):
        top = max(held.held, default=0)
        if dice.random() < 0.5:
            held.peek(dice.choice((1, 2, 3, 17, 33, dice.randrange(1, 200))))
        elif dice.random() < 0.7:
            held.give_back(*((dice.randrange(1, top + 11),
                              dice.choice((1, 2, 31, 32, 33, 64, 100)))
                             for _ in range(dice.randrange(1, 4))))
        elif held.held:
            # any order, some of them twice
            numbers = dice.choices(sorted(held.held), k=dice.randrange(1, 129))
            held.give_back(*((number, 1) for number in numbers))
        most = max(most, len(held.held))
    ksft_pr(f"{most} were out at a time, {len(held.held)} at the end")
    ksft_gt(most, 300)


def _release(sock, tokens, writing):
    """Gives back what comes out of a pipe; returns (tokens, freed)."""
    os.close(writing)
    count = freed = 0
    while True:
        data = os.read(tokens, 64 * TOKEN.size)
        if not data:
            return count, freed
        batch = [(token, 1) for token, in TOKEN.iter_unpack(data)]
        count += len(batch)
        freed += dontneed(sock, batch)


def _hand_over(receiver, size, pipe):
    """
    Receives @size bytes and writes most tokens to a pipe, in any order and
    not at once; returns (how many came, those that were kept).
    """
    kept, issued = set(), 0
    dice = random.Random(3)
    while receiver.position < size:
        message = receiver.receive(control=32 * CMSG_SPACE)
        tokens = [piece.token for piece in message.pieces]
        receiver.tokens = []
        ksft_eq(len(set(tokens)), len(tokens), "twice in one call")
        ksft_eq(kept & set(tokens), set(), "given again while it is out")
        kept.update(tokens)
        issued += len(tokens)
        gone = dice.sample(sorted(kept), len(kept) - min(len(kept), 50))
        kept.difference_update(gone)
        os.write(pipe, b"".join(map(TOKEN.pack, gone)))
    os.close(pipe)
    return issued, kept


@leaves_nothing
def others_give_back(cfg):
    """
    Two processes give back while one receives: a number that is out is not
    given again, each is freed once, and once they are done new tokens get the
    lowest that are free.
    """
    receiver, sender, _ = cfg.stream("6", rcvbuf=RCVBUF)
    size = 3 * MIB
    reading, writing = os.pipe()
    releasers = [Worker(_release, receiver.sock, reading, writing)
                 for _ in range(2)]
    os.close(reading)
    send(sender, 0, size)
    issued, kept = _hand_over(receiver, size, writing)
    counts = [releaser.result() for releaser in releasers]
    ksft_pr(f"{issued} tokens, {counts} given back, up to {max(kept)}")
    ksft_eq(sum(freed for _, freed in counts), issued - len(kept))
    for count, freed in counts:
        ksft_eq(freed, count)

    held = Held(receiver.sock, kept)
    send(sender, size, 200).finish()
    receiver.wait_queued(200)
    held.bytewise(100)
    held.give_back_all()
    ksft_eq(held.bytewise(100), list(range(1, 101)))


CASES = [
    from_one_on,
    holes,
    first_and_count,
    range_again,
    given_back_in_any_order,
    all_back,
    peek_then_receive,
    cut_short,
    control_faults,
    sockets_of_one_binding,
    bindings_of_one_socket,
    unknown_take_none,
    zero_is_no_token,
    random_turns,
    others_give_back,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
