# SPDX-License-Identifier: GPL-2.0

"""
Bare netlink messages, for families that YNL has no specification of, or whose
messages are packets.
"""

import os
import socket
import struct

NETLINK_NETFILTER, NETLINK_GENERIC = 12, 16

_HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_ERROR = 2
REQUEST, ACK, CREATE, APPEND = 1, 4, 0x400, 0x800

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NESTED = 1 << 15
_KIND = 0x3fff


def attr(kind, payload):
    """An attribute; a list of attributes is nested."""
    if isinstance(payload, list):
        kind |= _NESTED
        payload = b"".join(payload)
    size = _ATTR.size + len(payload)
    return _ATTR.pack(size, kind) + payload + bytes(-size % 4)


def string(kind, text):
    """An attribute with a string."""
    return attr(kind, text.encode("ascii") + b"\0")


def be32(kind, value):
    """An attribute with a number in network order, as netfilter has them."""
    return attr(kind, struct.pack("!I", value))


def parse(data):
    """Attributes as kind to payload; of several of a kind, the last."""
    found = {}
    while len(data) >= _ATTR.size:
        size, kind = _ATTR.unpack_from(data)
        if size < _ATTR.size:
            break
        found[kind & _KIND] = data[_ATTR.size:size]
        data = data[size + -size % 4:]
    return found


def message(kind, payload, flags=0, sequence=1):
    """A message, as yet without the sender's port."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, REQUEST | flags,
                        sequence, 0) + payload


class NetlinkSocket:
    """A socket of a netlink family. What comes is (type, payload)."""

    def __init__(self, family):
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self._sock.bind((0, 0))
        self.fileno = self._sock.fileno

    def join(self, group):
        """Get what is multicast to @group."""
        self._sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def send(self, data):
        """Send one or more messages, without waiting for an answer."""
        self._sock.send(data)

    def receive(self, timeout=None):
        """What has come, or comes before the timeout: a list of messages."""
        self._sock.settimeout(timeout)
        try:
            data = self._sock.recv(1 << 18)
        except TimeoutError:
            return []
        found = []
        while len(data) >= _HEADER.size:
            size, kind, _, _, _ = _HEADER.unpack_from(data)
            found.append((kind, data[_HEADER.size:size]))
            data = data[size + -size % 4:]
        return found

    def request(self, kind, payload, flags=0):
        """Send a message and wait for the ACK; other answers are returned."""
        return self.batch(message(kind, payload, flags | ACK))

    def batch(self, data):
        """Send messages of which one asks for an ACK; raises its OSError."""
        self.send(data)
        answers = []
        while True:
            got = self.receive(10)
            if not got:
                raise OSError("netlink is silent")
            for kind, payload in got:
                if kind != _ERROR:
                    answers.append(payload)
                    continue
                error = -struct.unpack_from("=i", payload)[0]
                if error:
                    raise OSError(error, os.strerror(error))
                return answers

    def close(self):
        """Close it."""
        self._sock.close()
