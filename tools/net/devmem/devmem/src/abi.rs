// SPDX-License-Identifier: GPL-2.0
//! The kernel's user-space ABI for device memory TCP: numbers and structures
//! of `linux/uio.h`, `asm-generic/socket.h`, `linux/udmabuf.h` and
//! `linux/dma-buf.h`.

use libc::c_int;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `recvmsg` flag: the caller takes payload that lies in device memory.
pub const MSG_SOCK_DEVMEM: c_int = 0x200_0000;
/// Control message at `SOL_SOCKET`: bytes that were copied to the iov although
/// the rest of their segment lies in device memory.
pub const SCM_DEVMEM_LINEAR: c_int = 78;
/// Control message at `SOL_SOCKET`: bytes that lie in the dma-buf.
pub const SCM_DEVMEM_DMABUF: c_int = 79;
/// Socket option at `SOL_SOCKET`: gives tokens back.
pub const SO_DEVMEM_DONTNEED: c_int = 80;

/// The most [`DmabufToken`]s one `SO_DEVMEM_DONTNEED` call takes.
pub const MAX_DONTNEED_TOKENS: usize = 128;
/// The most frags one `SO_DEVMEM_DONTNEED` call frees.
pub const MAX_DONTNEED_FRAGS: u32 = 1024;

/// `recvmsg` errno when not even one control message fits. The kernel's
/// internal number reaches user space; libc has no name for it.
pub const ETOOSMALL: c_int = 525;

/// `struct dmabuf_cmsg`: the body of both `SCM_DEVMEM_*` control messages.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DmabufCmsg {
    /// Where the frag starts in the dma-buf, in bytes. 0 for linear pieces.
    pub frag_offset: u64,
    /// Bytes.
    pub frag_size: u32,
    /// Names the frag in `SO_DEVMEM_DONTNEED`. 0 for linear pieces.
    pub frag_token: u32,
    /// The binding that the frag lies in. 0 for linear pieces.
    pub dmabuf_id: u32,
    /// Not used yet.
    pub flags: u32,
}

/// `struct dmabuf_token`: a run of consecutive tokens.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DmabufToken {
    /// First token.
    pub token_start: u32,
    /// How many.
    pub token_count: u32,
}

/// `struct udmabuf_create_item`: one piece of a memfd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct UdmabufItem {
    pub memfd: u32,
    pub pad: u32,
    /// Bytes, a multiple of the page size.
    pub offset: u64,
    /// Bytes, a multiple of the page size.
    pub size: u64,
}

/// `UDMABUF_FLAGS_CLOEXEC`.
pub(crate) const UDMABUF_FLAGS_CLOEXEC: u32 = 1;

/// `struct udmabuf_create_list` without its trailing array.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct UdmabufListHead {
    pub flags: u32,
    pub count: u32,
}

/// `struct dma_buf_sync`.
#[repr(C)]
pub(crate) struct DmaBufSync {
    pub flags: u64,
}

/// `DMA_BUF_SYNC_READ`.
pub(crate) const DMA_BUF_SYNC_READ: u64 = 1;
/// `DMA_BUF_SYNC_END`; its absence means start.
pub(crate) const DMA_BUF_SYNC_END: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_headers() {
        assert_eq!(size_of::<DmabufCmsg>(), 24);
        assert_eq!(size_of::<DmabufToken>(), 8);
        assert_eq!(size_of::<UdmabufItem>(), 24);
        assert_eq!(size_of::<UdmabufListHead>(), 8);
        assert_eq!(size_of::<DmaBufSync>(), 8);
    }
}
