#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""Streams that land in a dma-buf, with every byte verified where it landed."""

import socket

from lib.py import (Binding, KsftSkipEx, MIB, NetNSEnter, Receiver, Udmabuf,
                    defer, dmabufs, ksft_eq, ksft_exit, ksft_ge, ksft_ne,
                    ksft_pr, ksft_run, ksft_true, ksft_variants,
                    leaves_nothing, run_in_env, send)
from lib.py.uapi import CMSG_SPACE


def _check_all_devmem(receiver, size):
    """With exact header split all of the payload is device memory."""
    ksft_pr(f"{receiver.kinds}, {receiver.frags} frags")
    ksft_eq(receiver.position, size)
    ksft_eq(receiver.kinds["dmabuf"], size)
    ksft_eq(receiver.tokens, [])


@ksft_variants(["4", "6"])
@leaves_nothing
def small(cfg, ipver):
    """Two MiB over one connection."""
    receiver, sender, _ = cfg.stream(ipver)
    thread = send(sender, 0, 2 * MIB)
    receiver.receive_all(2 * MIB)
    thread.finish()
    _check_all_devmem(receiver, 2 * MIB)


@ksft_variants(["4", "6"])
@leaves_nothing
def one_write(cfg, ipver):
    """Writes of a given size, down to a single byte of payload."""
    receiver, sender, _ = cfg.stream(ipver)
    for size in (1, 2, 7, 8, 100, 1448, 4095, 4096, 4097, 9000):
        at = receiver.position
        send(sender, at, size).finish()
        receiver.receive_all(at + size)
        ksft_eq(receiver.kinds["dmabuf"], at + size)


@ksft_variants(["4", "6"])
@leaves_nothing
def odd_writes(cfg, ipver):
    """Writes that are no multiple of anything, so that pieces are ragged."""
    receiver, sender, _ = cfg.stream(ipver)
    thread = send(sender, 0, 300000, chunk=1237)
    receiver.receive_all(300000)
    thread.finish()
    _check_all_devmem(receiver, 300000)


@leaves_nothing
def v4_mapped(cfg):
    """An IPv6 socket that receives over IPv4."""
    dmabuf, binding = cfg.bind()
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    defer(listener.close)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((f"::ffff:{cfg.addr_v['4']}", 0))
    listener.listen(1)
    port = listener.getsockname()[1]
    cfg.steer("4", port, cfg.queues[0])
    with NetNSEnter(cfg.remote_ns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    defer(sender.close)
    sender.connect((cfg.addr_v["4"], port))
    sock, _ = listener.accept()
    defer(sock.close)
    receiver = Receiver(sock, dmabuf, binding.id)
    thread = send(sender, 0, MIB)
    receiver.receive_all(MIB)
    thread.finish()
    _check_all_devmem(receiver, MIB)


@leaves_nothing
def two_queues(cfg):
    """Two connections on two queues of one binding."""
    if len(cfg.queues) < 2:
        raise KsftSkipEx("two queues are needed")
    dmabuf, binding = cfg.bind()
    ends = []
    for ipver, queue in (("4", cfg.queues[0]), ("6", cfg.queues[1])):
        sock, sender = cfg.connect(ipver, queue)
        ends.append((Receiver(sock, dmabuf, binding.id),
                     send(sender, 0, MIB)))
    while any(receiver.position < MIB for receiver, _ in ends):
        for receiver, _ in ends:
            if receiver.position < MIB:
                receiver.receive()
                receiver.release()
    for receiver, thread in ends:
        thread.finish()
        _check_all_devmem(receiver, MIB)


@leaves_nothing
def two_bindings(cfg):
    """Two connections, each in a binding of its own."""
    if len(cfg.queues) < 2:
        raise KsftSkipEx("two queues are needed")
    ends = []
    for queue in cfg.queues[:2]:
        dmabuf, binding = cfg.bind(size=8 * MIB, queues=[queue])
        sock, sender = cfg.connect("6", queue)
        ends.append((Receiver(sock, dmabuf, binding.id),
                     send(sender, 0, MIB // 2)))
    for receiver, thread in ends:
        receiver.receive_all(MIB // 2)
        thread.finish()
        _check_all_devmem(receiver, MIB // 2)


@leaves_nothing
def many_sockets(cfg):
    """
    Eight connections over both address families share the queues of one
    binding: each gets its own bytes, its own tokens, and can end on its own.
    """
    dmabuf, binding = cfg.bind(16 * MIB)
    ends = []
    for flow in range(8):
        sock, sender = cfg.connect("46"[flow % 2],
                                   cfg.queues[flow // 2 % len(cfg.queues)])
        # streams that differ, so that bytes of another one are seen
        receiver = Receiver(sock, dmabuf, binding.id)
        receiver.position = start = flow << 24
        ends.append((receiver, send(sender, start, MIB // 4), start))
    open_ends = list(ends)
    while open_ends:
        for end in list(open_ends):
            receiver, thread, start = end
            receiver.receive(control=8 * CMSG_SPACE)
            if receiver.position < start + MIB // 4:
                receiver.release(len(receiver.tokens) // 2)
                continue
            thread.finish()
            open_ends.remove(end)
            # the next one to end does so with tokens out
            if len(open_ends) % 2:
                receiver.release()
            receiver.sock.close()
    for receiver, _, _ in ends:
        ksft_eq(receiver.kinds["dmabuf"], MIB // 4)


@leaves_nothing
def one_dmabuf_twice(cfg):
    """
    One dma-buf bound twice: two pools over the same bytes. What they write is
    the user's business; the kernel keeps the two apart in all that is its own.
    """
    if len(cfg.queues) < 2:
        raise KsftSkipEx("two queues are needed")
    dmabuf, first = cfg.bind(queues=cfg.queues[:1])
    second = Binding(cfg.ifindex, dmabuf.fd, cfg.queues[1:2])
    defer(second.close)
    ksft_ne(first.id, second.id)
    attached = dmabufs()[dmabuf.inode]
    ksft_eq(len(attached), 2, f"attached: {attached}")
    ends = []
    for binding, queue in ((first, cfg.queues[0]), (second, cfg.queues[1])):
        sock, sender = cfg.connect("6", queue)
        ends.append((Receiver(sock, dmabuf, binding.id), sender))

    # one at a time nothing overlaps
    for receiver, sender in ends:
        thread = send(sender, 0, MIB)
        receiver.receive_all(MIB)
        thread.finish()
        _check_all_devmem(receiver, MIB)

    # both at once: the bytes may be anyone's, the accounts may not
    threads = [send(sender, MIB, MIB) for _, sender in ends]
    while any(receiver.position < 2 * MIB for receiver, _ in ends):
        for (receiver, _), binding in zip(ends, (first, second)):
            if receiver.position < 2 * MIB:
                ksft_true(receiver.readable())
                message = receiver.recvmsg()
                ksft_eq({p.dmabuf_id for p in message.pieces}, {binding.id})
                receiver.position += message.size
                receiver.tokens += [p.token for p in message.pieces]
                receiver.release()
    for thread in threads:
        thread.finish()

    # one ends; to the other it makes no difference
    first.close()
    receiver, sender = ends[1]
    thread = send(sender, 2 * MIB, MIB)
    receiver.receive_all(3 * MIB)
    thread.finish()


@leaves_nothing
def unbound_queue(cfg):
    """A connection on an unbound queue is ordinary, flag or not."""
    dmabuf, binding = cfg.bind()
    sock, sender = cfg.connect("4", 0)
    receiver = Receiver(sock, dmabuf, binding.id)
    thread = send(sender, 0, MIB)
    receiver.receive_all(MIB)
    thread.finish()
    ksft_eq(receiver.kinds, {"dmabuf": 0, "linear": 0, "plain": MIB})


@leaves_nothing
def more_than_the_buffer(cfg):
    """A stream four times the size of its dma-buf: niovs are used again."""
    receiver, sender, _ = cfg.stream("4", size=MIB)
    thread = send(sender, 0, 4 * MIB)
    receiver.receive_all(4 * MIB)
    thread.finish()
    _check_all_devmem(receiver, 4 * MIB)


@leaves_nothing
def exhaustion(cfg):
    """
    A reader that keeps its tokens until no niov is left: the stream stalls,
    does not fail, and goes on once tokens come back.
    """
    niovs = 256
    receiver, sender, _ = cfg.stream("6", size=niovs * 4096)
    size = 3 * MIB
    thread = send(sender, 0, size)
    while receiver.position < size and receiver.readable(timeout=5):
        receiver.receive()
    stalled = receiver.position
    ksft_pr(f"stalled after {stalled} bytes in {receiver.frags} frags")
    ksft_true(0 < stalled < size, "the dma-buf cannot have held it all")
    ksft_ge(niovs * 4096, stalled)
    ksft_true(thread.is_alive(), "the sender must be waiting")
    receiver.release()
    receiver.receive_all(size)
    thread.finish()
    _check_all_devmem(receiver, size)


@leaves_nothing
def unbind_and_bind_under_traffic(cfg):
    """
    The queue loses its dma-buf and gets another one while the stream runs:
    bytes in order, ordinary packets between device memory ones, never mixed.
    """
    queue = cfg.queues[0]
    receiver, sender, binding = cfg.stream("4", queue=queue)
    size = 6 * MIB
    thread = send(sender, 0, size)
    receiver.receive_all(MIB)
    ksft_eq(receiver.kinds["plain"], 0)

    binding.close()
    while receiver.position < 3 * MIB:
        message = receiver.receive()
        ksft_eq(len(message.kinds()), 1)
        receiver.release()
    plain = receiver.kinds["plain"]
    ksft_ne(plain, 0, "nothing came through the unbound queue")

    second = Udmabuf(8 * MIB)
    defer(second.close)
    rebound = Binding(cfg.ifindex, second.fd, cfg.queues)
    defer(rebound.close)
    receiver.expect(second, rebound.id)
    before = receiver.kinds["dmabuf"]
    receiver.receive_all(size)
    thread.finish()
    ksft_pr(f"{receiver.kinds}")
    ksft_ne(receiver.kinds["dmabuf"], before,
            "nothing came through the queue once it was bound again")
    ksft_eq(receiver.position, size)


CASES = [
    small,
    one_write,
    odd_writes,
    v4_mapped,
    two_queues,
    two_bindings,
    many_sockets,
    one_dmabuf_twice,
    unbound_queue,
    more_than_the_buffer,
    exhaustion,
    unbind_and_bind_under_traffic,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
