# SPDX-License-Identifier: GPL-2.0

"""
What a binding may leave behind: page pools with niovs out, queues that still
name it, attachments of dma-bufs, and complaints in the kernel log.
"""

import os
import re
import time

BUFINFO = "/sys/kernel/debug/dma_buf/bufinfo"
KMSG = "/dev/kmsg"

# Lines of the kernel log that fail a test.
COMPLAINTS = re.compile(
    r"WARNING: |BUG: |Oops|general protection fault|Kernel panic|"
    r"Unable to handle kernel|KASAN: |KFENCE: |UBSAN: |refcount_t: |"
    r"possible circular locking|possible recursive locking|"
    r"inconsistent lock state|suspicious RCU usage|"
    r"sleeping function called from invalid|scheduling while atomic|"
    r"INFO: task .* blocked|detected stall|NETDEV WATCHDOG|"
    r"stalled pool shutdown|rust_kernel: panicked|"
    r"unregister_netdevice: waiting for|"
    r"can't destroy genpool")


def page_pools(netdev, ifindex):
    """Page pools of this device that belong to a binding."""
    pools = netdev.page_pool_get({}, dump=True)
    # without an ifindex: the device is gone, the pool waits for its niovs
    return [p for p in pools
            if "dmabuf" in p and p.get("ifindex", ifindex) == ifindex]


def bound_queues(netdev, ifindex):
    """RX queue id to binding id, of the queues that a binding holds."""
    queues = netdev.queue_get({"ifindex": ifindex}, dump=True)
    return {q["id"]: q["dmabuf"] for q in queues
            if q["type"] == "rx" and "dmabuf" in q}


def parse_bufinfo(text):
    r"""
    Inode number to list of attached devices, from the debugfs dump.

    >>> parse_bufinfo('''
    ... Dma-buf Objects:
    ... size    \tflags   \tmode    \tcount   \texp_name\tino     \tname
    ... 00065536\t00000002\t00080007\t00000002\tudmabuf\t00000123\t<none>
    ... \tAttached Devices:
    ... \t0000:00:04.0
    ... Total 1 devices attached
    ...
    ...
    ... Total 1 objects, 65536 bytes
    ... ''')
    {123: ['0000:00:04.0']}
    """
    buffers = {}
    attached = None
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) >= 7 and fields[0].strip().isdigit():
            attached = buffers.setdefault(int(fields[5]), [])
        elif line.startswith("\t") and attached is not None:
            name = line.strip()
            # fences are listed as "kind fence:..."
            if name != "Attached Devices:" and " fence:" not in name:
                attached.append(name)
    return buffers


def dmabufs():
    """Every dma-buf of the system: inode to list of attached devices."""
    with open(BUFINFO, encoding="utf-8") as info:
        return parse_bufinfo(info.read())


def dmabuf_references(inode):
    """How often a dma-buf is held: by descriptors, mappings and bindings."""
    with open(BUFINFO, encoding="utf-8") as info:
        for line in info:
            fields = line.split("\t")
            if len(fields) >= 7 and fields[5].strip().isdigit() and \
               int(fields[5]) == inode:
                return int(fields[3])
    return 0


def wait_for(condition, deadline):
    """Poll @condition until it is true; return its last value."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.05)


class LeftoverError(Exception):
    """Something outlived its binding, or the kernel log has a complaint."""


class KernelLog:
    """Reads what the kernel logged since the last look."""

    def __init__(self):
        self._fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def new_lines(self):
        """Messages that came since the last call, without their prefix."""
        lines = []
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                lines.append("(messages were overwritten before they were read)")
                continue
            text = record.decode("utf-8", "replace")
            lines.append(text.split(";", 1)[-1].split("\n")[0])

    def complaints(self):
        """The first new complaint with what follows it; empty if none."""
        lines = self.new_lines()
        for first, line in enumerate(lines):
            if COMPLAINTS.search(line):
                report = []
                for text in lines[first:first + 60]:
                    report.append(text)
                    if "end trace" in text:
                        break
                return report
        return []

    def close(self):
        """Release /dev/kmsg."""
        os.close(self._fd)


class Leftovers:
    """
    Remembers what the system looked like before a test and says what the test
    left behind.
    """

    # A detached page pool looks for its last niov once a second, and the
    # binding is freed by a work item after that.
    DEADLINE = 20

    def __init__(self, cfg):
        # a driver that is bound again makes a netdev of another ifindex
        self._cfg = cfg
        self._log = KernelLog()
        self._bufs = set(dmabufs())
        self._pools = {p["id"] for p in page_pools(cfg.netdev, cfg.ifindex)}

    def find(self):
        """One line for each thing that is still there; empty when clean."""
        found = []
        netdev, ifindex = self._cfg.netdev, self._cfg.ifindex
        for pool in page_pools(netdev, ifindex):
            if pool["id"] in self._pools:
                continue
            found.append(f"page pool {pool['id']} of binding {pool['dmabuf']}"
                         f" has {pool['inflight']} niovs out")
        for queue, binding in bound_queues(netdev, ifindex).items():
            found.append(f"queue {queue} is still bound ({binding})")
        for inode, devices in dmabufs().items():
            if inode not in self._bufs:
                found.append(f"dma-buf {inode} is not released"
                             f" (attached: {devices or 'none'})")
        return found

    def check(self):
        """Raise LeftoverError unless all is as it was before."""
        wait_for(lambda: not self.find(), self.DEADLINE)
        found = self.find()
        complaints = self._log.complaints()
        if complaints:
            found.append("kernel log:\n" + "\n".join(complaints))
        if found:
            raise LeftoverError("\n".join(found))

    def close(self):
        """Release the log; the netlink socket is the caller's."""
        self._log.close()
