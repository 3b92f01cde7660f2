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


_FREED = "what reads freed memory goes on, unless KASAN looks: in C make kasan has no kernel"
_DEBUGGING = "make red has no kernels with {}; make test runs it on rust-debug: {}"

DEFECTS = (
    Defect("1", "A peer that sends urgent data panics the receiver.",
           "stack_urgent:in_order.*,again_and_again", fix=("0002",),
           c=Crashes("kernel BUG at tcp_")),
    Defect("2", "A connection with TCP-MD5 or TCP-AO on a bound queue panics the receiver.",
           "stack_signed:received.*", fix=("0003",),
           c=Crashes("NULL pointer|page fault|protection fault")),
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
    Defect("10", "A packet whose head was expanded is overwritten, once those with clones of it are "
           "done.", "stack:cloned", c=Fails("differs from the stream", alone=True),
           c_fixed=Fails("differs from the stream", alone=True)),
    Defect("11", "Packets with linear parts are merged into what can never be received.",
           "linear:both_kinds.*,linear_in_parts,control_for_one,small_writes", fix=("0005",),
           c=Fails("ENODEV|No such device"), profile="late-split"),
    Defect("12a", "Checksums are computed over bytes that the CPU cannot read.",
           "stack:checksum_off.*", fix=("0004",), c=Fails("WARNING")),
    Defect("12b", "A sockmap turns frags without a page into scatterlists, and panics.",
           "stack:sockmap_pass.*,sockmap_redirect.*", fix=("0007",),
           c=Crashes("NULL pointer|page fault|BUG")),
    Defect("12c", "Received frags leave through the same NIC, from memory mapped for writing.",
           "stack:hairpin.*", fix=("0008",), c=Fails("sent on, by DMA")),
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
           "bind_rx:device_fails.*", fix=("0013",), c=Fails("carrier", alone=True)),
    Defect("18", "A device that is removed while a token is out is used at the unmap.",
           "exporter:device_gone.remove", c=NotRun(_FREED), c_fixed=NotRun(_FREED)),
    Defect("19", "splice() of device memory returns 0, which is the end of the file.",
           "stack:splice,splice_readable_first", fix=("0006",), c=Fails("end of the file")),

    Defect("F01", "bind-rx of gve's queue 0 WARNs.", "bind_rx:queue_zero", fix=("0001",),
           c=Fails("WARNING")),
    _not_run("F09", "DMA debugging complains of long segments on gve.",
             _DEBUGGING.format("DMA_API_DEBUG", "bind_rx"), fix=("0009",)),
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
           "lifetime:deferred_packets", fix=("0020",), c=Fails("without traffic")),
    _not_run("F21", "gve loses its admin queue's memory with each reset.",
             _DEBUGGING.format("DMA_API_DEBUG", "teardown, reset_fails"), fix=("0021",)),
    _not_run("F22", "gve frees an unfinished RX ring with a wrong size.",
             _DEBUGGING.format("DMA_API_DEBUG", "exporter, no_memory"), fix=("0022",)),
    Defect("F23", "gve takes what follows a header buffer for a part of the header.",
           "stack:header_too_long", fix=("0023",), c=Fails("differs from the stream")),
    Defect("F24", "A device that refuses a queue's old memory as well makes the kernel WARN.",
           "queue_restart:refused_twice", fix=("0024",), c=Fails("WARNING", alone=True)),

    Defect("F27", "Messages that begin in ordinary memory and go on in device memory panic whoever "
           "pulls them up.", "stack_mixed:pulled", fix=("0027",),
           c=Crashes("__pskb_pull_tail|skb_")),
    Defect("F28", "ICMP errors quote zeros for what cannot be read, with a wrong checksum.",
           "stack_forward:path_mtu.*", fix=("0028",), c=Fails("wrong checksum")),
    _not_run("F29", "Segmentation in software makes up payload, with a valid checksum.",
             "on rust-debug: the KUnit case unreadable_gso of net_core", fix=("0029",)),
    Defect("F30", "NFQUEUE hands zeros to the application for what cannot be read.",
           "stack_filter:nfqueue", fix=("0030",), c=Fails("differs from the stream")),
    Defect("F31", "A rule of nftables that writes to unreadable payload WARNs.",
           "stack_filter:rewritten", fix=("0031",), c=Fails("WARNING")),
    Defect("F32", "Trace events of nftables are lost for packets that cannot be read.",
           "stack_filter:traced", fix=("0032",), c=Fails("thrown away")),
    Defect("F33", "kTLS decrypts what it could not copy.",
           "stack_mixed:tls_record", fix=("0033",), c=Fails("WARNING")),
    _not_run("F34", "ICMP timestamp requests and ESP that cannot be read run into a BUG().",
             "it takes a NIC that splits ICMP, or one with ESP offload", fix=("0034",)),
    _not_run("F35", "MPTCP WARNs of a checksum over what cannot be read.",
             "the kernels of the tests have no MPTCP", fix=("0035",)),
    Defect("F36", "Reports and samples of dropped packets are lost if those cannot be read.",
           "stack_forward:drop_report", fix=("0036",), c=Fails("thrown away")),
    _not_run("F37", "Fragments that cannot be read are put together.",
             "on rust-debug: the KUnit case unreadable_fragment of net_core", fix=("0037",)),
    _not_run("F38", "RDS over TCP runs into a BUG() on what cannot be read.",
             "the kernels of the tests have no RDS", fix=("0038",)),
    Defect("F39", "A redirect of IPv6 sends kernel memory to the peer.",
           "stack_forward:redirected", fix=("0039",), c=Fails("bytes were quoted")),
    Defect("F51", "gve believes any length that a completion claims for its data.",
           "stack:data_too_long", fix=("0051",), c=Fails("Check failed")),
    Defect("F52", "gve loses a packet that another one interrupts, with its pieces of the dma-buf.",
           "stack:end_lost", fix=("0052",), c=Fails("niovs out", alone=True)),
    Defect("F53", "gve loses an unfinished packet with its queue, and its pieces of the dma-buf.",
           "stack:unfinished.*", fix=("0053",), c=Fails("niovs out", alone=True)),
    Defect("F54", "BPF programs report others' bytes in place of those that cannot be read.",
           "stack_filter:reported.*", fix=("0054",), c=Fails("reports (with others|of what)")),

    Defect("F00", "A program that gives token 0 back is handed out 0 as a token from then on.",
           "token_numbers:zero_is_no_token", c=Fails("0 is handed out"),
           c_fixed=Fails("0 is handed out")),

    Defect("R1", "A segment that has to be fragmented on its way through panics the router.",
           "stack_forward:fragmented.*", fix=("0025", "0026"), c=Crashes("ip_frag_next")),
    Defect("R2", "Token numbers are not those that C gives out.",
           "token_numbers:first_and_count,range_again.*,holes.*"),
    Defect("R3", "A mapping whose runs do not add up to the dma-buf's size is bound.",
           "exporter:other_size.*", c=Fails("wrong"), c_fixed=Fails("wrong")),
    Defect("R4", "A dma-buf smaller than what the driver posts at a time stalls its queue.",
           "starvation:small.*,given_back", fix=("0050",), c=Fails("timed out", alone=True)),
    Defect("R5", "Urgent data after a loss is skipped in the stream.",
           "stack_urgent:on_the_way.*", fix=("0002",), c=Crashes("kernel BUG at tcp_")),
    _not_run("R6", "One reader that gives nothing back starves the others.",
             "on no implementation so far: fair shares are a work of their own"),
    Defect("D3", "Each dead page pool interrupts every CPU once a second.",
           "page_pools:ordinary", fix=("0020",)),
    Defect("D4", "An unread AF_PACKET socket lets received frags leave through the same NIC.",
           "stack:hairpin.*", fix=("0008",), c=Fails("sent on, by DMA")),
    _not_run("D7", "After a restart that failed at unbind the mapping stays, even without driver.",
             _DEBUGGING.format("FAILSLAB", "exporter, restart_failed")),
    _not_run("D8", "dma-bufs of 128 GiB and more are refused with a WARN.",
             "its niovs take 2 GiB, which no guest of the tests has"),
    Defect("D9", "A reader of debugfs delays each socket's first receive.",
           "many_tokens:cost_and_end", c=NotRun("C has nothing in debugfs"),
           c_fixed=NotRun("C has nothing in debugfs")),
    _not_run("D10", "Safe functions of the kernel crate let safe code do harm.",
             "no input shows it: cases of compile_fail and KUnit do, in make test"),
    Defect("D11", "Unmap and detach run under the instance lock, and wait for the exporter.",
           "exporter:slow_unmap,slow_unmap_refused", c=Fails("wait for the exporter"),
           c_fixed=Fails("wait for the exporter")),
    Defect("D12", "A socket with a key that sends from a dma-buf emits wrong signatures.",
           "stack_signed:sent.*,key_set_later.*", fix=("0040",),
           c=Crashes("NULL pointer|page fault|protection fault"),
           rust=NotRun("it does not send until issue 14")),
    _not_run("D13", "__GFP_NOFAIL under the instance lock when memory is short.",
             _DEBUGGING.format("FAILSLAB", "stack_unbind, no_memory"), fix=("0041",)),
    _not_run("D14", "A socket that once had many tokens keeps its table until it is closed.",
             "on rust-debug: KUnit, memory_goes_with_what_is_held of net_devmem_tokens"),
)
