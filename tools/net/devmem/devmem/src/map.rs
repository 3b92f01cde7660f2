// SPDX-License-Identifier: GPL-2.0
//! Looking into a dma-buf with the CPU.

use std::os::fd::{AsFd, OwnedFd};

use crate::abi::{DMA_BUF_SYNC_END, DMA_BUF_SYNC_READ};
use crate::error::{Error, Result};
use crate::release::Frag;
use crate::sys::{self, SharedMap};

/// A read-only mapping of a dma-buf. Exporters of memory that a CPU cannot
/// reach refuse it.
#[derive(Debug)]
pub struct DmabufMap {
    fd: OwnedFd,
    map: SharedMap,
}

impl DmabufMap {
    /// Maps the first `size` bytes.
    ///
    /// # Errors
    /// As `mmap(2)`.
    pub fn new(dmabuf: impl AsFd, size: usize) -> Result<Self> {
        let fd = dmabuf.as_fd().try_clone_to_owned()?;
        let map = SharedMap::new(fd.as_fd(), size).map_err(Error::os("mmap of the dma-buf"))?;
        Ok(Self { fd, map })
    }

    /// Bytes in the mapping.
    pub fn size(&self) -> usize {
        self.map.len()
    }

    /// Tells the exporter that the CPU is going to read, which on machines
    /// without coherent DMA updates caches. Ends when the guard is dropped.
    ///
    /// # Errors
    /// As `DMA_BUF_IOCTL_SYNC`.
    pub fn begin_read(&self) -> Result<CpuAccess<'_>> {
        sys::dma_buf_sync(self.fd.as_fd(), DMA_BUF_SYNC_READ)
            .map_err(Error::os("DMA_BUF_IOCTL_SYNC"))?;
        Ok(CpuAccess { map: self })
    }
}

/// The CPU may read the dma-buf.
#[derive(Debug)]
pub struct CpuAccess<'a> {
    map: &'a DmabufMap,
}

impl CpuAccess<'_> {
    /// Copies `dst.len()` bytes from `offset`. Memory that is not held by a
    /// [`Frag`] may change at any time.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if they are not all in the mapping.
    pub fn read(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let done = usize::try_from(offset).is_ok_and(|offset| self.map.map.copy_out(offset, dst));
        done.then_some(()).ok_or(Error::OutOfRange {
            offset,
            len: dst.len(),
            size: self.map.size(),
        })
    }

    /// Copies all bytes of a frag to the end of `dst`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn append_frag(&self, frag: &Frag, dst: &mut Vec<u8>) -> Result<()> {
        let start = dst.len();
        dst.resize(start + frag.len(), 0);
        self.read(frag.offset(), &mut dst[start..])
            .inspect_err(|_| dst.truncate(start))
    }
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        let _ = sys::dma_buf_sync(self.map.fd.as_fd(), DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_dmabuf_cannot_be_synced() {
        let fd =
            nix::sys::memfd::memfd_create(c"devmem-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
                .unwrap();
        nix::unistd::ftruncate(&fd, 4096).unwrap();
        let map = DmabufMap::new(&fd, 4096).unwrap();
        assert_eq!(map.size(), 4096);
        assert_eq!(map.begin_read().unwrap_err().errno(), Some(libc::ENOTTY));
    }
}
