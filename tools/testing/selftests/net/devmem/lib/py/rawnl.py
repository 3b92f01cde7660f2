# SPDX-License-Identifier: GPL-2.0

"""
Requests to the netdev family that YNL would not write: attributes that are
missing, unknown, doubled, too long or nested where they must not be. Headers,
padding and the parsing of answers are YNL's.
"""

import importlib
import random
import struct

from net.lib.py import (NetdevFamily, Netlink, ksft_eq, ksft_exit, ksft_in,
                        ksft_run, ksft_true)

from .env import run_in_env

# NlMsgs and NlAttrs, which the package does not export at its top
_YNL = importlib.import_module(Netlink.__module__)

# include/uapi/linux/netdev.h: of bind-rx, and of each of its queues
DMABUF_IFINDEX = 1
DMABUF_QUEUES = 2
DMABUF_FD = 3
DMABUF_ID = 4
DMABUF_RX_PAGE_SIZE = 5
QUEUE_ID = 1
QUEUE_IFINDEX = 2
QUEUE_TYPE = 3
QUEUE_NAPI_ID = 4

TYPE_RX = 0
TYPE_TX = 1

# seconds; an answer comes from within the call that sends the request
SILENCE = 5

_NESTED = Netlink.NLA_F_NESTED
_ATTR_HEADER = struct.Struct("=HH")


class Attr:
    """
    An attribute as it is to be on the wire.

    name: what an answer calls it, such as "queues.id"
    kind: its type; flags in the upper bits are sent as they are
    value: a u32, bytes, or a list of Attr
    length: what its header claims, if not the truth
    """

    def __init__(self, name, kind, value, length=None):
        self.name = name
        self.kind = kind
        self.value = value
        self.length = length

    def encode(self, offset, places):
        """Its bytes at @offset; notes in @places where which attribute is."""
        places[offset] = self.name
        if isinstance(self.value, list):
            payload = b""
            for attr in self.value:
                payload += attr.encode(offset + _ATTR_HEADER.size +
                                       len(payload), places)
        elif isinstance(self.value, int):
            payload = struct.pack("=I", self.value)
        else:
            payload = self.value
        length = len(payload) + _ATTR_HEADER.size
        padded = payload + bytes(-len(payload) % 4)
        return _ATTR_HEADER.pack(length if self.length is None else self.length,
                                 self.kind) + padded


def ifindex(value):
    """The attribute "ifindex" of bind-rx."""
    return Attr("ifindex", DMABUF_IFINDEX, value)


def dmabuf_fd(value):
    """The attribute "fd" of bind-rx."""
    return Attr("fd", DMABUF_FD, value & 0xffffffff)


def rx_page_size(value):
    """The attribute "rx-page-size" of bind-rx."""
    return Attr("rx-page-size", DMABUF_RX_PAGE_SIZE, value)


def queue_attrs(number, kind=TYPE_RX):
    """What is in one of "queues"."""
    return [Attr("queues.type", QUEUE_TYPE, kind),
            Attr("queues.id", QUEUE_ID, number)]


def queue(number, kind=TYPE_RX):
    """One attribute "queues" of bind-rx."""
    return Attr("queues", DMABUF_QUEUES | _NESTED, queue_attrs(number, kind))


def nest(attrs, flag=_NESTED):
    """An attribute "queues" with anything in it."""
    return Attr("queues", DMABUF_QUEUES | flag, attrs)


class Answer:
    """
    What the kernel said to a request.

    error: a positive errno, 0 for an ACK, None if nothing was said
    message: the extack's message, or ""
    bad: name of the offending attribute, or None
    missing: number of the attribute that is missing, or None
    missing_in: name of the nest where it is missing, or None
    replies: attributes of each reply, as number to u32
    """

    def __init__(self):
        self.error = None
        self.message = ""
        self.bad = None
        self.missing = None
        self.missing_in = None
        self.replies = []

    def __repr__(self):
        where = f" at {self.bad}" if self.bad else ""
        where += f" missing {self.missing}" if self.missing else ""
        return f"<{self.error} {self.message!r}{where} {self.replies}>"


class RawNetdev:
    """A socket of the netdev family, for requests made by hand."""

    def __init__(self):
        self._family = NetdevFamily()
        self.sock = self._family.sock
        self.sock.settimeout(SILENCE)

    def command(self, name):
        """Number of a command."""
        return self._family.ops[name].req_value

    def send(self, attrs, command="bind-rx", *, reserved=0, tail=b"",
             flags=Netlink.NLM_F_REQUEST | Netlink.NLM_F_ACK):
        """Send a request; returns (sequence number, where which Attr is)."""
        number = command if isinstance(command, int) else self.command(command)
        seq = random.randint(1024, 1 << 30)
        # the length comes before what YNL starts with
        start = self._family.nlproto.message(flags, number, 1, seq)
        start = start[:-2] + struct.pack("=H", reserved)
        body = b""
        places = {}
        for attr in attrs:
            body += attr.encode(4 + len(start) + len(body), places)
        body += tail
        self.sock.send(struct.pack("=I", 4 + len(start) + len(body)) +
                       start + body)
        return seq, places

    def receive(self, seq, places, ack=True):
        """
        Collect what is said to request @seq, up to its ACK or error, or up to
        its reply where no ACK was asked for. Returns what there is after
        SILENCE seconds without a message.
        """
        answer = Answer()
        while ack or not answer.replies:
            try:
                data = self.sock.recv(1 << 17)
            except TimeoutError:
                break
            for msg in _YNL.NlMsgs(data):
                if msg.nl_seq != seq:
                    continue
                if msg.nl_type != Netlink.NLMSG_ERROR:
                    answer.replies.append(_u32_attrs(msg.raw[4:]))
                    continue
                answer.error = -msg.error
                extack = msg.extack or {}
                answer.message = extack.get("msg", "")
                answer.bad = places.get(extack.get("bad-attr-offs"))
                answer.missing = extack.get("miss-type")
                answer.missing_in = places.get(extack.get("miss-nest"))
                return answer
        return answer

    def drain(self):
        """Read and forget what is there; returns its sequence numbers."""
        seen = []
        self.sock.setblocking(False)
        try:
            while True:
                seen += [msg.nl_seq for msg in
                         _YNL.NlMsgs(self.sock.recv(1 << 17))]
        except BlockingIOError:
            return seen
        finally:
            self.sock.settimeout(SILENCE)

    def ask(self, attrs, command="bind-rx", **kwargs):
        """Send a request and return the Answer."""
        return self.receive(*self.send(attrs, command, **kwargs))

    def close(self):
        """Close the socket, which unbinds what was bound on it."""
        self._family.close()


def _u32_attrs(raw):
    return {attr.type: attr.as_scalar("u32") for attr in _YNL.NlAttrs(raw)
            if len(attr.raw) == 4}


def expect_answer(cfg, answer, error, *, bad=None, missing=None,
                  missing_in=None, says="", core=False):
    """
    Check how a request was refused.

    The errno is the same with both implementations. With @core the refusal is
    generic netlink's own, and so are attribute and message. Otherwise only
    the implementation in Rust promises a message, with @says in it, and the
    attribute.
    """
    what = repr(answer)
    ksft_eq(answer.error, error, what)
    ksft_eq(answer.replies, [], what)
    if cfg.is_rust or core:
        ksft_eq(answer.bad, bad, what)
        ksft_eq(answer.missing, missing, what)
        ksft_eq(answer.missing_in, missing_in, what)
        ksft_in(says, answer.message, what)
    if cfg.is_rust and not core:
        ksft_true(answer.message, f"a refusal must say why: {what}")
        ksft_true(bad or missing, f"a test must know the attribute: {what}")


def run_raw_tests(src_path, cases):
    """Run test cases that get a DevmemEnv with a RawNetdev as its `raw`."""
    def run(cfg):
        cfg.raw = RawNetdev()
        try:
            ksft_run(cases, args=(cfg,))
        finally:
            cfg.raw.close()

    run_in_env(src_path, run)
    ksft_exit()
