# SPDX-License-Identifier: GPL-2.0

"""
The BPF programs that the tests need, loaded and attached with libbpf: one that
hands what arrives on a queue to the peer of a netkit device, one that clones
what arrives to another device, one that reports its first bytes, and an XDP
program that does nothing. They are short enough to do without a compiler.
"""

import ctypes
import os
import struct

from net.lib.py import KsftSkipEx

_PROG_TYPE_SCHED_CLS = 3
_PROG_TYPE_XDP = 6
_TCX_INGRESS = 46
_F_XDP_HAS_FRAGS = 1 << 5
_HELPER_CLONE_REDIRECT = 13
_HELPER_PERF_EVENT_OUTPUT = 25
_PSEUDO_MAP_FD = 1
_HELPER_REDIRECT_PEER = 155

# offset of queue_mapping, the number of the RX queue plus one
_SKB_QUEUE_MAPPING = 12
_TCX_NEXT = -1
_XDP_PASS = 2

# for ip-link(8): generic mode, and the driver's
XDP_GENERIC = 2
XDP_NATIVE = 4


class _LoadOpts(ctypes.Structure):
    _fields_ = [("sz", ctypes.c_size_t),
                ("attempts", ctypes.c_int),
                ("expected_attach_type", ctypes.c_int),
                ("prog_btf_fd", ctypes.c_uint32),
                ("prog_flags", ctypes.c_uint32),
                ("unused", ctypes.c_uint64)]


def libbpf():
    """The library, or a skip where there is none."""
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise KsftSkipEx(f"no libbpf: {error}") from error
    # what the kernel says goes to the caller, not to standard error
    lib.libbpf_set_print(None)
    return lib


def _insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("=BBhi", code, dst | src << 4, off, imm)


def _mov(dst, value):
    return _insn(0xb7, dst, imm=value)


def _exit():
    return _insn(0x95)


def _load(kind, insns, flags=0):
    code = ctypes.create_string_buffer(b"".join(insns), 8 * len(insns))
    opts = _LoadOpts(sz=ctypes.sizeof(_LoadOpts), prog_flags=flags)
    fd = libbpf().bpf_prog_load(kind, b"devmem_test", b"GPL", code,
                                ctypes.c_size_t(len(insns)),
                                ctypes.byref(opts))
    if fd < 0:
        raise OSError(-fd, f"bpf_prog_load: {os.strerror(-fd)}")
    return fd


def _attach_tcx(ifindex, insns):
    """Run a program on what arrives; returns a descriptor, closing detaches."""
    prog = _load(_PROG_TYPE_SCHED_CLS, insns)
    link = libbpf().bpf_link_create(prog, ifindex, _TCX_INGRESS, None)
    os.close(prog)
    if link < 0:
        raise OSError(-link, f"bpf_link_create: {os.strerror(-link)}")
    return link


def clone_to(ifindex, target):
    """
    Clone what arrives on @ifindex to the device with index @target. What is
    cloned goes on with a head of its own, which is writable. Returns a
    descriptor; closing it detaches.
    """
    return _attach_tcx(ifindex, [
        _mov(2, target),
        _mov(3, 0),
        _insn(0x85, imm=_HELPER_CLONE_REDIRECT),
        _mov(0, _TCX_NEXT),
        _exit(),
    ])


def report(ifindex, events, longer, size):
    """
    Report the first @size bytes of what arrives on @ifindex and is @longer than
    so many to a map of perf events. Returns a descriptor; closing it detaches.
    """
    return _attach_tcx(ifindex, [
        _insn(0x61, 6, 1),                           # r6 = skb->len
        _insn(0x25, 6, off=2, imm=longer),           # more?
        _mov(0, _TCX_NEXT),
        _exit(),
        _insn(0x7b, 10, 6, -8),                      # the record: r6
        _insn(0x18, 2, _PSEUDO_MAP_FD, imm=events), _insn(0),
        _insn(0x18, 3, imm=-1), _insn(0, imm=size),  # this CPU; bytes
        _insn(0xbf, 4, 10), _insn(0x07, 4, imm=-8),
        _mov(5, 8),
        _insn(0x85, imm=_HELPER_PERF_EVENT_OUTPUT),
        _mov(0, _TCX_NEXT),
        _exit(),
    ])


def redirect_queue(ifindex, queue, primary):
    """
    Hand what arrives on RX queue @queue of @ifindex to the peer of the netkit
    device with index @primary. Returns a descriptor; closing it detaches.
    """
    return _attach_tcx(ifindex, [
        _insn(0x61, 2, 1, _SKB_QUEUE_MAPPING),    # r2 = skb->queue_mapping
        _insn(0x15, 2, off=2, imm=queue + 1),     # is it the one?
        _mov(0, _TCX_NEXT),
        _exit(),
        _mov(1, primary),
        _mov(2, 0),
        _insn(0x85, imm=_HELPER_REDIRECT_PEER),
        _exit(),
    ])


def xdp_pass(frags=True):
    """
    Load an XDP program that lets all pass; returns its descriptor.

    Header split takes only programs that know packets of several buffers,
    which @frags says of this one.
    """
    return _load(_PROG_TYPE_XDP, [_mov(0, _XDP_PASS), _exit()],
                 _F_XDP_HAS_FRAGS if frags else 0)


def xdp_attach(ifindex, prog, mode):
    """Attach an XDP program, or none with -1; raises OSError."""
    error = libbpf().bpf_xdp_attach(ifindex, prog, mode, None)
    if error:
        raise OSError(-error, f"bpf_xdp_attach: {os.strerror(-error)}")
