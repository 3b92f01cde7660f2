// SPDX-License-Identifier: GPL-2.0

//! Shared DMA buffers, from the importer's side.
//!
//! Three types, each of which owns the one before it: a [`DmaBuf`] is a reference on the buffer,
//! an [`Attachment`] ties it to the device that will access it, a [`Mapping`] has the addresses for
//! that device. Dropping one undoes its step and then drops what it owns, so there is no order to
//! get wrong.

use super::DmaBuf;
use crate::{
    bindings, device::Device, dma::DataDirection, error::from_err_ptr, prelude::*,
    scatterlist::SGTable, sync::aref::ARef,
};
use core::ptr::NonNull;

impl DmaBuf {
    /// Declares that `dev` is going to access the buffer.
    ///
    /// The attachment holds a reference on `dev`, so it can be undone after the device is gone.
    ///
    /// # Errors
    ///
    /// What the exporter says, `ENOMEM`.
    pub fn attach(self, dev: &Device) -> Result<Attachment> {
        // SAFETY: Both pointers are valid.
        let raw = unsafe { bindings::dma_buf_attach(self.ptr.as_ptr(), dev.as_raw()) };
        let raw = from_err_ptr(raw)?;
        // INVARIANT: `dma_buf_attach` returned a valid attachment of `self` to `dev`.
        Ok(Attachment {
            raw: NonNull::new(raw).ok_or(EINVAL)?,
            buf: self,
            dev: dev.into(),
        })
    }
}

/// A dma-buf that is attached to a device.
///
/// # Invariants
///
/// `raw` is an attachment of `buf` to `dev`, and this object's to detach.
pub struct Attachment {
    raw: NonNull<bindings::dma_buf_attachment>,
    buf: DmaBuf,
    dev: ARef<Device>,
}

// SAFETY: An attachment may be used and undone by any thread.
unsafe impl Send for Attachment {}

// SAFETY: Nothing can be changed through `&Attachment`.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Maps the buffer for DMA in `direction`, and waits until the exporter allows access.
    ///
    /// # Errors
    ///
    /// What the exporter says, `ENOMEM`, `EINTR`.
    pub fn map(self, direction: DataDirection) -> Result<Mapping> {
        let raw_dir = bindings::dma_data_direction::from(direction);
        // SAFETY: The attachment is valid, and no reservation lock is held through safe code.
        let sgt = from_err_ptr(unsafe {
            bindings::dma_buf_map_attachment_unlocked(self.raw.as_ptr(), raw_dir)
        })?;
        // INVARIANT: `sgt` is the mapping of `self` that was just made.
        Ok(Mapping {
            sgt: NonNull::new(sgt).ok_or(ENOMEM)?,
            direction,
            attachment: self,
        })
    }

    /// The buffer that is attached.
    pub fn dma_buf(&self) -> &DmaBuf {
        &self.buf
    }

    /// The device that it is attached to.
    pub fn device(&self) -> &Device {
        &self.dev
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the attachment is ours to detach, and no mapping of it is
        // left: a `Mapping` owns its attachment and unmaps first.
        unsafe { bindings::dma_buf_detach(self.buf.ptr.as_ptr(), self.raw.as_ptr()) };
    }
}

/// A dma-buf that is mapped for DMA by a device.
///
/// # Invariants
///
/// `sgt` is a mapping of `attachment` in `direction`, and this object's to undo.
pub struct Mapping {
    sgt: NonNull<bindings::sg_table>,
    direction: DataDirection,
    attachment: Attachment,
}

// SAFETY: A mapping may be used and undone by any thread.
unsafe impl Send for Mapping {}

// SAFETY: The table of a mapping does not change while it exists.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The addresses, as runs that are contiguous for the device.
    pub fn sg_table(&self) -> &SGTable {
        // SAFETY: By the type invariant the table is valid as long as `self`.
        unsafe { SGTable::from_raw(self.sgt.as_ptr()) }
    }

    /// The attachment that is mapped.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let raw_dir = bindings::dma_data_direction::from(self.direction);
        // SAFETY: By the type invariant this mapping exists and is ours to undo.
        unsafe {
            bindings::dma_buf_unmap_attachment_unlocked(
                self.attachment.raw.as_ptr(),
                self.sgt.as_ptr(),
                raw_dir,
            )
        };
    }
}
