#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Which errno a bind-rx gets that is wrong in two ways at once: always that of
the check that comes first. Programs tell a kernel without device memory from
one where something has to be set up by the errno, so the order is ABI.
"""

import errno
import itertools
import os

from lib.py import (Binding, KsftNamedVariant, KsftSkipEx, Udmabuf,
                    bound_queues, defer, dmabufs, ethtool, ip, ksft_eq,
                    ksft_pr, ksft_variants, leaves_nothing, page_pools,
                    wait_for)
from lib.py.bpf import XDP_GENERIC, xdp_attach, xdp_pass
from lib.py.rawnl import (QUEUE_ID, TYPE_TX, Attr, dmabuf_fd, ifindex, nest,
                          queue, run_raw_tests, rx_page_size)

PAGE = os.sysconf("SC_PAGE_SIZE")
# an odd number of pages, which no bigger niov divides
BUF_SIZE = (1 << 20) + PAGE


class Fault:
    """
    One thing that is wrong with a request.

    what: the part of the request that it is in; a request has room for one
          fault in each part
    level: when it is found, see LEVELS
    value: of that part, made by a function of the Parts
    """

    def __init__(self, name, level, what, error, value):
        self.name = name
        self.level = level
        self.what = what
        self.error = error
        self.value = value


LEVELS = ("policy", "missing", "page size", "device", "queue ops", "queues",
          "fd", "pieces", "queue")

FAULTS = [
    Fault("ifindex_zero", "policy", "ifindex", errno.ERANGE, lambda p: 0),
    Fault("queue_type_two", "policy", "queues", errno.ERANGE,
          lambda p: queue(p.number, 2)),
    Fault("page_size_small", "policy", "size", errno.ERANGE,
          lambda p: PAGE // 2),
    Fault("no_ifindex", "missing", "ifindex", errno.EINVAL, lambda p: None),
    Fault("no_fd", "missing", "fd", errno.EINVAL, lambda p: None),
    Fault("no_queues", "missing", "queues", errno.EINVAL, lambda p: None),
    Fault("page_size_odd", "page size", "size", errno.EINVAL,
          lambda p: 3 * PAGE),
    Fault("no_device", "device", "ifindex", errno.ENODEV,
          lambda p: 0x7ffffff0),
    Fault("no_queue_ops", "queue ops", "ifindex", errno.EOPNOTSUPP,
          lambda p: p.lo),
    Fault("queue_empty", "queues", "queues", errno.EINVAL,
          lambda p: nest([])),
    Fault("queue_no_type", "queues", "queues", errno.EINVAL,
          lambda p: nest([Attr("id", QUEUE_ID, p.number)])),
    Fault("queue_tx", "queues", "queues", errno.EINVAL,
          lambda p: queue(p.number, TYPE_TX)),
    Fault("queue_high", "queues", "queues", errno.EINVAL,
          lambda p: queue(p.count)),
    Fault("fd_closed", "fd", "fd", errno.EBADF, lambda p: -1),
    Fault("fd_other", "fd", "fd", errno.EINVAL, lambda p: p.null),
    Fault("pieces", "pieces", "size", errno.EINVAL, lambda p: 2 * PAGE),
    Fault("bound", "queue", "queues", errno.EEXIST, lambda p: queue(p.bound)),
]
BY_NAME = {fault.name: fault for fault in FAULTS}


class Parts:
    """What requests are made of."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.dmabuf = Udmabuf(BUF_SIZE)
        defer(self.dmabuf.close)
        self.null = os.open("/dev/null", os.O_RDONLY)
        defer(os.close, self.null)
        self.lo = ip("link show dev lo", json=True)[0]["ifindex"]
        self.number, self.bound = cfg.queues[:2]
        self.count = cfg.num_queues

    def request(self, *faults):
        """The attributes of a request with these faults, queues last."""
        parts = {"ifindex": self.cfg.ifindex, "fd": self.dmabuf.fd,
                 "size": None, "queues": queue(self.number)}
        parts.update({fault.what: fault.value(self) for fault in faults})
        made = []
        for name, make in (("ifindex", ifindex), ("fd", dmabuf_fd),
                           ("size", rx_page_size)):
            if parts[name] is not None:
                made.append(make(parts[name]))
        if parts["queues"] is not None:
            made.append(parts["queues"])
        return made


def _ask(cfg, attrs):
    answer = cfg.raw.ask(attrs)
    if cfg.is_rust and answer.error:
        ksft_eq(bool(answer.message), True, repr(answer))
    return answer


def _nothing_left(cfg, parts, others):
    ksft_eq(list(bound_queues(cfg.netdev, cfg.ifindex)), others)
    wait_for(lambda: len(page_pools(cfg.netdev, cfg.ifindex)) == len(others)
             and not dmabufs().get(parts.dmabuf.inode), 10)
    ksft_eq(len(page_pools(cfg.netdev, cfg.ifindex)), len(others))
    ksft_eq(dmabufs().get(parts.dmabuf.inode), [])


def _check_pairs(cfg, parts, pairs, others):
    """Each pair is (fault found first, fault found later)."""
    wrong = []
    for first, later in pairs:
        answer = _ask(cfg, parts.request(first, later))
        if answer.error != first.error:
            wrong.append(f"{first.name} and {later.name}: {answer} instead of "
                         f"{errno.errorcode[first.error]}")
    ksft_pr(f"{len(pairs)} requests")
    ksft_eq(wrong, [])
    _nothing_left(cfg, parts, others)


def _bind_other(cfg, parts):
    """Bind one queue to something else, so that it is bound already."""
    dmabuf = Udmabuf(BUF_SIZE)
    defer(dmabuf.close)
    binding = Binding(cfg.ifindex, dmabuf.fd, [parts.bound])
    defer(binding.close)
    return [parts.bound]


@leaves_nothing
def alone(cfg):
    """Each fault alone gets its errno: the pairs are about order only."""
    parts = Parts(cfg)
    others = _bind_other(cfg, parts)
    for fault in FAULTS:
        answer = _ask(cfg, parts.request(fault))
        ksft_eq(answer.error, fault.error, f"{fault.name}: {answer}")
    _nothing_left(cfg, parts, others)


@ksft_variants([KsftNamedVariant(level.replace(" ", "_"), level)
                for level in LEVELS[:-1]])
@leaves_nothing
def before_later(cfg, level):
    """Faults of one level win over all of later levels."""
    parts = Parts(cfg)
    others = _bind_other(cfg, parts)
    rank = LEVELS.index
    pairs = [(first, later) for first in FAULTS for later in FAULTS
             if first.level == level and rank(later.level) > rank(level)
             and first.what != later.what]
    _check_pairs(cfg, parts, pairs, others)


@leaves_nothing
def missing_in_order(cfg):
    """Of several missing attributes ifindex is named first, then fd."""
    parts = Parts(cfg)
    missing = [BY_NAME[name] for name in ("no_ifindex", "no_fd", "no_queues")]
    for first, later in itertools.combinations(missing, 2):
        answer = _ask(cfg, parts.request(first, later))
        ksft_eq(answer.error, errno.EINVAL)
        ksft_eq(answer.missing, {"no_ifindex": 1, "no_fd": 3}[first.name],
                repr(answer))


@leaves_nothing
def policy_in_order_of_message(cfg):
    """The policy's checks go through the message from front to back."""
    parts = Parts(cfg)
    unknown = Attr("x", 77, 0)
    zero = ifindex(0)
    good = parts.request()
    for attrs, error, bad in (([unknown, zero, *good], errno.EINVAL, "x"),
                              ([zero, unknown, *good], errno.ERANGE,
                               "ifindex")):
        answer = _ask(cfg, attrs)
        ksft_eq((answer.error, answer.bad), (error, bad), repr(answer))


@leaves_nothing
def queues_in_order_of_message(cfg):
    """Of several wrong queues the first in the message is named."""
    parts = Parts(cfg)
    wrong = {"queues.type": queue(parts.number, TYPE_TX),
             "queues.id": queue(parts.count)}
    for one, two in itertools.permutations(wrong):
        answer = _ask(cfg, [ifindex(cfg.ifindex), dmabuf_fd(parts.dmabuf.fd),
                            queue(parts.number), wrong[one], wrong[two]])
        ksft_eq((answer.error, answer.bad), (errno.EINVAL, one), repr(answer))


def _split_off(cfg):
    cfg.set_split(False)
    defer(cfg.set_split, True)


def _xdp_on(cfg):
    prog = xdp_pass()
    defer(os.close, prog)
    xdp_attach(cfg.ifindex, prog, XDP_GENERIC)
    defer(xdp_attach, cfg.ifindex, -1, XDP_GENERIC)


@ksft_variants([KsftNamedVariant("split_off", _split_off, errno.EINVAL,
                                 "tcp-data-split"),
                KsftNamedVariant("xdp", _xdp_on, errno.EEXIST, "XDP")])
@leaves_nothing
def device_not_ready(cfg, spoil, error, says):
    """What the device is not ready for is found after all else."""
    parts = Parts(cfg)
    spoil(cfg)
    answer = _ask(cfg, parts.request())
    ksft_eq(answer.error, error, repr(answer))
    if cfg.is_rust:
        ksft_eq(answer.bad, "ifindex", repr(answer))
        ksft_eq(says in answer.message, True, repr(answer))
    for fault in FAULTS:
        if fault.level == "queue":
            continue
        answer = _ask(cfg, parts.request(fault))
        ksft_eq(answer.error, fault.error, f"{fault.name}: {answer}")
    _nothing_left(cfg, parts, [])


@leaves_nothing
def split_before_xdp(cfg):
    """Header split off is found before XDP."""
    parts = Parts(cfg)
    _xdp_on(cfg)
    _split_off(cfg)
    answer = _ask(cfg, parts.request())
    ksft_eq(answer.error, errno.EINVAL, repr(answer))
    _nothing_left(cfg, parts, [])


@leaves_nothing
def down(cfg):
    """
    EAGAIN from gve while the link is down, after all that the core checks: a
    bound queue and header split are found first.
    """
    if "driver: gve" not in ethtool(f"-i {cfg.ifname}").stdout:
        raise KsftSkipEx("other drivers have another errno for this")
    parts = Parts(cfg)
    others = _bind_other(cfg, parts)
    cfg.link_down()
    up = defer(cfg.link_up)
    for name in ("fd_closed", "pieces", "queue_high"):
        answer = _ask(cfg, parts.request(BY_NAME[name]))
        ksft_eq(answer.error, BY_NAME[name].error, f"{name}: {answer}")
    answer = _ask(cfg, parts.request(BY_NAME["bound"]))
    ksft_eq(answer.error, errno.EEXIST, repr(answer))
    answer = _ask(cfg, parts.request())
    ksft_eq(answer.error, errno.EAGAIN, repr(answer))
    if cfg.is_rust:
        ksft_eq(answer.bad, "ifindex", repr(answer))
        ksft_eq(f"ip link set {cfg.ifname} up" in answer.message, True,
                repr(answer))
    up.exec()
    _nothing_left(cfg, parts, others)


CASES = [
    alone,
    before_later,
    missing_in_order,
    policy_in_order_of_message,
    queues_in_order_of_message,
    device_not_ready,
    split_before_xdp,
    down,
]


if __name__ == "__main__":
    run_raw_tests(__file__, CASES)
