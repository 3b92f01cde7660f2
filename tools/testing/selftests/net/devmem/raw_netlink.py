#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
bind-rx as any program may send it: attributes that are missing, unknown,
doubled, of the wrong length or nested wrongly, values that make no sense, odd
message headers. Which errno, message and attribute comes back, and that
nothing is left behind.
"""

import errno
import os
import socket

from lib.py import (KsftFailEx, KsftNamedVariant, Netlink, Udmabuf,
                    bound_queues, defect, defer, dmabufs, ip, ksft_eq, ksft_in,
                    ksft_not_in, ksft_true, ksft_variants, leaves_nothing,
                    page_pools, wait_for)
from lib.py.rawnl import (DMABUF_FD, DMABUF_ID, DMABUF_IFINDEX, DMABUF_QUEUES,
                          DMABUF_RX_PAGE_SIZE, QUEUE_ID, QUEUE_IFINDEX,
                          QUEUE_NAPI_ID, QUEUE_TYPE, TYPE_TX)
from lib.py.rawnl import (Attr, RawNetdev, dmabuf_fd, expect_answer, ifindex,
                          nest, queue, queue_attrs, run_raw_tests, rx_page_size)

NESTED = Netlink.NLA_F_NESTED
REQUEST = Netlink.NLM_F_REQUEST
ACK = Netlink.NLM_F_ACK
NLM_F_ECHO = 8
PAGE = os.sysconf("SC_PAGE_SIZE")
U32 = 0xffffffff
# An odd number of pages, which bigger niovs cannot be.
BUF_SIZE = (1 << 20) + PAGE


class Request:
    """
    A request that would be granted, for a case to spoil.

    i, f, q: its attributes ifindex, fd, and queues for the first queue
    num: number of the first queue
    """

    def __init__(self, cfg, dmabuf):
        self.cfg = cfg
        self.dmabuf = dmabuf
        self.num = cfg.queues[0]
        self.i = ifindex(cfg.ifindex)
        self.f = dmabuf_fd(dmabuf.fd)
        self.q = queue(self.num)

    def attrs(self, *more):
        """All attributes that are needed, and @more."""
        return [self.i, self.f, self.q, *more]


def _request(cfg):
    dmabuf = Udmabuf(BUF_SIZE)
    defer(dmabuf.close)
    return Request(cfg, dmabuf)


def _raw():
    raw = RawNetdev()
    defer(raw.close)
    return raw


def _check_nothing_bound(cfg, dmabuf):
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: not page_pools(cfg.netdev, cfg.ifindex) and
             not dmabufs().get(dmabuf.inode), 10)
    ksft_eq(page_pools(cfg.netdev, cfg.ifindex), [])
    ksft_eq(dmabufs().get(dmabuf.inode), [], "the buffer is still attached")


def _check_bound(cfg, answer, queues):
    ksft_eq(answer.error, 0, repr(answer))
    ksft_eq(len(answer.replies), 1, repr(answer))
    bound = answer.replies[0][DMABUF_ID] if answer.replies else None
    ksft_true(bound, "no id")
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {number: bound for number in queues})


def _refused(name, attrs, error, **expected):
    return KsftNamedVariant(name, attrs, error, expected)


def _short(name, kind, value):
    """An attribute with a payload of another length than a u32's."""
    return Attr(name, kind, value)


INVAL = errno.EINVAL
LENGTH = {"says": "invalid attribute length", "core": True}
UNKNOWN = {"says": "Unknown attribute type", "core": True}
UNSUPPORTED = {"says": "Unsupported attribute", "core": True}
LEFTOVER = {"says": "bytes leftover", "core": True}
RANGE = {"core": True, "says": "integer out of range"}

MALFORMED = [
    # missing, in the order in which they are missed
    _refused("nothing", lambda r: [], INVAL,
             missing=DMABUF_IFINDEX, says="ifindex"),
    _refused("only_ifindex", lambda r: [r.i], INVAL,
             missing=DMABUF_FD, says="fd"),
    _refused("no_ifindex", lambda r: [r.f, r.q], INVAL,
             missing=DMABUF_IFINDEX, says="ifindex"),
    _refused("no_fd", lambda r: [r.i, r.q], INVAL,
             missing=DMABUF_FD, says="fd"),
    _refused("no_queues", lambda r: [r.i, r.f], INVAL,
             missing=DMABUF_QUEUES, says="queues"),
    _refused("empty_queue", lambda r: [r.i, r.f, nest([])], INVAL,
             missing=QUEUE_ID, missing_in="queues", says="id"),
    _refused("no_queue_id",
             lambda r: [r.i, r.f, nest(queue_attrs(r.num)[:1])], INVAL,
             missing=QUEUE_ID, missing_in="queues", says="id"),
    _refused("no_queue_type",
             lambda r: [r.i, r.f, nest(queue_attrs(r.num)[1:])], INVAL,
             missing=QUEUE_TYPE, missing_in="queues", says="type"),
    _refused("second_queue_empty", lambda r: r.attrs(nest([])), INVAL,
             missing=QUEUE_ID, missing_in="queues", says="id"),

    # unknown
    _refused("unknown", lambda r: r.attrs(Attr("x", 6, 0)), INVAL,
             bad="x", **UNKNOWN),
    _refused("unknown_first", lambda r: [Attr("x", 99, b""), *r.attrs()],
             INVAL, bad="x", **UNKNOWN),
    _refused("type_zero", lambda r: r.attrs(Attr("x", 0, 0)), INVAL,
             bad="x", **UNKNOWN),
    _refused("highest_type", lambda r: r.attrs(Attr("x", 0x3fff, 0)), INVAL,
             bad="x", **UNKNOWN),
    _refused("reply_attribute", lambda r: r.attrs(Attr("x", DMABUF_ID, 1)),
             INVAL, bad="x", **UNSUPPORTED),
    _refused("unknown_in_queue",
             lambda r: [r.i, r.f, nest([*queue_attrs(r.num),
                                        Attr("x", QUEUE_NAPI_ID, 1)])],
             INVAL, bad="x", **UNKNOWN),
    _refused("ifindex_in_queue",
             lambda r: [r.i, r.f, nest([*queue_attrs(r.num),
                                        Attr("x", QUEUE_IFINDEX, 1)])],
             INVAL, bad="x", **UNSUPPORTED),

    # length
    _refused("ifindex_u16",
             lambda r: [_short("ifindex", DMABUF_IFINDEX, b"\1\0"), r.f, r.q],
             INVAL, bad="ifindex", **LENGTH),
    _refused("ifindex_u64",
             lambda r: [_short("ifindex", DMABUF_IFINDEX, bytes(8)), r.f, r.q],
             INVAL, bad="ifindex", **LENGTH),
    _refused("ifindex_empty",
             lambda r: [_short("ifindex", DMABUF_IFINDEX, b""), r.f, r.q],
             INVAL, bad="ifindex", **LENGTH),
    _refused("fd_three_bytes",
             lambda r: [r.i, _short("fd", DMABUF_FD, bytes(3)), r.q],
             INVAL, bad="fd", **LENGTH),
    _refused("fd_u64", lambda r: [r.i, _short("fd", DMABUF_FD, bytes(8)), r.q],
             INVAL, bad="fd", **LENGTH),
    _refused("page_size_u64",
             lambda r: r.attrs(_short("rx-page-size", DMABUF_RX_PAGE_SIZE,
                                      PAGE.to_bytes(8, "little"))),
             INVAL, bad="rx-page-size", **LENGTH),
    _refused("queue_id_u64",
             lambda r: [r.i, r.f, nest([queue_attrs(r.num)[0],
                                        _short("id", QUEUE_ID, bytes(8))])],
             INVAL, bad="id", **LENGTH),
    _refused("queue_type_u8",
             lambda r: [r.i, r.f, nest([queue_attrs(r.num)[1],
                                        _short("type", QUEUE_TYPE, b"\0")])],
             INVAL, bad="type", **LENGTH),
    _refused("queues_two_bytes",
             lambda r: [r.i, r.f, Attr("queues", DMABUF_QUEUES | NESTED,
                                       b"\0\0")],
             errno.ERANGE, bad="queues", core=True,
             says="Attribute failed policy validation"),

    # nesting
    _refused("queues_not_marked",
             lambda r: [r.i, r.f, nest(queue_attrs(r.num), 0)],
             INVAL, bad="queues", core=True, says="NLA_F_NESTED is missing"),
    _refused("queues_a_number",
             lambda r: [r.i, r.f, Attr("queues", DMABUF_QUEUES, r.num)],
             INVAL, bad="queues", core=True, says="NLA_F_NESTED is missing"),
    _refused("ifindex_marked",
             lambda r: [Attr("ifindex", DMABUF_IFINDEX | NESTED,
                             r.cfg.ifindex), r.f, r.q],
             INVAL, bad="ifindex", core=True,
             says="NLA_F_NESTED not expected"),
    _refused("queue_id_marked",
             lambda r: [r.i, r.f, nest([queue_attrs(r.num)[0],
                                        Attr("id", QUEUE_ID | NESTED, r.num)])],
             INVAL, bad="id", core=True, says="NLA_F_NESTED not expected"),
    _refused("queues_in_queues", lambda r: [r.i, r.f, nest([r.q])],
             INVAL, bad="queues", **UNSUPPORTED),
    _refused("queue_without_nest", lambda r: [r.i, r.f, *queue_attrs(r.num)],
             INVAL, missing=DMABUF_QUEUES, says="queues"),

    # lengths that lie
    _refused("longer_than_message",
             lambda r: [r.f, r.q, Attr("ifindex", DMABUF_IFINDEX,
                                       r.cfg.ifindex, length=64)],
             INVAL, **LEFTOVER),
    _refused("shorter_than_header",
             lambda r: [r.i, r.f, r.q, Attr("x", DMABUF_RX_PAGE_SIZE, PAGE,
                                            length=2)],
             INVAL, **LEFTOVER),
    _refused("longer_than_nest",
             lambda r: [r.i, r.f, nest([queue_attrs(r.num)[0],
                                        Attr("id", QUEUE_ID, r.num,
                                             length=12)])],
             INVAL, **LEFTOVER),
]


def _queues(*numbers):
    return [queue(number) for number in numbers]


VALUES = [
    _refused("ifindex_zero", lambda r: [ifindex(0), r.f, r.q],
             errno.ERANGE, bad="ifindex", **RANGE),
    _refused("ifindex_nobodys", lambda r: [ifindex(0x7ffffff0), r.f, r.q],
             errno.ENODEV, bad="ifindex", says="interface"),
    _refused("ifindex_negative", lambda r: [ifindex(1 << 31), r.f, r.q],
             errno.ENODEV, bad="ifindex", says="interface"),
    _refused("ifindex_minus_one", lambda r: [ifindex(U32), r.f, r.q],
             errno.ENODEV, bad="ifindex", says="interface"),
    _refused("fd_minus_one", lambda r: [r.i, dmabuf_fd(-1), r.q],
             errno.EBADF, bad="fd", says="-1"),
    _refused("fd_most_negative", lambda r: [r.i, dmabuf_fd(-1 << 31), r.q],
             errno.EBADF, bad="fd", says="fd"),
    _refused("fd_not_open", lambda r: [r.i, dmabuf_fd(0x7fffffff), r.q],
             errno.EBADF, bad="fd", says="2147483647"),
    _refused("queue_count", lambda r: r.attrs(queue(r.cfg.num_queues)),
             INVAL, bad="queues.id", says="RX queue"),
    _refused("queue_highest", lambda r: [r.i, r.f, queue(U32)],
             INVAL, bad="queues.id", says=str(U32)),
    _refused("queue_tx", lambda r: [r.i, r.f, queue(r.num, TYPE_TX)],
             INVAL, bad="queues.type", says="rx"),
    _refused("queue_tx_second", lambda r: r.attrs(queue(r.num, TYPE_TX)),
             INVAL, bad="queues.type", says="rx"),
    _refused("queue_type_two", lambda r: [r.i, r.f, queue(r.num, 2)],
             errno.ERANGE, bad="queues.type", **RANGE),
    _refused("queue_type_highest", lambda r: [r.i, r.f, queue(r.num, U32)],
             errno.ERANGE, bad="queues.type", **RANGE),
    _refused("queues_thousand",
             lambda r: [r.i, r.f, *_queues(*range(r.num, r.num + 1000))],
             INVAL, bad="queues.id", says="RX queue"),
    _refused("page_size_zero", lambda r: r.attrs(rx_page_size(0)),
             errno.ERANGE, bad="rx-page-size", **RANGE),
    _refused("page_size_one", lambda r: r.attrs(rx_page_size(1)),
             errno.ERANGE, bad="rx-page-size", **RANGE),
    _refused("page_size_half", lambda r: r.attrs(rx_page_size(PAGE // 2)),
             errno.ERANGE, bad="rx-page-size", **RANGE),
    _refused("page_size_less_one", lambda r: r.attrs(rx_page_size(PAGE - 1)),
             errno.ERANGE, bad="rx-page-size", **RANGE),
    _refused("page_size_plus_one", lambda r: r.attrs(rx_page_size(PAGE + 1)),
             INVAL, bad="rx-page-size", says="power of 2"),
    _refused("page_size_three_pages", lambda r: r.attrs(rx_page_size(3 * PAGE)),
             INVAL, bad="rx-page-size", says="power of 2"),
    _refused("page_size_highest", lambda r: r.attrs(rx_page_size(U32)),
             INVAL, bad="rx-page-size", says="power of 2"),
    # an odd number of pages cannot be cut like this
    _refused("page_size_two_pages", lambda r: r.attrs(rx_page_size(2 * PAGE)),
             INVAL, bad="fd", says="8192"),
    _refused("page_size_2_31", lambda r: r.attrs(rx_page_size(1 << 31)),
             INVAL, bad="fd", says=str(1 << 31)),
]


def _expect_refused(cfg, attrs, error, expected):
    request = _request(cfg)
    expect_answer(cfg, cfg.raw.ask(attrs(request)), error, **expected)
    _check_nothing_bound(cfg, request.dmabuf)


@ksft_variants(MALFORMED)
@leaves_nothing
def malformed(cfg, attrs, error, expected):
    """Attributes that a program with a bug might send."""
    _expect_refused(cfg, attrs, error, expected)


@ksft_variants(VALUES)
@leaves_nothing
def value(cfg, attrs, error, expected):
    """Attributes of the right shape whose values are refused."""
    _expect_refused(cfg, attrs, error, expected)


@leaves_nothing
def trailing_bytes(cfg):
    """EINVAL for bytes behind the last attribute that are none."""
    request = _request(cfg)
    answer = cfg.raw.ask(request.attrs(), tail=b"\1\2\3\4")
    expect_answer(cfg, answer, INVAL, **LEFTOVER)
    _check_nothing_bound(cfg, request.dmabuf)


@leaves_nothing
def other_netns(cfg):
    """ENODEV for an interface that only another netns has."""
    index = 0x12345
    ip(f"link add dm-dummy index {index} type dummy", ns=cfg.remote_ns)
    defer(ip, "link del dm-dummy", ns=cfg.remote_ns)
    request = _request(cfg)
    answer = cfg.raw.ask([ifindex(index), request.f, request.q])
    expect_answer(cfg, answer, errno.ENODEV, bad="ifindex", says="interface")
    _check_nothing_bound(cfg, request.dmabuf)


def _closed():
    fd = os.dup(0)
    os.close(fd)
    return fd


def _opened(path):
    fd = os.open(path, os.O_RDONLY)
    defer(os.close, fd)
    return fd


def _memfd():
    fd = os.memfd_create("devmem-selftest")
    defer(os.close, fd)
    os.ftruncate(fd, BUF_SIZE)
    return fd


def _socket():
    sock = socket.socket()
    defer(sock.close)
    return sock.fileno()


def _open_path():
    fd = os.open("/", os.O_PATH)
    defer(os.close, fd)
    return fd


@ksft_variants([
    KsftNamedVariant("closed", _closed, errno.EBADF, "not open"),
    # fget() does not see a descriptor that is only a path
    KsftNamedVariant("path", _open_path, errno.EBADF, "not open"),
    KsftNamedVariant("device", lambda: _opened("/dev/null"), INVAL, "dma-buf"),
    KsftNamedVariant("udmabuf_device", lambda: _opened("/dev/udmabuf"), INVAL,
                     "dma-buf"),
    KsftNamedVariant("file", lambda: _opened(__file__), INVAL, "dma-buf"),
    KsftNamedVariant("folder", lambda: _opened("/"), INVAL, "dma-buf"),
    KsftNamedVariant("memfd", _memfd, INVAL, "dma-buf"),
    KsftNamedVariant("socket", _socket, INVAL, "dma-buf"),
])
@leaves_nothing
def descriptor(cfg, make, error, says):
    """EBADF for what is not open, EINVAL for what is not a dma-buf."""
    request = _request(cfg)
    answer = cfg.raw.ask([request.i, dmabuf_fd(make()), request.q])
    expect_answer(cfg, answer, error, bad="fd", says=says)
    _check_nothing_bound(cfg, request.dmabuf)


@ksft_variants([
    KsftNamedVariant(name, flags, INVAL, "reserved bits set in nlmsg_flags")
    for name, flags in (("replace", 0x100), ("excl", 0x200), ("create", 0x400),
                        ("append", 0x800), ("dump_intr", 0x10),
                        ("dump_filtered", 0x20), ("highest", 0x8000))
] + [KsftNamedVariant("dump", Netlink.NLM_F_DUMP, errno.EOPNOTSUPP, "")])
@leaves_nothing
def header_flag(cfg, flags, error, says):
    """Flags that bind-rx has no meaning for are refused."""
    request = _request(cfg)
    answer = cfg.raw.ask(request.attrs(), flags=REQUEST | ACK | flags)
    expect_answer(cfg, answer, error, says=says, core=True)
    _check_nothing_bound(cfg, request.dmabuf)


@leaves_nothing
def header_reserved(cfg):
    """EINVAL where the reserved field is used."""
    request = _request(cfg)
    answer = cfg.raw.ask(request.attrs(), reserved=1)
    expect_answer(cfg, answer, INVAL, says="reserved", core=True)
    _check_nothing_bound(cfg, request.dmabuf)


@leaves_nothing
def header_no_request(cfg):
    """A message that is no request is acknowledged and does nothing."""
    request = _request(cfg)
    answer = cfg.raw.ask(request.attrs(), flags=ACK)
    expect_answer(cfg, answer, 0, core=True)
    _check_nothing_bound(cfg, request.dmabuf)


@leaves_nothing
def unknown_command(cfg):
    """EOPNOTSUPP for a command that the family does not have."""
    request = _request(cfg)
    answer = cfg.raw.ask(request.attrs(), command=250)
    expect_answer(cfg, answer, errno.EOPNOTSUPP, core=True)
    _check_nothing_bound(cfg, request.dmabuf)


@ksft_variants([
    KsftNamedVariant("plain", lambda r: r.attrs()),
    KsftNamedVariant("any_order", lambda r: [r.q, r.f, r.i]),
    KsftNamedVariant("type_and_id_swapped",
                     lambda r: [r.i, r.f, nest(queue_attrs(r.num)[::-1])]),
    KsftNamedVariant("page_size_of_a_page",
                     lambda r: r.attrs(rx_page_size(PAGE))),
    KsftNamedVariant("last_ifindex_counts",
                     lambda r: [ifindex(0x7ffffff0), *r.attrs()]),
    KsftNamedVariant("last_fd_counts", lambda r: [dmabuf_fd(-1), *r.attrs()]),
    KsftNamedVariant("last_page_size_counts",
                     lambda r: r.attrs(rx_page_size(3 * PAGE),
                                       rx_page_size(PAGE))),
    KsftNamedVariant("last_id_counts",
                     lambda r: [r.i, r.f, nest([Attr("id", QUEUE_ID, U32),
                                                *queue_attrs(r.num)])]),
    KsftNamedVariant("last_type_counts",
                     lambda r: [r.i, r.f, nest([Attr("t", QUEUE_TYPE, TYPE_TX),
                                                *queue_attrs(r.num)])]),
    KsftNamedVariant("same_queue_thousand_times",
                     lambda r: [r.i, r.f, *_queues(*[r.num] * 1000)]),
    # the bit has no meaning for the kernel, which takes the host's order
    KsftNamedVariant("byte_order_bit",
                     lambda r: [Attr("ifindex", DMABUF_IFINDEX |
                                     Netlink.NLA_F_NET_BYTEORDER,
                                     r.cfg.ifindex), r.f, r.q]),
])
@leaves_nothing
def accepted(cfg, attrs):
    """Unusual, but good: bound to the one queue, until the socket closes."""
    request = _request(cfg)
    raw = _raw()
    _check_bound(cfg, raw.ask(attrs(request)), [request.num])
    raw.close()
    _check_nothing_bound(cfg, request.dmabuf)


@leaves_nothing
def last_value_is_refused(cfg):
    """Of two values the last one counts, also when it is the wrong one."""
    request = _request(cfg)
    answer = cfg.raw.ask(request.attrs(ifindex(0x7ffffff0)))
    expect_answer(cfg, answer, errno.ENODEV, bad="ifindex", says="interface")
    answer = cfg.raw.ask(request.attrs(dmabuf_fd(-1)))
    expect_answer(cfg, answer, errno.EBADF, bad="fd", says="fd")
    _check_nothing_bound(cfg, request.dmabuf)


@ksft_variants([KsftNamedVariant("echo", REQUEST | ACK | NLM_F_ECHO),
                KsftNamedVariant("no_ack", REQUEST)])
@leaves_nothing
def accepted_with_flags(cfg, flags):
    """An ACK more or less makes no difference to the binding."""
    request = _request(cfg)
    raw = _raw()
    ack = bool(flags & ACK)
    answer = raw.receive(*raw.send(request.attrs(), flags=flags), ack)
    if not ack:
        ksft_eq(answer.error, None, "an ACK that nobody asked for")
        answer.error = 0
    _check_bound(cfg, answer, [request.num])
    raw.close()
    _check_nothing_bound(cfg, request.dmabuf)


@leaves_nothing
def refused_then_bound(cfg):
    """A socket that was refused often makes a binding like any other."""
    request = _request(cfg)
    raw = _raw()
    for attrs in ([], [request.i, request.f], [request.i, dmabuf_fd(-1),
                                               request.q],
                  request.attrs(queue(U32)), request.attrs(rx_page_size(1))):
        ksft_true(raw.ask(attrs).error)
    _check_bound(cfg, raw.ask(request.attrs()), [request.num])
    again = raw.ask(request.attrs())
    expect_answer(cfg, again, errno.EEXIST, bad="queues.id",
                  says="bound already")
    ksft_eq(list(bound_queues(cfg.netdev, cfg.ifindex)), [request.num])
    raw.close()
    _check_nothing_bound(cfg, request.dmabuf)


def _lost(raw):
    """Whether the socket had to drop a message since it was asked last."""
    error = raw.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    ksft_in(error, (0, errno.ENOBUFS))
    return error == errno.ENOBUFS


def _fill(raw):
    """Leave answers unread until the socket takes no more."""
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(1000):
        raw.send([Attr("ifindex", 1, 1)], "dev-get")
        if _lost(raw):
            return
    raise KsftFailEx("the receive buffer does not fill up")


@leaves_nothing
def reply_does_not_fit(cfg):
    """
    Whoever does not read answers loses the id. In C the queue stays bound
    nevertheless, and nobody knows the id; ours takes the binding back.
    """
    request = _request(cfg)
    raw = _raw()
    _fill(raw)
    number, _ = raw.send(request.attrs())
    bound = bound_queues(cfg.netdev, cfg.ifindex)
    if cfg.is_rust:
        ksft_eq(bound, {})
        _check_nothing_bound(cfg, request.dmabuf)
    else:
        defect(list(bound) == [request.num],
               "the queue is bound, and nobody is told the id")
    ksft_not_in(number, raw.drain(), "there is an answer")
    if cfg.is_rust:
        # the socket is as good as before
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        _check_bound(cfg, raw.ask(request.attrs()), [request.num])
    raw.close()
    _check_nothing_bound(cfg, request.dmabuf)


CASES = [
    malformed,
    value,
    trailing_bytes,
    other_netns,
    descriptor,
    header_flag,
    header_reserved,
    header_no_request,
    unknown_command,
    accepted,
    last_value_is_refused,
    accepted_with_flags,
    refused_then_bound,
    reply_does_not_fit,
]


if __name__ == "__main__":
    run_raw_tests(__file__, CASES)
