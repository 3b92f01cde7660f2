#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What becomes of unreadable data that is to be routed on. It cannot leave, for
it was mapped for a device to write; stack.py's hairpin has the plain case.
These are about what the stack does before it notices: it is dropped and
counted, and whoever is to hear of it does.

Documentation/networking/devmem-rust-stack.rst lists all such places.
"""

import socket
import struct
import time

from lib.py import (KsftNamedVariant, NetNSEnter, Receiver, base_fails, defect,
                    defer, ethtool, ksft_eq, ksft_exit, ksft_ge, ksft_pr,
                    ksft_run, ksft_true, ksft_variants, leaves_nothing,
                    pattern, run_in_env, send, wait_for)
from lib.py import beyond
from lib.py.dropmon import DropMonitor
from lib.py.gro import poll_seldom
from lib.py.snmp import counter

SIZE = 5000
# How long to look whether bytes that must not come do come.
A_WHILE = 2


def _nothing_comes(receiver):
    wait_for(receiver.queued, A_WHILE)
    ksft_eq(receiver.queued(), 0, "bytes that should have been dropped")


def _arrives_unbound(binding, receiver, size):
    """Readable from here on, and nothing is wrong with forwarding."""
    binding.close()
    receiver.receive_all(size)
    ksft_eq(receiver.kinds["plain"], size)


@ksft_variants([KsftNamedVariant("single", 1400, False),
                KsftNamedVariant("merged", 60000, True)])
@leaves_nothing
@base_fails("panics when it fragments what it cannot read (R1)")
def fragmented(cfg, size, merge):
    """
    A segment without DF that is too long for the next hop would have to be
    copied: dropped and counted. Merged ones would have to be taken apart
    first, and summed up where the NIC does not.
    """
    beyond.set_up(cfg, "4")
    beyond.narrow(cfg, "4", 600)
    if merge:
        poll_seldom(cfg)
        ethtool(f"-K {cfg.ifname} tx off")
        defer(ethtool, f"-K {cfg.ifname} tx on")
    _, binding = cfg.bind()
    sock, sender = beyond.connect(cfg, "4", cfg.queues[0], may_fragment=True)
    receiver = Receiver(sock, None, 0)
    failed, made = counter("Ip", "FragFails"), counter("Ip", "FragCreates")
    send(sender, 0, size)
    _nothing_comes(receiver)
    ksft_eq(counter("Ip", "FragCreates"), made)
    wait_for(lambda: counter("Ip", "FragFails") > failed, 20)
    ksft_ge(counter("Ip", "FragFails"), failed + 1)
    _arrives_unbound(binding, receiver, size)
    ksft_ge(counter("Ip", "FragCreates"), made + 3)


@ksft_variants([KsftNamedVariant("v4", "4", 600),
                KsftNamedVariant("v6", "6", 1280)])
@leaves_nothing
def path_mtu(cfg, ipver, mtu):
    """
    The sender learns of a narrow hop behind a queue with a dma-buf. An error
    that quoted zeros for the payload, with a checksum to match nothing, would
    be dropped: that is what the base sends (R1).
    """
    group = "Icmp" if ipver == "4" else "Icmp6"
    beyond.set_up(cfg, ipver)
    beyond.narrow(cfg, ipver, mtu)
    _, binding = cfg.bind()
    sock, sender = beyond.connect(cfg, ipver, cfg.queues[0])
    receiver = Receiver(sock, None, 0)
    ksft_eq(beyond.path_mtu(ipver, sender), 1500)
    with NetNSEnter(cfg.remote_ns):
        wrong = counter(group, "InCsumErrors")
    send(sender, 0, SIZE)
    wait_for(lambda: beyond.path_mtu(ipver, sender) == mtu, 2 * A_WHILE)
    with NetNSEnter(cfg.remote_ns):
        wrong = counter(group, "InCsumErrors") - wrong
    if cfg.is_fixed:
        ksft_eq(beyond.path_mtu(ipver, sender), mtu)
        ksft_eq(wrong, 0, "ICMP errors with a wrong checksum")
        _nothing_comes(receiver)
    else:
        defect(wrong and beyond.path_mtu(ipver, sender) == 1500,
               "the ICMP error had a wrong checksum")
    _arrives_unbound(binding, receiver, SIZE)


def _quoted(redirects, size, seconds):
    """
    What a redirect quotes of an IPv6 packet with @size bytes and more behind
    its header, or None if there is no such redirect.
    """
    kind, quote, headers = 137, 4, 40
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            message = redirects.recv(2048)
        except TimeoutError:
            continue
        if message[0] != kind:
            continue
        # ICMPv6, reserved, target, destination; then options
        options = message[headers:]
        while len(options) >= 8 and options[1]:
            option, options = options[:options[1] * 8], options[options[1] * 8:]
            if option[0] == quote and \
               struct.unpack_from("!H", option, 8 + 4)[0] >= size:
                return option[8:]
    return None


@leaves_nothing
def redirected(cfg):
    """
    A redirect quotes the headers of a packet whose payload cannot be read. The
    base goes on, with what the kernel had in that memory before (R1).
    """
    beyond.set_up(cfg, "6")
    with NetNSEnter(cfg.remote_ns):
        redirects = socket.socket(socket.AF_INET6, socket.SOCK_RAW,
                                  socket.IPPROTO_ICMPV6)
    defer(redirects.close)
    redirects.settimeout(0.5)
    _, binding = cfg.bind()
    sock, sender = beyond.connect(cfg, "6", cfg.queues[0])
    receiver = Receiver(sock, None, 0)
    # a redirect a second: the first ones are about the handshake
    time.sleep(1.1)
    sender.sendall(pattern(0, 1200))
    quoted = _quoted(redirects, 1200, 8)
    ksft_true(quoted is not None, "there was no redirect")
    # IPv6, and TCP with a timestamp
    headers = 40 + 32
    ksft_pr(f"{len(quoted or b'')} bytes, from the payload on: "
            f"{(quoted or b'')[headers:headers + 16].hex() or 'none'}")
    if cfg.is_fixed:
        ksft_eq(len(quoted or b""), headers)
        _nothing_comes(receiver)
    else:
        more = len(quoted or b"") - headers
        defect(more >= 8, f"{more} bytes were quoted that cannot be read")
    _arrives_unbound(binding, receiver, 1200)


@leaves_nothing
def drop_report(cfg):
    """
    Whoever watches drops sees that of a packet that cannot leave: its headers,
    and how long it was. The base throws the report away.
    """
    beyond.set_up(cfg, "4")
    _, binding = cfg.bind()
    sock, sender = beyond.connect(cfg, "4", cfg.queues[0])
    receiver = Receiver(sock, None, 0)
    monitor = DropMonitor()
    defer(monitor.close)
    sender.sendall(pattern(0, 1000))
    mine = sender.getpeername()[1].to_bytes(2, "big")
    found = None
    for report in monitor.reports(10):
        # Ethernet, IPv4 without options, then the ports
        if report.length > 1000 and report.payload[36:38] == mine:
            found = report
            break
    if cfg.is_fixed:
        ksft_pr(f"reported: {found}")
        ksft_ge(len(found.payload), 14 + 20 + 20)
        ksft_eq(found.payload.find(pattern(0, 16)), -1, "payload was reported")
    else:
        defect(found is None, "the report was thrown away")
    monitor.close()
    _arrives_unbound(binding, receiver, 1000)


CASES = [
    fragmented,
    path_mtu,
    redirected,
    drop_report,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
