// SPDX-License-Identifier: GPL-2.0
//! The crate's only `unsafe`: system calls that no safe wrapper covers, reads
//! of memory that a device may write at the same time, and taking descriptors
//! that a parent process left for us.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void};
use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use zerocopy::IntoBytes;

use crate::abi::{DmaBufSync, DmabufToken, SO_DEVMEM_DONTNEED, UdmabufItem, UdmabufListHead};

/// What one `recvmsg` left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    /// Payload bytes, in host and device memory together.
    pub bytes: usize,
    /// Bytes used in the control buffer.
    pub control: usize,
    /// `msg_flags`.
    pub flags: c_int,
}

/// `recvmsg(2)` with one data and one control buffer. The control buffer is
/// made of words because the kernel aligns headers to them.
pub(crate) fn recvmsg(
    fd: BorrowedFd<'_>,
    data: &mut [u8],
    control: &mut [u64],
    flags: c_int,
) -> io::Result<Message> {
    let control_len = size_of_val(control);
    let mut iov = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = control_len;
    loop {
        // SAFETY: `iov` and `control` describe memory that this function
        // borrows mutably for the whole call; the kernel writes within it.
        let n = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut msg, flags) };
        if let Ok(bytes) = usize::try_from(n) {
            return Ok(Message {
                bytes,
                control: msg.msg_controllen.min(control_len),
                flags: msg.msg_flags,
            });
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err);
        }
        msg.msg_controllen = control_len;
    }
}

/// A generic netlink socket with extended acknowledgments.
pub(crate) fn netlink_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_GENERIC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made the descriptor, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: c_int = 1;
    // SAFETY: the pointer and the length are those of `on`, which the kernel
    // only reads.
    let n = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// `setsockopt(SO_DEVMEM_DONTNEED)`; returns how many frags the kernel freed.
/// Safe wrappers drop a positive return value, hence this one.
pub(crate) fn devmem_dontneed(fd: BorrowedFd<'_>, tokens: &[DmabufToken]) -> io::Result<u32> {
    let len = libc::socklen_t::try_from(size_of_val(tokens))
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the pointer and the length come from one live slice, which the
    // kernel only reads.
    let n = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_DEVMEM_DONTNEED,
            tokens.as_ptr().cast(),
            len,
        )
    };
    u32::try_from(n).map_err(|_| io::Error::last_os_error())
}

nix::ioctl_write_ptr!(dma_buf_ioctl_sync, b'b', 0, DmaBufSync);

/// `UDMABUF_CREATE_LIST`: makes a dma-buf of pieces of memfds, in this order.
pub(crate) fn udmabuf_create_list(
    ctl: BorrowedFd<'_>,
    flags: u32,
    items: &[UdmabufItem],
) -> io::Result<OwnedFd> {
    let count =
        u32::try_from(items.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let mut arg = Vec::with_capacity(size_of::<UdmabufListHead>() + size_of_val(items));
    arg.extend_from_slice(UdmabufListHead { flags, count }.as_bytes());
    arg.extend_from_slice(items.as_bytes());
    let request = nix::request_code_write!(b'u', 0x43, size_of::<UdmabufListHead>());
    // SAFETY: the kernel reads a head and `count` items from `arg`, which
    // holds exactly those.
    let fd = unsafe { libc::ioctl(ctl.as_raw_fd(), request as _, arg.as_ptr().cast::<c_void>()) };
    let fd: RawFd = Errno::result(fd)?;
    // SAFETY: the ioctl returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `DMA_BUF_IOCTL_SYNC`, repeated where the exporter asks for it.
pub(crate) fn dma_buf_sync(fd: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    let arg = DmaBufSync { flags };
    loop {
        // SAFETY: `arg` is a valid `struct dma_buf_sync` for the whole call.
        match unsafe { dma_buf_ioctl_sync(fd.as_raw_fd(), &raw const arg) } {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(err) => return Err(err.into()),
        }
    }
}

/// Takes descriptors that a parent process opened for this one, and marks them
/// close-on-exec. It does so once in the life of the process; later calls get
/// nothing, so none of them has two owners here.
pub(crate) fn adopt_inherited<const N: usize>(
    numbers: [Option<RawFd>; N],
) -> io::Result<Option<[Option<OwnedFd>; N]>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let bad = || io::Error::from_raw_os_error(libc::EBADF);
    for (i, fd) in numbers.iter().enumerate() {
        let Some(fd) = *fd else { continue };
        // The standard streams have owners, and so has the first of a pair.
        if fd <= libc::STDERR_FILENO || numbers[..i].contains(&Some(fd)) {
            return Err(bad());
        }
        // SAFETY: fcntl with F_GETFD takes any number; it changes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    for fd in numbers.iter().flatten() {
        // SAFETY: the descriptor is open, and F_SETFD only changes its flag.
        if unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let own = |fd: RawFd| {
        // SAFETY: it is open, as checked above. Whoever names it in the
        // environment hands its ownership to this process, and `TAKEN` keeps
        // this function from giving it out twice.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    Ok(Some(numbers.map(|fd| fd.map(own))))
}

/// Tells tokio to wait for a receiver's socket to become readable.
#[cfg(feature = "tokio")]
pub(crate) fn register_readable(
    receiver: crate::Receiver,
) -> io::Result<tokio::io::unix::AsyncFd<crate::Receiver>> {
    use tokio::io::{Interest, unix::AsyncFd};
    // SAFETY: a receiver returns the same descriptor for as long as it lives:
    // that of the socket in its releaser, which nothing replaces or closes
    // before, and which is closed only after `AsyncFd` has let go of it.
    let registered = unsafe { AsyncFd::register_with_interest(receiver, Interest::READABLE) };
    registered.map_err(Into::into)
}

/// A read-only shared mapping of memory that others (a NIC, another process)
/// may write. It hands out copies, never references.
#[derive(Debug)]
pub(crate) struct SharedMap {
    map: MmapRaw,
}

impl SharedMap {
    /// Maps the first `len` bytes of a descriptor.
    pub fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .len(len)
            .map_raw_read_only(fd.as_raw_fd())?;
        Ok(Self { map })
    }

    /// Bytes in the mapping.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Copies `dst.len()` bytes from `offset`; `false`, and nothing copied, if
    /// they are not all in the mapping.
    pub fn copy_out(&self, offset: usize, dst: &mut [u8]) -> bool {
        match offset.checked_add(dst.len()) {
            Some(end) if end <= self.map.len() => {}
            _ => return false,
        }
        // SAFETY: `offset <= len` was checked above, so the result stays
        // within the mapping or at its end.
        let start = unsafe { self.map.as_ptr().add(offset) };
        let head = start.align_offset(size_of::<u64>()).min(dst.len());
        let (head, rest) = dst.split_at_mut(head);
        let (body, tail) = rest.split_at_mut(rest.len() - rest.len() % size_of::<u64>());
        let body_start = start.wrapping_add(head.len());
        let tail_start = body_start.wrapping_add(body.len());
        copy_bytes(start, head);
        for (i, word) in body.chunks_exact_mut(size_of::<u64>()).enumerate() {
            // SAFETY: `head` made the address a multiple of 8, and `body` lies
            // within the checked range. Volatile, because a device may write
            // this memory: any value may be read, and no other promise is made.
            let value = unsafe { body_start.cast::<u64>().add(i).read_volatile() };
            word.copy_from_slice(&value.to_ne_bytes());
        }
        copy_bytes(tail_start, tail);
        true
    }
}

/// Copies single bytes; for the unaligned ends of [`SharedMap::copy_out`],
/// which has checked that `src .. src + dst.len()` is mapped.
fn copy_bytes(src: *const u8, dst: &mut [u8]) {
    for (i, byte) in dst.iter_mut().enumerate() {
        // SAFETY: the only caller passes ranges that it has checked to lie in
        // a live mapping. Volatile for the reason given there.
        *byte = unsafe { src.add(i).read_volatile() };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    fn map_of(content: &[u8]) -> SharedMap {
        let fd =
            nix::sys::memfd::memfd_create(c"devmem-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
                .unwrap();
        let mut file = std::fs::File::from(fd);
        file.write_all(content).unwrap();
        SharedMap::new(file.as_fd(), content.len()).unwrap()
    }

    #[test]
    fn copies_every_alignment_and_length() {
        let content: Vec<u8> = (0..=255).collect();
        let map = map_of(&content);
        assert_eq!(map.len(), 256);
        for offset in 0..24 {
            for len in 0..40 {
                let mut dst = vec![0xaa; len];
                assert!(map.copy_out(offset, &mut dst));
                assert_eq!(dst, content[offset..offset + len], "{offset} {len}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_mapped() {
        let map = map_of(&[7; 64]);
        let mut dst = [1; 8];
        assert!(map.copy_out(56, &mut dst));
        assert_eq!(dst, [7; 8]);
        let mut dst = [1; 8];
        assert!(!map.copy_out(57, &mut dst));
        assert!(!map.copy_out(usize::MAX, &mut dst));
        assert_eq!(dst, [1; 8]);
        assert!(map.copy_out(64, &mut []));
    }

    #[test]
    fn inherited_descriptors_are_taken_once_and_only_if_good() {
        use std::os::fd::IntoRawFd;
        assert!(adopt_inherited([Some(1)]).is_err());
        assert!(adopt_inherited([Some(1 << 20)]).is_err());
        let file = || std::fs::File::open("/dev/null").unwrap().into_raw_fd();
        let one = file();
        assert!(adopt_inherited([Some(one), Some(one)]).is_err());
        let taken = adopt_inherited([Some(one), None]).unwrap().unwrap();
        assert_eq!(taken[0].as_ref().unwrap().as_raw_fd(), one);
        assert!(taken[1].is_none());
        assert!(adopt_inherited([Some(one)]).unwrap().is_none());
    }

    #[test]
    fn recvmsg_fills_data_and_reports_no_control() {
        let (a, mut b) = std::os::unix::net::UnixStream::pair().unwrap();
        b.write_all(b"hello").unwrap();
        let mut data = [0; 16];
        let mut control = [0; 8];
        let msg = recvmsg(a.as_fd(), &mut data, &mut control, 0).unwrap();
        assert_eq!((msg.bytes, msg.control), (5, 0));
        assert_eq!(&data[..5], b"hello");
        let err = recvmsg(a.as_fd(), &mut data, &mut control, libc::MSG_DONTWAIT).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::WouldBlock);
    }
}
