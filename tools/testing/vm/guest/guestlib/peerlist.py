# SPDX-License-Identifier: GPL-2.0
"""The base's own tests that C and Rust have to agree on, and those left out."""

from dataclasses import dataclass

NO_ZCRX = "iou-zcrx does not build with liburing 2.9, the newest that Debian trixie has"
NO_TX = "sends from device memory, which this build does not do in Rust yet"


@dataclass(frozen=True)
class PeerTest:
    """One program of the base's selftests, unmodified.

    path: below the installed selftests
    arguments: for the program
    timeout: seconds; guests under full emulation are slow, and two run at once
    nic: runs on the emulated gVNIC, not on loopback, veth or netdevsim
    through: program of guest/ that runs it, and says why in its first lines
    scratch: writes to its folder, which cannot be written here
    counts: names of its cases have numbers in them that no two runs share
    omit: cases that are not run, and why
    """

    path: str
    arguments: tuple = ()
    timeout: int = 300
    nic: bool = False
    through: str = ""
    scratch: bool = False
    counts: bool = False
    omit: tuple = ()
    why: str = ""

    @property
    def name(self):
        """What it is called in results: some run on both kinds of interface."""
        return f"{self.path} (gve)" if self.nic else self.path


@dataclass(frozen=True)
class LeftOut:
    """A test that would belong here and is not run."""

    path: str
    why: str


def _nic(path, **kwargs):
    return PeerTest(path, nic=True, **kwargs)


# The code around the ciphers is the same for all, and the guest has but AES-GCM;
# the fixture and the two cases want AES-CCM.
_OTHER_CIPHERS = tuple(word for name in (
    "12_chacha", "13_chacha", "13_sm4_gcm", "13_sm4_ccm", "12_aes_ccm", "13_aes_ccm",
    "12_aes_gcm_256", "13_aes_gcm_256", "12_aria_gcm", "12_aria_gcm_256", "13_nopad")
    for word in ("-V", name)) + (
        "-F", "zero_len", "-T", "tls_12_tx_max_payload_len",
        "-T", "tls_12_tx_max_payload_len_open_rec")

# Merging in software, of plain and of big segments; all of it is 300 cases.
_GRO = tuple(word for pattern in ("data", "large") for version in "46"
             for word in ("-t", f"*sw_ipv{version}_{pattern}_*"))

# Without the NICs: loopback, veth, netkit, netdevsim.
HOST = (
    PeerTest("net/nl_netdev.py"),
    PeerTest("net/nk_qlease.py"),
    PeerTest("net/busy_poll_test.sh"),
    PeerTest("net/tcp_inq"),
    PeerTest("net/tls", arguments=_OTHER_CIPHERS),
    # its receiver has 0.2 s to start, and waits for ever for a sender that was too early
    PeerTest("net/msg_zerocopy.sh", timeout=100),
    # the same with 0.5 s, on each of four turns
    PeerTest("net/test_so_rcv.sh", timeout=60),
    PeerTest("net/tcp_mmap", through="short_mmap.py"),
    PeerTest("net/sk_so_peek_off"),
    PeerTest("net/so_netns_cookie"),
    PeerTest("net/so_incoming_cpu"),
    PeerTest("net/fin_ack_lat.sh"),
    PeerTest("net/tfo_passive.sh"),
    PeerTest("net/tcp_port_share"),
    PeerTest("net/getsockopt_iter"),
    PeerTest("net/epoll_busy_poll"),
    PeerTest("net/netlink-dumps"),
    PeerTest("net/udp_splice_checksum"),
    PeerTest("net/bind_timewait"),
    PeerTest("net/reuseport_bpf"),
    PeerTest("net/skf_net_off.sh"),
    PeerTest("net/run_afpackettests"),
    PeerTest("net/rxtimestamp.sh"),
    PeerTest("net/udpgso.sh"),
    PeerTest("net/veth.sh"),
    PeerTest("drivers/net/gro.py", arguments=_GRO),
    PeerTest("drivers/net/queues.py"),
    PeerTest("drivers/net/hds.py"),
    PeerTest("drivers/net/napi_id.py"),
) + tuple(PeerTest(f"net/tcp_ao/{name}_ipv{version}", scratch=True, counts=True)
          for name in ("connect", "restore", "rst", "self-connect", "seq-ext",
                       "setsockopt-closed")
          for version in "46")

NIC = (
    _nic("drivers/net/hw/devmem.py", omit=("check_tx", "check_tx_chunks"), why=NO_TX),
    _nic("drivers/net/hw/nk_devmem.py", through="on_gve.py",
         omit=("check_nk_tx", "check_nk_tx_chunks"), why=NO_TX),
    _nic("drivers/net/hw/userns_devmem.py", through="on_gve.py",
         omit=("check_userns_tx", "check_userns_tx_chunks"), why=NO_TX),
    _nic("drivers/net/hw/nk_netns.py", through="on_gve.py"),
    _nic("drivers/net/hw/nk_qlease.py", through="on_gve.py",
         omit=("test_iou_zcrx", "test_iou_zcrx_large_buf", "test_attach_xdp_with_mp",
               "test_destroy"), why=NO_ZCRX),
    _nic("drivers/net/hw/pp_alloc_fail.py"),
    _nic("drivers/net/hw/gro_hw.py"),
    _nic("drivers/net/ping.py"),
    _nic("drivers/net/hds.py"),
    _nic("drivers/net/queues.py"),
    _nic("drivers/net/ring_reconfig.py"),
    _nic("drivers/net/napi_id.py"),
    _nic("drivers/net/stats.py", omit=("check_down",),
         why="panics the base: patches/fixes has it mended, and reconfigure.py tests that"),
    _nic("drivers/net/hw/csum.py"),
)

LEFT_OUT = (
    LeftOut("net/tcp_ao/{connect-deny,icmps-*,key-management,unsigned-md5,bench-lookups}",
            "minutes of time-outs; the other six go through the same hooks"),
    LeftOut("drivers/net/hw/iou-zcrx.py", NO_ZCRX),
    LeftOut("drivers/net/xdp.py",
            "all 27 cases load programs that need the kernel's BTF, which the guest's has not"),
    LeftOut("net/io_uring_zerocopy_tx.sh",
            "gives its receiver 0.2 s to start, which is not enough on an emulated processor"),
    LeftOut("net/psock_snd.sh", "sends only, and takes minutes: a namespace for each packet"),
    LeftOut("net/txtimestamp.sh", "needs ifb and cls_u32, which the guest's kernel has not"),
    LeftOut("net/udpgro.sh", "needs iptables' NAT, which the guest's kernel has not"),
    LeftOut("net/packetdrill", "the tool packetdrill is in no Debian package"),
)
