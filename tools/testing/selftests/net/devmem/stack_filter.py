#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What rules of nftables do to unreadable data: user space, and whoever traces,
gets the headers; what would have to be read or written is left alone; and the
packet goes on as it came.
"""

import errno
import socket
import struct

from lib.py import (KsftNamedVariant, NetNSEnter, base_fails, defect, defer,
                    ksft_eq, ksft_exit, ksft_ge, ksft_pr, ksft_run,
                    ksft_variants, leaves_nothing, os_error, pattern,
                    run_in_env, send)
from lib.py import netfilter
from lib.py.gro import poll_seldom
from lib.py.reports import Reports

QUEUE = 7
# Ethernet is not among what NFQUEUE hands over: IPv4, and TCP with a timestamp
HEADERS = 20 + 32
ETHERNET = 14
MTU = 1500


@leaves_nothing
@base_fails("hands zeros to the application in place of the data (R1)")
def nfqueue(cfg):
    """
    Merged packets go through NFQUEUE in one piece, and come out as they went
    in. User space sees their headers, and how long they are.
    """
    poll_seldom(cfg)
    size = 200000
    receiver, sender, _ = cfg.stream("4")
    queue = netfilter.Queue(QUEUE)
    defer(queue.close)
    netfilter.table(netfilter.input_chain(
        f"tcp dport {sender.getpeername()[1]} queue num {QUEUE}"))
    send(sender, 0, size)
    receiver.receive_all(size)
    ksft_eq(receiver.kinds["dmabuf"], size)
    longest = max(length for _, length in queue.packets)
    ksft_pr(f"{len(queue.packets)} packets, the longest of {longest} bytes")
    ksft_ge(longest, MTU + 1, "nothing was merged")
    ksft_eq(max(len(seen) for seen, _ in queue.packets), HEADERS)


@leaves_nothing
@base_fails("warns about checksums of unreadable data (R1)")
def rewritten(cfg):
    """
    A rule that writes to bytes that cannot be read writes nothing, and does
    not correct the checksum either. In a readable packet it does both.
    """
    receiver, sender, binding = cfg.stream("4")
    netfilter.table("chain change { }",
                    netfilter.input_chain(
                        f"tcp dport {sender.getpeername()[1]} jump change"))
    # behind the timestamp: the first two bytes of the payload
    netfilter.overwrite_payload("change", 32, b"\xaa\xbb", 16)
    sender.sendall(pattern(0, 1000))
    receiver.receive_all(1000)
    ksft_eq(receiver.kinds["dmabuf"], 1000)
    binding.close()
    sender.sendall(pattern(1000, 1000))
    receiver.wait_queued(1000)
    ksft_eq(receiver.sock.recv(1000), b"\xaa\xbb" + pattern(1002, 998))


@leaves_nothing
def traced(cfg):
    """
    A traced UDP packet is shown, although the trace wants more bytes of it
    than can be read. On the base there is nothing to see.
    """
    _, binding = cfg.bind()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    defer(sock.close)
    sock.bind((cfg.addr_v["4"], 0))
    sock.settimeout(10)
    port = sock.getsockname()[1]
    cfg.steer("4", port, cfg.queues[0], "udp")
    netfilter.table(netfilter.input_chain(
        f"udp dport {port} meta nftrace set 1"))
    with NetNSEnter(cfg.remote_ns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    defer(sender.close)
    trace = netfilter.Trace()
    defer(trace.close)
    sender.sendto(pattern(0, 1000), (cfg.addr_v["4"], port))
    ksft_eq(os_error(sock.recv, 1000), errno.EFAULT)
    seen = trace.transport_header(5)
    if cfg.is_fixed:
        # all that there is in the head
        ksft_eq(len(seen or b""), 8)
        ksft_eq(struct.unpack_from("!HHH", seen or bytes(8))[1:],
                (port, 1008))
    else:
        defect(seen is None, "the trace of the packet was thrown away")
    binding.close()
    sender.sendto(pattern(0, 1000), (cfg.addr_v["4"], port))
    ksft_eq(sock.recv(1000), pattern(0, 1000))
    ksft_eq(len(trace.transport_header(5) or b""), 20)


@ksft_variants([KsftNamedVariant("headers", 60), KsftNamedVariant("more", 128)])
@leaves_nothing
@base_fails("reports what others' packets had there, and calls it a success")
def reported(cfg, size):
    """
    A BPF program reports the first bytes of packets: of device memory only as
    many as can be read. What others sent through the same ring is in none.
    """
    reports = Reports(cfg, 200, size)
    theirs = b"another connection's data " * 10
    with socket.create_server((cfg.addr_v["4"], 0)) as listener:
        with NetNSEnter(cfg.remote_ns):
            other = socket.create_connection(listener.getsockname())
        defer(other.close)
        sock, _ = listener.accept()
    defer(sock.close)
    seen = 0
    for _ in range(300):
        other.sendall(theirs)
        sock.recv(4096)
        seen += len(reports.read())
    ksft_ge(seen, 200)
    receiver, sender, _ = cfg.stream("4")
    send(sender, 0, 20000).finish()
    receiver.receive_all(20000)
    ksft_eq(receiver.kinds["dmabuf"], 20000)
    found = reports.read()
    ksft_pr(f"{seen} reports of others, {len(found)} of device memory")
    wrong = [raw for raw in found if b"connection" in raw]
    ksft_eq(len(wrong), 0, "reports with others' data")
    if size > ETHERNET + HEADERS:
        ksft_eq(len(found), 0, "reports of what cannot be read")
    else:
        ksft_ge(len(found), 1)


CASES = [
    nfqueue,
    rewritten,
    traced,
    reported,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
