#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""SO_DEVMEM_DONTNEED: which tokens it takes, how many, and what it refuses."""

import ctypes
import errno
import socket

from lib.py import (MIB, Receiver, defer, dontneed, ksft_eq, ksft_exit,
                    ksft_ge, ksft_ne, ksft_run, leaves_nothing, os_error,
                    run_in_env, send, setsockopt_dontneed)
from lib.py.queued import with_byte_tokens, with_tokens
from lib.py.rawmsg import Memory
from lib.py.uapi import (CMSG_SPACE, DMABUF_TOKEN, MAX_DONTNEED_FRAGS,
                         MAX_DONTNEED_TOKENS, SO_DEVMEM_DONTNEED)


@leaves_nothing
def one_by_one(cfg):
    """Each token given back alone counts one, and only once."""
    receiver = with_tokens(cfg)
    for token in receiver.tokens:
        ksft_eq(dontneed(receiver.sock, [(token, 1)]), 1)
        ksft_eq(dontneed(receiver.sock, [(token, 1)]), 0)
    receiver.tokens = []


@leaves_nothing
def doubled_in_one_call(cfg):
    """A token that one call names twice counts once."""
    receiver = with_tokens(cfg)
    token = receiver.tokens.pop(0)
    ksft_eq(dontneed(receiver.sock, [(token, 1), (token, 1)]), 1)
    receiver.release()


@leaves_nothing
def unknown(cfg):
    """Tokens that were never issued count 0 and harm nothing."""
    receiver = with_tokens(cfg)
    top = max(receiver.tokens)
    ksft_eq(dontneed(receiver.sock, [(top + 1, 100)]), 0)
    ksft_eq(dontneed(receiver.sock, [(0x7fffffff, 1)]), 0)
    ksft_eq(dontneed(receiver.sock, [(0xffffffff, 2)]), 0)
    receiver.release()


@leaves_nothing
def foreign(cfg):
    """
    A socket cannot give back what another one holds, on the same binding or
    not: each has numbers of its own.
    """
    dmabuf, binding = cfg.bind()
    receivers = []
    for _ in range(2):
        sock, sender = cfg.connect("6")
        receiver = Receiver(sock, dmabuf, binding.id)
        send(sender, 0, 20000).finish()
        receivers.append(receiver)
    one, two = receivers
    one.receive_all(20000, keep=1 << 30)
    two.receive_all(3000, keep=1 << 30, size=3000)
    only_one = sorted(set(one.tokens) - set(two.tokens))
    ksft_ne(only_one, [])
    for token in only_one:
        ksft_eq(dontneed(two.sock, [(token, 1)]), 0)
    # tokens of both: each socket gives back its own, and only that
    ksft_eq(dontneed(two.sock, [(1, 1)]), 1)
    ksft_eq(dontneed(two.sock, [(1, 1)]), 0)
    ksft_eq(dontneed(one.sock, [(1, 1)]), 1)
    for receiver in receivers:
        receiver.tokens.remove(1)
        receiver.release()


@leaves_nothing
def zero_count(cfg):
    """
    A range of no tokens is no error, frees nothing, and does not use up the
    limit: 127 of them leave room for one that counts.
    """
    receiver = with_tokens(cfg)
    token = receiver.tokens[0]
    ksft_eq(dontneed(receiver.sock, [(token, 0)]), 0)
    ksft_eq(dontneed(receiver.sock, [(0, 0)]), 0)
    ksft_eq(dontneed(receiver.sock, [(token, 0)] * (MAX_DONTNEED_TOKENS - 1)
                     + [(token, 1)]), 1)
    receiver.tokens.pop(0)
    receiver.release()


@leaves_nothing
def wraps_around(cfg):
    """A range over the end of the numbers goes on at 0, which is no token."""
    receiver = with_tokens(cfg)
    ksft_eq(min(receiver.tokens), 1)
    ksft_eq(dontneed(receiver.sock, [(0xffffffff, 3)]), 1)
    receiver.tokens.remove(1)
    receiver.release()


@leaves_nothing
def bad_length(cfg):
    """EINVAL unless optlen is a multiple of a token's size, and not 0."""
    receiver = with_tokens(cfg)
    most = 8 * MAX_DONTNEED_TOKENS
    buffer = ctypes.create_string_buffer(1 << 16)
    buffer[:8] = DMABUF_TOKEN.pack(receiver.tokens[0], 1)
    for length in (0, 1, 3, 4, 7, 9, 12, 15, most - 1, most + 1, most + 4,
                   most + 8, 1 << 16, 0x7ffffff8, -1, -8, -0x80000000):
        ksft_eq(os_error(setsockopt_dontneed, receiver.sock,
                         ctypes.addressof(buffer), length), errno.EINVAL,
                f"optlen {length}")
    receiver.release()


@leaves_nothing
def bad_pointer(cfg):
    """
    EFAULT for memory that is not there, before anything else is looked at but
    an optlen under 4; where the second of two tokens cannot be read none is
    freed.
    """
    receiver = with_tokens(cfg)
    for length in (4, 8, 12, 16, 8 * MAX_DONTNEED_TOKENS, 1 << 16):
        for pointer in (None, 8, 0x7ffffffff000, 0xffff888000000000):
            ksft_eq(os_error(setsockopt_dontneed, receiver.sock, pointer,
                             length), errno.EFAULT,
                    f"pointer {pointer}, optlen {length}")
    for length in (-1, 0, 3):
        ksft_eq(os_error(setsockopt_dontneed, receiver.sock, 8, length),
                errno.EINVAL, f"optlen {length}")
    memory = Memory()
    defer(memory.close)
    ctypes.memmove(memory.end - 8, DMABUF_TOKEN.pack(receiver.tokens[0], 1), 8)
    ksft_eq(os_error(setsockopt_dontneed, receiver.sock, memory.end - 8, 16),
            errno.EFAULT)
    ksft_eq(setsockopt_dontneed(receiver.sock, memory.end - 8, 8), 1)
    receiver.tokens.pop(0)
    receiver.release()


_NOT_TCP = (
    ("UDP", socket.AF_INET, socket.SOCK_DGRAM, 0),
    ("UDP over IPv6", socket.AF_INET6, socket.SOCK_DGRAM, 0),
    ("UNIX stream", socket.AF_UNIX, socket.SOCK_STREAM, 0),
    ("UNIX datagram", socket.AF_UNIX, socket.SOCK_DGRAM, 0),
    ("UNIX seqpacket", socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
    ("netlink", socket.AF_NETLINK, socket.SOCK_RAW, 0),
    ("packet", socket.AF_PACKET, socket.SOCK_RAW, 0),
    # the number of TCP's protocol, and no TCP socket
    ("raw", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
    ("raw over IPv6", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP),
)


@leaves_nothing
def not_tcp(cfg):
    """EBADF on a socket that is not TCP, bad length or not; EFAULT first."""
    del cfg
    for name, family, kind, protocol in _NOT_TCP:
        with socket.socket(family, kind, protocol) as sock:
            ksft_eq(os_error(dontneed, sock, [(1, 1)]), errno.EBADF, name)
            ksft_eq(os_error(dontneed, sock, [(1, 1)] * 129), errno.EBADF,
                    name)
            ksft_eq(os_error(setsockopt_dontneed, sock, 8, 8), errno.EFAULT,
                    name)


@leaves_nothing
def not_to_be_read(cfg):
    """The option can be set, not got: ENOPROTOOPT, and nothing is freed."""
    receiver = with_tokens(cfg)
    ksft_eq(os_error(receiver.sock.getsockopt, socket.SOL_SOCKET,
                     SO_DEVMEM_DONTNEED, 8), errno.ENOPROTOOPT)
    receiver.release()


@leaves_nothing
def ranges(cfg):
    """A range gives back what is in it and skips what is not."""
    receiver = with_byte_tokens(cfg, 40)
    first = min(receiver.tokens)
    ksft_eq(sorted(receiver.tokens), list(range(first, first + 40)))
    ksft_eq(dontneed(receiver.sock, [(first + 10, 5)]), 5)
    ksft_eq(dontneed(receiver.sock, [(first, 40)]), 35)
    ksft_eq(dontneed(receiver.sock, [(first, 40)]), 0)
    receiver.tokens = []


@leaves_nothing
def most_ranges(cfg):
    """128 ranges a call are fine, one more is EINVAL and frees nothing."""
    count = MAX_DONTNEED_TOKENS
    receiver = with_byte_tokens(cfg, count + 1)
    singles = [(token, 1) for token in receiver.tokens]
    ksft_eq(os_error(dontneed, receiver.sock, singles), errno.EINVAL)
    ksft_eq(dontneed(receiver.sock, singles[:count]), count)
    ksft_eq(dontneed(receiver.sock, singles[count:]), 1)
    receiver.tokens = []


@leaves_nothing
def most_frags(cfg):
    """A call stops after 1,024 tokens and says how many it freed."""
    count = MAX_DONTNEED_FRAGS + 76
    receiver = with_byte_tokens(cfg, count)
    first = min(receiver.tokens)
    ksft_eq(dontneed(receiver.sock, [(first, count)]), MAX_DONTNEED_FRAGS)
    ksft_eq(dontneed(receiver.sock, [(first, count)]), 0,
            "unknown tokens use up the limit")
    ksft_eq(dontneed(receiver.sock, [(first + MAX_DONTNEED_FRAGS, 76)]), 76)
    receiver.tokens = []


@leaves_nothing
def unknown_use_up_the_limit(cfg):
    """Tokens that do not exist count toward the 1,024 of a call."""
    receiver = with_tokens(cfg)
    token = receiver.tokens[0]
    hole = max(receiver.tokens) + 1
    ksft_eq(dontneed(receiver.sock, [(hole, MAX_DONTNEED_FRAGS), (token, 1)]),
            0)
    ksft_eq(dontneed(receiver.sock, [(hole, MAX_DONTNEED_FRAGS - 1),
                                     (token, 1)]), 1)
    receiver.tokens.pop(0)
    receiver.release()


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


CASES = [
    one_by_one,
    doubled_in_one_call,
    unknown,
    foreign,
    ranges,
    zero_count,
    wraps_around,
    most_ranges,
    most_frags,
    unknown_use_up_the_limit,
    bad_length,
    bad_pointer,
    not_tcp,
    not_to_be_read,
    plain_tcp,
    tokens_are_reused,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
