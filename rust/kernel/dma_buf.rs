// SPDX-License-Identifier: GPL-2.0

//! Shared DMA buffers.
//!
//! A [`DmaBuf`] is a reference on a buffer. An importer [attaches](DmaBuf::attach) a device to it
//! and [maps](Attachment::map) it, to learn the addresses that the device may access. An exporter
//! makes one with [`DmaBuf::export`], from memory that [`pages`] describes.
//!
//! All of it is for process context: attaching, mapping, their opposites and the last put may
//! sleep. Use [`Deferred`](crate::deferred::Deferred) where the last owner may die elsewhere.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

pub mod exporter;
mod importer;
pub mod pages;
pub mod table;

pub use self::importer::{Attachment, Mapping};

use crate::{bindings, error::from_err_ptr, prelude::*};
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

    /// Name of the exporter, which never changes; what user space may call the buffer is another.
    pub fn exporter_name(&self) -> &CStr {
        // SAFETY: The name is set before a dma-buf can be had, and belongs to the exporter's
        // module, of which the dma-buf holds a reference.
        unsafe { CStr::from_char_ptr(bindings::dma_buf_exporter_name(self.ptr.as_ptr())) }
    }
}

impl Clone for DmaBuf {
    fn clone(&self) -> Self {
        // SAFETY: The dma-buf is valid.
        unsafe { bindings::get_dma_buf(self.ptr.as_ptr()) };
        // INVARIANT: The reference that was just taken.
        Self { ptr: self.ptr }
    }
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to put.
        unsafe { bindings::dma_buf_put(self.ptr.as_ptr()) };
    }
}
