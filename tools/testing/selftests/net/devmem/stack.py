#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What the stack may do to unreadable data: whoever wants to look at bytes that
went to device memory is told no, and the data is neither lost nor invented.

Most of these cases are about the base's C, which both implementations run on.
The build in Rust has patches/fixes/ applied, the build in C goes without (but
for DEVMEM_FIXED=1): a case that panics or warns there is skipped, and says so. With
DEVMEM_TRY_DEFECTS=1 in the environment it is run all the same, to see it.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
import termios
import time

from lib.py import tcpinfo
from lib.py import (KsftNamedVariant, KsftSkipEx, MIB, NetNSEnter, Receiver,
                    base_fails, cmd, defect, defer, ethtool, ip, ksft_eq,
                    ksft_exit, ksft_ge, ksft_pr, ksft_run, ksft_true,
                    ksft_variants, leaves_nothing, os_error, pattern,
                    run_in_env, send, tries_defects, wait_for)
from lib.py.clones import Mirror, hold_clones
from lib.py.queued import check_nothing_comes
from lib.py.sockmap import (SK_SKB_STREAM_VERDICT, SK_SKB_VERDICT, Sockmap)

SIZE = 5000


# --- checksums -------------------------------------------------------------

@ksft_variants(["4", "6"])
@leaves_nothing
@base_fails("warns about checksums of unreadable data (defect 12)")
def checksum_off(cfg, ipver):
    """
    What the NIC has not verified nobody can: it is dropped as corrupt, and
    what it has verified arrives.
    """
    receiver, sender, _ = cfg.stream(ipver)
    before = tcpinfo.counter("InCsumErrors")
    ethtool(f"-K {cfg.ifname} rx off")
    on_again = defer(ethtool, f"-K {cfg.ifname} rx on")
    # one small segment, and enough for GRO to think of merging
    sender.sendall(pattern(0, 20))
    check_nothing_comes(receiver)
    sender.sendall(pattern(20, 50000))
    check_nothing_comes(receiver)
    ksft_ge(tcpinfo.counter("InCsumErrors"), before + 2)
    on_again.exec()
    receiver.receive_all(50020)
    ksft_eq(receiver.kinds["dmabuf"], 50020)


# --- splice ----------------------------------------------------------------

def _pipe():
    ends = os.pipe()
    for end in ends:
        defer(os.close, end)
    return ends


@leaves_nothing
def splice(cfg):
    """
    splice(2) fails as read(2) does, EFAULT, and loses nothing. The base
    returns 0, which means end of file (defect 19).
    """
    receiver, sender, _ = cfg.stream("4")
    send(sender, 0, SIZE).finish()
    receiver.wait_queued(SIZE)
    _, pipe_in = _pipe()
    for _ in range(3):
        if cfg.is_fixed:
            ksft_eq(os_error(os.splice, receiver.sock.fileno(), pipe_in, 4096),
                    errno.EFAULT)
        else:
            defect(os.splice(receiver.sock.fileno(), pipe_in, 4096) == 0,
                   "splice() returns 0, the end of the file")
    receiver.receive_all(SIZE)
    ksft_eq(receiver.kinds["dmabuf"], SIZE)


@leaves_nothing
def splice_readable_first(cfg):
    """What can be read is spliced, up to the first byte that cannot."""
    queue = cfg.queues[0]
    sock, sender = cfg.connect("6", queue)
    send(sender, 0, SIZE).finish()
    receiver = Receiver(sock, None, 0)
    receiver.wait_queued(SIZE)
    dmabuf, binding = cfg.bind(queues=[queue])
    receiver.expect(dmabuf, binding.id)
    send(sender, SIZE, SIZE).finish()
    receiver.wait_queued(2 * SIZE)

    pipe_out, pipe_in = _pipe()
    got = b""
    while len(got) < SIZE:
        spliced = os.splice(sock.fileno(), pipe_in, 3 * SIZE)
        ksft_ge(spliced, 1)
        got += os.read(pipe_out, spliced)
    ksft_eq(got, pattern(0, SIZE))
    receiver.position = SIZE
    if cfg.is_fixed:
        ksft_eq(os_error(os.splice, sock.fileno(), pipe_in, SIZE),
                errno.EFAULT)
    receiver.receive_all(2 * SIZE)
    ksft_eq(receiver.kinds["dmabuf"], SIZE)


# --- sockmap ---------------------------------------------------------------

def _sockmap(setup):
    """A sockmap, or a skip where there is none."""
    try:
        sockmap = Sockmap()
        defer(sockmap.close)
        setup(sockmap)
    except OSError as error:
        raise KsftSkipEx(f"no sockmap in this kernel: {error}") from error
    return sockmap


def _error_of(sock):
    """Wait for the socket's error."""
    return wait_for(lambda: sock.getsockopt(socket.SOL_SOCKET,
                                            socket.SO_ERROR), 10)


def _pass(sockmap):
    sockmap.verdict_pass()


def _parse_and_pass(sockmap):
    sockmap.parse_all()
    sockmap.verdict_pass(SK_SKB_STREAM_VERDICT)


@ksft_variants([KsftNamedVariant("verdict", _pass),
                KsftNamedVariant("parser", _parse_and_pass)])
@leaves_nothing
@base_fails("panics on the receive from a sockmap (defect 12)")
def sockmap_pass(cfg, setup):
    """
    A sockmap turns received skbs into scatterlists of pages. Without pages
    the socket fails, EFAULT.
    """
    receiver, sender, _ = cfg.stream("4")
    sockmap = _sockmap(setup)
    sockmap.add(0, receiver.sock)
    sender.sendall(pattern(0, SIZE))
    receiver.sock.settimeout(10)
    ksft_eq(os_error(receiver.sock.recv, SIZE), errno.EFAULT)


@ksft_variants([KsftNamedVariant("out", False), KsftNamedVariant("in", True)])
@leaves_nothing
@base_fails("panics on a redirect by a sockmap (defect 12)")
def sockmap_redirect(cfg, ingress):
    """Neither sent on through another socket nor received by it."""
    receiver, sender, _ = cfg.stream("4")
    # the other connection is an ordinary one: queue 0 is never bound
    other, far_end = cfg.connect("4", 0)
    sockmap = _sockmap(
        lambda new: new.verdict_redirect(1, ingress, SK_SKB_VERDICT))
    sockmap.add(1, other)
    sockmap.add(0, receiver.sock)
    sender.sendall(pattern(0, SIZE))
    ksft_eq(_error_of(other), errno.EFAULT)
    ksft_eq(struct.unpack("i", fcntl.ioctl(far_end, termios.FIONREAD,
                                           struct.pack("i", 0)))[0], 0)


# --- forwarding ------------------------------------------------------------

BEYOND = "beyond"
BEYOND_ADDR, BEYOND_GATEWAY = "198.18.0.2", "198.18.0.1"


def _beyond(cfg):
    """
    A third host behind our NIC, on the remote end's wire: what the remote end
    sends there goes in and out of our NIC.
    """
    if not cfg.remote_ifname:
        raise KsftSkipEx("the remote end's interface is not known")
    # slow where everything is emulated
    cmd(f"ip netns add {BEYOND}", timeout=120)
    defer(cmd, f"ip netns del {BEYOND}", timeout=120)
    ip(f"link add link {cfg.remote_ifname} name {BEYOND} netns {BEYOND} "
       "type ipvlan mode l2", ns=cfg.remote_ns)
    ip("link set dev lo up", ns=BEYOND)
    ip(f"link set dev {BEYOND} up", ns=BEYOND)
    ip(f"addr add {BEYOND_ADDR}/24 dev {BEYOND}", ns=BEYOND)
    ip(f"route add default via {BEYOND_GATEWAY}", ns=BEYOND)
    ip(f"addr add {BEYOND_GATEWAY}/24 dev {cfg.ifname}")
    defer(ip, f"addr del {BEYOND_GATEWAY}/24 dev {cfg.ifname}")
    ip(f"route add {BEYOND_ADDR}/32 via {cfg.addr_v['4']}", ns=cfg.remote_ns)
    defer(ip, f"route del {BEYOND_ADDR}/32", ns=cfg.remote_ns)
    for name, value in (("ip_forward", 1), ("conf/all/send_redirects", 0),
                        (f"conf/{cfg.ifname}/send_redirects", 0),
                        ("conf/all/rp_filter", 0)):
        path = f"/proc/sys/net/ipv4/{name}"
        with open(path, encoding="ascii") as knob:
            old = knob.read()
        defer(_write, path, old)
        _write(path, str(value))


def _write(path, text):
    with open(path, "w", encoding="ascii") as knob:
        knob.write(text)


def connect_beyond(cfg):
    """
    A connection from the remote end to the third host: (Receiver, sending
    socket). It comes in on our first queue.
    """
    with NetNSEnter(BEYOND):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    defer(listener.close)
    listener.bind((BEYOND_ADDR, 0))
    listener.listen(1)
    listener.settimeout(60)
    port = listener.getsockname()[1]
    cfg.steer("4", port, cfg.queues[0])
    with NetNSEnter(cfg.remote_ns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    defer(sender.close)
    sender.settimeout(60)
    sender.connect((BEYOND_ADDR, port))
    sock, _ = listener.accept()
    defer(sock.close)
    return Receiver(sock, None, 0), sender


@ksft_variants([KsftNamedVariant("alone", False),
                KsftNamedVariant("watched", True)])
@leaves_nothing
def hairpin(cfg, watched):
    """
    What came in by DMA cannot leave by DMA, not even through the same NIC:
    the buffer was mapped for the device to write. The base sends it all the
    same (defect 12); with an IOMMU that would be a fault.

    Where a packet socket holds a clone that nobody reads, the packet that is
    forwarded gets a head of its own.
    """
    _beyond(cfg)
    if watched:
        hold_clones(cfg)
    _, binding = cfg.bind()
    receiver, sender = connect_beyond(cfg)

    sender.sendall(pattern(0, SIZE))
    if cfg.is_fixed:
        check_nothing_comes(receiver)
    else:
        receiver.wait_queued(SIZE)
        defect(True, "sent on, by DMA from memory that was mapped for writing")
    # readable from here on, and then there is nothing wrong with forwarding
    binding.close()
    receiver.receive_all(SIZE)
    ksft_eq(receiver.kinds["plain"], SIZE)


@leaves_nothing
def cloned(cfg):
    """
    Packets whose clones wait somewhere get heads of their own. The clones go,
    others' data come, and only then does the application read its own.
    """
    if not cfg.is_rust and not tries_defects():
        raise KsftSkipEx("C lends the memory of packets out again before they "
                         "are read (defect 10)")
    receiver, sender, binding = cfg.stream("4", queue=cfg.queues[0])
    sock, others = cfg.connect("4", cfg.queues[0])
    other = Receiver(sock, receiver.dmabuf, binding.id)
    clones = Mirror(cfg)
    send(sender, 0, 50000).finish()
    receiver.wait_queued(50000)
    ksft_ge(clones.waiting(), 1)
    clones.close()
    send(others, 0, 8 * MIB)
    other.receive_all(8 * MIB)
    receiver.receive_all(50000)
    ksft_eq(receiver.kinds["dmabuf"], 50000)


# --- a NIC that does not keep its word -------------------------------------

@leaves_nothing
@base_fails("panics on a packet whose header the NIC left in the buffer "
            "(defect 3)")
def header_lost(cfg):
    """
    The NIC says that it has split a packet, and has put all of it into the
    dma-buf. Nobody can say whose packet it is: dropped, and sent again.
    """
    receiver, sender, _ = cfg.stream("4", queue=cfg.queues[0])
    with cfg.faults(f"header-lost=port=0,queue={cfg.queues[0]},count=2"):
        send(sender, 0, 20000).finish()
        receiver.receive_all(20000)
    ksft_eq(receiver.kinds["dmabuf"], 20000)
    ksft_ge(tcpinfo.retransmitted(sender), 2)


@leaves_nothing
@base_fails("takes what follows the header buffer for a part of the header")
def header_too_long(cfg):
    """
    The NIC says that a header is longer than its buffer: dropped, counted, and
    sent again.
    """
    queue = cfg.queues[0]
    receiver, sender, _ = cfg.stream("4", queue=queue)
    before = cfg.driver_counter("rx_desc_err_dropped_pkt")
    with cfg.faults(f"header-long=port=0,queue={queue},count=2"):
        send(sender, 0, 20000).finish()
        receiver.receive_all(20000)
    ksft_eq(receiver.kinds["dmabuf"], 20000)
    ksft_ge(cfg.driver_counter("rx_desc_err_dropped_pkt"), before + 2)


@leaves_nothing
@base_fails("believes any length")
def data_too_long(cfg):
    """
    The NIC says that there are more data in a packet buffer than it holds:
    dropped, counted, and sent again.
    """
    queue = cfg.queues[0]
    receiver, sender, _ = cfg.stream("4", queue=queue)
    before = cfg.driver_counter("rx_desc_err_dropped_pkt")
    for start, by in ((0, 1), (20000, 1 << 13)):
        with cfg.faults(f"data-long=port=0,queue={queue},by={by},count=2"):
            send(sender, start, 20000).finish()
            receiver.receive_all(start + 20000)
    ksft_eq(receiver.kinds["dmabuf"], 40000)
    ksft_ge(cfg.driver_counter("rx_desc_err_dropped_pkt"), before + 4)


@leaves_nothing
@base_fails("forgets the skb that it is at, with its pieces of the dma-buf")
def end_lost(cfg):
    """
    A packet goes on, says the NIC, and then comes the header of another one:
    both are dropped, counted, and sent again, and no piece is lost.
    """
    queue = cfg.queues[0]
    receiver, sender, _ = cfg.stream("4", queue=queue)
    before = cfg.driver_counter("rx_desc_err_dropped_pkt")
    with cfg.faults(f"end-lost=port=0,queue={queue},count=3"):
        send(sender, 0, 20000).finish()
        receiver.receive_all(20000)
    ksft_eq(receiver.kinds["dmabuf"], 20000)
    ksft_ge(cfg.driver_counter("rx_desc_err_dropped_pkt"), before + 1)


def _completions(cfg, queue):
    return cfg.driver_counter(f"rx_completed_desc[{queue}]")


def _unbind(_cfg, binding):
    binding.close()


def _down_and_up(cfg, _binding):
    cfg.link_down()
    cfg.link_up()


def _reset(cfg, _binding):
    before = cfg.resets()
    with cfg.faults("reset-request=after-ms=0,port=0"):
        ksft_true(wait_for(lambda: cfg.resets() > before, 30),
                  "the driver does not reset the device")
    cfg.rules.clear()  # gone with it
    cfg.wait_carrier()


@ksft_variants([KsftNamedVariant("unbind", _unbind),
                KsftNamedVariant("link", _down_and_up),
                KsftNamedVariant("reset", _reset)])
@leaves_nothing
@base_fails("forgets the skb that it is at when the queue stops")
def unfinished(cfg, end):
    """
    A packet goes on, says the NIC, and then its queue stops. No piece is lost,
    and once there is a queue again it comes again.
    """
    queue = cfg.queues[0]
    receiver, sender, binding = cfg.stream("4", queue=queue)
    before = _completions(cfg, queue)
    # the second segment and all that follow are lost on the way
    with cfg.faults(f"end-lost=port=0,queue={queue},count=1",
                    "drop=port=1,min-len=67,nth=2,count=0"):
        sender.sendall(pattern(0, 1000))
        ksft_true(wait_for(lambda: _completions(cfg, queue) > before, 10),
                  "the packet does not come")
        time.sleep(0.5)
        end(cfg, binding)
    receiver.receive_all(1000)


# --- others who look -------------------------------------------------------

@leaves_nothing
def packet_socket(cfg):
    """AF_PACKET sees the headers, and the true length, of what passes."""
    receiver, sender, _ = cfg.stream("4")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                       socket.htons(0x0800)) as sniffer:
        sniffer.bind((cfg.ifname, 0))
        sniffer.settimeout(10)
        sender.sendall(pattern(0, 1000))
        end = time.monotonic() + 10
        seen = None
        while time.monotonic() < end and seen is None:
            data, _, _, _ = sniffer.recvmsg(65536, 0, socket.MSG_TRUNC)
            total = struct.unpack_from("!H", data, 16)[0]
            if total > 1000:
                seen = data
        ksft_true(seen is not None, "the packet was not captured")
        ksft_true(pattern(0, 16) not in (seen or b""), "payload was captured")
    receiver.receive_all(1000)
    ksft_eq(receiver.kinds["dmabuf"], 1000)


def _zerocopy_receive(sock, size):
    """getsockopt(TCP_ZEROCOPY_RECEIVE) into a mapping: (mapped, hint)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    where = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ,
                      mmap.MAP_SHARED, sock.fileno(), ctypes.c_long(0))
    if where == ctypes.c_void_p(-1).value:
        raise KsftSkipEx("a TCP socket cannot be mapped in this kernel")
    try:
        # address, length, recv_skip_hint, inq, err
        request = ctypes.create_string_buffer(
            struct.pack("=QIIIi", where, size, 0, 0, 0), 24)
        length = ctypes.c_uint32(24)
        if libc.getsockopt(sock.fileno(), socket.IPPROTO_TCP, 35, request,
                           ctypes.byref(length)):
            raise OSError(ctypes.get_errno(), "TCP_ZEROCOPY_RECEIVE")
        return struct.unpack("=QIIIi", request.raw)[1:3]
    finally:
        libc.munmap(ctypes.c_void_p(where), ctypes.c_size_t(size))


@leaves_nothing
def zerocopy_receive(cfg):
    """TCP_ZEROCOPY_RECEIVE maps nothing and takes nothing."""
    receiver, sender, _ = cfg.stream("6")
    send(sender, 0, 20480).finish()
    receiver.wait_queued(20480)
    try:
        mapped, hint = _zerocopy_receive(receiver.sock, 20480)
        ksft_eq(mapped, 0)
        ksft_pr(f"{hint} bytes to be received otherwise")
    except OSError as error:
        ksft_pr(f"refused: {error}")
    receiver.receive_all(20480)
    ksft_eq(receiver.kinds["dmabuf"], 20480)


@leaves_nothing
def ktls(cfg):
    """kTLS cannot decrypt what it cannot read: an error, no crash."""
    receiver, sender, _ = cfg.stream("4")
    tls, tls_rx, cipher = 282, 2, 51          # SOL_TLS, TLS_RX, AES-GCM-128
    try:
        receiver.sock.setsockopt(socket.IPPROTO_TCP, 31, b"tls\0")  # TCP_ULP
        # version 1.3, cipher, iv, key, salt, rec_seq
        receiver.sock.setsockopt(tls, tls_rx, struct.pack(
            "=HH8s16s4s8s", 0x304, cipher, b"i" * 8, b"k" * 16, b"s" * 4,
            bytes(8)))
    except OSError as error:
        raise KsftSkipEx(f"no kTLS in this kernel: {error}") from error
    # a record that is as long as it says
    sender.sendall(struct.pack("!BHH", 23, 0x303, SIZE) + bytes(SIZE))
    receiver.sock.settimeout(10)
    error = os_error(receiver.sock.recv, SIZE)
    ksft_true(error in (errno.EFAULT, errno.EBADMSG), f"errno {error}")


CASES = [
    checksum_off,
    splice,
    splice_readable_first,
    sockmap_pass,
    sockmap_redirect,
    hairpin,
    cloned,
    header_lost,
    header_too_long,
    data_too_long,
    end_lost,
    unfinished,
    packet_socket,
    zerocopy_receive,
    ktls,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
