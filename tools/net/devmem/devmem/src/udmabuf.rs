// SPDX-License-Identifier: GPL-2.0
//! A dma-buf over ordinary memory.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{SysconfVar, ftruncate, sysconf};

use crate::abi::{UDMABUF_FLAGS_CLOEXEC, UdmabufItem};
use crate::error::{Error, Result};
use crate::map::DmabufMap;
use crate::sys;

/// How to make a [`Udmabuf`].
#[derive(Debug, Clone)]
pub struct UdmabufOptions {
    size: u64,
    pieces: u64,
    huge: bool,
}

impl UdmabufOptions {
    /// A dma-buf of `size` bytes in one piece.
    pub fn new(size: u64) -> Self {
        Self {
            size,
            pieces: 1,
            huge: false,
        }
    }

    /// Cuts the memory into this many pieces and lays them out last piece
    /// first, so that the dma-buf is not contiguous in the memfd. The kernel's
    /// limit is `udmabuf.list_limit` (1,024 unless changed).
    #[must_use]
    pub fn pieces(mut self, pieces: u64) -> Self {
        self.pieces = pieces.max(1);
        self
    }

    /// Takes the memory from the pool of huge pages.
    #[must_use]
    pub fn huge(mut self, huge: bool) -> Self {
        self.huge = huge;
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`Error::Size`] if the size does not suit; [`Error::Os`] naming the
    /// step: `/dev/udmabuf` may not exist (`CONFIG_UDMABUF`, `modprobe
    /// udmabuf`) or not be ours to open.
    pub fn create(&self) -> Result<Udmabuf> {
        let bad_size = |page| Error::Size {
            size: self.size,
            page,
        };
        let page = page_size()?;
        let length = usize::try_from(self.size).map_err(|_| bad_size(page))?;
        let length_signed = i64::try_from(self.size).map_err(|_| bad_size(page))?;
        if self.size == 0 || self.size % page != 0 {
            return Err(bad_size(page));
        }
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/udmabuf")
            .map_err(Error::os("open of /dev/udmabuf"))?;

        let mut flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        flags.set(MFdFlags::MFD_HUGETLB, self.huge);
        let memfd =
            memfd_create(c"devmem", flags).map_err(|err| Error::os("memfd_create")(err.into()))?;
        ftruncate(&memfd, length_signed)
            .map_err(|err| Error::os("ftruncate of the memfd")(err.into()))?;
        // udmabuf asks for this seal: its pages must not go away under it.
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))
            .map_err(|err| Error::os("sealing of the memfd")(err.into()))?;

        let layout = layout(self.size, self.pieces, page);
        let dmabuf = create(device.as_fd(), memfd.as_fd(), layout)
            .map_err(Error::os("ioctl(UDMABUF_CREATE_LIST)"))?;
        Ok(Udmabuf {
            memfd,
            dmabuf,
            length,
        })
    }
}

/// A dma-buf whose memory is a memfd. It stands in for device memory where no
/// device exports any.
#[derive(Debug)]
pub struct Udmabuf {
    memfd: OwnedFd,
    dmabuf: OwnedFd,
    length: usize,
}

impl Udmabuf {
    /// A dma-buf of `size` bytes, a multiple of the page size.
    ///
    /// # Errors
    /// As [`UdmabufOptions::create`].
    pub fn new(size: u64) -> Result<Self> {
        UdmabufOptions::new(size).create()
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.length
    }

    /// The memory behind it. Its offsets are the dma-buf's only if it was made
    /// in one piece.
    pub fn memfd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }

    /// Maps the whole dma-buf for reading.
    ///
    /// # Errors
    /// As [`DmabufMap::new`].
    pub fn map(&self) -> Result<DmabufMap> {
        DmabufMap::new(&self.dmabuf, self.length)
    }
}

impl AsFd for Udmabuf {
    /// The dma-buf.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dmabuf.as_fd()
    }
}

fn page_size() -> Result<u64> {
    let page = sysconf(SysconfVar::PAGE_SIZE).map_err(std::io::Error::from)?;
    Ok(page
        .and_then(|page| u64::try_from(page).ok())
        .unwrap_or(4096))
}

/// `(offset, size)` of each piece, last piece first. Fewer pieces than asked
/// for if there are not enough pages.
fn layout(size: u64, pieces: u64, page: u64) -> Vec<(u64, u64)> {
    let pages = size / page;
    let pieces = pieces.clamp(1, pages);
    (0..pieces)
        .rev()
        .map(|i| {
            let start = pages * i / pieces;
            let end = pages * (i + 1) / pieces;
            (start * page, (end - start) * page)
        })
        .collect()
}

pub(crate) fn create(
    device: BorrowedFd<'_>,
    memfd: BorrowedFd<'_>,
    pieces: impl IntoIterator<Item = (u64, u64)>,
) -> std::io::Result<OwnedFd> {
    // An open descriptor is not negative.
    let memfd = memfd.as_raw_fd().unsigned_abs();
    let items: Vec<UdmabufItem> = pieces
        .into_iter()
        .map(|(offset, size)| UdmabufItem {
            memfd,
            pad: 0,
            offset,
            size,
        })
        .collect();
    sys::udmabuf_create_list(device, UDMABUF_FLAGS_CLOEXEC, &items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_the_whole() {
        assert_eq!(layout(1 << 20, 1, 4096), [(0, 1 << 20)]);
    }

    #[test]
    fn pieces_cover_every_page_once() {
        for pieces in [1, 2, 3, 7, 16, 40] {
            let mut layout = layout(16 * 4096, pieces, 4096);
            assert_eq!(layout.len() as u64, pieces.min(16));
            assert!(layout.is_sorted_by(|a, b| a.0 > b.0));
            layout.reverse();
            let mut at = 0;
            for (offset, size) in layout {
                assert_eq!((offset, size % 4096), (at, 0));
                assert!(size > 0);
                at += size;
            }
            assert_eq!(at, 16 * 4096);
        }
    }

    #[test]
    fn odd_sizes_are_refused_before_anything_is_opened() {
        for size in [0, 1, 4095, u64::MAX] {
            let err = Udmabuf::new(size).unwrap_err();
            assert!(matches!(err, Error::Size { .. }), "{err}");
        }
    }
}
