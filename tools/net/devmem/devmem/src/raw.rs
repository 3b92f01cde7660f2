// SPDX-License-Identifier: GPL-2.0
//! The two system calls with nothing in between: for tests of the kernel and
//! for programs that do their own accounting.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use libc::c_int;
use zerocopy::IntoBytes;

use crate::abi::DmabufToken;
use crate::control::ControlMessages;
use crate::sys;

/// What [`recvmsg`] returns.
#[derive(Debug)]
pub struct RawMessage<'a> {
    /// Bytes of the stream, in host and device memory together.
    pub bytes: usize,
    /// `msg_flags`.
    pub flags: c_int,
    /// The used part of the control buffer.
    pub control: &'a [u8],
}

impl<'a> RawMessage<'a> {
    /// Goes through the control messages. Tokens in them are the caller's to
    /// [`release`].
    pub fn messages(&self) -> ControlMessages<'a> {
        ControlMessages::new(self.control)
    }
}

/// `recvmsg(2)` with exactly these flags and buffers. `control` is in words of
/// 8 bytes; 5 of them hold one device-memory message on a 64-bit machine.
///
/// # Errors
/// As `recvmsg(2)`; the errno is the kernel's, also where libc has no name for
/// it ([`ETOOSMALL`](crate::abi::ETOOSMALL)).
pub fn recvmsg<'a>(
    socket: impl AsFd,
    data: &mut [u8],
    control: &'a mut [u64],
    flags: c_int,
) -> io::Result<RawMessage<'a>> {
    let message = sys::recvmsg(socket.as_fd(), data, control, flags)?;
    Ok(RawMessage {
        bytes: message.bytes,
        flags: message.flags,
        control: &control.as_bytes()[..message.control],
    })
}

/// `setsockopt(SO_DEVMEM_DONTNEED)` with exactly these ranges; returns how
/// many frags were freed. Unknown tokens count 0; beyond
/// [`MAX_DONTNEED_FRAGS`](crate::abi::MAX_DONTNEED_FRAGS) the kernel stops and
/// the rest stays with the caller.
///
/// # Errors
/// `EINVAL` for no range or more than
/// [`MAX_DONTNEED_TOKENS`](crate::abi::MAX_DONTNEED_TOKENS), `EBADF` on a
/// socket that is not TCP.
pub fn release(socket: impl AsFd, tokens: &[DmabufToken]) -> io::Result<u32> {
    sys::devmem_dontneed(socket.as_fd(), tokens)
}

/// `UDMABUF_CREATE_LIST` through an open `/dev/udmabuf`: makes one dma-buf of
/// `(offset, size)` pieces of a memfd, in this order, both in bytes and
/// multiples of the page size.
///
/// # Errors
/// As the ioctl.
pub fn udmabuf_from_pieces(
    device: impl AsFd,
    memfd: impl AsFd,
    pieces: impl IntoIterator<Item = (u64, u64)>,
) -> io::Result<OwnedFd> {
    crate::udmabuf::create(device.as_fd(), memfd.as_fd(), pieces)
}
