// SPDX-License-Identifier: GPL-2.0

//! What the C net core calls, and all `unsafe` of this crate.
//!
//! `#[export]` compares each signature with `include/net/devmem_rust.h`. Nothing is decided here:
//! pointers become types whose contracts the rest of the crate can rely on.

use crate::{
    mapped::unmap_unused,
    netlink::{self, SocketBindings},
    recv, release,
    sockets::{Holder, SocketTokens},
};
use core::{mem::MaybeUninit, ptr};
use kernel::{
    bindings,
    deferred::Deferred,
    error::from_err_ptr,
    ffi::{c_int, c_uint, c_void},
    net::{
        genetlink::{Policy, Request},
        netdevice::NetDevice,
        netmem::{DmabufArea, Niov, NiovRef},
        skbuff::SkBuff,
        socket::{OptVal, RecvMsg},
    },
    prelude::*,
    sync::atomic::{
        ordering::{Acquire, Release},
        Atomic,
    },
    tracepoint::declare_trace,
    transmute::{AsBytes, FromBytes},
    types::ForeignOwnable,
};

// ---- User-space ABI ----

/// The data of a control message about received bytes: `struct dmabuf_cmsg`.
#[repr(transparent)]
pub(crate) struct DmabufCmsg(bindings::dmabuf_cmsg);

// SAFETY: Integers that leave no padding between them: 8 + 4 × 4 bytes.
unsafe impl AsBytes for DmabufCmsg {}

impl DmabufCmsg {
    /// `len` bytes are in the iov.
    pub(crate) fn linear(len: u32) -> Self {
        Self(bindings::dmabuf_cmsg {
            frag_offset: 0,
            frag_size: len,
            frag_token: 0,
            dmabuf_id: 0,
            flags: 0,
        })
    }

    /// `len` bytes are at `offset` in dma-buf `dmabuf_id`, until `token` is given back.
    #[inline]
    pub(crate) fn dmabuf(offset: u64, len: u32, token: u32, dmabuf_id: u32) -> Self {
        Self(bindings::dmabuf_cmsg {
            frag_offset: offset,
            frag_size: len,
            frag_token: token,
            dmabuf_id,
            flags: 0,
        })
    }
}

/// Tokens to give back: `struct dmabuf_token`.
#[repr(transparent)]
pub(crate) struct TokenRange(bindings::dmabuf_token);

// SAFETY: Two integers, for which all bytes are valid.
unsafe impl FromBytes for TokenRange {}

impl TokenRange {
    #[inline]
    pub(crate) fn start(&self) -> u32 {
        self.0.token_start
    }

    #[inline]
    pub(crate) fn count(&self) -> u32 {
        self.0.token_count
    }
}

// ---- Netlink ----

const QUEUE_ATTRS: usize = bindings::NETDEV_A_QUEUE_TYPE as usize + 1;

/// What is allowed in each of `queues`.
pub(crate) fn queue_id_policy() -> &'static Policy<QUEUE_ATTRS> {
    // SAFETY: A constant of the C code, of the length that the header declares.
    unsafe { Policy::from_raw(&raw const bindings::netdev_queue_id_nl_policy) }
}

/// The memory that genetlink gives each socket has room for our state.
const _: () = {
    assert!(size_of::<SocketBindings>() <= size_of::<bindings::netdev_nl_sock>());
    assert!(align_of::<SocketBindings>() <= align_of::<bindings::netdev_nl_sock>());
};

/// # Safety
///
/// genetlink calls it once for a socket's memory, before any other use.
#[export]
unsafe extern "C" fn netdev_nl_sock_priv_init(sock_priv: *mut bindings::netdev_nl_sock) {
    let slot = sock_priv.cast::<SocketBindings>();
    // SAFETY: The memory is large enough (see above), unused, and does not move.
    let Ok(()) = unsafe { pin_init::raw_try_init(slot, SocketBindings::new()) };
}

/// # Safety
///
/// genetlink calls it once for a socket's memory, after all other use.
#[export]
unsafe extern "C" fn netdev_nl_sock_priv_destroy(sock_priv: *mut bindings::netdev_nl_sock) {
    let slot = sock_priv.cast::<SocketBindings>();
    // SAFETY: Initialised by `netdev_nl_sock_priv_init`.
    unsafe { (*slot).unbind_all() };
    // SAFETY: As above, and nobody uses it from here on.
    unsafe { ptr::drop_in_place(slot) };
}

/// # Safety
///
/// genetlink calls it as a `doit` callback.
#[export]
unsafe extern "C" fn netdev_nl_bind_rx_doit(
    skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    let bind = || {
        // SAFETY: The request came from a netlink socket, which its control block names.
        let sock_priv = from_err_ptr(unsafe {
            let sk = bindings::netlink_skb_sk(skb);
            bindings::genl_sk_priv_get(&raw mut bindings::netdev_nl_family, sk)
        })?;
        // SAFETY: genetlink initialised the memory with `netdev_nl_sock_priv_init`, and keeps it as
        // long as the socket, which waits for its requests.
        let socket = unsafe { &*sock_priv.cast::<SocketBindings>() };
        // SAFETY: Valid for the duration of the callback.
        netlink::bind_rx(unsafe { Request::from_raw(info) }, socket)
    };

    errno(bind())
}

/// # Safety
///
/// genetlink calls it as a `doit` callback.
#[export]
unsafe extern "C" fn netdev_nl_bind_tx_doit(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    // SAFETY: Valid for the duration of the callback.
    errno(netlink::bind_tx(unsafe { Request::from_raw(info) }))
}

/// # Safety
///
/// C calls it for a valid device that is being unregistered, is down, and is on no list.
#[export]
unsafe extern "C" fn net_devmem_netdev_leaves(dev: *mut bindings::net_device) {
    // SAFETY: The device is valid.
    unmap_unused(unsafe { NetDevice::from_raw(dev) });
}

fn errno(result: Result) -> c_int {
    result.map_or_else(|e| e.to_errno(), |()| 0)
}

// ---- Sockets ----

type DeferredTokens = Deferred<SocketTokens>;

/// The field of a socket that points at its tokens, once it has some.
///
/// # Safety
///
/// `sk` must be valid for `'a`.
unsafe fn tokens_field<'a>(sk: *mut bindings::sock) -> &'a Atomic<*mut c_void> {
    // SAFETY: The field is aligned, and after the socket is set up all access goes through here.
    unsafe { Atomic::from_ptr(bindings::sk_devmem_tokens(sk)) }
}

/// The tokens of a socket, if it ever received device memory.
///
/// # Safety
///
/// `sk` must be a TCP socket that is not destroyed during `'a`.
unsafe fn tokens<'a>(sk: *mut bindings::sock) -> Option<&'a Holder> {
    // SAFETY: The caller's promise.
    let raw = unsafe { tokens_field(sk) }.load(Acquire);

    // SAFETY: What is not null came from `into_foreign`, and lives as long as the socket.
    (!raw.is_null()).then(|| unsafe { DeferredTokens::borrow(raw) }.holder())
}

/// The tokens of a socket, made if need be. May sleep.
///
/// # Safety
///
/// As for [`tokens`].
unsafe fn tokens_or_new<'a>(sk: *mut bindings::sock) -> Result<&'a Holder> {
    // SAFETY: The caller's promise.
    if let Some(known) = unsafe { tokens(sk) } {
        return Ok(known);
    }
    // SAFETY: The socket is valid.
    let new = SocketTokens::new(unsafe { bindings::sock_i_ino(sk) });
    let new = DeferredTokens::try_pin_init(new, GFP_KERNEL)?.into_foreign();
    // SAFETY: The caller's promise.
    let field = unsafe { tokens_field(sk) };
    if field.cmpxchg(ptr::null_mut(), new, Release).is_err() {
        // SAFETY: Made above, and not published.
        drop(unsafe { DeferredTokens::from_foreign(new) });
    }
    // SAFETY: The caller's promise.
    unsafe { tokens(sk) }.ok_or(ENOMEM)
}

/// # Safety
///
/// TCP calls it with the socket locked, for a packet in its receive queue, from `recvmsg`.
#[export]
unsafe extern "C" fn tcp_recvmsg_dmabuf(
    sk: *mut bindings::sock,
    skb: *const bindings::sk_buff,
    offset: c_uint,
    msg: *mut bindings::msghdr,
    remaining_len: c_int,
) -> c_int {
    let receive = || {
        let len = usize::try_from(remaining_len)?;
        // SAFETY: The socket is in use by its caller.
        let holder = unsafe { tokens_or_new(sk)? };
        // SAFETY: The socket lock keeps the packet; the message is this call's.
        let (skb, mut msg) = unsafe { (SkBuff::from_raw(skb), RecvMsg::from_raw(msg)) };
        recv::recv(holder, skb, offset as usize, len, &mut msg)
    };

    match receive() {
        // Not more than `remaining_len`.
        Ok(done) => done as c_int,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// `setsockopt` calls it with a valid socket and value.
#[export]
unsafe extern "C" fn net_devmem_dontneed(
    sk: *mut bindings::sock,
    optval: bindings::sockptr_t,
    optlen: c_uint,
) -> c_int {
    // SAFETY: The socket is valid.
    if !unsafe { bindings::sk_is_tcp(sk) } {
        return EBADF.to_errno();
    }
    let mut buf = [const { MaybeUninit::<TokenRange>::uninit() }; release::MAX_RANGES];
    // SAFETY: The caller checked the value's size.
    let ranges = match unsafe { OptVal::from_raw(optval, optlen as usize) }.read_list(&mut buf) {
        Ok(ranges) => ranges,
        Err(e) => return e.to_errno(),
    };

    // SAFETY: A TCP socket, in use by its caller.
    match unsafe { tokens(sk) } {
        // At most 1,024.
        Some(holder) => release::release(holder, ranges) as c_int,
        None => 0,
    }
}

/// # Safety
///
/// TCP calls it when it destroys a socket, after all other use of the socket's tokens.
#[export]
unsafe extern "C" fn net_devmem_sock_release(sk: *mut bindings::sock) {
    // SAFETY: The socket is valid.
    let raw = unsafe { tokens_field(sk) }.xchg(ptr::null_mut(), Acquire);

    // SAFETY: Null or from `into_foreign`; nobody else has it any more. The tokens are released in
    // a workqueue: there may be millions, and this may be a softirq.
    drop(unsafe { DeferredTokens::try_from_foreign(raw) });
}

// ---- References of frags ----

/// A frag of a clone takes part in the niov: it must not be used again under the clone.
///
/// # Safety
///
/// C calls it for a niov of this provider, of which it holds a reference.
#[export]
unsafe extern "C" fn net_devmem_get_net_iov(niov: *mut bindings::net_iov) {
    // SAFETY: The niov is valid, and the caller's reference keeps it out of its pool.
    if let Some(niov) = unsafe { Niov::from_raw(niov) } {
        // SAFETY: As above. `net_devmem_put_net_iov` gives the reference back.
        unsafe { niov.hold() }.into_raw();
    }
}

/// # Safety
///
/// C calls it once for each `net_devmem_get_net_iov`, or for the reference of a frag.
#[export]
unsafe extern "C" fn net_devmem_put_net_iov(niov: *mut bindings::net_iov) {
    // SAFETY: The niov is valid as long as the caller's reference.
    if let Some(niov) = unsafe { Niov::from_raw(niov) } {
        // SAFETY: As above, and the reference is the caller's to give.
        drop(unsafe { NiovRef::from_raw(niov) });
    }
}

// ---- Time and tracepoints ----

/// Seconds since boot, as of the last tick. Any context.
#[inline]
pub(crate) fn seconds() -> u32 {
    // SAFETY: Has no requirements. CAST: A machine is not up for 136 years.
    unsafe { bindings::ktime_get_seconds() as u32 }
}

declare_trace! {
    unsafe fn net_devmem_bind(id: u32, ifindex: u32, queues: u32, niovs: u32, niov_size: u32);
    unsafe fn net_devmem_unbind(id: u32, away: u32);
    unsafe fn net_devmem_alloc_fail(id: u32, failures: u64);
    unsafe fn net_devmem_token_issue(inode: u64, token: u32, id: u32, offset: u64, len: u32);
    unsafe fn net_devmem_token_release(inode: u64, token: u32);
}

/// A dma-buf was bound to so many queues of a device.
pub(crate) fn trace_bind(ifindex: u32, queues: usize, area: &DmabufArea) {
    let (id, niovs) = (area.dmabuf_id(), area.niovs().len() as u32);

    // SAFETY: Takes any numbers.
    unsafe { net_devmem_bind(id, ifindex, queues as u32, niovs, 1 << area.niov_shift()) };
}

/// A binding left its queues, with `away` niovs not in its own pool.
pub(crate) fn trace_unbind(id: u32, away: usize) {
    // SAFETY: Takes any numbers.
    unsafe { net_devmem_unbind(id, away as u32) };
}

/// A page pool got no niovs, for the `failures`th time.
pub(crate) fn trace_alloc_fail(id: u32, failures: u64) {
    // SAFETY: Takes any numbers.
    unsafe { net_devmem_alloc_fail(id, failures) };
}

/// User space is told of a piece of device memory.
#[inline]
pub(crate) fn trace_token_issue(inode: u64, token: u32, id: u32, offset: u64, len: u32) {
    // SAFETY: Takes any numbers.
    unsafe { net_devmem_token_issue(inode, token, id, offset, len) };
}

/// User space gave a token back.
#[inline]
pub(crate) fn trace_token_release(inode: u64, token: u32) {
    // SAFETY: Takes any numbers.
    unsafe { net_devmem_token_release(inode, token) };
}

// ---- Transmit ----

/// Memory that was mapped for a NIC to write must not be read by one: a received packet in device
/// memory goes nowhere.
///
/// # Safety
///
/// None; it looks at nothing.
#[export]
unsafe extern "C" fn net_devmem_may_xmit(
    _niov: *const bindings::net_iov,
    _dev: *const bindings::net_device,
) -> bool {
    false
}

/// There are no bindings to send from, so no id names one.
///
/// # Safety
///
/// None; it looks at nothing.
#[export]
unsafe extern "C" fn net_devmem_get_binding(
    _sk: *mut bindings::sock,
    _dmabuf_id: c_uint,
) -> *mut bindings::net_devmem_dmabuf_binding {
    EINVAL.to_ptr()
}

/// # Safety
///
/// None; `net_devmem_get_binding` never gave anything to put.
#[export]
unsafe extern "C" fn net_devmem_dmabuf_binding_put(
    _binding: *mut bindings::net_devmem_dmabuf_binding,
) {
}

/// # Safety
///
/// None; `net_devmem_get_binding` never gave a binding to look into.
#[export]
unsafe extern "C" fn net_devmem_get_niov_at(
    _binding: *mut bindings::net_devmem_dmabuf_binding,
    _addr: usize,
    _off: *mut usize,
    _size: *mut usize,
) -> *mut bindings::net_iov {
    ptr::null_mut()
}
