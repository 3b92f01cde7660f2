# SPDX-License-Identifier: GPL-2.0
"""After unbind: is every niov back, is the dma-buf released?"""

from . import nic
from .shell import run_json


class Release:
    """Looks at the server's page pools, queues and the system's dma-bufs.

    `library` is the selftests' library, which knows how to ask.
    """

    # A detached page pool looks for its last niov once a second.
    DEADLINE = 30

    def __init__(self, library):
        self._library = library
        with library.NetNSEnter(nic.SERVER.ns):
            self._netdev = library.NetdevFamily()
        self._ifindex = run_json(f"ip -j link show dev {nic.SERVER.ifname}",
                                     ns=nic.SERVER.ns)[0]["ifindex"]
        self._before = set(library.dmabufs())

    def _pools(self):
        return self._library.page_pools(self._netdev, self._ifindex)

    def _buffers(self):
        return set(self._library.dmabufs()) - self._before

    def check(self):
        """Wait for the release; returns (niovs still out, what is wrong)."""
        lib = self._library
        lib.wait_for(lambda: not self._pools() and not self._buffers(), self.DEADLINE)
        pools, buffers = self._pools(), self._buffers()
        wrong = [f"page pool {pool['id']} of binding {pool['dmabuf']} still has "
                 f"{pool['inflight']} niovs out {self.DEADLINE} s after unbind" for pool in pools]
        wrong += [f"RX queue {queue} is still bound to {binding}" for queue, binding
                  in lib.bound_queues(self._netdev, self._ifindex).items()]
        wrong += [f"dma-buf {inode} is not released" for inode in sorted(buffers)]
        return sum(pool["inflight"] for pool in pools), wrong
