#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Messages that begin in ordinary memory and go on in device memory: whoever has
looked at the beginning must not take the rest for granted. All that it takes
is a dma-buf that is bound while a message is on its way.
"""

import errno
import socket
import struct

from lib.py import (KsftSkipEx, Receiver, base_fails, defer, ksft_eq,
                    ksft_exit, ksft_run, leaves_nothing, os_error, pattern,
                    run_in_env, send, wait_for)
from lib.py.sockmap import Sockmap

SIZE = 3000
TLS_RECORD = 16000


def _mixed(cfg, begin, attach, rest, rcvbuf=None):
    """
    A socket that @attach has prepared, to which @begin has come in ordinary
    memory and @rest, as far as there is room for it, in device memory.
    """
    sock, sender = cfg.connect("4", rcvbuf=rcvbuf)
    attach(sock)
    before = Receiver(sock, None, 0)
    sender.sendall(begin)
    # a parser may have taken it away already
    wait_for(lambda: before.queued() == len(begin), 2)
    cfg.bind()
    sender.setblocking(False)
    sender.send(rest)
    sock.settimeout(30)
    return sock, sender


@leaves_nothing
@base_fails("panics when what cannot be read stands on a frag list (R1)")
def pulled(cfg):
    """
    A verdict program of a sockmap that pulls the whole message into the head
    gets an error, and the socket that the message was for gets EFAULT.
    """
    sockmap = []

    def attach(sock):
        try:
            sockmap.append(Sockmap())
            defer(sockmap[0].close)
            sockmap[0].parse_fixed(2 * SIZE)
            sockmap[0].verdict_pull(2 * SIZE)
        except OSError as error:
            raise KsftSkipEx(f"no sockmap in this kernel: {error}") from error
        sockmap[0].add(0, sock)

    sock, _ = _mixed(cfg, pattern(0, SIZE), attach, pattern(SIZE, SIZE))
    ksft_eq(os_error(sock.recv, 2 * SIZE), errno.EFAULT)


def _kernel_tls(sock):
    """TLS 1.3 with AES-GCM-128 on what is received."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, 31, b"tls\0")     # TCP_ULP
        # SOL_TLS, TLS_RX: version, cipher, iv, key, salt, rec_seq
        sock.setsockopt(282, 2, struct.pack(
            "=HH8s16s4s8s", 0x304, 51, b"i" * 8, b"k" * 16, b"s" * 4,
            bytes(8)))
    except OSError as error:
        raise KsftSkipEx(f"no kTLS in this kernel: {error}") from error


@leaves_nothing
@base_fails("warns, and decrypts memory that it never wrote to (R1)")
def tls_record(cfg):
    """
    A TLS record whose header could be read, and the rest not, in a receive
    buffer that it does not fit into: EFAULT.
    """
    header = struct.pack("!BHH", 23, 0x303, TLS_RECORD)
    sock, sender = _mixed(cfg, header + pattern(0, 100), _kernel_tls,
                          pattern(100, TLS_RECORD - 100), rcvbuf=4096)
    send(sender, 0, TLS_RECORD)
    ksft_eq(os_error(sock.recv, TLS_RECORD), errno.EFAULT)


CASES = [
    pulled,
    tls_record,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
