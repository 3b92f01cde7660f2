// SPDX-License-Identifier: GPL-2.0

//! Shared DMA buffers, from the importer's side.
//!
//! Three types, each of which owns the one before it: a [`DmaBuf`] is a reference on the buffer,
//! an [`Attachment`] ties it to the device that will access it, a [`Mapping`] has the addresses for
//! that device. Dropping one undoes its step and then drops what it owns, so there is no order to
//! get wrong.
//!
//! All of it is for process context: attaching, mapping, their opposites and the last put may
//! sleep. Use [`Deferred`](crate::deferred::Deferred) where the last owner may die elsewhere.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use crate::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::{from_err_ptr, Result},
    prelude::*,
    scatterlist::SGTable,
    str::CStr,
    sync::aref::ARef,
};
use core::ptr::NonNull;

/// A counted reference on a dma-buf.
///
/// # Invariants
///
/// `ptr` is valid, and this object owns one reference on its file.
pub struct DmaBuf {
    ptr: NonNull<bindings::dma_buf>,
}

// SAFETY: References on a dma-buf may be held and put by any thread.
unsafe impl Send for DmaBuf {}

// SAFETY: What is offered through `&DmaBuf` reads fields that never change.
unsafe impl Sync for DmaBuf {}

impl DmaBuf {
    /// Takes a reference on the dma-buf behind the file descriptor `fd` of the current task.
    ///
    /// # Errors
    ///
    /// `EBADF` if `fd` is not open, `EINVAL` if it is something else than a dma-buf.
    pub fn from_fd(fd: u32) -> Result<Self> {
        // SAFETY: Has no requirements; takes any number. CAST: File descriptors are C ints; one
        // that does not fit becomes negative, which no task has open.
        let ptr = from_err_ptr(unsafe { bindings::dma_buf_get(fd as c_int) })?;
        // INVARIANT: `dma_buf_get` returned a valid pointer and a reference with it.
        NonNull::new(ptr).map(|ptr| Self { ptr }).ok_or(EINVAL)
    }

    /// Size of the buffer in bytes.
    pub fn size(&self) -> usize {
        // SAFETY: The pointer is valid by the type invariant; the size of a dma-buf is fixed.
        unsafe { (*self.ptr.as_ptr()).size }
    }

    /// Inode number, by which `/proc/*/fdinfo` and debugfs know the buffer.
    pub fn inode(&self) -> u64 {
        // SAFETY: The pointer is valid, and a dma-buf has a file with an inode.
        unsafe { bindings::dma_buf_inode(self.ptr.as_ptr()) }
    }

    /// Name of the exporter.
    pub fn exporter_name(&self) -> &CStr {
        // SAFETY: The name is set before a dma-buf can be had, and belongs to the exporter's
        // module, of which the dma-buf holds a reference.
        unsafe { CStr::from_char_ptr(bindings::dma_buf_exporter_name(self.ptr.as_ptr())) }
    }

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

impl Drop for DmaBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to put.
        unsafe { bindings::dma_buf_put(self.ptr.as_ptr()) };
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
