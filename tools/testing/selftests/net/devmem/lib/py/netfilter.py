# SPDX-License-Identifier: GPL-2.0

"""
A table of nftables for a test case, a rule that nft(8) would not make, and
user space's end of an NFQUEUE and of a trace.
"""

import struct
import threading
import time

from net.lib.py import CmdExitFailure, KsftSkipEx, cmd, defer

from . import nlbare
from .nlbare import NETLINK_NETFILTER, NetlinkSocket, attr, be32, string

TABLE = "devmem_test"

_NFGEN = struct.Struct("!BBH")
_IPV4 = 2

_QUEUE = 3 << 8
_QUEUE_PACKET, _QUEUE_VERDICT, _QUEUE_CONFIG = _QUEUE, _QUEUE | 1, _QUEUE | 2
_CFG_CMD, _CFG_PARAMS = 1, 2
_BIND, _COPY_PACKET = 1, 2
_PACKET_HDR, _VERDICT_HDR, _PAYLOAD, _CAP_LEN = 1, 2, 10, 13
_ACCEPT = 1

_BATCH_BEGIN, _BATCH_END = 16, 17
_TABLES = 10
_NEW_RULE = _TABLES << 8 | 6
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_LIST_ELEM, _EXPR_NAME, _EXPR_DATA = 1, 1, 2
_GROUP_TRACE = 9
_TRACE_TABLE, _TRACE_TRANSPORT_HEADER = 1, 9
_REG_1 = 1
_TRANSPORT_HEADER, _CSUM_INET = 2, 1


def table(*chains):
    """
    A table of family ip until the end of the test case; each chain is what
    nft(8) has between the braces, preceded by its name.
    """
    text = f"table ip {TABLE} {{ {'; '.join(chains)}; }}"
    try:
        cmd(f"nft '{text}'", shell=True, timeout=60)
    except (CmdExitFailure, FileNotFoundError) as error:
        raise KsftSkipEx(f"no nftables: {error}") from error
    defer(cmd, f"nft delete table ip {TABLE}", timeout=60)


def input_chain(rule):
    """A chain for table() with a rule for what arrives here."""
    return f"chain input {{ type filter hook input priority 0; {rule}; }}"


def _expression(name, *attrs):
    return attr(_LIST_ELEM, [string(_EXPR_NAME, name),
                             attr(_EXPR_DATA, list(attrs))])


def overwrite_payload(chain, offset, data, csum_offset):
    """
    A rule in @chain of the table that writes @data to bytes @offset of the
    transport header and has the checksum there corrected. nft(8) corrects
    none where it does not know the field.
    """
    nfgen = _NFGEN.pack(_IPV4, 0, _TABLES)
    rule = _NFGEN.pack(_IPV4, 0, 0) + string(_RULE_TABLE, TABLE) + string(
        _RULE_CHAIN, chain) + attr(_RULE_EXPRESSIONS, [
            # register 1 = data
            _expression("immediate", be32(1, _REG_1),
                        attr(2, [attr(1, data)])),
            # base, offset, length, source register, checksum
            _expression("payload", be32(2, _TRANSPORT_HEADER), be32(3, offset),
                        be32(4, len(data)), be32(5, _REG_1),
                        be32(6, _CSUM_INET), be32(7, csum_offset)),
        ])
    sock = NetlinkSocket(NETLINK_NETFILTER)
    try:
        sock.batch(nlbare.message(_BATCH_BEGIN, nfgen) +
                   nlbare.message(_NEW_RULE, rule, nlbare.ACK | nlbare.CREATE |
                                  nlbare.APPEND) +
                   nlbare.message(_BATCH_END, nfgen))
    finally:
        sock.close()


class Queue(threading.Thread):
    """
    Accepts, on a thread, what comes to an NFQUEUE.

    packets: of each, the bytes that could be seen, and its true length
    """

    def __init__(self, number):
        super().__init__(daemon=True)
        self._number = number
        self._end = threading.Event()
        self.packets = []
        self._sock = NetlinkSocket(NETLINK_NETFILTER)
        try:
            self._config(attr(_CFG_CMD, struct.pack("!BxH", _BIND, _IPV4)))
            self._config(attr(_CFG_PARAMS, struct.pack("!IB", 0xffff,
                                                       _COPY_PACKET)))
        except OSError as error:
            self._sock.close()
            raise KsftSkipEx(f"no NFQUEUE: {error}") from error
        self.start()

    def _config(self, what):
        self._sock.request(_QUEUE_CONFIG, _NFGEN.pack(0, 0, self._number) +
                           what)

    def run(self):
        while not self._end.is_set():
            for kind, payload in self._sock.receive(0.2):
                if kind == _QUEUE_PACKET:
                    self._accept(nlbare.parse(payload[_NFGEN.size:]))

    def _accept(self, attrs):
        seen = attrs.get(_PAYLOAD, b"")
        length = struct.unpack("!I", attrs[_CAP_LEN])[0] \
            if _CAP_LEN in attrs else len(seen)
        self.packets.append((seen, length))
        number = struct.unpack_from("!I", attrs[_PACKET_HDR])[0]
        self._sock.send(nlbare.message(
            _QUEUE_VERDICT, _NFGEN.pack(0, 0, self._number) +
            attr(_VERDICT_HDR, struct.pack("!II", _ACCEPT, number))))

    def close(self):
        """End; what still waits is dropped."""
        self._end.set()
        self.join(10)
        self._sock.close()


class Trace:
    """Listens to what the kernel tells of packets with "nftrace set 1"."""

    def __init__(self):
        self._sock = NetlinkSocket(NETLINK_NETFILTER)
        self._sock.join(_GROUP_TRACE)

    def transport_header(self, seconds):
        """Of a packet in our table, from its transport header on, or None."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _, payload in self._sock.receive(0.5):
                attrs = nlbare.parse(payload[_NFGEN.size:])
                if attrs.get(_TRACE_TABLE) == TABLE.encode() + b"\0" and \
                   _TRACE_TRANSPORT_HEADER in attrs:
                    return attrs[_TRACE_TRANSPORT_HEADER]
        return None

    def close(self):
        """Listen no more."""
        self._sock.close()
