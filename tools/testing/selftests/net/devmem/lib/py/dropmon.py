# SPDX-License-Identifier: GPL-2.0

"""The kernel's drop monitor, in packet mode: what was dropped, and where."""

import os
import struct
import time

from net.lib.py import KsftSkipEx

from . import nlbare
from .nlbare import NETLINK_GENERIC, NetlinkSocket, attr

_GENL = struct.Struct("=BBH")
_CTRL, _CTRL_GETFAMILY = 16, 3
_FAMILY_ID, _FAMILY_NAME, _MCAST_GROUPS = 1, 2, 7
_GROUP_ID = 2

_CONFIG, _START, _STOP, _PACKET_ALERT = 2, 3, 4, 5
_ALERT_MODE, _SYMBOL, _PAYLOAD, _ORIG_LEN, _REASON = 1, 3, 7, 10, 23
_MODE_PACKET = 1


def _socket():
    """A socket in the first network namespace: the family is in no other."""
    here, there = (os.open(f"/proc/{whose}/ns/net", os.O_RDONLY)
                   for whose in ("thread-self", "1"))
    try:
        os.setns(there, os.CLONE_NEWNET)
        try:
            return NetlinkSocket(NETLINK_GENERIC)
        finally:
            os.setns(here, os.CLONE_NEWNET)
    finally:
        os.close(here)
        os.close(there)


class Report:
    """
    A packet that was dropped.

    payload: what could be read of it, from Ethernet on
    length: of all of it
    where, reason: as the kernel names them
    """

    def __init__(self, attrs):
        self.payload = attrs.get(_PAYLOAD, b"")
        self.length = struct.unpack("=I", attrs[_ORIG_LEN])[0]
        self.where = attrs[_SYMBOL].rstrip(b"\0").decode()
        self.reason = attrs.get(_REASON, b"").rstrip(b"\0").decode()

    def __repr__(self):
        return f"<{len(self.payload)} of {self.length} bytes, {self.reason}" \
            f" in {self.where}>"


class DropMonitor:
    """Watches drops until it is closed."""

    def __init__(self):
        self._sock = _socket()
        try:
            answer = self._request(_CTRL, _CTRL_GETFAMILY, nlbare.string(
                _FAMILY_NAME, "NET_DM"))[0]
        except OSError as error:
            self._sock.close()
            self._sock = None
            raise KsftSkipEx(f"no drop monitor: {error}") from error
        attrs = nlbare.parse(answer[_GENL.size:])
        self._family = struct.unpack("=H", attrs[_FAMILY_ID])[0]
        # the only group of the family
        group = nlbare.parse(next(iter(
            nlbare.parse(attrs[_MCAST_GROUPS]).values())))
        self._request(self._family, _CONFIG, attr(_ALERT_MODE, struct.pack(
            "=B", _MODE_PACKET)))
        self._request(self._family, _START)
        self._sock.join(struct.unpack("=I", group[_GROUP_ID])[0])

    def _request(self, family, command, payload=b""):
        return self._sock.request(family, _GENL.pack(command, 1, 0) + payload)

    def reports(self, seconds):
        """The Reports that come in so much time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind, payload in self._sock.receive(0.5):
                if kind == self._family and payload[0] == _PACKET_ALERT:
                    yield Report(nlbare.parse(payload[_GENL.size:]))

    def close(self):
        """Stop watching, and give back the packets not yet reported."""
        if self._sock:
            # the reports come on the same socket
            other, self._sock = self._sock, _socket()
            other.close()
            self._request(self._family, _STOP)
            self._sock.close()
            self._sock = None
