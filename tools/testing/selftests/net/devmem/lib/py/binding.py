# SPDX-License-Identifier: GPL-2.0

"""bind-rx over YNL: a binding is as alive as the socket that made it."""

from net.lib.py import NetdevFamily, NlError
from net.lib.py import ksft_eq, ksft_in, ksft_not_none, ksft_true


class Binding:
    """
    A dma-buf bound to RX queues.

    Attributes:
      id: the id that cmsgs, queue-get and page-pool-get report
    """

    def __init__(self, ifindex, fd, queues, **extra):
        self._netdev = NetdevFamily()
        try:
            reply = self._netdev.bind_rx(bind_request(ifindex, fd, queues,
                                                      **extra))
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
    netdev = NetdevFamily()
    try:
        netdev.bind_rx(request)
    except NlError as error:
        return error
    finally:
        netdev.sock.close()
    return None


def expect_refused(cfg, error, errno_want, *, bad_attr=None, miss_type=None,
                   says=None, core=False):
    """
    Check how a request was refused.

    The errno, the offending attribute and the missing attribute are the same
    on both implementations. A message is only promised by the one in Rust,
    where every refusal that is ours carries one; @says lists words in it.
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
    if cfg.is_rust and not core:
        message = extack.get("msg", "")
        ksft_true(message, f"a refusal must say why: {error}")
        for word in says or []:
            ksft_in(word, message)
