// SPDX-License-Identifier: GPL-2.0

//! Network memory that the CPU can't read.
//!
//! A `net_iov` (niov) stands for one piece of device memory in the places where the stack otherwise
//! has a `struct page`. All niovs of one dma-buf stand in one array in the order of the buffer, so
//! an index into the array is an offset into the buffer, and one `net_iov_area` serves them all.
//!
//! C header: [`include/net/netmem.h`](srctree/include/net/netmem.h)

use crate::{
    alloc::flags::{GFP_KERNEL, __GFP_NOWARN},
    bindings,
    deferred::cond_resched,
    dma::DmaAddress,
    prelude::*,
    sync::atomic::{ordering::Relaxed, Atomic},
    types::Opaque,
};
use core::{mem::ManuallyDrop, ops::Deref, pin::Pin, ptr, ptr::NonNull};

/// One piece of a dma-buf, `1 << niov_shift` bytes.
///
/// The C side (page pool, skbs) changes its fields at any time, so nothing in it is exposed.
///
/// # Invariants
///
/// `type` is `NET_IOV_DMABUF` and `owner` the `raw` field of the [`DmabufArea`] it lies in.
#[repr(transparent)]
pub struct Niov(Opaque<bindings::net_iov>);

// SAFETY: What `&Niov` offers are reads of fields that are set once, and atomics.
unsafe impl Sync for Niov {}

// SAFETY: A niov is plain memory that any thread may own.
unsafe impl Send for Niov {}

impl Niov {
    /// A niov of the area behind `owner`, at `addr` for the device.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW` if a niov can't have that address.
    fn new(owner: *mut bindings::net_iov_area, addr: DmaAddress) -> Result<Self> {
        let mut raw = bindings::net_iov {
            owner,
            type_: bindings::net_iov_type_NET_IOV_DMABUF,
            ..Default::default()
        };
        // SAFETY: Nobody else knows the niov yet.
        if unsafe { bindings::net_mp_niov_set_dma_addr(&mut raw, addr) } {
            return Err(EOVERFLOW);
        }
        // INVARIANT: The type is set, and the owner is where the caller is going to put it.
        Ok(Self(Opaque::new(raw)))
    }

    /// Returns the niov behind a raw pointer, if it is device memory of a dma-buf.
    ///
    /// Gives [`None`] for niovs of other providers (io_uring).
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialised `net_iov` that lives for `'a`. With
    /// `CONFIG_NET_DEVMEM_RUST` each one of type `NET_IOV_DMABUF` lies in a [`DmabufArea`].
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *const bindings::net_iov) -> Option<&'a Self> {
        // SAFETY: The caller promises that the niov is valid; its type is set once.
        if unsafe { (*ptr).type_ } != bindings::net_iov_type_NET_IOV_DMABUF {
            return None;
        }
        // SAFETY: As above; `Niov` is a transparent wrapper, and the type was checked.
        Some(unsafe { &*ptr.cast::<Niov>() })
    }

    /// The raw pointer.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::net_iov {
        self.0.get()
    }

    /// The area that it belongs to.
    #[inline]
    pub fn area(&self) -> &DmabufArea {
        // SAFETY: By the type invariant `owner` is the `raw` field of a `DmabufArea`, which is
        // pinned and owns the array that `self` lies in, so it outlives `self`.
        unsafe {
            let owner = (*self.as_raw()).owner;
            &*crate::container_of!(Opaque::cast_from(owner), DmabufArea, raw)
        }
    }

    /// Offset of its first byte in the dma-buf, in bytes.
    #[inline]
    pub fn offset(&self) -> u64 {
        let area = self.area();
        // `self` lies in the area's array, so its index is small and the product is below the size
        // of the dma-buf.
        (area.index_unchecked(self) as u64) << area.niov_shift
    }

    /// The tagged form under which the stack passes it around.
    #[inline]
    pub fn as_netmem(&self) -> bindings::netmem_ref {
        // SAFETY: Only computes with the address.
        unsafe { bindings::net_iov_to_netmem(self.as_raw()) }
    }

    /// Takes a reference for as long as the niov is out of its page pool.
    ///
    /// # Safety
    ///
    /// Somebody else must hold such a reference for the duration of this call: it can't be made
    /// out of nothing.
    #[inline]
    pub unsafe fn hold(&self) -> NiovRef {
        // SAFETY: The niov is valid, and its count not zero as the caller promises.
        unsafe { bindings::page_pool_ref_netmem(self.as_netmem()) };
        // INVARIANT: The reference that was just taken.
        NiovRef(NonNull::from(self))
    }
}

/// A counted reference on a niov that is out of its page pool.
///
/// Dropping the last one gives the niov back to the pool; it keeps neither binding nor pool alive
/// by itself, the pool's count of what is out does. May be dropped in any context but hardirq, with
/// interrupts enabled: not under a [`SpinLockIrq`](crate::sync::SpinLockIrq).
///
/// # Invariants
///
/// The niov is valid, and this object owns one count of its `pp_ref_count`.
pub struct NiovRef(NonNull<Niov>);

// SAFETY: The count is atomic, and the page pool takes niovs back from any CPU.
unsafe impl Send for NiovRef {}

// SAFETY: As above; `&NiovRef` gives no more than `&Niov`.
unsafe impl Sync for NiovRef {}

impl Drop for NiovRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a count to give back.
        unsafe {
            let netmem = self.0.as_ref().as_netmem();
            bindings::napi_pp_put_page(netmem);
        }
    }
}

impl NiovRef {
    /// Takes over a reference that somebody else took, such as that of a frag.
    ///
    /// # Safety
    ///
    /// `niov` must be valid as for [`Niov::from_raw`], and the reference the caller's to give.
    #[inline]
    pub unsafe fn from_raw(niov: &Niov) -> Self {
        // INVARIANT: The caller's promise.
        Self(NonNull::from(niov))
    }

    /// Leaves the reference to somebody else, who gives it to [`from_raw`](Self::from_raw).
    #[inline]
    pub fn into_raw(self) -> *mut bindings::net_iov {
        ManuallyDrop::new(self).as_raw()
    }
}

impl Deref for NiovRef {
    type Target = Niov;

    #[inline]
    fn deref(&self) -> &Niov {
        // SAFETY: By the type invariant the niov is valid as long as the reference: the page pool
        // that it is out of waits for it, and keeps its memory until then.
        unsafe { self.0.as_ref() }
    }
}

/// How many niovs are made before others may run.
const NIOVS_A_TURN: usize = 1 << 14;

/// All niovs of a mapped dma-buf.
///
/// Costs one `net_iov` (64 bytes on 64 bit) per piece, however the buffer is cut up for DMA.
///
/// # Invariants
///
/// Every element of `niovs` is a [`Niov`] with `raw` as its owner once [`new`](Self::new) is done.
#[pin_data]
pub struct DmabufArea {
    #[pin]
    raw: Opaque<bindings::net_iov_area>,
    niovs: VVec<Niov>,
    niov_shift: u32,
    dmabuf_id: u32,
    chunks: u32,
    received: Received,
}

/// What user space was told of.
struct Received {
    bytes: Atomic<u64>,
    frags: Atomic<u64>,
}

// SAFETY: The fields are written once, before the area is shared, or atomic.
unsafe impl Sync for DmabufArea {}

// SAFETY: Nothing in it is tied to a thread.
unsafe impl Send for DmabufArea {}

impl DmabufArea {
    /// Makes the niovs for a buffer whose DMA addresses are `runs` of (address, bytes), `count` of
    /// them in all, which is known from having looked at the runs before.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a run that is not aligned to `1 << niov_shift` in address or length, and if the
    /// runs are not as long as `count` niovs; `EOVERFLOW` for an address that no niov can have;
    /// `ENOMEM`. Process context; sleeps, and lets others run while it makes millions.
    pub fn new(
        dmabuf_id: u32,
        niov_shift: u32,
        count: u32,
        runs: impl Iterator<Item = (DmaAddress, u64)>,
    ) -> Result<Pin<KBox<Self>>> {
        let niov_size = 1u64.checked_shl(niov_shift).ok_or(EINVAL)?;
        // Not by kmalloc, which warns of what a dma-buf of 128 GiB takes.
        let niovs = VVec::<Niov>::with_capacity(count as usize, GFP_KERNEL | __GFP_NOWARN)?;
        let mut this = KBox::pin_init(
            pin_init!(Self {
                raw: Opaque::new(bindings::net_iov_area {
                    niovs: niovs.as_ptr().cast_mut().cast(),
                    num_niovs: count as usize,
                    base_virtual: 0,
                }),
                niovs,
                niov_shift,
                dmabuf_id,
                chunks: 0,
                received: Received {
                    bytes: Atomic::new(0),
                    frags: Atomic::new(0),
                },
            }),
            GFP_KERNEL,
        )?;
        let raw = this.raw.get();
        // SAFETY: Nothing is moved out of it.
        let area = unsafe { this.as_mut().get_unchecked_mut() };

        for (start, len) in runs {
            if (start | len) & (niov_size - 1) != 0 {
                return Err(EINVAL);
            }
            area.chunks = area.chunks.checked_add(1).ok_or(EOVERFLOW)?;
            let end = start.checked_add(len).ok_or(EOVERFLOW)?;
            let mut addr = start;
            while addr < end {
                // The vector does not move: it has the capacity for `count`.
                let niov = Niov::new(raw, addr)?;
                area.niovs.push_within_capacity(niov).map_err(|_| EINVAL)?;
                addr = addr.checked_add(niov_size).ok_or(EOVERFLOW)?;
                if area.niovs.len() % NIOVS_A_TURN == 0 {
                    cond_resched();
                }
            }
        }
        if area.niovs.len() != count as usize {
            return Err(EINVAL);
        }
        Ok(this)
    }

    /// The id that user space knows the binding by.
    #[inline]
    pub fn dmabuf_id(&self) -> u32 {
        self.dmabuf_id
    }

    /// Size of a niov in bytes, as a power of two.
    #[inline]
    pub fn niov_shift(&self) -> u32 {
        self.niov_shift
    }

    /// How many runs the buffer has for DMA.
    #[inline]
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Counts what user space was told of.
    #[inline]
    pub fn count_received(&self, bytes: u64, frags: u64) {
        self.received.bytes.fetch_add(bytes, Relaxed);
        self.received.frags.fetch_add(frags, Relaxed);
    }

    /// What was counted so far: (bytes, frags).
    pub fn received(&self) -> (u64, u64) {
        (
            self.received.bytes.load(Relaxed),
            self.received.frags.load(Relaxed),
        )
    }

    /// The niovs, in the order of the dma-buf.
    #[inline]
    pub fn niovs(&self) -> &[Niov] {
        &self.niovs
    }

    /// Index of `niov` in the array; [`None`] if it belongs to another area.
    #[inline]
    pub fn index_of(&self, niov: &Niov) -> Option<u32> {
        if !ptr::eq(niov.area(), self) {
            return None;
        }
        // CAST: `new` made at most `u32::MAX` niovs.
        Some(self.index_unchecked(niov) as u32)
    }

    #[inline]
    fn index_unchecked(&self, niov: &Niov) -> usize {
        (ptr::from_ref(niov) as usize).wrapping_sub(self.niovs.as_ptr() as usize)
            / size_of::<Niov>()
    }
}
