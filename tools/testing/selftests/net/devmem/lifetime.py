#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The ends that a binding, a queue, a socket and a process can come to, with
tokens out and under traffic: every niov comes back, the dma-buf is released.
"""

import os
import signal
import socket
import time

from lib.py import tcpinfo
from lib.py import (Binding, Child, KsftNamedVariant, KsftSkipEx, MIB,
                    NetNSEnter, Receiver, Udmabuf, base_fails, bound_queues,
                    cmd, defer, dmabufs, dontneed, holding, ip, ksft_eq,
                    ksft_exit, ksft_ge, ksft_in, ksft_ne, ksft_pr, ksft_run,
                    ksft_true, ksft_variants, leaves_nothing, page_pools,
                    pattern, run_in_env, send, wait_for)
from lib.py.tracing import PurgeTrace, has_event

HELD = 20000

# SO_RCVBUF of a socket on a small dma-buf. Segments that come after a lost one
# are kept, in device memory; with all of it in use for them, the lost one could
# not be received again. TCP begins to drop them when the socket is full.
WINDOW = 128 << 10

TCP_RTO_MAX_MS = 44
TCP_ESTABLISHED = 1


def _pool_is_detached(cfg, binding_id):
    """The pools of a closed binding wait for exactly the niovs that are out."""
    pools = [p for p in page_pools(cfg.netdev, cfg.ifindex)
             if p["dmabuf"] == binding_id and p["inflight"]]
    return pools and all("detach-time" in p for p in pools)


def _all_back(cfg, dmabuf):
    """No pool of any binding is left, and nobody has the buffer."""
    return not page_pools(cfg.netdev, cfg.ifindex) and dmabuf.is_free


def _is_usable(cfg, dmabuf, binding):
    """A fresh stream gets 4 MiB through the binding."""
    sock, sender = cfg.connect("4")
    again = Receiver(sock, dmabuf, binding.id)
    thread = send(sender, 0, 4 * MIB)
    again.receive_all(4 * MIB)
    thread.finish()
    ksft_eq(again.kinds["dmabuf"], 4 * MIB)


@leaves_nothing
def unbind_then_socket(cfg):
    """Unbind with tokens out: they stay good until the socket is closed."""
    receiver, _, binding = holding(cfg)
    inode = receiver.dmabuf.inode
    binding.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: _pool_is_detached(cfg, binding.id), 10)
    ksft_true(_pool_is_detached(cfg, binding.id),
              "a pool must wait for the tokens")
    # nobody writes there any more; C unmaps with the last token
    ksft_eq(len(dmabufs()[inode]), 0 if cfg.is_rust else 1, "attached")
    ksft_true(receiver.dmabuf.is_held, "the token must hold the buffer")
    receiver.sock.close()
    ksft_true(wait_for(lambda: _all_back(cfg, receiver.dmabuf), 20),
              "closing the socket must end the binding")


@leaves_nothing
def unbind_then_release(cfg):
    """Unbind with tokens out, then give them back one by one."""
    receiver, _, binding = holding(cfg, "6")
    binding.close()
    while receiver.tokens:
        ksft_true(receiver.dmabuf.is_held)
        receiver.release(1)
    ksft_true(wait_for(lambda: _all_back(cfg, receiver.dmabuf), 20),
              "the last token must end the binding")


@leaves_nothing
def socket_then_unbind(cfg):
    """A socket closed with tokens out gives its niovs back to the binding."""
    receiver, sender, binding = holding(cfg, size=MIB)
    dmabuf = receiver.dmabuf
    receiver.sock.close()
    sender.close()
    # all of the buffer must be usable again: move four times its size
    _is_usable(cfg, dmabuf, binding)


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
    receiver, sender, _ = holding(cfg)
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


def _irqs(cfg):
    return os.listdir(f"/sys/class/net/{cfg.ifname}/device/msi_irqs")


def _interrupts_to(cfg, cpu):
    """Let all interrupts of the NIC go to one CPU until the end of the case."""
    for irq in _irqs(cfg):
        path = f"/proc/irq/{irq}/smp_affinity_list"
        with open(path, encoding="ascii") as file:
            before = file.read().strip()
        cmd(f"echo {cpu} > {path}", shell=True)
        defer(cmd, f"echo {before} > {path}", shell=True)


def _receive_softirqs(cpu):
    """How often a CPU has looked for packets, and freed what was left to it."""
    with open("/proc/softirqs", encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if fields[0] == "NET_RX:":
                return int(fields[1 + cpu])
    raise KeyError("NET_RX")


def _no_probes(cfg):
    """
    Let both ends know each other until the end of the case, unasked, and look
    for no router: they do so for an hour.
    """
    for ns, dev in ((None, cfg.ifname), (cfg.remote_ns, cfg.remote_ifname)):
        knob = f"net.ipv6.conf.{dev}.router_solicitations"
        before = cmd(f"sysctl -n {knob}", ns=ns).stdout.strip()
        cmd(f"sysctl -w {knob}=0", ns=ns)
        defer(cmd, f"sysctl -w {knob}={before}", ns=ns)
        for entry in ip(f"neigh show dev {dev}", json=True, ns=ns):
            if "lladdr" in entry:
                to = f"{entry['dst']} lladdr {entry['lladdr']} dev {dev} nud"
                ip(f"neigh replace {to} permanent", ns=ns)
                defer(ip, f"neigh replace {to} reachable", ns=ns)


def _silence(cfg, seconds):
    """Wait until the NIC has nothing to say for so long."""
    def interrupts():
        with open("/proc/interrupts", encoding="ascii") as table:
            rows = (line.split(":", 1) for line in table if ":" in line)
            return [row for irq, row in rows if irq.strip() in ours]

    ours = set(_irqs(cfg))
    before = None
    for _ in range(20):
        before, last = interrupts(), before
        if before == last:
            return
        time.sleep(seconds)


@leaves_nothing
@base_fails("waits for traffic")
def deferred_packets(cfg):
    """
    Packets that were read are freed by the CPU that received them, when there
    are many or when it has something to do. On a CPU that has not, they must
    not keep the memory.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise KsftSkipEx("two CPUs are needed")
    if not has_event(PurgeTrace.EVENT):
        raise KsftSkipEx(f"the kernel has no event {PurgeTrace.EVENT}")
    reader, idle = sorted(os.sched_getaffinity(0))[:2]
    _interrupts_to(cfg, idle)
    defer(os.sched_setaffinity, 0, os.sched_getaffinity(0))
    os.sched_setaffinity(0, {reader})
    receiver, sender, binding = cfg.stream("4")
    _no_probes(cfg)
    send(sender, 0, HELD).finish()
    receiver.wait_queued(HELD)
    binding.close()
    # no ACK is due any more, and all that follows a start has been said
    _silence(cfg, 3)
    purges = PurgeTrace()
    defer(purges.close)
    runs = _receive_softirqs(idle)
    receiver.receive_all(HELD)
    # the page pool looks every second at first, then every ten
    ksft_true(wait_for(lambda: _all_back(cfg, receiver.dmabuf), 12),
              "memory must come back without traffic")
    ksft_pr(f"the CPU was asked {purges.count()} times, and looked "
            f"{_receive_softirqs(idle) - runs} times")
    if cfg.is_fixed:
        ksft_ge(purges.count(), 1, "nothing had been put off")


@leaves_nothing
def orphan(cfg):
    """
    A socket that is closed with tokens out while its own data is unsent lives
    on without an owner; its niovs come back when it ends.
    """
    receiver, sender, _ = holding(cfg)
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
    receiver, _, _ = holding(cfg)
    receiver.sock.shutdown(socket.SHUT_RDWR)
    token = receiver.tokens.pop(0)
    ksft_eq(dontneed(receiver.sock, [(token, 1)]), 1)


def _listen(cfg):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((cfg.addr_v["4"], 0))
    listener.listen(1)
    return listener, listener.getsockname()[1]


def _connect(cfg, port):
    """A connection from the remote end to @port."""
    with NetNSEnter(cfg.remote_ns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sender.connect((cfg.addr_v["4"], port))
    sender.settimeout(60)
    return sender


def _receive(say, cfg, dmabuf, binding):
    """Receive for ever; says the port, and later that there is traffic."""
    if binding is None:
        binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
    listener, port = _listen(cfg)
    say(port)
    sock, _ = listener.accept()
    receiver = Receiver(sock, dmabuf, binding.id)
    while True:
        receiver.receive()
        if receiver.position >= MIB:
            if say:
                say("traffic")
                say = None
            receiver.release()


def _hold_binding(say, cfg, dmabuf):
    """Bind, say the id, and wait for the end."""
    say(Binding(cfg.ifindex, dmabuf.fd, cfg.queues).id)
    signal.pause()


def _send_forever(_, cfg, port):
    """Send a stream without end."""
    sender = _connect(cfg, port)
    position = 0
    while True:
        sender.sendall(pattern(position, 1 << 16))
        position += 1 << 16


@ksft_variants([
    KsftNamedVariant("receiver", "SIGKILL", True),
    KsftNamedVariant("receiver_and_binder", "SIGKILL", False),
    KsftNamedVariant("terminated", "SIGTERM", False),
])
@leaves_nothing
def killed(cfg, name, bound_by_us):
    """
    The process that receives dies with tokens out while data pours in;
    either another process has made the binding, or it goes with it.
    """
    dmabuf = Udmabuf(8 * MIB)
    defer(dmabuf.close)
    binding = None
    if bound_by_us:
        binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
        defer(binding.close)
    # the fork has a copy of the netlink socket: in this process only the last
    # one to close it unbinds
    child = Child(_receive, cfg, dmabuf, binding)
    port = int(child.hear())
    cfg.steer("4", port, cfg.queues[0])
    sender = _connect(cfg, port)
    defer(sender.close)
    thread = send(sender, 0, 64 * MIB)
    ksft_eq(child.hear(), "traffic")
    child.kill(name)
    try:
        thread.finish()
        ksft_true(False, "the sender must see the reset")
    except (ConnectionResetError, BrokenPipeError):
        pass
    ksft_eq(bool(bound_queues(cfg.netdev, cfg.ifindex)), bound_by_us)
    if bound_by_us:
        # all of the memory must be there for the next one
        _is_usable(cfg, dmabuf, binding)


@leaves_nothing
def killed_binder(cfg):
    """
    The process that holds the binding dies under traffic. Its last act is to
    unbind: the stream goes on in host memory, and tokens stay good.
    """
    dmabuf = Udmabuf(8 * MIB)
    defer(dmabuf.close)
    child = Child(_hold_binding, cfg, dmabuf)
    dmabuf_id = int(child.hear())
    sock, sender = cfg.connect("4")
    receiver = Receiver(sock, dmabuf, dmabuf_id)
    size = 4 * MIB
    thread = send(sender, 0, size)
    receiver.receive_all(MIB, keep=10)
    child.kill("SIGKILL")
    receiver.receive_all(size, keep=10)
    thread.finish()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    ksft_ge(receiver.kinds["dmabuf"], MIB)
    ksft_ne(receiver.kinds["plain"], 0)
    ksft_true(dmabuf.is_held)
    receiver.release()


@leaves_nothing
def killed_sender(cfg):
    """The process that sends dies; what it had sent is received to the end."""
    dmabuf, binding = cfg.bind()
    listener, port = _listen(cfg)
    defer(listener.close)
    cfg.steer("4", port, cfg.queues[0])
    child = Child(_send_forever, cfg, port)
    sock, _ = listener.accept()
    defer(sock.close)
    receiver = Receiver(sock, dmabuf, binding.id)
    receiver.receive_all(MIB)
    child.kill("SIGKILL")
    try:
        while receiver.receive().size:
            receiver.release(max(0, len(receiver.tokens) - 100))
    except ConnectionResetError:
        pass
    ksft_eq(receiver.kinds["plain"], 0)
    receiver.release()


def _drain(receiver):
    """Receive and give nothing back, until there is silence for 2 s."""
    while receiver.readable(2):
        receiver.receive()


@leaves_nothing
def stalled_reader(cfg):
    """
    A reader gives nothing back until the dma-buf is exhausted: the stream
    stalls and does not fail, and goes on once memory is there again.

    What TCP may hold back for want of a lost segment has to be less than the
    dma-buf: see WINDOW.
    """
    dmabuf, binding = cfg.bind(MIB, [cfg.queues[0]])
    niovs = MIB // os.sysconf("SC_PAGE_SIZE")
    sock, sender = cfg.connect("4", cfg.queues[0], rcvbuf=WINDOW)
    # a sender that was stalled for long would not try again for longer
    sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
    receiver = Receiver(sock, dmabuf, binding.id)
    size = 2 * MIB
    thread = send(sender, 0, size)
    # gve rings the doorbell for 32 buffers, so give back more than that; all
    # of them; half of them
    for give_back in (64, None, niovs // 2):
        _drain(receiver)
        ksft_pr(f"stalled at {receiver.position}, "
                f"{len(receiver.tokens)} tokens of {niovs}")
        # some niovs are posted, or have been used for bare acknowledgments
        ksft_ge(len(receiver.tokens), niovs - 100)
        ksft_true(thread.is_alive(), "the sender must be waiting")
        ksft_eq(tcpinfo.state(sender), TCP_ESTABLISHED)
        before = receiver.position
        receiver.release(give_back)
        ksft_true(receiver.readable(), "the stream must go on")
        receiver.receive()
        ksft_ge(receiver.position, before + 1)
    # that one may have brought as much as was given back
    receiver.release()
    receiver.receive_all(size)
    thread.finish()
    ksft_eq(receiver.kinds["dmabuf"], size)


@leaves_nothing
def stalled_then_unbound(cfg):
    """Unbinding ends the famine: the stream goes on in host memory."""
    dmabuf, binding = cfg.bind(MIB, [cfg.queues[0]])
    sock, sender = cfg.connect("6", cfg.queues[0])
    sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
    receiver = Receiver(sock, dmabuf, binding.id)
    size = 2 * MIB
    thread = send(sender, 0, size)
    _drain(receiver)
    ksft_true(thread.is_alive(), "the sender must be waiting")
    binding.close()
    receiver.receive_all(size, keep=1 << 30)
    thread.finish()
    ksft_ne(receiver.kinds["plain"], 0)
    receiver.release()


@leaves_nothing
def link_flap(cfg):
    """Link down and up while bound: the binding is there again, and works."""
    receiver, sender, binding = holding(cfg)
    cfg.link_down()
    cfg.link_up()
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
    receiver, _, _ = holding(cfg)
    cfg.link_down()
    try:
        receiver.release(len(receiver.tokens) // 2)
    finally:
        cfg.link_up()
    receiver.release()


CASES = [
    unbind_then_socket,
    unbind_then_release,
    socket_then_unbind,
    unread_data,
    read_after_unbind,
    buffer_closed_first,
    unbind_under_traffic,
    close_under_traffic,
    deferred_packets,
    orphan,
    shutdown_then_close,
    killed,
    killed_binder,
    killed_sender,
    stalled_reader,
    stalled_then_unbound,
    link_flap,
    link_down_tokens_out,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
