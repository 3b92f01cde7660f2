#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What cannot be done to a NIC while a dma-buf is bound, by whom else its queues
can be taken, and that the binding goes on working after each attempt.
"""

import errno
import os

from lib.py import (KsftNamedVariant, KsftSkipEx, NlError, Receiver,
                    Udmabuf, bind_request, bound_queues, defer, expect_refused,
                    ksft_eq, ksft_exit, ksft_in, ksft_not_in, ksft_run,
                    ksft_true, ksft_variants, leaves_nothing,
                    os_error, page_pools, run_in_env, send, try_bind, wait_for)
from lib.py.bpf import XDP_GENERIC, XDP_NATIVE, xdp_attach, xdp_pass
from lib.py.xsk import COPY, ZEROCOPY, Xsk
from lib.py.zcrx import Zcrx

BUF_SIZE = 4 << 20
CHUNK = 32 << 10


class Bound:
    """A binding with a connection that lands in it."""

    def __init__(self, cfg):
        self._cfg = cfg
        self.queue = cfg.queues[0]
        self.dmabuf, self.binding = cfg.bind(BUF_SIZE)
        self._before = bound_queues(cfg.netdev, cfg.ifindex)
        ksft_eq(self._before, {queue: self.binding.id for queue in cfg.queues})
        sock, self._sender = cfg.connect("6", self.queue)
        self._receiver = Receiver(sock, self.dmabuf, self.binding.id)

    def works(self):
        """As before: bound to the same queues, and payload lands in it."""
        ksft_eq(bound_queues(self._cfg.netdev, self._cfg.ifindex), self._before)
        before = self._receiver.kinds["dmabuf"]
        thread = send(self._sender, self._receiver.position, CHUNK)
        self._receiver.receive_all(self._receiver.position + CHUNK)
        thread.finish()
        ksft_eq(self._receiver.kinds["dmabuf"] - before, CHUNK)


def _refused(call, *args):
    """The NlError that a YNL call raises; None if it does not."""
    try:
        call(*args)
    except NlError as error:
        return error
    return None


def _header(cfg):
    return {"header": {"dev-index": cfg.ifindex}}


def _message(error):
    return (error.nl_msg.extack or {}).get("msg", "") if error else ""


@ksft_variants(["disabled", "unknown"])
@leaves_nothing
def header_split(cfg, value):
    """EINVAL for turning header split off, or leaving it to the driver."""
    bound = Bound(cfg)
    error = _refused(cfg.ethnl.rings_set,
                     {**_header(cfg), "tcp-data-split": value})
    ksft_eq(error and error.error, errno.EINVAL, str(error))
    ksft_in("memory provider", _message(error))
    ksft_eq(cfg.rings()["tcp-data-split"], "enabled")
    bound.works()


@leaves_nothing
def hds_threshold(cfg):
    """No threshold below which packets are not split."""
    bound = Bound(cfg)
    error = _refused(cfg.ethnl.rings_set, {**_header(cfg), "hds-thresh": 64})
    # a driver without the parameter refuses it for that
    ksft_in(error and error.error, (errno.EINVAL, errno.EOPNOTSUPP), str(error))
    ksft_eq(cfg.rings().get("hds-thresh", 0), 0)
    bound.works()


@leaves_nothing
def bound_queue_is_kept(cfg):
    """EINVAL for a number of queues that has no room for a bound one."""
    bound = Bound(cfg)
    channels = cfg.channels()
    kind = "rx" if channels.get("rx-count") else "combined"
    for count in (max(cfg.queues), min(cfg.queues), 1):
        error = _refused(cfg.ethnl.channels_set,
                         {**_header(cfg), f"{kind}-count": count})
        ksft_eq(error and error.error, errno.EINVAL, str(error))
    ksft_in("too low", _message(error))
    ksft_eq(cfg.rx_queues(), cfg.num_queues)
    bound.works()


@leaves_nothing
def unbound_queue_may_go(cfg):
    """
    Queues above the bound ones may be removed; the core of 7.3 keeps the next
    one as well.
    """
    queue = cfg.num_queues - 3
    dmabuf, binding = cfg.bind(BUF_SIZE, [queue])
    cfg.ethnl.channels_set({**_header(cfg), "rx-count": cfg.num_queues - 1})
    back = defer(cfg.ethnl.channels_set,
                 {**_header(cfg), "rx-count": cfg.num_queues})
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})
    back.exec()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})
    cfg.wait_carrier()
    sock, sender = cfg.connect("6", queue)
    receiver = Receiver(sock, dmabuf, binding.id)
    thread = send(sender, 0, CHUNK)
    receiver.receive_all(CHUNK)
    thread.finish()
    ksft_eq(receiver.kinds["dmabuf"], CHUNK)


@ksft_variants([
    KsftNamedVariant("generic", XDP_GENERIC, True),
    KsftNamedVariant("native", XDP_NATIVE, True),
    KsftNamedVariant("generic_single_buffer", XDP_GENERIC, False),
    KsftNamedVariant("native_single_buffer", XDP_NATIVE, False),
])
@leaves_nothing
def xdp(cfg, mode, frags):
    """EBUSY for XDP of any kind: no program may see unreadable memory."""
    bound = Bound(cfg)
    prog = xdp_pass(frags)
    defer(os.close, prog)
    got = os_error(xdp_attach, cfg.ifindex, prog, mode)
    if not got:
        xdp_attach(cfg.ifindex, -1, mode)
    ksft_eq(got, errno.EBUSY)
    bound.works()


@leaves_nothing
def xdp_first(cfg):
    """EEXIST for a bind on a NIC that has XDP; once it is gone, all is well."""
    prog = xdp_pass()
    defer(os.close, prog)
    xdp_attach(cfg.ifindex, prog, XDP_GENERIC)
    detach = defer(xdp_attach, cfg.ifindex, -1, XDP_GENERIC)
    dmabuf = Udmabuf(BUF_SIZE)
    defer(dmabuf.close)
    error = try_bind(bind_request(cfg.ifindex, dmabuf.fd, cfg.queues))
    expect_refused(cfg, error, errno.EEXIST, rust_attr=".ifindex",
                   says=["xdp off"])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    detach.exec()
    Bound(cfg).works()


@leaves_nothing
def second_binding(cfg):
    """EEXIST for another dma-buf, or the same, on a bound queue."""
    bound = Bound(cfg)
    other = Udmabuf(BUF_SIZE)
    defer(other.close)
    for fd in (other.fd, bound.dmabuf.fd):
        error = try_bind(bind_request(cfg.ifindex, fd, [bound.queue]))
        expect_refused(cfg, error, errno.EEXIST, rust_attr=".queues.id",
                       says=[str(bound.queue)])
    bound.works()


@leaves_nothing
def xsk_zerocopy(cfg):
    """EBUSY for an AF_XDP socket that wants a bound queue's memory."""
    bound = Bound(cfg)
    xsk = Xsk()
    defer(xsk.close)
    got = os_error(xsk.bind, cfg.ifindex, bound.queue, ZEROCOPY)
    if got == errno.EOPNOTSUPP:
        raise KsftSkipEx(f"{cfg.ifname} has no zero-copy AF_XDP")
    ksft_eq(got, errno.EBUSY)
    bound.works()


@leaves_nothing
def xsk_copy(cfg):
    """An AF_XDP socket that copies gets nothing, and takes nothing away."""
    bound = Bound(cfg)
    xsk = Xsk()
    defer(xsk.close)
    ksft_eq(os_error(xsk.bind, cfg.ifindex, bound.queue, COPY), 0)
    bound.works()
    xsk.close()
    bound.works()


@leaves_nothing
def xsk_first(cfg):
    """EBUSY for a queue that an AF_XDP socket has."""
    queue = cfg.queues[0]
    xsk = Xsk()
    defer(xsk.close)
    xsk.bind(cfg.ifindex, queue, COPY)
    dmabuf = Udmabuf(BUF_SIZE)
    defer(dmabuf.close)
    error = try_bind(bind_request(cfg.ifindex, dmabuf.fd, cfg.queues))
    expect_refused(cfg, error, errno.EBUSY, rust_attr=".queues.id",
                   says=["AF_XDP"])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    xsk.close()
    # the socket lets the queue go in its own time
    wait_for(lambda: "xsk" not in _queue(cfg, queue), 10)
    Bound(cfg).works()


def _queue(cfg, queue):
    return cfg.netdev.queue_get({"ifindex": cfg.ifindex, "id": queue,
                                 "type": "rx"})


@leaves_nothing
def zcrx(cfg):
    """EEXIST for io_uring's memory provider on a bound queue."""
    bound = Bound(cfg)
    ring = Zcrx()
    defer(ring.close)
    ksft_eq(os_error(ring.register, cfg.ifindex, bound.queue), errno.EEXIST)
    ksft_not_in("io-uring", _queue(cfg, bound.queue))
    bound.works()


@leaves_nothing
def zcrx_first(cfg):
    """EEXIST for a queue that has io_uring's memory provider, which stays."""
    queue = cfg.queues[0]
    ring = Zcrx()
    defer(ring.close)
    ring.register(cfg.ifindex, queue)
    ksft_in("io-uring", _queue(cfg, queue))
    dmabuf = Udmabuf(BUF_SIZE)
    defer(dmabuf.close)
    # the other queues are restarted first, and have to be restarted back
    error = try_bind(bind_request(cfg.ifindex, dmabuf.fd,
                                  [queue, *cfg.queues[1:]]))
    expect_refused(cfg, error, errno.EEXIST, rust_attr=".queues.id",
                   says=[str(queue)])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    ksft_in("io-uring", _queue(cfg, queue))
    ring.close()
    ksft_true(wait_for(lambda: "io-uring" not in _queue(cfg, queue), 10),
              "io_uring keeps the queue")
    Bound(cfg).works()


@leaves_nothing
def reports(cfg):
    """queue-get and page-pool-get name the dma-buf, as long as it is bound."""
    one, first = cfg.bind(BUF_SIZE, cfg.queues[:1])
    _, second = cfg.bind(BUF_SIZE, cfg.queues[1:2])
    ids = {cfg.queues[0]: first.id, cfg.queues[1]: second.id}
    for queue, ident in ids.items():
        ksft_eq(_queue(cfg, queue).get("dmabuf"), ident)
    ksft_not_in("dmabuf", _queue(cfg, 0))
    pools = page_pools(cfg.netdev, cfg.ifindex)
    ksft_eq(sorted(pool["dmabuf"] for pool in pools), sorted(ids.values()))
    for pool in pools:
        alone = cfg.netdev.page_pool_get({"id": pool["id"]})
        ksft_eq(alone["dmabuf"], pool["dmabuf"])
        ksft_eq(alone["ifindex"], cfg.ifindex)
        ksft_true(alone["inflight"] > 0, "the NIC has no buffers")
        ksft_true(alone["inflight-mem"] >= alone["inflight"])
    # a descriptor less changes nothing
    one.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), ids)
    first.close()
    ksft_not_in("dmabuf", _queue(cfg, cfg.queues[0]))
    ksft_eq(_queue(cfg, cfg.queues[1])["dmabuf"], second.id)
    ksft_true(wait_for(lambda: {second.id} == {
        pool["dmabuf"] for pool in page_pools(cfg.netdev, cfg.ifindex)}, 10),
        "the pool of the first binding is still there")
    second.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    ksft_true(wait_for(lambda: not page_pools(cfg.netdev, cfg.ifindex), 10),
              "the pool of the second binding is still there")


CASES = [
    reports,
    header_split,
    hds_threshold,
    bound_queue_is_kept,
    unbound_queue_may_go,
    xdp,
    xdp_first,
    second_binding,
    xsk_zerocopy,
    xsk_copy,
    xsk_first,
    zcrx,
    zcrx_first,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
