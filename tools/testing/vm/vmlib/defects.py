# SPDX-License-Identifier: GPL-2.0
"""The known defects, and what is expected of each kernel that `make red` tries them on.

1 to 19 were found by reading the C implementation, those that begin with F by
working with the base (F01 is what patches/fixes/0001 mends), R were reported
and D read later. Documentation/networking/devmem-rust-defects.rst has the same
rows for people.

A test is "FILE:CASES" of our kselftests, cases with commas between them and
with * if need be. They run with DEVMEM_TRY_DEFECTS=1, which demands the same
of all implementations.
"""

from dataclasses import dataclass

COLUMNS = ("c", "c-fixed", "rust")  # variants of the kernel; keys have _ for -


@dataclass(frozen=True)
class Immune:
    """All cases pass."""

    def __str__(self):
        return "immune"


@dataclass(frozen=True)
class Fails:
    """A case fails, with words that the regular expression `says` finds."""

    says: str
    alone: bool = False  # nothing can run after it: what it leaves behind is in the way

    def __str__(self):
        return "fails"


@dataclass(frozen=True)
class Crashes:
    """The kernel ends in a case; `says` finds it in the report, which names functions, no lines."""

    says: str
    alone: bool = True

    def __str__(self):
        return "crashes"


@dataclass(frozen=True)
class NotRun:
    """It cannot be seen on this kernel, or not yet, and why."""

    why: str

    def __str__(self):
        return "not run"


IMMUNE = Immune()


@dataclass(frozen=True)
class Defect:
    """One row: `what` happens to whom, which `test` shows it, which `fix` mends the base."""

    id: str
    what: str
    test: str = ""
    c: object = IMMUNE
    c_fixed: object = IMMUNE
    rust: object = IMMUNE
    fix: tuple = ()  # numbers of patches/fixes
    profile: str = "defects"  # of guest/test.py, which says what the NIC is like

    def expected(self, column):
        return getattr(self, key(column))


def key(column):
    """What a column is called in JSON and in Defect."""
    return column.replace("-", "_")


def _not_run(number, what, why, fix=()):
    return Defect(number, what, c=NotRun(why), c_fixed=NotRun(why), rust=NotRun(why), fix=fix)


_DEBUGGING = "make red has no kernels with {}; make test runs it on rust-debug: {}"
_LATER = "its test is to come with issue 12: {}"

DEFECTS = (
    Defect("1", "A peer that sends urgent data panics the receiver.",
           "stack:urgent_data.*,urgent_data_again", fix=("0002",),
           c=Crashes("kernel BUG at tcp_")),
    Defect("2", "A connection with TCP-MD5 or TCP-AO on a bound queue panics the receiver.",
           "stack:signed_segments.*", fix=("0003",), c=Crashes("NULL pointer|page fault")),
    Defect("3", "A packet whose header the NIC did not split panics the receiver.",
           "stack:header_lost", fix=("0014", "0015"), c=Crashes("NULL pointer|page fault")),
    Defect("4", "A program that releases tokens it was not told of leaks device memory for good.",
           "threads:release_races_receive",
           c=Fails("lost|niovs out|not released", alone=True),
           c_fixed=Fails("lost|niovs out|not released", alone=True)),
    Defect("5", "A program that peeks again and again fills the kernel's memory with tokens.",
           "many_tokens:peeked_at_for_ever", c=Fails("no end"), c_fixed=Fails("no end")),
    _not_run("6", "Tokens are allocated with GFP_KERNEL under a lock that disables softirqs.",
             _DEBUGGING.format("DEBUG_ATOMIC_SLEEP", "many_tokens")),
    _not_run("7", "Closing the netlink socket of a TX binding after its driver is gone uses freed "
             "memory.", "sending is C's alone until issue 14, and so is this"),
    Defect("8", "Unbinding while the link is down WARNs, and the queue may keep the dma-buf.",
           "stack_unbind:while_down", fix=("0011",), c=Fails("WARNING")),
    Defect("9", "A binding whose answer does not fit the netlink socket stays, and nobody has its "
           "id.", "raw_netlink:reply_does_not_fit", c=Fails("nobody is told"),
           c_fixed=Fails("nobody is told")),
    _not_run("10", "A packet that a clone looks at is overwritten, once its head was expanded.",
             _LATER.format("a clone, and a rule that rewrites its header")),
    Defect("11", "Packets with linear parts are merged into what can never be received.",
           "linear:both_kinds.*,linear_in_parts,control_for_one,small_writes", fix=("0005",),
           c=Fails("ENODEV|No such device"), profile="late-split"),
    Defect("12a", "Checksums are computed over bytes that the CPU cannot read.",
           "stack:checksum_off.*", fix=("0004",), c=Fails("WARNING")),
    Defect("12b", "A sockmap turns frags without a page into scatterlists, and panics.",
           "stack:sockmap_pass.*,sockmap_redirect.*", fix=("0007",),
           c=Crashes("NULL pointer|page fault|BUG")),
    Defect("12c", "Received frags leave through the same NIC, from memory mapped for writing.",
           "stack:hairpin", fix=("0008",), c=Fails("sent on, by DMA")),
    _not_run("13", "A dma-buf in a PCI BAR cannot be bound, and none can be revoked.",
             "on no implementation so far: issue 15"),
    Defect("14", "A page of kernel memory is spent on each page of a fragmented dma-buf.",
           "exporter:single_pages_64k", c=Fails("MiB of kernel memory more"),
           c_fixed=Fails("MiB of kernel memory more")),
    _not_run("15", "One reader that gives nothing back starves all flows of the queue.",
             "on no implementation so far: fair shares are a work of their own"),
    Defect("16", "Closing a socket with many tokens keeps a CPU from everything else for seconds.",
           "many_tokens:cost_and_end", c=Fails("keeps a CPU"), c_fixed=Fails("keeps a CPU")),
    Defect("17", "A device that refuses to stop or start a queue leaves gve dead.",
           "bind_rx:device_fails.*", fix=("0013",), c=Fails("", alone=True)),
    Defect("18", "A device that is removed while a token is out is used at the unmap.",
           "exporter:device_gone.remove", c=Fails("", alone=True), c_fixed=Fails("", alone=True)),
    Defect("19", "splice() of device memory returns 0, which is the end of the file.",
           "stack:splice,splice_readable_first", fix=("0006",), c=Fails("end of the file")),

    Defect("F01", "bind-rx of gve's queue 0 WARNs.", "bind_rx:queue_zero", fix=("0001",),
           c=Fails("WARNING")),
    _not_run("F09", "DMA debugging complains of long segments on gve.",
             _DEBUGGING.format("DMA_API_DEBUG", "bind_rx"), fix=("0009",)),
    _not_run("F10", "A provider that looks at its page pools may find a ring that was freed.",
             "a use after free that wants KASAN, and a delay in page_pool_uninit()",
             fix=("0010",)),
    _not_run("F12", "A restart that finds no memory destroys a page pool under a running NAPI.",
             _DEBUGGING.format("FAILSLAB", "stack_unbind, no_memory"), fix=("0012",)),
    Defect("F16", "ethtool refuses as many channels as a binding needs.",
           "reconfigure:enough_channels", fix=("0016",), c=Fails("channels are refused")),
    _not_run("F17", "A reset by ethtool changes queues without rtnl.",
             _DEBUGGING.format("PROVE_LOCKING", "reconfigure, reset_by_user"), fix=("0017",)),
    Defect("F18", "Anybody who asks for the queues' statistics while gve is down panics it.",
           "reconfigure:statistics_while_down", fix=("0018",), c=Crashes("gve_get_rx_queue_stats")),
    _not_run("F19", "DMA debugging complains of long segments in udmabuf.",
             _DEBUGGING.format("DMA_API_DEBUG", "transfer"), fix=("0019",)),
    Defect("F20", "Packets on an idle CPU's list keep the dma-buf until there is traffic.",
           "lifetime:deferred_packets", fix=("0020",), c=Fails("")),
    _not_run("F21", "gve loses its admin queue's memory with each reset.",
             _DEBUGGING.format("DMA_API_DEBUG", "teardown, reset_fails"), fix=("0021",)),
    _not_run("F22", "gve frees an unfinished RX ring with a wrong size.",
             _DEBUGGING.format("DMA_API_DEBUG", "exporter, no_memory"), fix=("0022",)),
    Defect("F23", "gve takes what follows a header buffer for a part of the header.",
           "stack:header_too_long", fix=("0023",), c=Fails("")),
    Defect("F24", "A device that refuses a queue's old memory as well makes the kernel WARN.",
           "queue_restart:refused_twice", fix=("0024",), c=Fails("WARNING", alone=True)),

    _not_run("R1", "A segment that has to be fragmented on its way through panics the router.",
             _LATER.format("forwarding in fragments")),
    _not_run("R2", "Token numbers are not those that C gives out.",
             _LATER.format("the lowest free number, as a survey of what programs can observe")),
    _not_run("R3", "A mapping whose runs do not add up to the dma-buf's size is bound.",
             _LATER.format("runs shorter and longer than the buffer")),
    _not_run("R4", "A dma-buf smaller than what the driver posts at a time stalls its queue.",
             _LATER.format("buffers of 16 to 63 pages")),
    _not_run("R5", "Urgent data after a loss is skipped in the stream.",
             _LATER.format("each fix under loss, reordering and duplication")),
    _not_run("R6", "One reader that gives nothing back starves the others.",
             "on no implementation so far: fair shares are a work of their own"),
    _not_run("D3", "Each dead page pool interrupts every CPU once a second.",
             _LATER.format("interrupts counted on idle CPUs")),
    _not_run("D4", "An unread AF_PACKET socket lets received frags leave through the same NIC.",
             _LATER.format("hairpin with a clone")),
    _not_run("D7", "After a restart that failed at unbind the mapping stays, even without driver.",
             _LATER.format("the exporter's counts after such a restart")),
    _not_run("D8", "dma-bufs of 128 GiB and more are refused with a WARN.",
             _LATER.format("an exporter with huge runs")),
    _not_run("D9", "A reader of debugfs delays each socket's first receive.",
             _LATER.format("a slow reader beside new sockets")),
    _not_run("D10", "Safe functions of the kernel crate let safe code do harm.",
             "no input shows it: cases of compile_fail and KUnit do, in make test"),
    _not_run("D11", "Unmap and detach run under the instance lock, and wait for the exporter.",
             _LATER.format("an exporter that waits")),
    _not_run("D12", "A socket with a key that sends from a dma-buf emits wrong signatures.",
             "sending is C's alone until issue 14"),
    _not_run("D13", "__GFP_NOFAIL under the instance lock when memory is short.",
             "no input shows it: read in patches/fixes/0011"),
    _not_run("D14", "A socket that once had many tokens keeps its table until it is closed.",
             _LATER.format("memory and time of a close by what is held")),
)
