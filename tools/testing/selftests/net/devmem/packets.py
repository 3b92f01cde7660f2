#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Device memory in packets of every make: merged by GRO or not, MTU of 1,280,
1,500 and 9,000 bytes, over IPv4 and IPv6.
"""

import socket

from lib.py import (KsftSkipEx, MIB, NetNSEnter, defer, ethtool, ip, ksft_eq,
                    ksft_exit, ksft_ge, ksft_gt, ksft_pr, ksft_run,
                    ksft_variants, leaves_nothing, pattern, run_in_env, send)
from lib.py.gro import exchange, poll_seldom
from lib.py.packets import PacketWatch, can_watch
from lib.py.uapi import SO_RCVBUFFORCE

# Headers of IP and of TCP with a timestamp.
HEADERS = {"4": 20 + 32, "6": 40 + 32}
# The driver's receive buffers, of which a jumbo frame takes several.
BUFFER = 4096
# A packet has this many frags; GRO puts what follows on its frag_list.
MAX_SKB_FRAGS = 17


def _set_mtu(cfg, mtu):
    """Another MTU at both ends for the rest of the test case."""
    for name, dev, where in (
            (cfg.ifname, cfg.dev, ""),
            (cfg.remote_ifname, cfg.remote_dev, f"-n {cfg.remote_ns} ")):
        ip(f"{where}link set dev {name} mtu {mtu}")
        defer(ip, f"{where}link set dev {name} mtu {dev['mtu']}")
    cfg.wait_carrier()


def _set_gro(cfg, on):
    before = ethtool(f"-k {cfg.ifname}").stdout
    was = "on" if "generic-receive-offload: on" in before else "off"
    ethtool(f"-K {cfg.ifname} gro {on}")
    defer(ethtool, f"-K {cfg.ifname} gro {was}")


def _begin_fast(cfg, ipver):
    """New connections from the other end begin with a window of 60 segments."""
    where = f"-n {cfg.remote_ns} -{ipver} route"
    target = f"{cfg.addr_v[ipver]}/{32 if ipver == '4' else 128}"
    ip(f"{where} add {target} dev {cfg.remote_ifname} initcwnd 60")
    defer(ip, f"{where} del {target} dev {cfg.remote_ifname}")


def _send_in_bursts(cfg):
    """
    Let the other end send 40 segments at once, not what it reckons to be a
    millisecond's worth: on busy processors that is 13 of them, and GRO merges
    IPv4 packets of different bursts only if their IDs happen to fit.
    """
    path = "/proc/sys/net/ipv4/tcp_min_tso_segs"

    def change(value):
        with NetNSEnter(cfg.remote_ns):
            return exchange(path, value)

    defer(change, change(40))


def _watch(cfg):
    if not can_watch():
        raise KsftSkipEx("the kernel has no tracepoint for received packets")
    watch = PacketWatch(cfg.ifname)
    defer(watch.close)
    return watch


def _data_packets(watch, ipver):
    """Payload of each packet with any that came since the last call."""
    return [length - HEADERS[ipver] for length in watch.lengths()
            if length > HEADERS[ipver] + 20]


@ksft_variants(["4", "6"])
@leaves_nothing
def merged_by_gro(cfg, ipver):
    """
    Packets that GRO merged: their frags come out as the pieces that they are,
    also those on a frag_list.
    """
    watch = _watch(cfg)
    _set_mtu(cfg, 1500)
    _set_gro(cfg, "on")
    poll_seldom(cfg)
    _begin_fast(cfg, ipver)
    _send_in_bursts(cfg)
    mss = 1500 - HEADERS[ipver]
    receiver, sender, _ = cfg.stream(ipver, rcvbuf=MIB)
    # the window counts whole niovs, whatever is in them
    receiver.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 * MIB)
    thread = send(sender, 0, 2 * MIB, chunk=MIB)
    receiver.receive_all(2 * MIB)
    thread.finish()
    packets = _data_packets(watch, ipver)
    ksft_pr(f"{receiver.frags} pieces in {len(packets)} packets, the biggest "
            f"of {max(packets) / mss:.1f} segments")
    ksft_gt(max(packets), MAX_SKB_FRAGS * mss, "GRO made no frag_list")
    # each segment is in a niov of its own, merged or not
    ksft_ge(receiver.frags, 2 * MIB // mss)
    ksft_ge(receiver.frags, 2 * len(packets))
    ksft_eq(receiver.kinds["dmabuf"], 2 * MIB)


@ksft_variants(["4", "6"])
@leaves_nothing
def without_gro(cfg, ipver):
    """Every segment is a packet of its own."""
    watch = _watch(cfg)
    _set_mtu(cfg, 1500)
    _set_gro(cfg, "off")
    mss = 1500 - HEADERS[ipver]
    receiver, sender, _ = cfg.stream(ipver)
    thread = send(sender, 0, MIB)
    receiver.receive_all(MIB)
    thread.finish()
    packets = _data_packets(watch, ipver)
    # a segment may have been sent twice
    ksft_ge(sum(packets), MIB)
    ksft_eq(max(packets), mss)
    ksft_eq(receiver.kinds["dmabuf"], MIB)


@ksft_variants(["4", "6"])
@leaves_nothing
def one_frame(cfg, ipver):
    """
    A frame of each MTU, filled to the last byte: as many pieces as the NIC
    needed buffers, all full but the last.
    """
    for mtu in (1280, 1500, 9000):
        _set_mtu(cfg, mtu)
        mss = mtu - HEADERS[ipver]
        receiver, sender, binding = cfg.stream(ipver)
        for frame in range(3):
            sender.sendall(pattern(frame * mss, mss))
            receiver.wait_queued(mss)
            message = receiver.receive()
            sizes = [piece.size for piece in message.pieces]
            ksft_eq(sizes, [BUFFER] * (mss // BUFFER) + [mss % BUFFER])
            receiver.release()
        receiver.sock.close()
        binding.close()


@ksft_variants(["4", "6"])
@leaves_nothing
def jumbo(cfg, ipver):
    """A stream of jumbo frames, with ragged writes in between."""
    watch = _watch(cfg)
    _set_mtu(cfg, 9000)
    receiver, sender, _ = cfg.stream(ipver)
    thread = send(sender, 0, MIB)
    receiver.receive_all(MIB)
    thread.finish()
    thread = send(sender, MIB, MIB // 2, chunk=10007)
    receiver.receive_all(MIB + MIB // 2)
    thread.finish()
    ksft_pr(f"{receiver.kinds}, {receiver.frags} pieces")
    ksft_eq(receiver.kinds["dmabuf"], receiver.position)
    ksft_gt(max(_data_packets(watch, ipver)), 1500)


CASES = [
    merged_by_gro,
    without_gro,
    one_frame,
    jumbo,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
