// SPDX-License-Identifier: GPL-2.0

//! What an importer gets from an exporter: runs of memory with addresses for its device.

use super::pages::PageRun;
use crate::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    scatterlist::SGTable,
    sync::{aref::ARef, Arc},
};
use core::{mem::ManuallyDrop, ptr};

/// A part of a [`PageRun`] that becomes one entry of a [`DeviceTable`].
///
/// # Invariants
///
/// `offset + len` is at most the size of `run`, and `len` is not 0.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    run: &'a PageRun,
    offset: u32,
    len: u32,
}

impl<'a> Segment<'a> {
    /// `len` bytes from the byte `offset` of `run` on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that is nothing, or more than the run has.
    pub fn new(run: &'a PageRun, offset: u32, len: u32) -> Result<Self> {
        let end = (offset as usize).checked_add(len as usize).ok_or(EINVAL)?;
        if len == 0 || end > run.count() * PAGE_SIZE {
            return Err(EINVAL);
        }
        // INVARIANT: Both were just checked.
        Ok(Self { run, offset, len })
    }

    /// All of `run`.
    pub fn whole(run: &'a PageRun) -> Self {
        // INVARIANT: That is its size, and a run has at least one page. CAST: `PageRun::MAX` pages
        // are fewer bytes than a `u32` counts.
        Self {
            run,
            offset: 0,
            len: (run.count() * PAGE_SIZE) as u32,
        }
    }
}

/// Memory that consists of [`Segment`]s.
pub trait Backing: Send + Sync + 'static {
    /// The segments, in the order of the buffer. Each call gives the same.
    fn segments(&self) -> impl Iterator<Item = Segment<'_>>;
}

/// The memory of a dma-buf with addresses for the device of one importer.
///
/// Keeps the memory, and the reference on the device that undoing needs.
///
/// # Invariants
///
/// `raw` is a table of segments of `backing`, mapped for `dev` in `direction`.
#[repr(C)]
pub struct DeviceTable<B: Backing> {
    /// First, so that a pointer to it is a pointer to the whole.
    raw: bindings::sg_table,
    dev: ARef<Device>,
    direction: DataDirection,
    backing: Arc<B>,
}

// SAFETY: A table may be used and undone by any thread, and the rest of it is `Send`.
unsafe impl<B: Backing> Send for DeviceTable<B> {}

// SAFETY: A table does not change once it is made.
unsafe impl<B: Backing> Sync for DeviceTable<B> {}

/// A table of segments that has no addresses yet.
///
/// # Invariants
///
/// The table was allocated and is this object's to free.
struct Unmapped(bindings::sg_table);

impl Drop for Unmapped {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sg_free_table(&mut self.0) };
    }
}

impl Unmapped {
    fn new(backing: &impl Backing) -> Result<Self> {
        let count = backing.segments().count();
        if count == 0 {
            return Err(EINVAL);
        }
        let mut raw = bindings::sg_table::default();
        // SAFETY: `raw` is valid for writes, and the count is not 0.
        to_result(unsafe {
            bindings::sg_alloc_table(&mut raw, count.try_into()?, GFP_KERNEL.as_raw())
        })?;
        // INVARIANT: Just allocated.
        let table = Self(raw);

        let mut filled = 0;
        let mut entry = table.0.sgl;
        // Nothing but its documentation keeps the second call from giving more or fewer.
        for segment in backing.segments().take(count) {
            // SAFETY: `entry` is one of the `count` entries of the table, since no more than that
            // are taken. By the invariant of `Segment` the pages are there, and adjacent.
            unsafe {
                bindings::sg_set_page(
                    entry,
                    segment
                        .run
                        .as_ptr()
                        .add(segment.offset as usize / PAGE_SIZE),
                    segment.len,
                    segment.offset % PAGE_SIZE as u32,
                );
                entry = bindings::sg_next(entry);
            }
            filled += 1;
        }
        if filled == count {
            Ok(table)
        } else {
            Err(EINVAL)
        }
    }
}

impl<B: Backing> DeviceTable<B> {
    /// Maps `backing` for the device of an importer.
    pub(super) fn new(
        backing: Arc<B>,
        dev: ARef<Device>,
        direction: DataDirection,
    ) -> Result<KBox<Self>> {
        let place = KBox::new_uninit(GFP_KERNEL)?;
        let mut table = Unmapped::new(&*backing)?;

        // SAFETY: The table is valid, and its pages stay for as long as `backing` does. The device
        // is one that an importer attached: it can do DMA.
        to_result(unsafe {
            bindings::dma_map_sgtable(dev.as_raw(), &mut table.0, direction.into(), 0)
        })?;
        // The drop of `DeviceTable` frees it from here on.
        let table = ManuallyDrop::new(table);
        // INVARIANT: The table was just made of segments of `backing`, and mapped.
        Ok(place.write(Self {
            raw: table.0,
            dev,
            direction,
            backing,
        }))
    }

    /// The addresses, as runs that are contiguous for the device.
    pub fn sg_table(&self) -> &SGTable {
        // SAFETY: By the type invariant the table is valid as long as `self`, and does not change.
        unsafe { SGTable::from_raw((&raw const self.raw).cast_mut()) }
    }

    /// The memory that is mapped.
    pub fn backing(&self) -> &Arc<B> {
        &self.backing
    }

    /// Whether this was mapped for that device and direction.
    pub(super) fn is_for(&self, dev: &Device, direction: DataDirection) -> bool {
        ptr::eq(self.dev.as_raw(), dev.as_raw()) && self.direction == direction
    }

    /// Hands the table over to the dma-buf core.
    pub(super) fn into_raw(this: KBox<Self>) -> *mut bindings::sg_table {
        KBox::into_raw(this).cast()
    }

    /// Takes the table back.
    ///
    /// # Safety
    ///
    /// `raw` must come from [`into_raw`](Self::into_raw) of the same type, and not be used again.
    pub(super) unsafe fn from_raw(raw: *mut bindings::sg_table) -> KBox<Self> {
        // SAFETY: By the requirement, this is the pointer to a box of that type: `raw` is the first
        // member of a `repr(C)` struct.
        unsafe { KBox::from_raw(raw.cast()) }
    }
}

impl<B: Backing> Drop for DeviceTable<B> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the table is mapped, for this device and direction.
        unsafe {
            bindings::dma_unmap_sgtable(self.dev.as_raw(), &mut self.raw, self.direction.into(), 0)
        };
        // SAFETY: The table was allocated, and nothing refers to it any more.
        unsafe { bindings::sg_free_table(&mut self.raw) };
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_dma_buf_table)]
mod tests {
    use super::*;
    use crate::sync::atomic::{Atomic, Relaxed};

    /// Says that it has one segment more, or fewer, each time that it is asked.
    struct Fickle {
        run: PageRun,
        more: bool,
        asked: Atomic<u32>,
    }

    impl Backing for Fickle {
        fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
            let asked = self.asked.fetch_add(1, Relaxed);
            let count = if self.more { 2 + asked } else { 2 - asked };
            (0..count).map(|_| Segment::whole(&self.run))
        }
    }

    #[test]
    fn segments_stay_inside_of_their_run() -> Result {
        let run = PageRun::new(2, GFP_KERNEL)?;
        let size = 2 * PAGE_SIZE as u32;
        for (offset, len) in [(0, size), (0, 1), (size - 1, 1), (512, size - 512)] {
            assert!(Segment::new(&run, offset, len).is_ok());
        }
        for (offset, len) in [
            (0, 0),
            (0, size + 1),
            (size, 1),
            (1, size),
            (u32::MAX, u32::MAX),
        ] {
            assert!(Segment::new(&run, offset, len).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_backing_that_changes_its_mind_does_no_harm() -> Result {
        for (more, works) in [(true, true), (false, false)] {
            let fickle = Fickle {
                run: PageRun::new(1, GFP_KERNEL)?,
                more,
                asked: Atomic::new(0),
            };
            assert_eq!(Unmapped::new(&fickle).is_ok(), works);
        }
        Ok(())
    }
}
