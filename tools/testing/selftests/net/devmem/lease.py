#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Leased queues: an RX queue of the NIC that a netkit device in another network
namespace has, and a dma-buf that is bound through it. What is received, what
is reported on both sides, what is refused, and what happens to the binding
when the netkit device or the NIC goes away.
"""

import errno
import os
import socket
import threading
import traceback
from types import SimpleNamespace

from lib.py import (Binding, KsftSkipEx, NetNS, Nic, NlError, Receiver,
                    Udmabuf, bind_request, bound_queues, defer, dmabufs,
                    expect_refused, ip, ksft_eq, ksft_exit, ksft_in,
                    ksft_not_in, ksft_run, ksft_true, leaves_nothing,
                    page_pools, run_in_env, send, try_bind, wait_for)
from lib.py.bpf import XDP_GENERIC, xdp_attach, xdp_pass
from lib.py.netkit import HOST, Netkit

BUF_SIZE = 4 << 20
CHUNK = 64 << 10
# seconds; page pools and network namespaces end in work of the kernel's own
DEADLINE = 60


def _dmabuf():
    dmabuf = Udmabuf(BUF_SIZE)
    defer(dmabuf.close)
    return dmabuf


def _leased(cfg, **kwargs):
    """(Netkit, number of the queue in the NIC, its number in the netkit)"""
    queue = cfg.queues[0]
    netkit = Netkit(cfg, **kwargs)
    return netkit, queue, netkit.lease(queue)


def _bound(cfg, **kwargs):
    """As _leased(), and (dma-buf, binding through the lease)."""
    netkit, queue, virtual = _leased(cfg, **kwargs)
    dmabuf = _dmabuf()
    binding = netkit.bind(dmabuf.fd, [virtual])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})
    return netkit, queue, virtual, dmabuf, binding


def _stream(netkit, queue, dmabuf, binding):
    """(Receiver in the netkit's netns, sending socket)"""
    netkit.up()
    netkit.redirect(queue)
    receiver, sender = netkit.connect(queue)
    return Receiver(receiver, dmabuf, binding.id), sender


def _transfer(receiver, sender, keep=0):
    """Send and receive a bit more; all of it has to be in the dma-buf."""
    before = dict(receiver.kinds)
    end = receiver.position + CHUNK
    thread = send(sender, receiver.position, CHUNK)
    receiver.receive_all(end, keep=keep)
    thread.finish()
    ksft_eq(receiver.kinds["dmabuf"] - before["dmabuf"], CHUNK)


def _queue_is_free(cfg, netkit, queue):
    """The NIC has its queue back, and it works with a binding of its own."""
    netkit.no_redirect()
    ksft_not_in("lease", _queue(cfg, queue))
    dmabuf, binding = cfg.bind(BUF_SIZE, [queue])
    receiver, sender = cfg.connect("6", queue)
    _transfer(Receiver(receiver, dmabuf, binding.id), sender)


def _queue(cfg, queue):
    return cfg.netdev.queue_get({"ifindex": cfg.ifindex, "id": queue,
                                 "type": "rx"})


def _released(dmabuf):
    return wait_for(lambda: dmabuf.is_free, DEADLINE)


def _try(netkit, queues, fd):
    """Bind through the netkit; returns the NlError, or None."""
    with netkit.netdev() as netdev:
        try:
            netdev.bind_rx(bind_request(netkit.ifindex, fd, queues))
        except NlError as error:
            return error
    return None


@leaves_nothing
def transfer(cfg):
    """Payload lands in the dma-buf; both sides report the binding."""
    netkit, queue, virtual, dmabuf, binding = _bound(cfg)
    ksft_eq(_queue(cfg, queue)["lease"]["ifindex"], netkit.ifindex)
    ksft_eq({pool["dmabuf"] for pool in page_pools(cfg.netdev, cfg.ifindex)},
            {binding.id})
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    # a device that is down reports no queues
    inside = netkit.netdev()
    defer(inside.close)
    ksft_eq(bound_queues(inside, netkit.ifindex), {virtual: binding.id})
    for _ in range(4):
        _transfer(receiver, sender)
    binding.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    ksft_eq(bound_queues(inside, netkit.ifindex), {})
    # the lease is still there, with ordinary memory
    thread = send(sender, receiver.position, CHUNK)
    receiver.receive_all(receiver.position + CHUNK)
    thread.finish()
    ksft_eq(receiver.kinds["plain"], CHUNK)


@leaves_nothing
def both_sides(cfg):
    """The NIC's other queues can be bound as before, at the same time."""
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    other = cfg.queues[1]
    second, own = cfg.bind(BUF_SIZE, [other])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {queue: binding.id, other: own.id})
    leased = _stream(netkit, queue, dmabuf, binding)
    receiver, sender = cfg.connect("6", other)
    direct = Receiver(receiver, second, own.id), sender
    _transfer(*leased)
    _transfer(*direct)
    binding.close()
    _transfer(*direct)


@leaves_nothing
def two_leases(cfg):
    """One binding on two leased queues."""
    netkit = Netkit(cfg)
    virtual = [netkit.lease(queue) for queue in cfg.queues[:2]]
    dmabuf = _dmabuf()
    binding = netkit.bind(dmabuf.fd, virtual)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {queue: binding.id for queue in cfg.queues[:2]})
    netkit.delete()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    # the netlink socket holds the dma-buf, with or without queues
    ksft_true(dmabuf.is_held, "released under its socket")
    # no NIC writes there any more; C unmaps when the binding ends
    ksft_eq(bool(dmabufs()[dmabuf.inode]), not cfg.is_rust)
    binding.close()
    ksft_true(_released(dmabuf), "the dma-buf is still attached")
    _queue_is_free(cfg, netkit, cfg.queues[1])


@leaves_nothing
def refused_beside_the_lease(cfg):
    """From the NIC's side a leased queue cannot be bound."""
    _, queue, _ = _leased(cfg)
    dmabuf = _dmabuf()
    other = cfg.queues[1]
    # a queue that is leased has no DMA device of its own ...
    alone = try_bind(bind_request(cfg.ifindex, dmabuf.fd, [queue]))
    expect_refused(cfg, alone, errno.EOPNOTSUPP, rust_attr=".queues.id",
                   says=["leased"])
    # ... but one behind it has, so that only the queue itself says no
    both = try_bind(bind_request(cfg.ifindex, dmabuf.fd, [queue, other]))
    expect_refused(cfg, both, errno.EBUSY, rust_attr=".queues.id",
                   says=["leased"])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})


@leaves_nothing
def refused_queues(cfg):
    """Queues of the netkit that are not leased, or not there."""
    netkit, _, virtual = _leased(cfg)
    dmabuf = _dmabuf()
    error = _try(netkit, [0], dmabuf.fd)
    expect_refused(cfg, error, errno.EOPNOTSUPP, rust_attr=".queues.id",
                   says=["DMA"])
    # queue 0 has no header split, and is asked first
    error = _try(netkit, [0, virtual], dmabuf.fd)
    expect_refused(cfg, error, errno.EINVAL, rust_attr=".ifindex")
    error = _try(netkit, [virtual, virtual + 1], dmabuf.fd)
    expect_refused(cfg, error, errno.EINVAL, bad_attr=".queues.id",
                   says=[str(virtual + 1)])
    error = try_bind(bind_request(netkit.host_ifindex, dmabuf.fd, [0]))
    expect_refused(cfg, error, errno.EOPNOTSUPP, rust_attr=".queues.id",
                   says=["DMA"])
    error = _try(netkit, [virtual], 1 << 20)
    expect_refused(cfg, error, errno.EBADF, rust_attr=".fd")
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    netkit.bind(dmabuf.fd, [virtual])


@leaves_nothing
def refused_by_the_nic(cfg):
    """What the NIC is not ready for is said of the NIC, not of the netkit."""
    netkit, queue, virtual = _leased(cfg)
    dmabuf = _dmabuf()
    cfg.set_split(False)
    back_on = defer(cfg.set_split, True)
    error = _try(netkit, [virtual], dmabuf.fd)
    expect_refused(cfg, error, errno.EINVAL, rust_attr=".ifindex",
                   says=["tcp-data-split"])
    if cfg.is_rust:
        # the one that has no header split to turn on
        ksft_not_in("dmguest", error.nl_msg.extack["msg"])
    back_on.exec()

    prog = xdp_pass()
    defer(os.close, prog)
    xdp_attach(cfg.ifindex, prog, XDP_GENERIC)
    detach = defer(xdp_attach, cfg.ifindex, -1, XDP_GENERIC)
    error = _try(netkit, [virtual], dmabuf.fd)
    expect_refused(cfg, error, errno.EEXIST, rust_attr=".ifindex",
                   says=["XDP"])
    detach.exec()

    netkit.bind(dmabuf.fd, [virtual])
    error = _try(netkit, [virtual], dmabuf.fd)
    expect_refused(cfg, error, errno.EEXIST, rust_attr=".queues.id")
    ksft_eq(list(bound_queues(cfg.netdev, cfg.ifindex)), [queue])


@leaves_nothing
def bound_queue_is_not_leased(cfg):
    """EBUSY for a lease of a queue that has a binding."""
    queue = cfg.queues[0]
    _, binding = cfg.bind(BUF_SIZE, [queue])
    netkit = Netkit(cfg)
    try:
        netkit.lease(queue)
        ksft_true(False, "a bound queue was leased")
    except NlError as error:
        ksft_eq(error.error, errno.EBUSY)
        ksft_in("memory provider", str(error))
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})


@leaves_nothing
def guarded(cfg):
    """A binding through a lease guards the NIC as its own would."""
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    try:
        cfg.set_split(False)
        ksft_true(False, "header split was turned off")
    except NlError as error:
        ksft_eq(error.error, errno.EINVAL)
    header = {"header": {"dev-index": cfg.ifindex}}
    try:
        cfg.ethnl.channels_set({**header, "rx-count": queue})
        ksft_true(False, "a bound queue was removed")
    except NlError as error:
        ksft_eq(error.error, errno.EINVAL)
    prog = xdp_pass()
    defer(os.close, prog)
    try:
        xdp_attach(cfg.ifindex, prog, XDP_GENERIC)
        ksft_true(False, "XDP was attached")
    except OSError as error:
        ksft_eq(error.errno, errno.EBUSY)
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    _transfer(receiver, sender)


@leaves_nothing
def netkit_deleted(cfg):
    """
    The lease ends under a binding, with tokens out: the NIC has its queue
    back at once, and the dma-buf goes with the last token and the socket.
    """
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    _transfer(receiver, sender, keep=8)
    ksft_eq(len(receiver.tokens), 8)
    netkit.delete()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    ksft_true(dmabuf.is_held, "released under its socket")
    # no NIC writes there any more; C unmaps with the last token
    ksft_eq(bool(dmabufs()[dmabuf.inode]), not cfg.is_rust)
    binding.close()
    ksft_true(dmabuf.is_held, "released under its tokens")
    receiver.release()
    ksft_true(_released(dmabuf), "the dma-buf is still attached")
    _queue_is_free(cfg, netkit, queue)


@leaves_nothing
def netkit_deleted_under_traffic(cfg):
    """The same while packets arrive, and the socket closed afterwards."""
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    send(sender, 0, 64 << 20)
    receiver.receive_all(CHUNK)
    deleted = threading.Thread(target=netkit.delete)
    deleted.start()
    while receiver.readable(1) and deleted.is_alive():
        receiver.receive()
        receiver.release()
    deleted.join()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    receiver.sock.close()
    # wakes the thread that sends
    sender.shutdown(socket.SHUT_RDWR)
    binding.close()
    ksft_true(_released(dmabuf), "the dma-buf is still attached")
    _queue_is_free(cfg, netkit, queue)


@leaves_nothing
def netns_deleted(cfg):
    """
    The netns of the netkit lives as long as the sockets in it, the netlink
    socket among them: with the last one, all of it goes.
    """
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    _transfer(receiver, sender)
    netkit.delete_ns()
    _transfer(receiver, sender, keep=1)
    ksft_true(netkit.exists())
    binding.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    receiver.release()
    # first the end outside, so that no orphan is left to hold the netns
    sender.close()
    ksft_eq(receiver.sock.recv(1), b"")
    receiver.sock.close()
    ksft_true(_released(dmabuf), "the dma-buf is still attached")
    ksft_true(wait_for(lambda: not netkit.exists(), DEADLINE),
              "the netkit device is still there")
    _queue_is_free(cfg, netkit, queue)


@leaves_nothing
def user_netns(cfg):
    """A netns that a user namespace owns: its root can bind to the lease."""
    netkit, queue, virtual = _leased(cfg, user_ns=True)
    dmabuf = _dmabuf()
    told, tell = os.pipe()
    asked, ask = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ask)
            with open(netkit.ns.user_ns_path, "rb") as user:
                os.setns(user.fileno(), os.CLONE_NEWUSER)
            with open(netkit.ns.net_ns_path, "rb") as net:
                os.setns(net.fileno(), os.CLONE_NEWNET)
            binding = Binding(netkit.ifindex, dmabuf.fd, [virtual])
            os.write(tell, str(binding.id).encode())
            os.read(asked, 1)
        except BaseException:                 # pylint: disable=W0718
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(tell)
    os.close(asked)
    defer(os.waitpid, child, 0)
    stop = defer(os.close, ask)
    # what there is: the child keeps its end open for as long as it lives
    ident = int(os.read(told, 16) or 0)
    os.close(told)
    ksft_true(ident, "the child could not bind")
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: ident})
    binding = SimpleNamespace(id=ident)
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    _transfer(receiver, sender)
    stop.exec()
    ksft_true(wait_for(lambda: not bound_queues(cfg.netdev, cfg.ifindex),
                       DEADLINE),
              "still bound after its maker's end")


@leaves_nothing
def nic_moves(cfg):
    """The NIC moves to another netns and back, down and up on the way."""
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    nic = Nic(cfg)
    back = defer(nic.restore)
    with NetNS() as other:
        ip(f"link set dev {cfg.ifname} netns {other.name}")
        ksft_true(dmabufs().get(dmabuf.inode), "unbound by the move")
        ip(f"link set dev {cfg.ifname} netns {os.getpid()}", ns=other)
    back.exec()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    _transfer(receiver, sender)


@leaves_nothing
def nic_netns_deleted(cfg):
    """
    The netns of the NIC is deleted: the NIC falls back to the first netns,
    and comes home with the lease and the binding that it had.
    """
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    nic = Nic(cfg)
    back = defer(nic.restore)
    with NetNS() as other:
        ip(f"link set dev {cfg.ifname} netns {other.name}")
    back.exec()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    _transfer(receiver, sender)
    binding.close()
    ksft_true(_released(dmabuf), "the dma-buf is still attached")


@leaves_nothing
def nic_unbound(cfg):
    """
    The NIC's driver goes away under a lease, with tokens out: the netkit
    devices go with it, and the dma-buf with the last token and the socket.
    """
    if not cfg.is_rust:
        # patches/fixes/ has the remedy, which the build in C goes without
        raise KsftSkipEx("gve of the base cannot restart a queue while it is "
                         "down, and the net core warns")
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    receiver, sender = _stream(netkit, queue, dmabuf, binding)
    _transfer(receiver, sender, keep=4)
    nic = Nic(cfg)
    back = defer(nic.restore)
    nic.unbind_driver()
    ksft_true(not netkit.exists(), f"{HOST} is still there")
    receiver.release()
    binding.close()
    ksft_true(_released(dmabuf), "the dma-buf is still attached")
    back.exec()
    _queue_is_free(cfg, netkit, queue)


@leaves_nothing
def netkit_deleted_while_down(cfg):
    """The lease ends under a binding while the NIC is down."""
    if not cfg.is_rust:
        raise KsftSkipEx("gve of the base cannot restart a queue while it is "
                         "down, and the net core warns")
    netkit, queue, _, dmabuf, binding = _bound(cfg)
    cfg.link_down()
    back = defer(cfg.link_up)
    netkit.delete()
    binding.close()
    ksft_true(_released(dmabuf), "the dma-buf is still attached")
    back.exec()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    _queue_is_free(cfg, netkit, queue)


CASES = [
    transfer,
    both_sides,
    two_leases,
    refused_beside_the_lease,
    refused_queues,
    refused_by_the_nic,
    bound_queue_is_not_leased,
    guarded,
    netkit_deleted,
    netkit_deleted_under_traffic,
    netns_deleted,
    user_netns,
    nic_moves,
    nic_netns_deleted,
    nic_unbound,
    netkit_deleted_while_down,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
