# SPDX-License-Identifier: GPL-2.0

"""What TCP says of a socket (struct tcp_info)."""

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
