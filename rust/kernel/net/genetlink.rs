// SPDX-License-Identifier: GPL-2.0

//! Requests to a generic netlink family: their attributes, replies and error reports.
//!
//! C headers: [`include/net/genetlink.h`](srctree/include/net/genetlink.h),
//! [`include/net/netlink.h`](srctree/include/net/netlink.h),
//! [`include/linux/netlink.h`](srctree/include/linux/netlink.h)

use super::{netdevice::Net, netlink::GENLMSG_DEFAULT_SIZE};
use crate::{
    alloc::flags::GFP_KERNEL,
    bindings,
    error::to_result,
    ffi::{c_int, c_void},
    fmt,
    prelude::*,
    str::Formatter,
};
use core::{marker::PhantomData, mem::ManuallyDrop, ptr, ptr::NonNull};

/// A request that is being handled.
///
/// Its attributes were checked against the family's policy before.
///
/// # Invariants
///
/// `info` is valid for `'a`.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    info: *mut bindings::genl_info,
    _info: PhantomData<&'a bindings::genl_info>,
}

impl<'a> Request<'a> {
    /// Wraps a raw pointer.
    ///
    /// # Safety
    ///
    /// `info` must be valid for `'a`, as in a `doit` callback.
    pub unsafe fn from_raw(info: *mut bindings::genl_info) -> Self {
        // INVARIANT: The caller's promise.
        Self {
            info,
            _info: PhantomData,
        }
    }

    /// Network namespace of the socket that sent the request.
    pub fn net(&self) -> &'a Net {
        // SAFETY: The request is valid, and its socket keeps the namespace.
        unsafe { Net::from_raw(bindings::genl_info_net(self.info)) }
    }

    /// Where to say what is wrong.
    pub fn extack(&self) -> ExtAck<'a> {
        // SAFETY: The request is valid, and so is its ACK, which the handler's thread uses.
        unsafe { ExtAck::from_raw((*self.info).extack) }
    }

    /// A top-level attribute, if the request has it; the last one, if it is there more than once.
    pub fn attr(&self, kind: u32) -> Option<Attr<'a>> {
        self.attrs_of(kind).last()
    }

    /// A top-level attribute that the request must have.
    ///
    /// # Errors
    ///
    /// `EINVAL`, with the missing attribute and `message` reported.
    pub fn require(&self, kind: u32, message: &'static CStr) -> Result<Attr<'a>> {
        self.attr(kind).ok_or_else(|| {
            let extack = self.extack();
            extack.missing(None, kind);
            extack.message(message);
            EINVAL
        })
    }

    /// All top-level attributes of a kind that may occur more than once.
    pub fn attrs_of(&self, kind: u32) -> impl Iterator<Item = Attr<'a>> {
        let mut left = 0;
        // SAFETY: The request is valid, and its header was checked.
        let mut next = unsafe { bindings::genl_info_attrs(self.info, &mut left) };
        core::iter::from_fn(move || loop {
            // SAFETY: `next` and `left` stay inside the message: `nla_ok` checks each step.
            unsafe {
                if bindings::nla_ok(next, left) == 0 {
                    return None;
                }
                let this = next;
                next = bindings::nla_next(next, &mut left);
                if bindings::nla_type(this) as u32 == kind {
                    return Attr::from_raw(this);
                }
            }
        })
    }

    /// Starts a reply.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EMSGSIZE`.
    pub fn reply(&self) -> Result<Reply<'a>> {
        // SAFETY: Takes any size and flags.
        let skb = unsafe { bindings::genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL.as_raw()) };
        let skb = NonNull::new(skb).ok_or(ENOMEM)?;
        // SAFETY: Message and request are valid.
        let header = unsafe { bindings::genlmsg_iput(skb.as_ptr(), self.info) };
        // INVARIANT: The message is ours.
        let reply = Reply {
            skb,
            header,
            request: *self,
        };
        if header.is_null() {
            return Err(EMSGSIZE);
        }
        Ok(reply)
    }
}

/// A reply that is being written. Dropping it sends nothing.
///
/// # Invariants
///
/// `skb` is a message that this object owns.
pub struct Reply<'a> {
    skb: NonNull<bindings::sk_buff>,
    header: *mut c_void,
    request: Request<'a>,
}

impl Reply<'_> {
    /// Adds an attribute.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if the message is full.
    pub fn put_u32(&mut self, kind: u32, value: u32) -> Result {
        // SAFETY: The message is valid and ours.
        to_result(unsafe { bindings::nla_put_u32(self.skb.as_ptr(), kind as c_int, value) })
    }

    /// Sends the reply to the socket that the request came from.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if its receive buffer is full, `ECONNREFUSED` if it is gone.
    pub fn send(self) -> Result {
        let this = ManuallyDrop::new(self);
        // SAFETY: The message is valid, and ownership of it goes to C.
        to_result(unsafe {
            bindings::genlmsg_end(this.skb.as_ptr(), this.header);
            bindings::genlmsg_reply(this.skb.as_ptr(), this.request.info)
        })
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the message is ours to free.
        unsafe { bindings::nlmsg_free(self.skb.as_ptr()) };
    }
}

/// A netlink attribute.
///
/// # Invariants
///
/// The pointer is valid for `'a`, and so are the bytes that the attribute's length names.
#[derive(Clone, Copy)]
pub struct Attr<'a> {
    raw: NonNull<bindings::nlattr>,
    _msg: PhantomData<&'a bindings::nlattr>,
}

impl<'a> Attr<'a> {
    /// # Safety
    ///
    /// `raw` must be null or an attribute that is whole and valid for `'a`.
    unsafe fn from_raw(raw: *const bindings::nlattr) -> Option<Self> {
        // INVARIANT: The caller's promise.
        Some(Self {
            raw: NonNull::new(raw.cast_mut())?,
            _msg: PhantomData,
        })
    }

    /// The value, which is a number of 32 bits.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the attribute is shorter. One that the policy declares as `u32` is not.
    pub fn u32(&self) -> Result<u32> {
        // SAFETY: By the type invariant.
        let len = unsafe { bindings::nla_len(self.raw.as_ptr()) };
        if usize::try_from(len)? < size_of::<u32>() {
            return Err(EINVAL);
        }
        // SAFETY: The attribute is valid, and has four bytes.
        Ok(unsafe { bindings::nla_get_u32(self.raw.as_ptr()) })
    }

    /// Parses the attributes nested in this one.
    ///
    /// # Errors
    ///
    /// What the policy says, reported to `extack`.
    pub fn nested<const N: usize>(
        &self,
        policy: &'static Policy<N>,
        extack: ExtAck<'_>,
    ) -> Result<[Option<Attr<'a>>; N]> {
        const { assert!(N > 0 && N - 1 <= bindings::NLA_TYPE_MASK as usize) };
        let mut table: [*mut bindings::nlattr; N] = [ptr::null_mut(); N];
        // SAFETY: `table` and the policy have an entry for each of `0..N`.
        to_result(unsafe {
            bindings::nla_parse_nested(
                table.as_mut_ptr(),
                N as c_int - 1,
                self.raw.as_ptr(),
                policy.0.as_ptr(),
                extack.raw,
            )
        })?;
        // SAFETY: What was parsed lies inside this attribute.
        Ok(table.map(|raw| unsafe { Attr::from_raw(raw) }))
    }
}

/// What is allowed in a set of nested attributes.
#[repr(transparent)]
pub struct Policy<const N: usize>([bindings::nla_policy; N]);

impl<const N: usize> Policy<N> {
    /// Wraps a policy that C defines.
    ///
    /// # Safety
    ///
    /// `raw` must live for ever and never change.
    pub const unsafe fn from_raw(raw: *const [bindings::nla_policy; N]) -> &'static Self {
        // SAFETY: The caller's promise; the wrapper is transparent.
        unsafe { &*raw.cast() }
    }
}

/// Where the reason for an error goes: the extended ACK of a request.
///
/// The last message wins.
#[derive(Clone, Copy)]
pub struct ExtAck<'a> {
    raw: *mut bindings::netlink_ext_ack,
    // Invariant, so that what it points at lives no shorter.
    _ack: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl<'a> ExtAck<'a> {
    /// Wraps a raw pointer, null if nobody wants to know.
    ///
    /// # Safety
    ///
    /// `raw` must be null or valid for `'a`, and only be used by this thread meanwhile.
    pub(super) unsafe fn from_raw(raw: *mut bindings::netlink_ext_ack) -> Self {
        Self {
            raw,
            _ack: PhantomData,
        }
    }

    /// The raw pointer, null if nobody wants to know.
    pub fn as_raw(&self) -> *mut bindings::netlink_ext_ack {
        self.raw
    }

    /// Whether a message was set.
    pub fn has_message(&self) -> bool {
        // SAFETY: Null or valid for `'a`.
        unsafe { self.raw.as_ref() }.is_some_and(|ack| !ack._msg.is_null())
    }

    /// Sets the message.
    pub fn message(&self, message: &'static CStr) {
        Self::trace(message.as_char_ptr());
        // SAFETY: Null or valid for `'a`; handlers run on one thread.
        if let Some(ack) = unsafe { self.raw.as_mut() } {
            ack._msg = message.as_char_ptr();
        }
    }

    /// Sets a message that is put together. Cut at 79 bytes.
    pub fn message_fmt(&self, args: fmt::Arguments<'_>) {
        // SAFETY: Null or valid for `'a`; handlers run on one thread.
        let Some(ack) = (unsafe { self.raw.as_mut() }) else {
            return;
        };
        let buf = &mut ack._msg_buf;
        buf.fill(0);
        // SAFETY: A `c_char` and a `u8` are the same; the last byte stays zero.
        let bytes = unsafe {
            core::slice::from_raw_parts_mut(buf.as_mut_ptr().cast::<u8>(), buf.len() - 1)
        };
        // What does not fit is cut.
        let _ = fmt::Write::write_fmt(&mut Formatter::new(bytes), args);
        ack._msg = buf.as_ptr();
        Self::trace(ack._msg);
    }

    /// Points at the attribute that is wrong.
    ///
    /// What lies in another message than the request is left out of the ACK.
    pub fn bad_attr(&self, attr: Attr<'a>) {
        // SAFETY: Null or valid for `'a`. Whoever sends the ACK only compares the address.
        if let Some(ack) = unsafe { self.raw.as_mut() } {
            ack.bad_attr = attr.raw.as_ptr();
            ack.policy = ptr::null();
        }
    }

    /// Says which attribute is missing, at top level or in `nest`.
    pub fn missing(&self, nest: Option<Attr<'a>>, kind: u32) {
        // SAFETY: As for `bad_attr`.
        if let Some(ack) = unsafe { self.raw.as_mut() } {
            ack.miss_nest = nest.map_or(ptr::null(), |nest| nest.raw.as_ptr());
            ack.miss_type = kind as u16;
        }
    }

    /// The base's tracepoint for messages.
    fn trace(message: *const crate::ffi::c_char) {
        #[cfg(CONFIG_TRACEPOINTS)]
        // SAFETY: The message is a terminated string.
        unsafe {
            bindings::do_trace_netlink_extack(message)
        };
        #[cfg(not(CONFIG_TRACEPOINTS))]
        let _ = message;
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_genetlink)]
mod tests {
    use super::*;

    const NESTED: u16 = bindings::NLA_F_NESTED as u16;

    /// A request whose attributes are these bytes, in words of the machine.
    #[repr(C, align(4))]
    struct Message {
        netlink: bindings::nlmsghdr,
        generic: bindings::genlmsghdr,
        attrs: [u16; 16],
    }

    fn with_request<R>(attrs: &[u16], work: impl FnOnce(Request<'_>) -> R) -> R {
        let mut message = Message {
            netlink: bindings::nlmsghdr::default(),
            generic: bindings::genlmsghdr::default(),
            attrs: [0; 16],
        };
        message.attrs[..attrs.len()].copy_from_slice(attrs);
        message.netlink.nlmsg_len = (20 + 2 * attrs.len()) as u32;
        let family: bindings::genl_family = pin_init::zeroed();
        let mut info: bindings::genl_info = pin_init::zeroed();
        info.family = &family;
        info.nlhdr = (&raw const message).cast();
        // SAFETY: What is asked of the request here lives as long as `work` runs.
        work(unsafe { Request::from_raw(&mut info) })
    }

    /// An attribute is its length, its type, and its value, of multiples of four bytes here.
    const TWO_NUMBERS: [u16; 8] = [8, 3, 7, 0, 8, 3, 9, 0];

    #[test]
    fn the_last_of_a_kind_counts() {
        with_request(&TWO_NUMBERS, |request| {
            assert_eq!(request.attr(3).map(|attr| attr.u32()), Some(Ok(9)));
            let all = request.attrs_of(3).map(|attr| attr.u32());
            assert!(all.eq([Ok(7), Ok(9)]));
        });
    }

    #[test]
    fn a_kind_that_no_policy_knows_is_not_there() {
        with_request(&TWO_NUMBERS, |request| {
            for kind in [0, 1, 2, 4, 1000, 0x4003, u32::MAX] {
                assert!(request.attr(kind).is_none());
            }
        });
    }

    #[test]
    fn a_number_needs_its_bytes() {
        for len in [4, 5, 6, 7] {
            with_request(&[len, 3, 0xffff, 0xffff], |request| {
                assert_eq!(request.attr(3).map(|attr| attr.u32()), Some(Err(EINVAL)));
            });
        }
    }

    #[test]
    fn what_is_cut_off_is_not_there() {
        for attrs in [
            &[8, 3][..],
            &[12, 3, 1, 0],
            &[3, 3, 1, 0],
            &[0, 3, 1, 0],
            &[8],
        ] {
            with_request(attrs, |request| assert!(request.attr(3).is_none()));
        }
    }

    #[test]
    fn a_nest_has_what_lies_in_it() {
        struct AnyBytes([bindings::nla_policy; 4]);

        // SAFETY: It never changes.
        unsafe impl Sync for AnyBytes {}

        static POLICY: AnyBytes = AnyBytes(
            [bindings::nla_policy {
                type_: bindings::NLA_BINARY as u8,
                ..pin_init::zeroed()
            }; 4],
        );

        // SAFETY: It never changes.
        let policy = unsafe { Policy::<4>::from_raw(&POLICY.0) };
        let nested = |attrs: &[u16]| {
            with_request(attrs, |request| {
                // SAFETY: Null: nobody wants to know.
                let extack = unsafe { ExtAck::from_raw(ptr::null_mut()) };
                let nest = request.attr(1).ok_or(ENODATA)?;
                let found = nest.nested(policy, extack)?;
                found.get(3).copied().flatten().ok_or(ENODATA)?.u32()
            })
        };
        assert_eq!(nested(&[12, 1 | NESTED, 8, 3, 5, 0]), Ok(5));
        assert_eq!(nested(&[8, 1 | NESTED, 4, 3]), Err(EINVAL));
        assert_eq!(nested(&[4, 1 | NESTED]), Err(ENODATA));
        // More than the nest has, and no nest at all.
        assert_eq!(nested(&[8, 1 | NESTED, 8, 3, 5, 0]), Err(EINVAL));
        assert_eq!(nested(&[12, 1, 8, 3, 5, 0]), Err(EINVAL));
    }
}
