// SPDX-License-Identifier: GPL-2.0
//! Reading the control messages that `recvmsg` returns.

use libc::c_int;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::abi::{DmabufCmsg, SCM_DEVMEM_DMABUF, SCM_DEVMEM_LINEAR};

/// `struct cmsghdr`.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    /// Bytes of header and body.
    len: usize,
    level: c_int,
    kind: c_int,
}

/// A flaw in a control buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Fewer bytes than the message's header, or its length, calls for.
    #[error("message at byte {at} is cut off")]
    Truncated {
        /// Byte offset of the message in the buffer.
        at: usize,
    },
    /// The length in a header does not even cover the header.
    #[error("message at byte {at} gives its length as {len}")]
    BadLength {
        /// Byte offset of the message in the buffer.
        at: usize,
        /// The length it gives.
        len: usize,
    },
    /// The pieces do not add up to the bytes that the call returned.
    #[error("pieces of {pieces} bytes in a message of {bytes} bytes")]
    BadSum {
        /// Sum of the pieces.
        pieces: u64,
        /// What `recvmsg` returned.
        bytes: usize,
    },
    /// The kernel says that it had to drop control messages (`MSG_CTRUNC`):
    /// frags may be lost.
    #[error("control messages were dropped (MSG_CTRUNC)")]
    Dropped,
}

/// One control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlItem {
    /// Bytes in the iov.
    Linear {
        /// How many.
        len: u32,
    },
    /// Bytes in a dma-buf.
    Dmabuf(DmabufCmsg),
    /// Something that is not about device memory (timestamps and the like).
    Other {
        /// `cmsg_level`.
        level: c_int,
        /// `cmsg_type`.
        kind: c_int,
    },
}

/// Goes through a control buffer. After an error it ends.
#[derive(Debug, Clone)]
pub struct ControlMessages<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl<'a> ControlMessages<'a> {
    /// Takes the used part of a control buffer, which starts with a header.
    pub fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    fn parse(&mut self) -> Result<ControlItem, ControlError> {
        let at = self.at;
        let rest = &self.buffer[at..];
        // Ended unless all of this message is good.
        self.at = self.buffer.len();
        let (header, body) =
            Header::read_from_prefix(rest).map_err(|_| ControlError::Truncated { at })?;
        let Some(body_len) = header.len.checked_sub(size_of::<Header>()) else {
            return Err(ControlError::BadLength {
                at,
                len: header.len,
            });
        };
        let body = body.get(..body_len).ok_or(ControlError::Truncated { at })?;
        let item = match (header.level, header.kind) {
            (libc::SOL_SOCKET, SCM_DEVMEM_LINEAR) => ControlItem::Linear {
                len: devmem_body(body, at)?.frag_size,
            },
            (libc::SOL_SOCKET, SCM_DEVMEM_DMABUF) => ControlItem::Dmabuf(devmem_body(body, at)?),
            (level, kind) => ControlItem::Other { level, kind },
        };
        // The last message may lack its padding.
        let step = header.len.next_multiple_of(size_of::<usize>());
        self.at = at.saturating_add(step).min(self.buffer.len());
        Ok(item)
    }
}

/// A longer body than we know is one of a later kernel: its start is the same.
fn devmem_body(body: &[u8], at: usize) -> Result<DmabufCmsg, ControlError> {
    let (cmsg, _) =
        DmabufCmsg::read_from_prefix(body).map_err(|_| ControlError::Truncated { at })?;
    Ok(cmsg)
}

impl Iterator for ControlMessages<'_> {
    type Item = Result<ControlItem, ControlError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.at < self.buffer.len()).then(|| self.parse())
    }
}

/// Bytes that one `SCM_DEVMEM_*` message takes in a control buffer.
pub(crate) const fn devmem_message_space() -> usize {
    (size_of::<Header>() + size_of::<DmabufCmsg>()).next_multiple_of(size_of::<usize>())
}

#[cfg(test)]
pub(crate) mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    /// Appends a message as the kernel's `put_cmsg` lays it out.
    pub(crate) fn put(buffer: &mut Vec<u8>, level: c_int, kind: c_int, body: &[u8]) {
        let len = size_of::<Header>() + body.len();
        buffer.extend(len.to_ne_bytes());
        buffer.extend(level.to_ne_bytes());
        buffer.extend(kind.to_ne_bytes());
        buffer.extend(body);
        buffer.resize(buffer.len().next_multiple_of(size_of::<usize>()), 0);
    }

    pub(crate) fn put_dmabuf(buffer: &mut Vec<u8>, frag_offset: u64, frag_size: u32, token: u32) {
        let cmsg = DmabufCmsg {
            frag_offset,
            frag_size,
            frag_token: token,
            dmabuf_id: 9,
            flags: 0,
        };
        put(buffer, libc::SOL_SOCKET, SCM_DEVMEM_DMABUF, cmsg.as_bytes());
    }

    pub(crate) fn put_linear(buffer: &mut Vec<u8>, frag_size: u32) {
        let cmsg = DmabufCmsg {
            frag_size,
            ..Default::default()
        };
        put(buffer, libc::SOL_SOCKET, SCM_DEVMEM_LINEAR, cmsg.as_bytes());
    }

    fn all(buffer: &[u8]) -> Vec<Result<ControlItem, ControlError>> {
        ControlMessages::new(buffer).collect()
    }

    #[test]
    fn a_message_takes_40_bytes_on_64_bit() {
        let mut buffer = Vec::new();
        put_linear(&mut buffer, 1);
        assert_eq!(buffer.len(), devmem_message_space());
        #[cfg(target_pointer_width = "64")]
        assert_eq!(devmem_message_space(), 40);
    }

    #[test]
    #[cfg(all(target_pointer_width = "64", target_endian = "little"))]
    fn reads_a_message_byte_by_byte() {
        // cmsg_len 40, SOL_SOCKET 1, type 79, then struct dmabuf_cmsg.
        #[rustfmt::skip]
        let bytes = [
            40, 0, 0, 0, 0, 0, 0, 0,  1, 0, 0, 0,  79, 0, 0, 0,
            0x00, 0x30, 0x02, 0, 1, 0, 0, 0,  0xa8, 0x05, 0, 0,
            0x11, 0x22, 0, 0,  3, 0, 0, 0,  0, 0, 0, 0,
        ];
        assert_eq!(
            all(&bytes),
            [Ok(ControlItem::Dmabuf(DmabufCmsg {
                frag_offset: 0x1_0002_3000,
                frag_size: 1448,
                frag_token: 0x2211,
                dmabuf_id: 3,
                flags: 0,
            }))]
        );
    }

    #[test]
    fn reads_messages_in_order_and_skips_strangers() {
        let mut buffer = Vec::new();
        put_linear(&mut buffer, 12);
        put(&mut buffer, libc::SOL_SOCKET, libc::SCM_TIMESTAMP, &[1; 13]);
        // Our number at another level is not ours.
        put(&mut buffer, libc::IPPROTO_TCP, SCM_DEVMEM_DMABUF, &[0; 4]);
        put_dmabuf(&mut buffer, 4096, 100, 5);
        let items: Vec<_> = all(&buffer).into_iter().map(Result::unwrap).collect();
        assert_eq!(items[0], ControlItem::Linear { len: 12 });
        assert!(matches!(items[1], ControlItem::Other { level, .. } if level == libc::SOL_SOCKET));
        assert!(matches!(items[2], ControlItem::Other { level, .. } if level == libc::IPPROTO_TCP));
        let place = |c: &DmabufCmsg| (c.frag_offset, c.frag_size, c.frag_token);
        assert!(matches!(&items[3], ControlItem::Dmabuf(c) if place(c) == (4096, 100, 5)));
        assert_eq!(items.len(), 4);
    }

    #[test]
    fn every_cut_is_seen_and_ends_it() {
        let mut buffer = Vec::new();
        put_dmabuf(&mut buffer, 0, 1, 1);
        let one = buffer.len();
        put_dmabuf(&mut buffer, 4096, 1, 2);
        for cut in one + 1..buffer.len() {
            let items = all(&buffer[..cut]);
            assert_eq!(items.len(), 2, "cut at {cut}");
            assert!(items[0].is_ok());
            assert_eq!(items[1], Err(ControlError::Truncated { at: one }));
        }
        assert_eq!(all(&buffer[..one]).len(), 1);
        assert!(all(&[]).is_empty());
    }

    #[test]
    fn a_missing_tail_padding_is_no_cut() {
        let mut buffer = Vec::new();
        put_linear(&mut buffer, 3);
        put(&mut buffer, libc::SOL_SOCKET, libc::SCM_TIMESTAMP, &[1; 13]);
        buffer.truncate(buffer.len() - 3);
        assert!(all(&buffer).iter().all(Result::is_ok));
        assert_eq!(all(&buffer).len(), 2);
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        for len in [0usize, 15] {
            let mut buffer = Vec::new();
            put_linear(&mut buffer, 3);
            buffer[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(all(&buffer), [Err(ControlError::BadLength { at: 0, len })]);
        }
        let mut buffer = Vec::new();
        put_linear(&mut buffer, 3);
        buffer[..size_of::<usize>()].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(all(&buffer), [Err(ControlError::Truncated { at: 0 })]);
    }

    #[test]
    fn a_body_may_be_longer_but_not_shorter() {
        let mut buffer = Vec::new();
        let mut body = DmabufCmsg::default().as_bytes().to_vec();
        body.extend([0; 16]);
        put(&mut buffer, libc::SOL_SOCKET, SCM_DEVMEM_DMABUF, &body);
        assert_eq!(
            all(&buffer),
            [Ok(ControlItem::Dmabuf(DmabufCmsg::default()))]
        );
        let mut buffer = Vec::new();
        put(
            &mut buffer,
            libc::SOL_SOCKET,
            SCM_DEVMEM_LINEAR,
            &body[..23],
        );
        assert_eq!(all(&buffer), [Err(ControlError::Truncated { at: 0 })]);
    }
}
