// SPDX-License-Identifier: GPL-2.0

//! Numbers that name things to user space.
//!
//! C header: [`include/linux/xarray.h`](srctree/include/linux/xarray.h)

use crate::{
    alloc::Flags,
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use core::{cell::UnsafeCell, ptr};

/// Numbers from 1 to `u32::MAX` that are given out in a circle, so that one is not used again soon
/// after it was free.
///
/// The same as `xa_alloc_cyclic()` in C, with entries that hold a number and nothing else.
/// [`IdPool`](crate::id_pool::IdPool) is a bitmap, which would have to grow to the highest number
/// ever used, and an [`XArray`](crate::xarray::XArray) is told the numbers.
///
/// # Examples
///
/// ```
/// use kernel::cyclic_ids::CyclicIds;
///
/// let ids = KBox::pin_init(CyclicIds::new(), GFP_KERNEL)?;
/// let one = ids.reserve(GFP_KERNEL)?;
/// assert_eq!(one.get(), 1);
/// drop(one);
/// assert_eq!(ids.reserve(GFP_KERNEL)?.get(), 2);
/// # Ok::<(), Error>(())
/// ```
#[pin_data(PinnedDrop)]
pub struct CyclicIds {
    /// An array that never gives the index 0.
    #[pin]
    used: Opaque<bindings::xarray>,
    /// Where to look next. Under the lock of `used`.
    next: UnsafeCell<u32>,
}

// SAFETY: Nothing in it is tied to a thread.
unsafe impl Send for CyclicIds {}

// SAFETY: All access is under the lock of the array.
unsafe impl Sync for CyclicIds {}

impl CyclicIds {
    /// All numbers are free, and the first one that is given is 1.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `used` is valid for writes, and pinned.
            used <- Opaque::ffi_init(|used| unsafe {
                bindings::xa_init_flags(used, bindings::XA_FLAGS_ALLOC1)
            }),
            next: UnsafeCell::new(0),
        })
    }

    /// Reserves a number that is free.
    ///
    /// Context: as `flags` allow.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EBUSY` if all are in use.
    pub fn reserve(&self, flags: Flags) -> Result<CyclicId<'_>> {
        let all = bindings::xa_limit {
            min: 0,
            max: u32::MAX,
        };
        let mut id = 0;

        // SAFETY: The array is valid, and locked for this call. An entry that is null reserves the
        // index; `next` is only accessed here.
        let allocated = unsafe {
            bindings::xa_lock(self.used.get());
            let allocated = bindings::__xa_alloc_cyclic(
                self.used.get(),
                &mut id,
                ptr::null_mut(),
                all,
                self.next.get(),
                flags.as_raw(),
            );
            bindings::xa_unlock(self.used.get());
            allocated
        };
        // 1 says that it began again from the lowest.
        to_result(allocated.min(0))?;
        // INVARIANT: It was just reserved.
        Ok(CyclicId { ids: self, id })
    }
}

#[pinned_drop]
impl PinnedDrop for CyclicIds {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The array is valid. No number is left: each borrows `self`.
        unsafe { bindings::xa_destroy(self.used.get()) };
    }
}

/// A number that nobody else has until this is dropped.
///
/// # Invariants
///
/// `id` is reserved in `ids`, by this object.
pub struct CyclicId<'a> {
    ids: &'a CyclicIds,
    id: u32,
}

impl CyclicId<'_> {
    /// The number.
    pub fn get(&self) -> u32 {
        self.id
    }
}

impl Drop for CyclicId<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the entry is ours to remove.
        unsafe { bindings::xa_erase(self.ids.used.get(), self.id as usize) };
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_cyclic_ids)]
mod tests {
    use super::*;

    fn ids() -> Result<Pin<KBox<CyclicIds>>> {
        KBox::pin_init(CyclicIds::new(), GFP_KERNEL)
    }

    #[test]
    fn they_go_up_from_one() -> Result {
        let ids = ids()?;
        let mut taken = KVec::new();
        for want in 1..=100 {
            let id = ids.reserve(GFP_KERNEL)?;
            assert_eq!(id.get(), want);
            taken.push(id, GFP_KERNEL)?;
        }
        Ok(())
    }

    #[test]
    fn one_that_is_free_again_has_to_wait() -> Result {
        let ids = ids()?;
        for want in 1..=10 {
            assert_eq!(ids.reserve(GFP_KERNEL)?.get(), want);
        }
        Ok(())
    }

    #[test]
    fn after_the_last_comes_the_first_that_is_free() -> Result {
        let ids = ids()?;
        let one = ids.reserve(GFP_KERNEL)?;
        // SAFETY: Nobody else has `ids`.
        unsafe { *ids.next.get() = u32::MAX };
        let last = ids.reserve(GFP_KERNEL)?;
        assert_eq!((one.get(), last.get()), (1, u32::MAX));
        // Neither 0 nor 1, which is in use.
        assert_eq!(ids.reserve(GFP_KERNEL)?.get(), 2);
        Ok(())
    }
}
