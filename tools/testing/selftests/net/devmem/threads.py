#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
One socket, many hands: receives and releases that run at the same time. The
hands are processes that share the descriptor: to the kernel the same as
threads, and Python's lock does not take them apart.
"""

import itertools
import os
import socket
import struct

from lib.py import (KsftSkipEx, MIB, dontneed, ksft_eq, ksft_exit, ksft_gt,
                    ksft_ne, ksft_pr, ksft_run, leaves_nothing, run_in_env,
                    send, tries_defects)
from lib.py.pattern import locate
from lib.py.queued import queued_stream
from lib.py.rawmsg import RawReceive
from lib.py.uapi import CMSG_SPACE, MAX_DONTNEED_FRAGS
from lib.py.workers import Worker

TOKEN = struct.Struct("=I")


def _find(receiver, message):
    """Where in the stream a message lies, by its content; verifies it."""
    skip = 0
    for piece in message.pieces:
        if piece.size >= 15:
            start = locate(receiver.dmabuf.read(piece.offset, piece.size))
            if start is None:
                raise ValueError(f"{piece} is no part of the stream")
            receiver.check(message, start - skip)
            return start - skip
        skip += piece.size
    raise ValueError(f"too short to tell where it is from: {message.pieces}")


def _receive(receiver, tokens):
    """
    Receives to the end of the stream, verifies, and writes tokens to a pipe.
    Returns [(start, end)] in the stream of what it got.
    """
    found = []
    while True:
        message = receiver.recvmsg(control=32 * CMSG_SPACE)
        if not message.size:
            os.close(tokens)
            return found
        start = _find(receiver, message)
        found.append((start, start + message.size))
        os.write(tokens, b"".join(TOKEN.pack(piece.token)
                                  for piece in message.pieces))


def _release(sock, tokens):
    """Gives back what comes out of a pipe; returns (tokens, freed)."""
    count = freed = 0
    while True:
        data = os.read(tokens, 64 * TOKEN.size)
        if not data:
            return count, freed
        batch = [(token, 1) for token, in TOKEN.iter_unpack(data)]
        count += len(batch)
        freed += dontneed(sock, batch)


@leaves_nothing
def receive_and_release(cfg):
    """
    Two receive, two others give back. Each byte comes to exactly one of them,
    and each token is freed once.
    """
    receiver, sender, _ = cfg.stream("6")
    size = 6 * MIB
    reading, writing = os.pipe()
    receivers = [Worker(_receive, receiver, writing) for _ in range(2)]
    os.close(writing)
    releasers = [Worker(_release, receiver.sock, reading) for _ in range(2)]
    os.close(reading)
    send(sender, 0, size).finish()
    sender.shutdown(socket.SHUT_WR)

    shares = [worker.result() for worker in receivers]
    counts = [worker.result() for worker in releasers]
    ksft_pr(f"messages: {[len(share) for share in shares]}, "
            f"tokens: {[count for count, _ in counts]}")
    end = 0
    for start, stop in sorted(itertools.chain(*shares)):
        ksft_eq(start, end, "a part of the stream is missing or came twice")
        end = stop
    ksft_eq(end, size)
    for share, (count, freed) in zip(shares, counts):
        ksft_ne(share, [])
        ksft_ne(count, 0)
        ksft_eq(freed, count)


def _sweep(sock, goal):
    """Gives back all tokens below @goal, with others at it as well."""
    freed = 0
    for first in range(1, goal, MAX_DONTNEED_FRAGS):
        freed += dontneed(sock, [(first, MAX_DONTNEED_FRAGS)])
    return freed


@leaves_nothing
def release_races_release(cfg):
    """Four give back the same tokens at once: each is freed once in all."""
    receiver = queued_stream(cfg, 20000)
    receive = RawReceive(control=100 * CMSG_SPACE)
    for _ in range(5):
        issued = 0
        for _ in range(300):
            receive(receiver.sock, socket.MSG_PEEK, size=20000)
            issued += receive.cmsgs
        sweepers = [Worker(_sweep, receiver.sock, issued + 1)
                    for _ in range(4)]
        freed = [sweeper.result() for sweeper in sweepers]
        ksft_eq(sum(freed), issued, f"shares: {freed}")


def _guess(sock, reading, writing):
    """Gives back guessed tokens until the pipe closes; (calls, freed)."""
    os.close(writing)
    os.set_blocking(reading, False)
    calls = freed = 0
    while True:
        freed += dontneed(sock, [(1, 100)])
        calls += 1
        try:
            if not os.read(reading, 1):
                return calls, freed
        except BlockingIOError:
            pass


@leaves_nothing
def release_races_receive(cfg):
    """
    Two processes give back whatever they guess while others receive, peek,
    and run out of room: every token that was issued is freed exactly once.

    In C the release takes reserved tokens away under the receive, whose niovs
    then leak for good, with the dma-buf: any program can do that, and nothing
    brings them back. Ours never has a token that could be guessed and is not
    told of. DEVMEM_TRY_DEFECTS=1 runs it on C all the same.
    """
    if not cfg.is_rust and not tries_defects():
        raise KsftSkipEx("the implementation in C leaks niovs here, for good "
                         "(DEVMEM_TRY_DEFECTS=1 shows it)")
    receiver, sender, _ = cfg.stream("4")
    size = 4 * MIB
    reading, writing = os.pipe()
    guessers = [Worker(_guess, receiver.sock, reading, writing)
                for _ in range(2)]
    os.close(reading)
    thread = send(sender, 0, size)
    receive = RawReceive(size, 300 * CMSG_SPACE)
    ways = itertools.cycle([
        {}, {"flags": socket.MSG_PEEK}, {"control": 3 * CMSG_SPACE},
        {"size": 100}, {"flags": socket.MSG_PEEK, "control": CMSG_SPACE}])
    got = issued = 0
    while got < size:
        ksft_eq(receiver.readable(), True)
        way = next(ways)
        ret = receive(receiver.sock, **way)
        ksft_gt(ret, 0)
        issued += receive.cmsgs
        if way.get("flags") != socket.MSG_PEEK:
            got += ret
    os.close(writing)
    thread.finish()
    answers = [guesser.result() for guesser in guessers]
    total = sum(freed for _, freed in answers)
    while (left := _sweep(receiver.sock, issued + 1)):
        total += left
    ksft_pr(f"{issued} tokens, {answers} calls and frees by guess")
    for _, freed in answers:
        ksft_ne(freed, 0, "a guesser never hit a token")
    ksft_eq(total, issued, "tokens freed and issued: the rest is lost")


CASES = [
    receive_and_release,
    release_races_release,
    release_races_receive,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
