// SPDX-License-Identifier: GPL-2.0

//! `recvmsg` of packets in device memory.
//!
//! The CPU sees no payload: it tells user space with one control message per piece where in the
//! dma-buf the piece lies, and gives a token for it. Bytes that did land in host memory (a header
//! that was split late) are copied, and a control message says how many.

use crate::{
    ffi::{trace_token_issue, DmabufCmsg},
    sockets::Holder,
    tokens::Reservation,
};
use core::cmp::min;
use kernel::{
    bindings,
    net::{
        netmem::{DmabufArea, NiovRef},
        skbuff::{FragMemory, SkBuff, UnreadableFrag},
        socket::RecvMsg,
    },
    prelude::*,
};

/// Hands bytes `offset..offset + len` of `skb` to user space. Returns how many were handed over.
///
/// Ends early when the control buffer is full; what was told of before stays told. Process
/// context, with the lock of the socket that has the packet in its queue.
///
/// # Errors
///
/// If nothing at all could be handed over: `ETOOSMALL` no room for a control message, `EFAULT`
/// user memory, `ENODEV` memory of another provider, `ENOMEM`, `EBUSY` too many tokens.
pub(crate) fn recv(
    holder: &Holder,
    skb: &SkBuff,
    offset: usize,
    len: usize,
    msg: &mut RecvMsg<'_>,
) -> Result<usize> {
    let mut receiver = Receiver {
        holder,
        reserved: holder.tokens.reservation(),
        tally: Tally::default(),
        msg,
        skip: offset,
        left: len,
        done: 0,
    };

    match receiver.run(skb) {
        Err(error) if receiver.done == 0 => Err(error),
        _ => Ok(receiver.done),
    }
}

/// How far one call has come.
struct Receiver<'a, 'msg> {
    holder: &'a Holder,
    reserved: Reservation<'a, NiovRef>,
    tally: Tally<'a>,
    msg: &'a mut RecvMsg<'msg>,
    /// Bytes still to pass over before the first that is wanted.
    skip: usize,
    /// Bytes still wanted.
    left: usize,
    /// Bytes that user space was told of.
    done: usize,
}

/// What was received of one memory, to be counted there once.
#[derive(Default)]
struct Tally<'a> {
    area: Option<&'a DmabufArea>,
    bytes: u64,
    frags: u64,
}

impl<'a> Tally<'a> {
    #[inline]
    fn add(&mut self, area: &'a DmabufArea, bytes: u64) {
        if !self.area.is_some_and(|known| core::ptr::eq(known, area)) {
            self.settle();
            self.area = Some(area);
        }
        self.bytes += bytes;
        self.frags += 1;
    }

    #[inline]
    fn settle(&mut self) {
        if let Some(area) = self.area.take() {
            area.count_received(self.bytes, self.frags);
        }
        (self.bytes, self.frags) = (0, 0);
    }
}

impl Drop for Tally<'_> {
    #[inline]
    fn drop(&mut self) {
        self.settle();
    }
}

impl<'a> Receiver<'a, '_> {
    fn run(&mut self, skb: &'a SkBuff) -> Result {
        for segment in skb.segments() {
            let linear = segment.linear();
            if let Some((start, len)) = self.window(linear.len()) {
                let bytes = linear.get(start..start + len).ok_or(EFAULT)?;
                self.tell_linear(len, |msg| msg.iter().copy_to_iter(bytes))?;
            }

            let frags = segment.frags();
            for (i, frag) in frags.iter().enumerate() {
                let Some((start, len)) = self.window(frag.size()) else {
                    continue;
                };
                match frag.memory() {
                    FragMemory::Unreadable(frag) => {
                        self.tell_dmabuf(&frag, start, len, frags.len() - i)?
                    }
                    FragMemory::Readable(frag) => {
                        self.tell_linear(len, |msg| frag.copy_to_iter(start, len, msg.iter()))?
                    }
                    FragMemory::Foreign => return Err(ENODEV),
                }
            }
            if self.left == 0 {
                return Ok(());
            }
        }
        // The packet has less than was asked for.
        Err(EFAULT)
    }

    /// Which part of the next `size` bytes of the packet is wanted: (start, length).
    #[inline]
    fn window(&mut self, size: usize) -> Option<(usize, usize)> {
        let start = self.skip;
        if start >= size || self.left == 0 {
            self.skip = start.saturating_sub(size);
            return None;
        }
        Some((start, min(size - start, self.left)))
    }

    /// `len` bytes from a window went to user space.
    #[inline]
    fn advance(&mut self, len: usize) {
        self.skip = 0;
        self.left -= len;
        self.done += len;
    }

    fn tell_linear(&mut self, len: usize, copy: impl FnOnce(&mut RecvMsg<'_>) -> usize) -> Result {
        // Before the message, as in C, which shows where both fail. Bytes without a message stay in
        // the queue.
        if copy(self.msg) != len {
            return Err(EFAULT);
        }
        self.msg.put_cmsg(
            bindings::SOL_SOCKET,
            bindings::SO_DEVMEM_LINEAR,
            &DmabufCmsg::linear(len as u32),
        )?;
        self.advance(len);
        Ok(())
    }

    /// `frags_left` is how many tokens the segment may still need.
    #[inline]
    fn tell_dmabuf(
        &mut self,
        frag: &UnreadableFrag<'a>,
        start: usize,
        len: usize,
        frags_left: usize,
    ) -> Result {
        // Most calls that end early do so here; find out before tokens are reserved.
        if !self.msg.has_cmsg_room(size_of::<DmabufCmsg>()) {
            return Err(ETOOSMALL);
        }
        if self.reserved.is_empty() {
            self.reserved.refill(frags_left)?;
        }

        let (area, inode) = (frag.area(), self.holder.inode);
        let (offset, id) = (frag.dmabuf_offset() + start as u64, area.dmabuf_id());
        let msg = &mut *self.msg;
        self.reserved.issue(frag.hold(), |token| {
            trace_token_issue(inode, token, id, offset, len as u32);
            msg.put_cmsg(
                bindings::SOL_SOCKET,
                bindings::SO_DEVMEM_DMABUF,
                &DmabufCmsg::dmabuf(offset, len as u32, token, id),
            )
        })?;
        self.tally.add(area, len as u64);
        self.advance(len);
        Ok(())
    }
}
