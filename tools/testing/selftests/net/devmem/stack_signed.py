#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Device memory and TCP-MD5 or TCP-AO. It is the CPU that signs and checks, and
it cannot read the payload: what arrives is dropped, what is to be sent is
refused.
"""

import errno
import fcntl
import struct
import termios

from lib.py import tcpinfo
from lib.py import (KsftNamedVariant, Receiver, base_fails, defer, ksft_eq,
                    ksft_exit, ksft_ge, ksft_run, ksft_variants,
                    leaves_nothing, os_error, pattern, run_in_env, wait_for)
from lib.py.queued import check_nothing_comes
from lib.py.tcpsig import ao_key, connect, md5_key, no_key
from lib.py.txbinding import TxBinding

SIZE = 5000


@ksft_variants([KsftNamedVariant("md5_v4", "4", md5_key, "TCPMD5Failure"),
                KsftNamedVariant("md5_v6", "6", md5_key, "TCPMD5Failure"),
                KsftNamedVariant("ao_v4", "4", ao_key, "TCPAOBad"),
                KsftNamedVariant("ao_v6", "6", ao_key, "TCPAOBad")])
@leaves_nothing
@base_fails("panics on signed segments in device memory (defect 2)")
def received(cfg, ipver, add_key, counter):
    """
    A signature over bytes that cannot be read cannot be checked: the segment
    is dropped and counted. Once the queue is no longer bound, the sender's
    next try is readable, and arrives.
    """
    before = tcpinfo.counter(counter)
    dmabuf, binding = cfg.bind()
    sock, sender = connect(cfg, ipver, add_key)
    sock.settimeout(None)
    receiver = Receiver(sock, dmabuf, binding.id)
    ksft_eq(tcpinfo.counter(counter), before, "the handshake is good")
    sender.sendall(pattern(0, SIZE))
    check_nothing_comes(receiver)
    ksft_ge(tcpinfo.counter(counter), before + 1)
    binding.close()
    receiver.receive_all(SIZE)
    ksft_eq(receiver.kinds["plain"], SIZE)


def _tx_binding(cfg):
    binding = TxBinding(cfg.ifindex, 1 << 16)
    defer(binding.close)
    return binding


def _receive(sock, size):
    """The next bytes, as an ordinary program gets them."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def _unacknowledged(sock):
    """Bytes in the send queue."""
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, struct.pack("i", 0))
    return struct.unpack("i", answer)[0]


@ksft_variants(["4", "6"])
@leaves_nothing
def sent_unsigned(cfg, ipver):
    """Without a key device memory is sent."""
    binding = _tx_binding(cfg)
    sock, far_end = connect(cfg, ipver, no_key, to_remote=True)
    ksft_eq(binding.send(sock, 0, SIZE), SIZE)
    ksft_eq(_receive(far_end, SIZE), pattern(0, SIZE))


@ksft_variants([KsftNamedVariant("md5_v4", "4", md5_key),
                KsftNamedVariant("md5_v6", "6", md5_key),
                KsftNamedVariant("ao_v4", "4", ao_key),
                KsftNamedVariant("ao_v6", "6", ao_key)])
@leaves_nothing
@base_fails("panics on signing device memory (defect 2)")
def sent(cfg, ipver, add_key):
    """Nothing is queued that cannot be signed, and the connection goes on."""
    binding = _tx_binding(cfg)
    sock, far_end = connect(cfg, ipver, add_key, to_remote=True)
    sock.sendall(pattern(0, 100))
    for _ in range(3):
        ksft_eq(os_error(binding.send, sock, 100, SIZE), errno.EOPNOTSUPP)
    sock.sendall(pattern(100, SIZE))
    ksft_eq(_receive(far_end, SIZE + 100), pattern(0, SIZE + 100))


@ksft_variants(["4", "6"])
@leaves_nothing
@base_fails("panics on signing device memory (defect 2)")
def key_set_later(cfg, ipver):
    """
    No key while device memory is on its way, since it may have to be sent
    again; and no device memory once there is a key.
    """
    binding = _tx_binding(cfg)
    sock, far_end = connect(cfg, ipver, no_key, to_remote=True)
    peer = cfg.remote_addr_v[ipver]
    with cfg.faults("drop=port=1,count=0"):
        ksft_eq(binding.send(sock, 0, SIZE), SIZE)
        ksft_eq(os_error(md5_key, sock, peer), errno.EBUSY)
    ksft_eq(_receive(far_end, SIZE), pattern(0, SIZE))
    ksft_eq(wait_for(lambda: not _unacknowledged(sock), 60), True)
    md5_key(far_end, cfg.addr_v[ipver])
    md5_key(sock, peer)
    ksft_eq(os_error(binding.send, sock, SIZE, SIZE), errno.EOPNOTSUPP)
    sock.sendall(pattern(SIZE, SIZE))
    ksft_eq(_receive(far_end, SIZE), pattern(SIZE, SIZE))


CASES = [
    received,
    sent_unsigned,
    sent,
    key_set_later,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
