# SPDX-License-Identifier: GPL-2.0

"""What TCP says of a socket (struct tcp_info), and counts in all."""

import socket
import struct

# offsets
_SACKED = 28
_RCV_SPACE = 96
_TOTAL_RETRANS = 100


def state(sock):
    """State of a TCP socket."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def sacked(sock):
    """Segments that the other end has got out of order."""
    return _u32(sock, _SACKED)


def receive_space(sock):
    """What TCP thinks that a reader takes in a round trip, in bytes."""
    return _u32(sock, _RCV_SPACE)


def retransmitted(sock):
    """Segments that were sent again, ever."""
    return _u32(sock, _TOTAL_RETRANS)


def _u32(sock, offset):
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 4)
    return struct.unpack_from("=I", info, offset)[0]


def counter(name):
    """A counter of TCP's from this namespace, such as "InCsumErrors"."""
    for path in ("/proc/net/netstat", "/proc/net/snmp"):
        with open(path, encoding="ascii") as table:
            lines = [line.split() for line in table]
        for names, values in zip(lines[::2], lines[1::2]):
            if name in names and names[0] in ("Tcp:", "TcpExt:"):
                return int(values[names.index(name)])
    raise KeyError(name)
