// SPDX-License-Identifier: GPL-2.0

//! Messages between sockets and user space.
//!
//! C headers: [`include/linux/socket.h`](srctree/include/linux/socket.h),
//! [`include/linux/sockptr.h`](srctree/include/linux/sockptr.h)

use crate::{
    bindings,
    error::to_result,
    ffi::c_int,
    iov::IovIterDest,
    prelude::*,
    transmute::{AsBytes, FromBytes},
};
use core::{marker::PhantomData, mem::MaybeUninit, slice};

/// The `msghdr` of a `recvmsg` call that is under way.
///
/// # Invariants
///
/// `raw` is valid, this object its only user, and its iterator a destination.
pub struct RecvMsg<'a> {
    raw: *mut bindings::msghdr,
    _msg: PhantomData<&'a mut bindings::msghdr>,
}

impl RecvMsg<'_> {
    /// Wraps a raw pointer.
    ///
    /// # Safety
    ///
    /// `raw` must be the message of a receive, and used by nobody else while this exists.
    #[inline]
    pub unsafe fn from_raw(raw: *mut bindings::msghdr) -> Self {
        // INVARIANT: The caller's promise.
        Self {
            raw,
            _msg: PhantomData,
        }
    }

    /// Where the payload goes.
    #[inline]
    pub fn iter(&mut self) -> &mut IovIterDest<'_> {
        // SAFETY: By the type invariant.
        unsafe { IovIterDest::from_raw(&raw mut (*self.raw).msg_iter) }
    }

    /// Whether a control message with `len` bytes of data would fit now.
    #[inline]
    pub fn has_cmsg_room(&self, len: usize) -> bool {
        // SAFETY: By the type invariant.
        let (control, room) = unsafe {
            let msg = &*self.raw;
            (msg.__bindgen_anon_1.msg_control, msg.msg_controllen)
        };
        !control.is_null() && room >= size_of::<bindings::cmsghdr>().saturating_add(len)
    }

    /// Writes a control message, whole or not at all.
    ///
    /// # Errors
    ///
    /// `ETOOSMALL` if the control buffer has no room for it, `EFAULT` if it can't be written. May
    /// sleep on a page fault.
    #[inline]
    pub fn put_cmsg<T: AsBytes>(&mut self, level: u32, kind: u32, data: &T) -> Result {
        // SAFETY: The message is valid, and `data` has that many bytes, which C only reads.
        to_result(unsafe {
            bindings::put_cmsg_notrunc(
                self.raw,
                level as c_int,
                kind as c_int,
                size_of::<T>() as c_int,
                core::ptr::from_ref(data).cast_mut().cast(),
            )
        })
    }
}

/// An option value that `setsockopt` got, in user or in kernel memory.
///
/// # Invariants
///
/// If `ptr` is a kernel pointer, `len` bytes are readable there for `'a`.
pub struct OptVal<'a> {
    ptr: bindings::sockptr_t,
    len: usize,
    _value: PhantomData<&'a [u8]>,
}

impl OptVal<'_> {
    /// Wraps a raw pointer.
    ///
    /// # Safety
    ///
    /// If `ptr` is a kernel pointer, `len` bytes must be readable there for the lifetime of the
    /// result.
    #[inline]
    pub unsafe fn from_raw(ptr: bindings::sockptr_t, len: usize) -> Self {
        // INVARIANT: The caller's promise.
        Self {
            ptr,
            len,
            _value: PhantomData,
        }
    }

    /// Size in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the value as a list of `T` into `buf`, and returns the part of `buf` that was filled.
    ///
    /// # Errors
    ///
    /// `EINVAL` if its size is not a multiple of `T`'s, or if it does not fit; `EFAULT` if it can't
    /// be read. Nothing is read in part.
    #[inline]
    pub fn read_list<'b, T: FromBytes>(&self, buf: &'b mut [MaybeUninit<T>]) -> Result<&'b [T]> {
        const { assert!(size_of::<T>() != 0) };
        if self.len % size_of::<T>() != 0 || self.len > size_of_val(buf) {
            return Err(EINVAL);
        }
        // SAFETY: `buf` has space for `len` bytes, and a kernel pointer is readable for them by the
        // type invariant.
        let left =
            unsafe { bindings::copy_from_sockptr(buf.as_mut_ptr().cast(), self.ptr, self.len) };
        if left != 0 {
            return Err(EFAULT);
        }
        // SAFETY: The elements were just written, and any bytes make a `T`.
        Ok(unsafe { slice::from_raw_parts(buf.as_ptr().cast(), self.len / size_of::<T>()) })
    }
}
