// SPDX-License-Identifier: GPL-2.0

//! Received packets, and what of them the CPU can read.
//!
//! Whether the bytes of a frag can be read is part of its type: a [`FragMemory`] is `Readable` or
//! `Unreadable`, and only the first can be copied from.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use super::netmem::{DmabufArea, Niov, NiovRef};
use crate::{bindings, iov::IovIterDest, types::Opaque};
use core::{marker::PhantomData, slice};

/// Most frags that one skb can have.
pub const MAX_SKB_FRAGS: usize = bindings::CONFIG_MAX_SKB_FRAGS as usize;

/// A packet whose data is not changed while it is borrowed: one in a receive queue.
#[repr(transparent)]
pub struct SkBuff(Opaque<bindings::sk_buff>);

impl SkBuff {
    /// Wraps a raw pointer.
    ///
    /// # Safety
    ///
    /// For `'a`, the skb and its frag list have to be valid, and nobody may change their data or
    /// frags: the caller holds the lock of the socket in whose receive queue it is.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *const bindings::sk_buff) -> &'a Self {
        // SAFETY: The caller's promise; the wrapper is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    fn as_raw(&self) -> *const bindings::sk_buff {
        self.0.get()
    }

    /// Number of bytes in the linear part, before the first frag.
    #[inline]
    pub fn headlen(&self) -> usize {
        // SAFETY: The skb is valid.
        unsafe { bindings::skb_headlen(self.as_raw()) as usize }
    }

    /// The linear part.
    #[inline]
    pub fn linear(&self) -> &[u8] {
        // SAFETY: The skb is valid and not changed; its linear part is `headlen` bytes at `data`.
        unsafe { slice::from_raw_parts(bindings::skb_data(self.as_raw()), self.headlen()) }
    }

    /// The frags, without those of the frag list.
    #[inline]
    pub fn frags(&self) -> &[Frag] {
        // SAFETY: The skb is valid and not changed; `nr_frags` entries of `frags` are in use.
        // `Frag` is a transparent wrapper.
        unsafe {
            let shinfo = bindings::skb_shinfo(self.as_raw());
            slice::from_raw_parts(
                (&raw const (*shinfo).frags).cast::<Frag>(),
                usize::from((*shinfo).nr_frags).min(MAX_SKB_FRAGS),
            )
        }
    }

    /// This skb, and after it those of its frag list (GRO puts segments there).
    #[inline]
    pub fn segments(&self) -> Segments<'_> {
        Segments {
            next: self.as_raw(),
            is_head: true,
            _skb: PhantomData,
        }
    }
}

/// Iterator over an skb and its frag list.
///
/// # Invariants
///
/// `next` is null or an skb that is valid for `'a`.
pub struct Segments<'a> {
    next: *const bindings::sk_buff,
    is_head: bool,
    _skb: PhantomData<&'a SkBuff>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a SkBuff;

    #[inline]
    fn next(&mut self) -> Option<&'a SkBuff> {
        if self.next.is_null() {
            return None;
        }
        // SAFETY: By the type invariant.
        let skb = unsafe { SkBuff::from_raw(self.next) };
        // SAFETY: The skb is valid. The members of a frag list are chained by `next`; the `next` of
        // the head itself belongs to its queue and is not followed.
        self.next = unsafe {
            if self.is_head {
                (*bindings::skb_shinfo(skb.as_raw())).frag_list
            } else {
                bindings::skb_next(skb.as_raw())
            }
        };
        self.is_head = false;
        Some(skb)
    }
}

/// A piece of a packet outside its linear part.
#[repr(transparent)]
pub struct Frag(bindings::skb_frag_t);

impl Frag {
    /// Number of bytes.
    #[inline]
    pub fn size(&self) -> usize {
        // SAFETY: The frag is valid.
        unsafe { bindings::skb_frag_size(&self.0) as usize }
    }

    /// What kind of memory it is in.
    #[inline]
    pub fn memory(&self) -> FragMemory<'_> {
        // SAFETY: The frag is valid.
        let niov = unsafe { bindings::skb_frag_net_iov(&self.0) };
        if niov.is_null() {
            return FragMemory::Readable(ReadableFrag(self));
        }
        // SAFETY: The frag holds a reference on its niov.
        match unsafe { Niov::from_raw(niov) } {
            Some(niov) => FragMemory::Unreadable(UnreadableFrag { frag: self, niov }),
            None => FragMemory::Foreign,
        }
    }
}

/// The memory of a [`Frag`].
pub enum FragMemory<'a> {
    /// Pages, which the CPU can read.
    Readable(ReadableFrag<'a>),
    /// A piece of a dma-buf.
    Unreadable(UnreadableFrag<'a>),
    /// Unreadable memory of another provider.
    Foreign,
}

/// A frag in host memory.
pub struct ReadableFrag<'a>(&'a Frag);

impl ReadableFrag<'_> {
    /// Copies `len` bytes from `offset` in the frag. Returns how many could be copied.
    ///
    /// Copies nothing if that is not inside the frag. Process context.
    pub fn copy_to_iter(&self, offset: usize, len: usize, iter: &mut IovIterDest<'_>) -> usize {
        match offset.checked_add(len) {
            Some(end) if end <= self.0.size() => {}
            _ => return 0,
        }
        // SAFETY: The frag is in pages and valid, and the range lies inside it.
        unsafe {
            bindings::copy_page_to_iter(
                bindings::skb_frag_page(&self.0 .0),
                bindings::skb_frag_off(&self.0 .0) as usize + offset,
                len,
                iter.as_raw(),
            )
        }
    }
}

/// A frag in device memory, of which only the place is known.
pub struct UnreadableFrag<'a> {
    frag: &'a Frag,
    niov: &'a Niov,
}

impl<'a> UnreadableFrag<'a> {
    /// The memory that it lies in, which stays as long as the packet.
    #[inline]
    pub fn area(&self) -> &'a DmabufArea {
        self.niov.area()
    }

    /// Offset in the dma-buf of the frag's first byte.
    #[inline]
    pub fn dmabuf_offset(&self) -> u64 {
        // SAFETY: The frag is valid.
        let off = unsafe { bindings::skb_frag_off(&self.frag.0) };
        self.niov.offset() + u64::from(off)
    }

    /// Id of the binding.
    #[inline]
    pub fn dmabuf_id(&self) -> u32 {
        self.niov.area().dmabuf_id()
    }

    /// Takes a reference on the niov that outlives the packet.
    #[inline]
    pub fn hold(&self) -> NiovRef {
        // SAFETY: The frag holds a reference while it is borrowed.
        unsafe { self.niov.hold() }
    }
}
