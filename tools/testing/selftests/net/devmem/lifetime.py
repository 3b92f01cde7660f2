#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The ends that a binding, a queue, a socket and a process can come to, with
tokens out and under traffic: every niov comes back, the dma-buf is released.
"""

import os
import signal
import socket
import traceback

from lib.py import (Binding, MIB, NetNSEnter, Receiver, Udmabuf, bound_queues,
                    cmd, defer, dmabufs, dontneed, ip, ksft_eq, ksft_exit,
                    ksft_ge, ksft_in, ksft_ne, ksft_pr, ksft_run, ksft_true,
                    ksft_variants, leaves_nothing, page_pools, run_in_env, send,
                    wait_for, wait_file)

HELD = 20000


def _holding(cfg, ipver="4", size=8 * MIB):
    """A stream whose receiver holds the tokens of its first bytes."""
    receiver, sender, binding = cfg.stream(ipver, size)
    send(sender, 0, HELD).finish()
    receiver.receive_all(HELD, keep=1 << 30)
    ksft_ne(len(receiver.tokens), 0)
    return receiver, sender, binding


def _pool_is_detached(cfg, binding_id):
    """The pools of a closed binding wait for exactly the niovs that are out."""
    pools = [p for p in page_pools(cfg.netdev, cfg.ifindex)
             if p["dmabuf"] == binding_id and p["inflight"]]
    return pools and all("detach-time" in p for p in pools)


def _all_back(cfg, inode):
    """No pool of any binding is left and nobody is attached to the buffer."""
    return not page_pools(cfg.netdev, cfg.ifindex) and \
        not dmabufs().get(inode)


@leaves_nothing
def unbind_then_socket(cfg):
    """Unbind with tokens out: they stay good until the socket is closed."""
    receiver, _, binding = _holding(cfg)
    inode = receiver.dmabuf.inode
    binding.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: _pool_is_detached(cfg, binding.id), 10)
    ksft_true(_pool_is_detached(cfg, binding.id),
              "a pool must wait for the tokens")
    ksft_eq(len(dmabufs()[inode]), 1, "the buffer must stay attached")
    receiver.sock.close()
    ksft_true(wait_for(lambda: _all_back(cfg, inode), 20),
              "closing the socket must end the binding")


@leaves_nothing
def unbind_then_release(cfg):
    """Unbind with tokens out, then give them back one by one."""
    receiver, _, binding = _holding(cfg, "6")
    inode = receiver.dmabuf.inode
    binding.close()
    while receiver.tokens:
        ksft_eq(len(dmabufs()[inode]), 1)
        receiver.release(1)
    ksft_true(wait_for(lambda: _all_back(cfg, inode), 20),
              "the last token must end the binding")


@leaves_nothing
def socket_then_unbind(cfg):
    """A socket closed with tokens out gives its niovs back to the binding."""
    receiver, sender, binding = _holding(cfg, size=MIB)
    dmabuf = receiver.dmabuf
    receiver.sock.close()
    sender.close()
    # all of the buffer must be usable again: move four times its size
    sock, sender = cfg.connect("4")
    again = Receiver(sock, dmabuf, binding.id)
    thread = send(sender, 0, 4 * MIB)
    again.receive_all(4 * MIB)
    thread.finish()
    ksft_eq(again.kinds["dmabuf"], 4 * MIB)


@leaves_nothing
def unread_data(cfg):
    """Unbind and close with device memory in the receive queue, unread."""
    receiver, sender, binding = cfg.stream("6")
    send(sender, 0, 50000).finish()
    receiver.wait_queued(50000)
    binding.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})


@leaves_nothing
def read_after_unbind(cfg):
    """Device memory that was queued before the unbind can still be received."""
    receiver, sender, binding = cfg.stream("4")
    send(sender, 0, 50000).finish()
    receiver.wait_queued(50000)
    binding.close()
    receiver.receive_all(50000)
    ksft_eq(receiver.kinds["dmabuf"], 50000)


@leaves_nothing
def buffer_closed_first(cfg):
    """The application may close the dma-buf: the binding holds it."""
    receiver, sender, _ = _holding(cfg)
    dmabuf = receiver.dmabuf
    inode = dmabuf.inode
    os.close(dmabuf.fd)
    dmabuf.fd = None
    ksft_in(inode, dmabufs())
    send(sender, HELD, HELD).finish()
    receiver.wait_queued(HELD)
    message = receiver.recvmsg()
    ksft_ne(message.size, 0)
    for piece in message.pieces:
        ksft_eq(dontneed(receiver.sock, [(piece.token, 1)]), 1)
    receiver.release()


@leaves_nothing
def unbind_under_traffic(cfg):
    """Unbind while data pours in; the stream goes on in host memory."""
    receiver, sender, binding = cfg.stream("6")
    size = 4 * MIB
    thread = send(sender, 0, size)
    receiver.receive_all(MIB, keep=10)
    binding.close()
    receiver.receive_all(size)
    thread.finish()
    ksft_pr(f"{receiver.kinds}")
    ksft_ge(receiver.kinds["dmabuf"], MIB)
    ksft_ne(receiver.kinds["plain"], 0)


@leaves_nothing
def close_under_traffic(cfg):
    """The receiving socket goes away while data pours in."""
    receiver, sender, _ = cfg.stream("4")
    thread = send(sender, 0, 8 * MIB)
    receiver.receive_all(MIB, keep=1 << 30)
    receiver.sock.close()
    try:
        thread.finish()
        ksft_true(False, "the sender must see the reset")
    except (ConnectionResetError, BrokenPipeError):
        pass


@leaves_nothing
def orphan(cfg):
    """
    A socket that is closed with tokens out while its own data is unsent lives
    on without an owner; its niovs come back when it ends.
    """
    receiver, sender, _ = _holding(cfg)
    # more than the peer's window, which nobody reads
    receiver.sock.setblocking(False)
    try:
        while True:
            receiver.sock.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    receiver.sock.close()
    sender.settimeout(30)
    got = 0
    while True:
        data = sender.recv(1 << 20)
        if not data:
            break
        got += len(data)
    ksft_ne(got, 0)


@leaves_nothing
def shutdown_then_close(cfg):
    """Tokens survive shutdown() and end with the socket."""
    receiver, _, _ = _holding(cfg)
    receiver.sock.shutdown(socket.SHUT_RDWR)
    token = receiver.tokens.pop(0)
    ksft_eq(dontneed(receiver.sock, [(token, 1)]), 1)


@leaves_nothing
def disconnect(cfg):
    """Tokens survive connect(AF_UNSPEC), which resets the connection."""
    receiver, _, _ = _holding(cfg, "6")
    import ctypes                              # pylint: disable=C0415
    libc = ctypes.CDLL(None, use_errno=True)
    unspec = ctypes.create_string_buffer(16)
    ksft_eq(libc.connect(receiver.sock.fileno(), unspec, 16), 0)
    token = receiver.tokens.pop(0)
    ksft_eq(dontneed(receiver.sock, [(token, 1)]), 1)


def _child(cfg, ready):
    """Bind, listen, receive for ever and give nothing back."""
    dmabuf = Udmabuf(8 * MIB)
    binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((cfg.addr_v["4"], 0))
    listener.listen(1)
    os.write(ready, f"{listener.getsockname()[1]}\n".encode())
    sock, _ = listener.accept()
    receiver = Receiver(sock, dmabuf, binding.id)
    while True:
        receiver.receive()
        if receiver.position < MIB:
            continue
        if ready is not None:
            os.write(ready, b"traffic\n")
            os.close(ready)
            ready = None
        receiver.release()


@ksft_variants(["SIGKILL", "SIGTERM"])
@leaves_nothing
def killed_under_traffic(cfg, name):
    """The process that owns everything dies while data pours in."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(read_end)
            _child(cfg, write_end)
        except BaseException:                  # pylint: disable=W0718
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "r", encoding="utf-8") as pipe:
        port = int(pipe.readline())
        cfg.steer("4", port, cfg.queues[0])
        with NetNSEnter(cfg.remote_ns):
            sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        defer(sender.close)
        sender.connect((cfg.addr_v["4"], port))
        sender.settimeout(60)
        thread = send(sender, 0, 64 * MIB)
        ksft_eq(pipe.readline(), "traffic\n")
    os.kill(child, getattr(signal, name))
    _, status = os.waitpid(child, 0)
    ksft_eq(os.WTERMSIG(status), getattr(signal, name))
    try:
        thread.finish()
        ksft_true(False, "the sender must see the reset")
    except (ConnectionResetError, BrokenPipeError):
        pass


@leaves_nothing
def link_flap(cfg):
    """Link down and up while bound: the binding is there again, and works."""
    receiver, sender, binding = _holding(cfg)
    ip(f"link set dev {cfg.ifname} down")
    ip(f"link set dev {cfg.ifname} up")
    wait_file(f"/sys/class/net/{cfg.ifname}/carrier",
              lambda x: x.strip() == "1", deadline=20)
    # the addresses of IPv6 go with the link
    cmd(f"ip addr replace {cfg.addr_v['6']}/64 dev {cfg.ifname} nodad")
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {queue: binding.id for queue in cfg.queues})
    size = HELD + 2 * MIB
    thread = send(sender, HELD, size - HELD)
    receiver.receive_all(size)
    thread.finish()
    ksft_pr(f"{receiver.kinds}")
    ksft_eq(receiver.position, size)


@leaves_nothing
def link_down_tokens_out(cfg):
    """Tokens stay good while the link is down, and after."""
    receiver, _, _ = _holding(cfg)
    ip(f"link set dev {cfg.ifname} down")
    try:
        receiver.release(len(receiver.tokens) // 2)
    finally:
        ip(f"link set dev {cfg.ifname} up")
        wait_file(f"/sys/class/net/{cfg.ifname}/carrier",
                  lambda x: x.strip() == "1", deadline=20)
        cmd(f"ip addr replace {cfg.addr_v['6']}/64 dev {cfg.ifname} nodad")
    receiver.release()


@leaves_nothing
def bind_loop_under_traffic(cfg):
    """Ten bindings come and go under a stream that never stops."""
    receiver, sender, binding = cfg.stream("4")
    binding.close()
    size = 10 * MIB
    thread = send(sender, 0, size)
    for _ in range(10):
        dmabuf = Udmabuf(8 * MIB)
        defer(dmabuf.close)
        binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
        defer(binding.close)
        # data of the bindings before may still be queued
        receiver.expect(dmabuf, binding.id)
        receiver.receive_all(min(size, receiver.position + MIB // 2))
        binding.close()
        receiver.receive_all(min(size, receiver.position + MIB // 4))
    receiver.receive_all(size)
    thread.finish()
    ksft_pr(f"{receiver.kinds}")
    ksft_eq(receiver.position, size)
    ksft_ne(receiver.kinds["dmabuf"], 0)


CASES = [
    unbind_then_socket,
    unbind_then_release,
    socket_then_unbind,
    unread_data,
    read_after_unbind,
    buffer_closed_first,
    unbind_under_traffic,
    close_under_traffic,
    orphan,
    shutdown_then_close,
    disconnect,
    killed_under_traffic,
    link_flap,
    link_down_tokens_out,
    bind_loop_under_traffic,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
