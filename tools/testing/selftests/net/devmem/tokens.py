#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""SO_DEVMEM_DONTNEED: which tokens it takes, how many, and what it refuses."""

import ctypes
import errno
import socket
import threading

from lib.py import (KsftSkipEx, MIB, Receiver, defer, dontneed, ksft_eq, ksft_exit, ksft_ge,
                    ksft_ne, ksft_run, ksft_true, ksft_variants, leaves_nothing,
                    os_error, run_in_env, send, setsockopt_dontneed)
from lib.py.uapi import (CMSG_SPACE, DMABUF_TOKEN, MAX_DONTNEED_FRAGS,
                         MAX_DONTNEED_TOKENS)


def _with_tokens(cfg, size=20000, ipver="4"):
    """A stream that holds the tokens of its first @size bytes."""
    receiver, sender, _ = cfg.stream(ipver)
    send(sender, 0, size).finish()
    receiver.receive_all(size, keep=1 << 30)
    ksft_ne(len(receiver.tokens), 0)
    return receiver


def _with_byte_tokens(cfg, count):
    """A stream that holds @count tokens of one byte each."""
    receiver, sender, _ = cfg.stream("6")
    send(sender, 0, count).finish()
    receiver.wait_queued(count)
    for _ in range(count):
        receiver.receive(size=1, control=CMSG_SPACE)
    ksft_eq(len(receiver.tokens), count)
    return receiver


@leaves_nothing
def one_by_one(cfg):
    """Each token given back alone counts one, and only once."""
    receiver = _with_tokens(cfg)
    for token in receiver.tokens:
        ksft_eq(dontneed(receiver.sock, [(token, 1)]), 1)
        ksft_eq(dontneed(receiver.sock, [(token, 1)]), 0)
    receiver.tokens = []


@leaves_nothing
def doubled_in_one_call(cfg):
    """A token that one call names twice counts once."""
    receiver = _with_tokens(cfg)
    token = receiver.tokens.pop(0)
    ksft_eq(dontneed(receiver.sock, [(token, 1), (token, 1)]), 1)
    receiver.release()


@leaves_nothing
def unknown(cfg):
    """Tokens that were never issued count 0 and harm nothing."""
    receiver = _with_tokens(cfg)
    top = max(receiver.tokens)
    ksft_eq(dontneed(receiver.sock, [(top + 1, 100)]), 0)
    ksft_eq(dontneed(receiver.sock, [(0x7fffffff, 1)]), 0)
    ksft_eq(dontneed(receiver.sock, [(0xffffffff, 2)]), 0)
    receiver.release()


@leaves_nothing
def foreign(cfg):
    """A socket cannot give back what another one holds."""
    dmabuf, binding = cfg.bind()
    receivers = []
    for _ in range(2):
        sock, sender = cfg.connect("6")
        receiver = Receiver(sock, dmabuf, binding.id)
        send(sender, 0, 60000).finish()
        receivers.append(receiver)
    one, two = receivers
    one.receive_all(60000, keep=1 << 30)
    two.receive_all(3000, keep=1 << 30, size=3000)
    mine, other = set(two.tokens), set(one.tokens)
    only_other = sorted(other - mine)
    ksft_ne(only_other, [])
    for token in only_other[:20]:
        ksft_eq(dontneed(two.sock, [(token, 1)]), 0)
    # both still own what they hold
    one.release()
    two.release()


@leaves_nothing
def ranges(cfg):
    """A range gives back what is in it and skips what is not."""
    receiver = _with_byte_tokens(cfg, 40)
    first = min(receiver.tokens)
    ksft_eq(sorted(receiver.tokens), list(range(first, first + 40)))
    ksft_eq(dontneed(receiver.sock, [(first + 10, 5)]), 5)
    ksft_eq(dontneed(receiver.sock, [(first, 40)]), 35)
    ksft_eq(dontneed(receiver.sock, [(first, 40)]), 0)
    receiver.tokens = []


@leaves_nothing
def zero_count(cfg):
    """A range of no tokens is no error."""
    receiver = _with_tokens(cfg)
    ksft_eq(dontneed(receiver.sock, [(receiver.tokens[0], 0)]), 0)
    receiver.release()


@leaves_nothing
def most_ranges(cfg):
    """128 ranges a call are fine, one more is EINVAL and frees nothing."""
    count = MAX_DONTNEED_TOKENS
    receiver = _with_byte_tokens(cfg, count + 1)
    singles = [(token, 1) for token in receiver.tokens]
    ksft_eq(os_error(dontneed, receiver.sock, singles), errno.EINVAL)
    ksft_eq(dontneed(receiver.sock, singles[:count]), count)
    ksft_eq(dontneed(receiver.sock, singles[count:]), 1)
    receiver.tokens = []


@leaves_nothing
def most_frags(cfg):
    """A call stops after 1,024 tokens and says how many it freed."""
    count = MAX_DONTNEED_FRAGS + 76
    receiver = _with_byte_tokens(cfg, count)
    first = min(receiver.tokens)
    ksft_eq(dontneed(receiver.sock, [(first, count)]), MAX_DONTNEED_FRAGS)
    ksft_eq(dontneed(receiver.sock, [(first, count)]), 0,
            "unknown tokens use up the limit")
    ksft_eq(dontneed(receiver.sock, [(first + MAX_DONTNEED_FRAGS, 76)]), 76)
    receiver.tokens = []


@leaves_nothing
def unknown_use_up_the_limit(cfg):
    """Tokens that do not exist count toward the 1,024 of a call."""
    receiver = _with_tokens(cfg)
    token = receiver.tokens[0]
    hole = max(receiver.tokens) + 1
    ksft_eq(dontneed(receiver.sock, [(hole, MAX_DONTNEED_FRAGS), (token, 1)]),
            0)
    ksft_eq(dontneed(receiver.sock, [(hole, MAX_DONTNEED_FRAGS - 1),
                                     (token, 1)]), 1)
    receiver.tokens.pop(0)
    receiver.release()


@ksft_variants([0, 1, 3, 4, 7, 9, 12, 8 * 128 + 1])
@leaves_nothing
def bad_length(cfg, length):
    """EINVAL unless optlen is a multiple of a token's size, and not 0."""
    receiver = _with_tokens(cfg)
    buffer = ctypes.create_string_buffer(8 * 129)
    buffer[:8] = DMABUF_TOKEN.pack(receiver.tokens[0], 1)
    ksft_eq(os_error(setsockopt_dontneed, receiver.sock,
                     ctypes.addressof(buffer), length), errno.EINVAL)
    receiver.release()


@ksft_variants([8, 16])
@leaves_nothing
def bad_pointer(cfg, length):
    """EFAULT for memory that is not there."""
    receiver = _with_tokens(cfg)
    ksft_eq(os_error(setsockopt_dontneed, receiver.sock, 8, length),
            errno.EFAULT)
    receiver.release()


@leaves_nothing
def half_a_page(cfg):
    """EFAULT where the second token of two cannot be read; none is freed."""
    receiver = _with_tokens(cfg)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                          ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    # two pages, the second one taken away again
    area = libc.mmap(None, 8192, 3, 0x22, -1, 0)
    ksft_true(area and area != ctypes.c_void_p(-1).value)
    defer(libc.munmap, area, 4096)
    libc.munmap(area + 4096, 4096)
    ctypes.memmove(area + 4096 - 8, DMABUF_TOKEN.pack(receiver.tokens[0], 1), 8)
    ksft_eq(os_error(setsockopt_dontneed, receiver.sock, area + 4096 - 8, 16),
            errno.EFAULT)
    receiver.release()


@leaves_nothing
def not_tcp(cfg):
    """EBADF on a UDP and on a UNIX socket."""
    del cfg
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            ksft_eq(os_error(dontneed, sock, [(0, 1)]), errno.EBADF)


@leaves_nothing
def plain_tcp(cfg):
    """A TCP socket that never saw device memory frees nothing."""
    sock, _ = cfg.connect("4", 0)
    ksft_eq(dontneed(sock, [(0, 100)]), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as fresh:
        ksft_eq(dontneed(fresh, [(0, 100)]), 0)
        fresh.listen(1)
        ksft_eq(dontneed(fresh, [(0, 100)]), 0)


@leaves_nothing
def tokens_are_reused(cfg):
    """A token that came back is handed out again: the table does not grow."""
    receiver, sender, _ = cfg.stream("6")
    thread = send(sender, 0, 2 * MIB)
    highest = 0
    while receiver.position < 2 * MIB:
        receiver.receive(control=16 * CMSG_SPACE)
        highest = max(highest, *receiver.tokens)
        receiver.release()
    thread.finish()
    ksft_ge(1000, highest)


@leaves_nothing
def release_races_receive(cfg):
    """
    One thread gives back whatever it guesses while another receives: every
    token that was issued is freed exactly once.

    In C the release takes reserved tokens away under the receive, whose niovs
    then leak for good (it takes no lock that would prevent it); ours must not.
    """
    if not cfg.is_rust:
        raise KsftSkipEx("the implementation in C leaks niovs here, for good")
    receiver, sender, _ = cfg.stream("4")
    size = 4 * MIB
    thread = send(sender, 0, size)
    done = threading.Event()
    freed = []

    def guess():
        while not done.is_set():
            freed.append(dontneed(receiver.sock, [(1, 200)]))

    guesser = threading.Thread(target=guess, daemon=True)
    guesser.start()
    frags = 0
    got = 0
    try:
        while got < size:
            ksft_true(receiver.readable())
            message = receiver.recvmsg()
            ksft_ne(message.size, 0)
            got += message.size
            frags += len(message.pieces)
    finally:
        done.set()
        guesser.join(60)
    thread.finish()
    total = sum(freed)
    for first in range(1, 8192, MAX_DONTNEED_FRAGS):
        total += dontneed(receiver.sock, [(first, MAX_DONTNEED_FRAGS)])
    ksft_eq(total, frags)


@leaves_nothing
def threads_share_a_socket(cfg):
    """Two threads receive on one socket and give back what they got."""
    receiver, sender, _ = cfg.stream("6")
    size = 4 * MIB
    counts = []

    def work():
        got = freed = frags = 0
        while True:
            message = receiver.recvmsg(control=16 * CMSG_SPACE)
            if not message.size:
                break
            got += message.size
            frags += len(message.pieces)
            freed += dontneed(receiver.sock,
                              [(piece.token, 1) for piece in message.pieces])
        counts.append((got, freed, frags))

    workers = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    send(sender, 0, size).finish()
    sender.shutdown(socket.SHUT_WR)
    for worker in workers:
        worker.join(60)
    ksft_eq(len(counts), 2, "a thread did not come to the end of the stream")
    ksft_eq(sum(got for got, _, _ in counts), size)
    for _, freed, frags in counts:
        ksft_eq(freed, frags)


CASES = [
    one_by_one,
    doubled_in_one_call,
    unknown,
    foreign,
    ranges,
    zero_count,
    most_ranges,
    most_frags,
    unknown_use_up_the_limit,
    bad_length,
    bad_pointer,
    half_a_page,
    not_tcp,
    plain_tcp,
    tokens_are_reused,
    threads_share_a_socket,
    release_races_receive,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
