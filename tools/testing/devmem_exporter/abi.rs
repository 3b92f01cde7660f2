// SPDX-License-Identifier: GPL-2.0

//! What user space and the device say to each other.
//!
//! Structures are in the machine's byte order, and have no padding.
//!
//! | call | argument | returns |
//! | --- | --- | --- |
//! | [`CREATE`] | `struct { u64 runs; u32 count; u32 flags; }` | the dma-buf's file descriptor |
//! | [`FAIL`] | `struct { u32 step; u32 error; }` | 0 |
//! | [`STATUS`] | [`Status`], written | 0 |
//! | [`SPOIL`] | | 0 |
//! | [`STALL`] | `struct { u32 ms; u32 zero; }` | 0 |
//!
//! `runs` is the address of `count` [`RunSpec`]s; `flags` may have [`FLAG_GUARD`] and
//! [`FLAG_SHORT`].

use kernel::{
    ioctl::{_IO, _IOR, _IOW},
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{UserSliceReader, UserSliceWriter},
};

const MAGIC: u32 = 0xde;

/// Make the buffer of this session.
pub(crate) const CREATE: u32 = _IOW::<[u64; 2]>(MAGIC, 0);
/// Let a step fail from now on, or not any more.
pub(crate) const FAIL: u32 = _IOW::<[u32; 2]>(MAGIC, 1);
/// Read the counts, and look for poison that was overwritten.
pub(crate) const STATUS: u32 = _IOR::<Status>(MAGIC, 2);
/// Write to the first page of the buffer and to the first guard page, as a device that is late or
/// goes too far would: shows that [`STATUS`] tells.
pub(crate) const SPOIL: u32 = _IO(MAGIC, 3);

/// Let an unmap take that many milliseconds from now on, [`MAX_STALL`] at most.
pub(crate) const STALL: u32 = _IOW::<[u32; 2]>(MAGIC, 4);

/// Longest time that an unmap can be asked to take, in milliseconds.
pub(crate) const MAX_STALL: u32 = 30_000;

/// Put a page with a known content after each run, so that no two runs are adjacent and a write
/// past the end of one shows.
pub(crate) const FLAG_GUARD: u32 = 1;
/// Say that the dma-buf is a page smaller than its runs.
pub(crate) const FLAG_SHORT: u32 = 2;

/// Most runs of a buffer.
pub(crate) const MAX_RUNS: u32 = 1 << 18;

/// A run of the buffer: contiguous for the device.
pub(crate) struct RunSpec {
    /// Length in pages.
    pub(crate) pages: u32,
    /// Bytes that the importer does not get to see, at the start.
    pub(crate) skip: u32,
    /// Bytes that it does not get to see, at the end.
    pub(crate) cut: u32,
    /// When the memory is allocated: runs with a lower one go first.
    pub(crate) turn: u32,
}

impl RunSpec {
    /// Reads the next run.
    pub(crate) fn read(reader: &mut UserSliceReader) -> Result<Self> {
        let [pages, skip, cut, turn] = reader.read()?;
        Ok(Self {
            pages,
            skip,
            cut,
            turn,
        })
    }

    /// Bytes that the importer gets to see.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are none.
    pub(crate) fn len(&self) -> Result<u32> {
        u32::try_from(PAGE_SIZE)?
            .checked_mul(self.pages)
            .and_then(|size| size.checked_sub(self.skip)?.checked_sub(self.cut))
            .filter(|&len| len != 0)
            .ok_or(EINVAL)
    }
}

/// A step of an importer that can fail.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Attach,
    Map,
}

impl TryFrom<u32> for Step {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Self::Attach),
            1 => Ok(Self::Map),
            _ => Err(EINVAL),
        }
    }
}

/// An errno value as user space gives it, 0 for none.
///
/// # Errors
///
/// `EINVAL` if there is no such value.
pub(crate) fn errno(number: u32) -> Result<i32> {
    const MAX_ERRNO: i32 = 4095;

    i32::try_from(number)
        .ok()
        .filter(|number| (0..=MAX_ERRNO).contains(number))
        .ok_or(EINVAL)
}

/// What happened to a buffer.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Status {
    /// Attachments that were made.
    pub(crate) attached: u64,
    /// Attachments that were refused.
    pub(crate) attach_failed: u64,
    /// Attachments that were undone.
    pub(crate) detached: u64,
    /// Mappings that were made.
    pub(crate) mapped: u64,
    /// Mappings that were refused.
    pub(crate) map_failed: u64,
    /// Mappings that were undone.
    pub(crate) unmapped: u64,
    /// Accesses by the CPU that were begun.
    pub(crate) cpu_begun: u64,
    /// Accesses by the CPU that were ended.
    pub(crate) cpu_ended: u64,
    /// How often the dma-buf was released.
    pub(crate) released: u64,
    /// Attachments and mappings that were left at that time.
    pub(crate) left_at_release: u64,
    /// Runs of the latest mapping, as the importer's device sees them.
    pub(crate) device_runs: u64,
    /// Words of 8 bytes that were written into guard pages.
    pub(crate) guard_overwritten: u64,
    /// Words of 8 bytes that were written after the release.
    pub(crate) poison_overwritten: u64,
}

impl Status {
    /// Writes all of it to user space.
    pub(crate) fn write(&self, writer: &mut UserSliceWriter) -> Result {
        let words: [u64; size_of::<Self>() / size_of::<u64>()] = [
            self.attached,
            self.attach_failed,
            self.detached,
            self.mapped,
            self.map_failed,
            self.unmapped,
            self.cpu_begun,
            self.cpu_ended,
            self.released,
            self.left_at_release,
            self.device_runs,
            self.guard_overwritten,
            self.poison_overwritten,
        ];
        writer.write(&words)
    }
}
