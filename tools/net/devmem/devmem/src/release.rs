// SPDX-License-Identifier: GPL-2.0
//! Giving tokens back: the guard that an application holds, and the queue
//! behind it.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::abi::DmabufCmsg;
use crate::sys;
use crate::token::{TokenBatch, frags_in};

/// Totals of a socket's releases.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReleaseTotals {
    /// `SO_DEVMEM_DONTNEED` calls that succeeded.
    pub calls: u64,
    /// Tokens that the kernel says it freed.
    pub released: u64,
    /// Tokens that were handed over but that the kernel did not know.
    pub unknown: u64,
}

#[derive(Debug)]
struct State {
    waiting: TokenBatch,
    batch: u64,
    totals: ReleaseTotals,
}

/// A socket and the tokens that wait to go back to it. Shared by the receiver
/// and by every frag, so that a frag may outlive the receiver.
#[derive(Debug)]
pub(crate) struct Releaser {
    fd: OwnedFd,
    state: Mutex<State>,
}

impl Releaser {
    pub fn new(fd: OwnedFd, batch: u64) -> Self {
        Self {
            fd,
            state: Mutex::new(State {
                waiting: TokenBatch::new(),
                batch: batch.max(1),
                totals: ReleaseTotals::default(),
            }),
        }
    }

    /// A panic elsewhere leaves the state consistent: every method changes it
    /// with calls that do not panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_batch(&self, batch: u64) {
        self.state().batch = batch.max(1);
    }

    pub fn totals(&self) -> ReleaseTotals {
        self.state().totals
    }

    pub fn waiting(&self) -> u64 {
        self.state().waiting.len()
    }

    /// Queues a token; a full batch goes to the kernel at once. A failed call
    /// leaves the tokens queued, and the next one tries again.
    pub fn give_back(&self, token: u32) {
        let mut state = self.state();
        state.waiting.push(token);
        if state.waiting.len() >= state.batch {
            let _ = self.flush_locked(&mut state);
        }
    }

    pub fn flush(&self) -> io::Result<()> {
        self.flush_locked(&mut self.state())
    }

    fn flush_locked(&self, state: &mut State) -> io::Result<()> {
        while !state.waiting.is_empty() {
            let call = state.waiting.take_call();
            match sys::devmem_dontneed(self.fd.as_fd(), &call) {
                Ok(freed) => {
                    // A call within the limits is never cut short, so what is
                    // missing was unknown and would be unknown again.
                    let freed = u64::from(freed);
                    state.totals.calls += 1;
                    state.totals.released += freed;
                    state.totals.unknown += frags_in(&call).saturating_sub(freed);
                }
                Err(err) => {
                    state.waiting.put_back(call);
                    return Err(err);
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Releaser {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Releaser {
    /// Closing the descriptor is not enough: a socket that still has data to
    /// send keeps its tokens until it is gone.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// Bytes of the stream that lie in the dma-buf. As long as this exists the
/// NIC does not write there again. Dropping it gives the token back, together
/// with others.
///
/// It keeps its socket open.
#[derive(Debug)]
pub struct Frag {
    releaser: Arc<Releaser>,
    cmsg: DmabufCmsg,
    armed: bool,
}

impl Frag {
    pub(crate) fn new(releaser: Arc<Releaser>, cmsg: DmabufCmsg) -> Self {
        Self {
            releaser,
            cmsg,
            armed: true,
        }
    }

    /// Where it starts in the dma-buf, in bytes.
    pub fn offset(&self) -> u64 {
        self.cmsg.frag_offset
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.cmsg.frag_size as usize
    }

    /// It has no bytes. The kernel makes no such frag.
    pub fn is_empty(&self) -> bool {
        self.cmsg.frag_size == 0
    }

    /// The bytes it takes in the dma-buf.
    pub fn range(&self) -> Range<u64> {
        self.cmsg.frag_offset..self.cmsg.frag_offset + u64::from(self.cmsg.frag_size)
    }

    /// The id of the binding that it lies in: [`Binding::id`](crate::Binding::id).
    pub fn dmabuf_id(&self) -> u32 {
        self.cmsg.dmabuf_id
    }

    /// The kernel's name for it.
    pub fn token(&self) -> u32 {
        self.cmsg.frag_token
    }

    /// Takes the token without giving it back: for
    /// [`raw::release`](crate::raw::release). A token that is never given back
    /// holds its memory until the socket is gone.
    pub fn into_token(mut self) -> u32 {
        self.armed = false;
        self.cmsg.frag_token
    }
}

impl Drop for Frag {
    fn drop(&mut self) {
        if self.armed {
            self.releaser.give_back(self.cmsg.frag_token);
        }
    }
}
