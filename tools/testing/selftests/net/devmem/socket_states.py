#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Tokens in every state that their TCP socket may be in once the connection
comes to its end: they stay good, and the memory held, until the socket is
destroyed, which may be long after close().
"""

import ctypes
import socket
import time

from lib.py import tcpinfo
from lib.py import (NetNSEnter, Receiver, defer, dontneed, holding, ip, ksft_eq,
                    ksft_exit, ksft_ge, ksft_ne, ksft_run, ksft_true,
                    leaves_nothing, page_pools, run_in_env, send, wait_for)

HELD = 20000

# include/net/tcp_states.h
FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT = 5, 6, 7, 8

TCP_LINGER2 = 8
# tcp_close() leaves the part above this to the full socket
TIMEWAIT_LEN = 60

_LIBC = ctypes.CDLL(None, use_errno=True)


def _in_state(sock, state):
    ksft_true(wait_for(lambda: tcpinfo.state(sock) == state, 20),
              f"state {state} does not come: {tcpinfo.state(sock)}")


def _gone(cfg, dmabuf):
    """No pool of any binding is left, and nobody has the buffer."""
    return not page_pools(cfg.netdev, cfg.ifindex) and dmabuf.is_free


def _ends_with(cfg, dmabuf, what):
    """Now that @what has happened, the binding has to end."""
    ksft_true(wait_for(lambda: _gone(cfg, dmabuf), 30),
              f"{what} must end the binding")


def _give_back_one(receiver):
    """A token has to be good."""
    ksft_eq(dontneed(receiver.sock, [(receiver.tokens.pop(0), 1)]), 1)


def _disconnect(sock):
    """connect(AF_UNSPEC): the connection is reset, the socket lives on."""
    unspec = ctypes.create_string_buffer(16)
    ksft_eq(_LIBC.connect(sock.fileno(), unspec, 16), 0)
    ksft_eq(tcpinfo.state(sock), CLOSE)


@leaves_nothing
def fin_wait2(cfg):
    """A half-closed socket goes on receiving, and its tokens are good."""
    receiver, sender, binding = holding(cfg, held=HELD)
    dmabuf = receiver.dmabuf
    receiver.sock.shutdown(socket.SHUT_WR)
    _in_state(receiver.sock, FIN_WAIT2)
    _give_back_one(receiver)
    send(sender, HELD, HELD).finish()
    receiver.receive_all(2 * HELD, keep=1 << 30)
    ksft_eq(receiver.kinds["dmabuf"], 2 * HELD)
    binding.close()
    ksft_true(dmabuf.is_held)
    receiver.release()
    _ends_with(cfg, dmabuf, "the last token")


@leaves_nothing
def fin_wait2_orphan(cfg):
    """
    A socket that is closed in FIN_WAIT2 with tokens out and a long linger time
    keeps them for a while, as an orphan; a timer ends it.
    """
    receiver, _, binding = holding(cfg, "6", held=HELD)
    dmabuf = receiver.dmabuf
    receiver.sock.setsockopt(socket.IPPROTO_TCP, TCP_LINGER2, TIMEWAIT_LEN + 3)
    receiver.sock.shutdown(socket.SHUT_WR)
    _in_state(receiver.sock, FIN_WAIT2)
    binding.close()
    began = time.monotonic()
    receiver.sock.close()
    # a detached pool looks for its niovs each second
    time.sleep(1.5)
    if time.monotonic() - began < 2.5:
        ksft_true(dmabuf.is_held, "the orphan must hold the memory")
    _ends_with(cfg, dmabuf, "the orphan's end")
    ksft_ge(time.monotonic() - began, 2)


@leaves_nothing
def fin_wait2_closed(cfg):
    """With the usual linger time a mini-socket waits, without the tokens."""
    receiver, _, binding = holding(cfg, held=HELD)
    dmabuf = receiver.dmabuf
    receiver.sock.shutdown(socket.SHUT_WR)
    _in_state(receiver.sock, FIN_WAIT2)
    receiver.sock.close()
    ksft_true(dmabuf.is_held, "the binding must hold the memory")
    binding.close()
    _ends_with(cfg, dmabuf, "unbinding")


def _time_wait_exists(port):
    """The kernel has a mini-socket in TIME_WAIT on this port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return any(int(row[1].split(":")[1], 16) == port and
               int(row[3], 16) == TIME_WAIT for row in rows)


@leaves_nothing
def time_wait(cfg):
    """The connection is in TIME_WAIT; the socket is there, and its tokens."""
    receiver, sender, binding = holding(cfg, held=HELD)
    dmabuf = receiver.dmabuf
    port = receiver.sock.getsockname()[1]
    receiver.sock.shutdown(socket.SHUT_WR)
    _in_state(receiver.sock, FIN_WAIT2)
    sender.close()
    _in_state(receiver.sock, CLOSE)
    ksft_true(_time_wait_exists(port))
    ksft_eq(receiver.receive().size, 0)
    _give_back_one(receiver)
    binding.close()
    _give_back_one(receiver)
    ksft_true(dmabuf.is_held)
    receiver.sock.close()
    _ends_with(cfg, dmabuf, "closing the socket")


@leaves_nothing
def last_ack(cfg):
    """
    A socket that is closed after its peer was keeps its tokens until the peer
    has acknowledged that.
    """
    receiver, sender, binding = holding(cfg, held=HELD)
    dmabuf = receiver.dmabuf
    sender.close()
    _in_state(receiver.sock, CLOSE_WAIT)
    _give_back_one(receiver)
    # the peer hears nothing new from us, and we nothing from it
    where = f"{cfg.addr_v['4']}/32"
    ip(f"route add blackhole {where}", ns=cfg.remote_ns)
    undo = defer(ip, f"route del blackhole {where}", ns=cfg.remote_ns)
    receiver.sock.close()
    binding.close()
    time.sleep(1.5)
    ksft_true(dmabuf.is_held, "the orphan must hold the memory")
    undo.exec()
    _ends_with(cfg, dmabuf, "the peer's last word")


def _listen(cfg):
    """A listener at the remote end."""
    with NetNSEnter(cfg.remote_ns):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    defer(listener.close)
    listener.bind((cfg.remote_addr_v["4"], 0))
    listener.listen(1)
    listener.settimeout(60)
    return listener


def _connect_out(cfg, sock):
    """Connect @sock to the remote end; returns the socket there."""
    listener = _listen(cfg)
    sock.connect(listener.getsockname())
    # a port that the kernel has chosen is not the same after a disconnect
    cfg.steer("4", sock.getsockname()[1], cfg.queues[0])
    peer, _ = listener.accept()
    defer(peer.close)
    peer.settimeout(60)
    return peer


def _active(cfg):
    """A connection that our end has opened; its receiver holds tokens."""
    dmabuf, binding = cfg.bind()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    defer(sock.close)
    sock.settimeout(60)
    sock.bind((cfg.addr_v["4"], 0))
    peer = _connect_out(cfg, sock)
    sock.setblocking(True)
    receiver = Receiver(sock, dmabuf, binding.id)
    send(peer, 0, HELD).finish()
    receiver.receive_all(HELD, keep=1 << 30)
    ksft_ne(receiver.tokens, [])
    return receiver, peer, binding


@leaves_nothing
def disconnect_and_connect(cfg):
    """
    Tokens of a connection survive connect(AF_UNSPEC), unread data does not;
    a second connection of the socket adds its own.
    """
    receiver, peer, binding = _active(cfg)
    dmabuf = receiver.dmabuf
    send(peer, HELD, HELD).finish()
    receiver.wait_queued(HELD)
    _disconnect(receiver.sock)
    _give_back_one(receiver)
    peer = _connect_out(cfg, receiver.sock)
    again = Receiver(receiver.sock, receiver.dmabuf, binding.id)
    send(peer, 0, HELD).finish()
    again.receive_all(HELD, keep=1 << 30)
    ksft_eq(again.kinds["dmabuf"], HELD)
    ksft_eq(set(again.tokens) & set(receiver.tokens), set(),
            "a token that is out must not be given again")
    again.release()
    binding.close()
    ksft_true(dmabuf.is_held)
    receiver.release()
    _ends_with(cfg, dmabuf, "the last token of the first connection")


@leaves_nothing
def disconnect_and_listen(cfg):
    """A socket with tokens out becomes a listener; its children have none."""
    receiver, _, binding = _active(cfg)
    dmabuf = receiver.dmabuf
    _disconnect(receiver.sock)
    receiver.sock.listen(1)
    with NetNSEnter(cfg.remote_ns):
        peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    defer(peer.close)
    peer.settimeout(60)
    peer.connect(receiver.sock.getsockname())
    child, _ = receiver.sock.accept()
    defer(child.close)
    for token in receiver.tokens:
        ksft_eq(dontneed(child, [(token, 1)]), 0, "a token of the parent's")
    _give_back_one(receiver)
    child.close()
    _give_back_one(receiver)
    binding.close()
    ksft_true(dmabuf.is_held)
    receiver.sock.close()
    _ends_with(cfg, dmabuf, "closing the listener")


@leaves_nothing
def disconnect_under_traffic(cfg):
    """connect(AF_UNSPEC) while data pours in, twenty times."""
    dmabuf, binding = cfg.bind()
    for number in range(20):
        sock, sender = cfg.connect("46"[number % 2])
        receiver = Receiver(sock, dmabuf, binding.id)
        thread = send(sender, 0, 8 * HELD)
        receiver.receive_all(HELD, keep=1 << 30)
        _disconnect(sock)
        try:
            thread.finish()
        except (ConnectionResetError, BrokenPipeError):
            pass
        if number % 4:
            receiver.release()
        sock.close()
        sender.close()


CASES = [
    fin_wait2,
    fin_wait2_orphan,
    fin_wait2_closed,
    time_wait,
    last_ack,
    disconnect_and_connect,
    disconnect_and_listen,
    disconnect_under_traffic,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
