# SPDX-License-Identifier: GPL-2.0

"""bind-rx over YNL: a binding is as alive as the socket that made it."""

import contextlib
import copy
import functools
import io
import queue as queues
import re
import socket

from net.lib.py import NetdevFamily, Netlink, NlError
from net.lib.py import ksft_eq, ksft_in, ksft_not_none, ksft_true

_FAMILY = []


def netdev_family():
    """
    A NetdevFamily on a socket of its own.

    Reading the spec takes a second under full emulation, so it is read once.
    """
    if not _FAMILY:
        _FAMILY.append(NetdevFamily())
        # only a pattern; open, it would keep the netns that we are in
        _FAMILY[0].sock.close()
    family = copy.copy(_FAMILY[0])
    family.async_msg_queue = queues.Queue()
    family.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                family.nlproto.proto_num)
    for option in (Netlink.NETLINK_CAP_ACK, Netlink.NETLINK_EXT_ACK,
                   Netlink.NETLINK_GET_STRICT_CHK):
        family.sock.setsockopt(Netlink.SOL_NETLINK, option, 1)
    # the operations of the copy have to use its own socket
    for name, op in family.ops.items():
        setattr(family, op.ident_name, functools.partial(family._op, name))
    return family


def _bind_rx(netdev, request):
    """Send a bind-rx; returns (reply, what the kernel warns of or "")."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        reply = netdev.bind_rx(request)
    # which YNL prints, and that is all
    message = re.search(r"""'msg': (['"])(.*?)\1""", said.getvalue())
    return reply, message.group(2) if message else ""


class Binding:
    """
    A dma-buf bound to RX queues.

    Attributes:
      id: the id that cmsgs, queue-get and page-pool-get report
      warning: what the kernel said beside it, or ""
    """

    def __init__(self, ifindex, fd, queues, **extra):
        self._netdev = netdev_family()
        try:
            reply, self.warning = _bind_rx(
                self._netdev, bind_request(ifindex, fd, queues, **extra))
        except BaseException:
            self.close()
            raise
        self.id = reply["id"]

    def close(self):
        """Unbind, by closing the netlink socket."""
        if self._netdev is not None:
            self._netdev.sock.close()
            self._netdev = None


def bind_request(ifindex, fd, queues, **extra):
    """The attributes of a bind-rx request for some RX queues."""
    request = {
        "ifindex": ifindex,
        "fd": fd,
        "queues": [{"id": queue, "type": "rx"} for queue in queues],
    }
    request.update(extra)
    return request


def try_bind(request):
    """Send a bind-rx on a socket of its own; return the NlError or None."""
    netdev = netdev_family()
    try:
        _bind_rx(netdev, request)
    except NlError as error:
        return error
    finally:
        netdev.sock.close()
    return None


def expect_refused(cfg, error, errno_want, *, bad_attr=None, rust_attr=None,
                   miss_type=None, says=None, core=False):
    """
    Check how a request was refused.

    The errno, the offending attribute and the missing attribute are the same
    on both implementations; @rust_attr is one that C does not name. A message
    is only promised by the one in Rust, where every refusal that is ours
    carries one; @says lists words in it.
    With @core the refusal is generic netlink's and has no message anywhere.
    """
    ksft_not_none(error, "the request should have been refused")
    if error is None:
        return
    extack = error.nl_msg.extack or {}
    ksft_eq(error.error, errno_want, f"errno of: {error}")
    if bad_attr is not None:
        ksft_eq(extack.get("bad-attr"), bad_attr, f"attribute of: {error}")
    if miss_type is not None:
        ksft_eq(extack.get("miss-type"), miss_type, f"attribute of: {error}")
    if cfg.is_rust and rust_attr is not None:
        ksft_eq(extack.get("bad-attr"), rust_attr, f"attribute of: {error}")
    if cfg.is_rust and not core:
        message = extack.get("msg", "")
        ksft_true(message, f"a refusal must say why: {error}")
        for word in says or []:
            ksft_in(word, message)
