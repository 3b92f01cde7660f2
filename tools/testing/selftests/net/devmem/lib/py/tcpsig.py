# SPDX-License-Identifier: GPL-2.0

"""Keys for TCP-MD5 and TCP-AO (include/uapi/linux/tcp.h)."""

import ipaddress
import socket
import struct

from net.lib.py import KsftSkipEx, NetNSEnter, defer

_TCP_MD5SIG = 14
_TCP_AO_ADD_KEY = 38
_KEY = b"device memory"


def _sockaddr_storage(address):
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        packed = struct.pack("=HH", socket.AF_INET, 0) + ip.packed
    else:
        packed = struct.pack("=HHI", socket.AF_INET6, 0, 0) + ip.packed
    return packed.ljust(128, b"\0")


def md5_key(sock, peer):
    """Sign and check all segments to and from an address with TCP-MD5."""
    # address, flags, prefixlen, keylen, ifindex, key
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, struct.pack(
        "=128sBBHi80s", _sockaddr_storage(peer), 0, 0, len(_KEY), 0, _KEY))


def ao_key(sock, peer):
    """The same with TCP-AO, HMAC-SHA-1-96."""
    prefix = ipaddress.ip_address(peer).max_prefixlen
    # address, algorithm, ifindex, flags, reserved, prefix, sndid, rcvid,
    # maclen, keyflags, keylen, key
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_AO_ADD_KEY, struct.pack(
        "=128s64siIHBBBBBB80s", _sockaddr_storage(peer), b"hmac(sha1)", 0, 0,
        0, prefix, 100, 100, 12, 0, len(_KEY), _KEY))


def no_key(_sock, _peer):
    """In place of the above: segments are not signed."""


def connect(cfg, ipver, add_key, to_remote=False):
    """
    A connection with a key on both ends from the first segment on: (our end,
    remote end). The remote end connects to us, or we to it.
    """
    family = socket.AF_INET if ipver == "4" else socket.AF_INET6
    local, remote = cfg.addr_v[ipver], cfg.remote_addr_v[ipver]
    ours = socket.socket(family, socket.SOCK_STREAM)
    defer(ours.close)
    with NetNSEnter(cfg.remote_ns):
        theirs = socket.socket(family, socket.SOCK_STREAM)
    defer(theirs.close)
    try:
        add_key(ours, remote)
        add_key(theirs, local)
    except OSError as error:
        raise KsftSkipEx(f"this kernel cannot sign: {error}") from error
    active, passive, where = (ours, theirs, remote) if to_remote \
        else (theirs, ours, local)
    for sock in (active, passive):
        sock.settimeout(60)
    passive.bind((where, 0))
    passive.listen(1)
    port = passive.getsockname()[1]
    if not to_remote:
        cfg.steer(ipver, port, cfg.queues[0])
    active.connect((where, port))
    accepted, _ = passive.accept()
    defer(accepted.close)
    accepted.settimeout(60)
    passive.close()
    return (active, accepted) if to_remote else (accepted, active)
