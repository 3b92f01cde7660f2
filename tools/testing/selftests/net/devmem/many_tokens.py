#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Two million tokens on one socket. MSG_PEEK makes them: each call hands out
tokens for all that is queued, and consumes nothing.
"""

import errno
import socket
import statistics
import threading
import time

from lib.py import (MIB, Receiver, defect, dontneed, ksft_eq,
                    ksft_exit, ksft_ge, ksft_gt, ksft_lt, ksft_pr, ksft_run,
                    leaves_nothing, page_pools, pattern, run_in_env,
                    wait_for)
from lib.py.heartbeat import Heartbeat
from lib.py.rawmsg import RawReceive
from lib.py.uapi import CMSG_SPACE, SO_RCVBUFFORCE

MANY = 2_000_000
FEW = 200
# Packets that wait in the queue, each a frag: tokens of one call.
FRAGS = 1000
SEGMENT = 1400
# A CPU that is away for so long is stalled; seconds. A busy host takes a few
# tenths of one from a guest.
STALL = 1
# It takes from all others what a token costs, 2,000,000 times: several tenths of a
# second on a fast host.
AWAY = 0.2
# Where ours ends: net/core/devmem/tokens/tree.rs.
MOST = 4_194_304


class Peeker:
    """
    A socket with FRAGS packets in its queue, which it peeks at.

    Attributes:
      sock: the socket
      count: tokens that are out, which are 1..count
    """

    def __init__(self, cfg, dmabuf, binding):
        self.sock, sender = cfg.connect("4")
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * MIB)
        receiver = Receiver(self.sock, dmabuf, binding.id)
        # some more, in case the sender puts two of them into one
        size = (FRAGS + 100) * SEGMENT
        for start in range(0, size, SEGMENT):
            sender.sendall(pattern(start, SEGMENT))
        receiver.wait_queued(size)
        self._receive = RawReceive(size, FRAGS * CMSG_SPACE)
        self.count = 0

    def issue(self, count=FRAGS):
        """Get @count tokens; returns the CPU time of it per token."""
        started = time.thread_time_ns()
        self._receive(self.sock, socket.MSG_PEEK,
                      control=count * CMSG_SPACE)
        took = time.thread_time_ns() - started
        ksft_eq(self._receive.cmsgs, count)
        self.count += count
        return took / count

    def issue_to_the_limit(self):
        """
        Get tokens until there are no more; returns the errno then, 0 if there
        seems to be no limit, and the numbers that came in calls that were cut
        short.
        """
        numbers = []
        while self.count <= MOST:
            try:
                self._receive(self.sock, socket.MSG_PEEK)
            except OSError as error:
                return error.errno, numbers
            self.count += self._receive.cmsgs
            if self._receive.cmsgs < FRAGS:
                numbers += [piece.token for piece in self._receive.pieces()]
        return 0, numbers

    def release(self, first, count):
        """Give @count tokens back; returns the CPU time of it per token."""
        started = time.thread_time_ns()
        freed = dontneed(self.sock, [(first, count)])
        took = time.thread_time_ns() - started
        ksft_eq(freed, count)
        self.count -= count
        return took / count


def _fill(many, other):
    """
    Make more than MANY tokens and say what it cost; now and then the same work
    is done on a socket without, for comparison under the same conditions.
    """
    cost, compare = [], []
    while many.count < MANY + 100_000:
        cost.append(many.issue())
        if len(cost) % 20 == 0:
            compare.append(other.issue())
            other.release(1, FRAGS)
    other.sock.close()
    ksft_pr(f"{many.count} tokens; to issue one: mean "
            f"{statistics.mean(cost):.0f} ns growth included, median "
            f"{statistics.median(cost):.0f} ns, alone "
            f"{statistics.median(compare):.0f} ns")
    ksft_gt(1.5, statistics.median(cost) / statistics.median(compare))
    # a mean has the host's noise in it; what is to be seen is that the cost of
    # growing does not pile up
    ksft_gt(10, statistics.mean(cost) / statistics.median(compare))


def _compare(many, few):
    """The same calls by turns, so that noise hits both alike."""
    issue, release = ([], []), ([], [])
    for turn in range(150):
        for which, peeker in enumerate((many, few)):
            issue[which].append(peeker.issue(FEW))
            # the lowest that are free are given out first
            release[which].append(peeker.release(peeker.count - FEW + 1, FEW))
        if turn % 3 == 0:
            # and from somewhere in the middle, to be issued again
            first = 1 + turn * 10000
            release[0].append(many.release(first, FEW))
            issue[0].append(many.issue(FEW))
    for what, (with_many, with_few) in (("issue", issue),
                                        ("release", release)):
        ratio = statistics.median(with_many) / statistics.median(with_few)
        ksft_pr(f"{what}: {statistics.median(with_many):.0f} ns a token with "
                f"{many.count} out, {statistics.median(with_few):.0f} ns with "
                f"{FEW}: {ratio:.2f}")
        ksft_gt(1.5, ratio)


def _reader_delays_nobody(cfg, dmabuf, binding):
    """
    Who reads in debugfs what sockets hold of a binding goes over all tokens.
    Sockets whose first receive falls into that do not wait for it.
    """
    path = f"/sys/kernel/debug/net_devmem/{binding.id}/sockets"

    def read():
        with open(path, encoding="ascii") as sockets:
            return sockets.read()

    started = time.monotonic()
    ksft_ge(read().count("\n"), 2)
    once = time.monotonic() - started
    waits = []
    over = threading.Event()

    def read_on():
        while not over.is_set():
            read()

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for _ in range(9):
            sock, sender = cfg.connect("4")
            receiver = Receiver(sock, dmabuf, binding.id)
            sender.sendall(pattern(0, 1000))
            receiver.wait_queued(1000)
            started = time.monotonic()
            receiver.receive()
            waits.append(time.monotonic() - started)
            receiver.release()
            sock.close()
            sender.close()
    finally:
        over.set()
        reader.join()
    ksft_pr(f"one look at all tokens takes {once:.3f} s; first receives "
            f"meanwhile: median {statistics.median(waits):.4f} s, longest "
            f"{max(waits):.4f} s")
    ksft_lt(statistics.median(waits), once / 5)


@leaves_nothing
def cost_and_end(cfg):
    """
    With two million tokens out issuing and releasing one costs what it does
    with two hundred, and the close of the socket stalls no CPU.

    C releases them all in the close, with softirqs off: that CPU does nothing
    else for seconds. Ours leaves it to a workqueue that can be preempted.
    """
    heartbeat = Heartbeat()
    dmabuf, binding = cfg.bind(24 * MIB, queues=cfg.queues[:1])
    many, few, other = (Peeker(cfg, dmabuf, binding) for _ in range(3))
    _fill(many, other)
    _compare(many, few)
    few.sock.close()
    if cfg.is_rust:
        _reader_delays_nobody(cfg, dmabuf, binding)

    ksft_ge(many.count, MANY)
    heartbeat.start()
    time.sleep(0.5)
    started = time.monotonic()
    many.sock.close()
    closed = time.monotonic() - started
    binding.close()
    back = wait_for(lambda: not page_pools(cfg.netdev, cfg.ifindex), 60)
    ended = time.monotonic() - started
    gaps = heartbeat.stop()
    ksft_eq(back, True, "niovs are still out a minute later")
    ksft_pr(f"close() took {closed:.3f} s, all niovs were back after "
            f"{ended:.1f} s, longest time that a CPU was away: "
            f"{', '.join(f'{gap:.3f} s' for gap in gaps)}")
    if cfg.is_rust:
        ksft_lt(closed, STALL)
        ksft_lt(max(gaps), STALL)
    else:
        defect(max(gaps) > AWAY, "close() keeps a CPU from everything else "
               f"for {max(gaps):.1f} s")


@leaves_nothing
def peeked_at_for_ever(cfg):
    """
    A packet that is peeked at again and again must not take all memory there
    is: tokens are kernel memory that is charged to nobody. Ours ends at a
    number that no dma-buf needs, with EBUSY and nothing lost, and what comes
    back there is given out again, lowest first.
    """
    dmabuf, binding = cfg.bind(24 * MIB, queues=cfg.queues[:1])
    peeker = Peeker(cfg, dmabuf, binding)
    end, _ = peeker.issue_to_the_limit()
    if not cfg.is_rust:
        defect(end == 0, f"{peeker.count} tokens, and no end")
        return
    ksft_eq((end, peeker.count), (errno.EBUSY, MOST))
    for ranges in ([(MOST // 2, 3)], [(MOST, 1)], [(MOST - 70, 40), (7, 1)]):
        for first, count in ranges:
            peeker.release(first, count)
        free = sorted(number for first, count in ranges
                      for number in range(first, first + count))
        ksft_eq(peeker.issue_to_the_limit(), (errno.EBUSY, free))
        ksft_eq(peeker.count, MOST)


CASES = [
    cost_and_end,
    peeked_at_for_ever,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
