# SPDX-License-Identifier: GPL-2.0

"""
A BPF sockmap with its program, by the bare system call: the guest has no
libbpf, and three instructions need no compiler.
"""

import ctypes
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = 321                                # x86-64

_MAP_CREATE, _MAP_UPDATE_ELEM, _PROG_LOAD, _PROG_ATTACH = 0, 2, 5, 8
_MAP_TYPE_SOCKMAP = 15
_PROG_TYPE_SK_SKB = 14
SK_SKB_STREAM_PARSER, SK_SKB_STREAM_VERDICT, SK_SKB_VERDICT = 4, 5, 38

_PSEUDO_MAP_FD = 1
_FUNC_SKB_PULL_DATA = 39
_FUNC_SK_REDIRECT_MAP = 52


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 256)
    ret = _LIBC.syscall(_SYS_BPF, command, buffer, len(buffer))
    if ret < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ret


def _insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("=BBhi", code, dst | src << 4, off, imm)


_EXIT = _insn(0x95)


def _mov(register, value):
    return _insn(0xb7, register, imm=value)


class Sockmap:
    """A sockmap of two slots. Attach one verdict, then add sockets."""

    def __init__(self):
        self._fds = []
        self.fd = self._keep(_bpf(_MAP_CREATE, struct.pack(
            "=IIIII", _MAP_TYPE_SOCKMAP, 4, 4, 2, 0)))

    def _keep(self, fd):
        self._fds.append(fd)
        return fd

    def _attach(self, where, instructions):
        licence = ctypes.create_string_buffer(b"GPL")
        code = ctypes.create_string_buffer(instructions, len(instructions))
        prog = self._keep(_bpf(_PROG_LOAD, struct.pack(
            "=IIQQIIQII16sII", _PROG_TYPE_SK_SKB, len(instructions) // 8,
            ctypes.addressof(code), ctypes.addressof(licence),
            0, 0, 0, 0, 0, b"", 0, where)))
        _bpf(_PROG_ATTACH, struct.pack("=IIII", self.fd, prog, where, 0))

    def parse_all(self):
        """A stream parser that takes what it gets for a message."""
        # r0 = ctx->len
        self._attach(SK_SKB_STREAM_PARSER, _insn(0x61, 0, 1) + _EXIT)

    def parse_fixed(self, size):
        """A stream parser to which each message is of @size bytes."""
        self._attach(SK_SKB_STREAM_PARSER, _mov(0, size) + _EXIT)

    def verdict_pull(self, size):
        """Pull @size bytes into the head, as who reads them does; then pass."""
        self._attach(
            SK_SKB_STREAM_VERDICT,
            _mov(2, size) + _insn(0x85, imm=_FUNC_SKB_PULL_DATA) +
            _mov(0, 1) + _EXIT)

    def verdict_pass(self, where=SK_SKB_VERDICT):
        """Let everything through to the socket that it came for."""
        self._attach(where, _mov(0, 1) + _EXIT)

    def verdict_redirect(self, slot, ingress, where=SK_SKB_VERDICT):
        """Send all on to the socket in @slot, or into its receive end."""
        self._attach(
            where,
            _insn(0x18, 2, _PSEUDO_MAP_FD, imm=self.fd) + _insn(0) +
            _mov(3, slot) + _mov(4, int(ingress)) +
            _insn(0x85, imm=_FUNC_SK_REDIRECT_MAP) + _EXIT)

    def add(self, slot, sock):
        """Put a connected TCP socket into a slot."""
        key = ctypes.create_string_buffer(struct.pack("=I", slot), 4)
        value = ctypes.create_string_buffer(struct.pack("=I", sock.fileno()),
                                            4)
        _bpf(_MAP_UPDATE_ELEM, struct.pack(
            "=IIQQQ", self.fd, 0, ctypes.addressof(key),
            ctypes.addressof(value), 0))

    def close(self):
        """Drop the map and its programs."""
        while self._fds:
            os.close(self._fds.pop())
