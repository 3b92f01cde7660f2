// SPDX-License-Identifier: GPL-2.0
//! Giving tokens back: the guard that an application holds, and the queue
//! behind it.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::abi::DmabufCmsg;
use crate::socket::Socket;
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
    /// Frags that exist.
    live: u64,
    /// The last receive found nothing: the reader sleeps, or soon will.
    idle: bool,
    totals: ReleaseTotals,
}

impl State {
    /// A full batch goes back. So does a smaller one when the reader sleeps
    /// and no frag is left whose drop could complete it: without those niovs
    /// there may be nothing to wake the reader with.
    fn is_due(&self) -> bool {
        self.waiting.len() >= self.batch || (self.idle && self.live == 0)
    }
}

/// A socket and the tokens that wait to go back to it. Shared by the receiver
/// and by every frag, so that a frag may outlive the receiver.
#[derive(Debug)]
pub(crate) struct Releaser {
    socket: Box<dyn Socket>,
    state: Mutex<State>,
}

impl Releaser {
    pub fn new(socket: impl Socket + 'static, batch: u64) -> Self {
        Self {
            socket: Box::new(socket),
            state: Mutex::new(State {
                waiting: TokenBatch::new(),
                batch: batch.max(1),
                live: 0,
                idle: false,
                totals: ReleaseTotals::default(),
            }),
        }
    }

    pub fn socket(&self) -> &dyn Socket {
        &*self.socket
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

    /// There was nothing to receive: what waits goes back now. If that fails
    /// the tokens stay queued and go later.
    pub fn reader_sleeps(&self) {
        let mut state = self.state();
        state.idle = true;
        let _ = self.flush_locked(&mut state);
    }

    /// There was something to receive.
    pub fn reader_wakes(&self) {
        self.state().idle = false;
    }

    /// Queues a token of no frag.
    pub fn give_back(&self, token: u32) {
        self.queue(&mut self.state(), token);
    }

    /// A failed call leaves the tokens queued, and the next one tries again.
    fn queue(&self, state: &mut State, token: u32) {
        state.waiting.push(token);
        self.flush_if_due(state);
    }

    fn flush_if_due(&self, state: &mut State) {
        if state.is_due() {
            let _ = self.flush_locked(state);
        }
    }

    pub fn flush(&self) -> io::Result<()> {
        self.flush_locked(&mut self.state())
    }

    fn flush_locked(&self, state: &mut State) -> io::Result<()> {
        while !state.waiting.is_empty() {
            let call = state.waiting.take_call();
            match self.socket.dontneed(&call) {
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
        releaser.state().live += 1;
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
        let mut state = self.releaser.state();
        state.live -= 1;
        if self.armed {
            self.releaser.queue(&mut state, self.cmsg.frag_token);
        } else {
            self.releaser.flush_if_due(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::DmabufToken;
    use crate::socket::fake::FakeSocket;

    /// A releaser over a socket whose user holds these tokens.
    fn releaser(batch: u64, held: impl IntoIterator<Item = u32>) -> (Arc<Releaser>, FakeSocket) {
        let socket = FakeSocket::new();
        socket.state().held.extend(held);
        (Arc::new(Releaser::new(socket.clone(), batch)), socket)
    }

    fn frag(releaser: &Arc<Releaser>, frag_token: u32) -> Frag {
        let cmsg = DmabufCmsg {
            frag_token,
            ..Default::default()
        };
        Frag::new(releaser.clone(), cmsg)
    }

    #[test]
    fn a_full_batch_is_one_call() {
        let (releaser, socket) = releaser(4, 0..10);
        let frags: Vec<_> = (0..10).map(|token| frag(&releaser, token)).collect();
        assert!(socket.state().calls.is_empty());
        drop(frags);
        let range = |token_start, token_count| DmabufToken {
            token_start,
            token_count,
        };
        assert_eq!(socket.state().calls, [[range(0, 4)], [range(4, 4)]]);
        assert_eq!(releaser.waiting(), 2);
        releaser.flush().unwrap();
        assert!(socket.state().held.is_empty());
        let totals = releaser.totals();
        assert_eq!((totals.calls, totals.released, totals.unknown), (3, 10, 0));
    }

    #[test]
    fn the_last_drop_gives_back_what_waits() {
        let (releaser, socket) = releaser(100, 0..3);
        let kept = frag(&releaser, 2);
        drop((frag(&releaser, 0), frag(&releaser, 1)));
        drop(releaser);
        assert_eq!(socket.state().held.len(), 3);
        drop(kept);
        assert!(socket.state().held.is_empty());
    }

    #[test]
    fn a_flush_keeps_to_the_limits_of_a_call() {
        // Every other token: no two merge, so the limit of ranges counts.
        let (one, socket) = releaser(u64::MAX, (0..300).map(|i| 2 * i));
        (0..300).for_each(|i| one.give_back(2 * i));
        one.flush().unwrap();
        let sizes: Vec<_> = socket.state().calls.iter().map(Vec::len).collect();
        assert_eq!(sizes, [128, 128, 44]);
        assert!(socket.state().held.is_empty());
        // All merge, so the limit of frags counts: the kernel stops there.
        let (all, socket) = releaser(u64::MAX, 0..2500);
        (0..2500).for_each(|token| all.give_back(token));
        all.flush().unwrap();
        assert!(socket.state().held.is_empty());
        assert_eq!((all.totals().calls, all.totals().released), (3, 2500));
    }

    #[test]
    fn unknown_tokens_are_counted_and_not_tried_again() {
        let (releaser, socket) = releaser(100, [1, 3]);
        (0..5).for_each(|token| releaser.give_back(token));
        releaser.flush().unwrap();
        let totals = releaser.totals();
        assert_eq!((totals.released, totals.unknown), (2, 3));
        assert_eq!((releaser.waiting(), socket.state().calls.len()), (0, 1));
    }

    #[test]
    fn a_failed_call_keeps_the_tokens_for_the_next() {
        let (releaser, socket) = releaser(2, 0..5);
        socket.state().failures.extend([libc::ENOMEM, libc::ENOMEM]);
        drop((frag(&releaser, 0), frag(&releaser, 1)));
        assert_eq!(releaser.waiting(), 2);
        let err = releaser.flush().unwrap_err();
        assert_eq!(err.raw_os_error(), Some(libc::ENOMEM));
        assert_eq!(releaser.waiting(), 2);
        drop(frag(&releaser, 2));
        assert_eq!((releaser.waiting(), releaser.totals().released), (0, 3));
    }

    #[test]
    fn while_the_reader_sleeps_the_last_frag_takes_the_others_along() {
        let (releaser, socket) = releaser(100, 0..4);
        let frags: Vec<_> = (0..3).map(|token| frag(&releaser, token)).collect();
        releaser.reader_sleeps();
        let mut frags = frags.into_iter();
        drop((frags.next(), frags.next()));
        assert!(socket.state().calls.is_empty(), "one is still to come");
        drop(frags.next());
        assert_eq!(socket.state().calls.len(), 1);
        releaser.reader_wakes();
        drop(frag(&releaser, 3));
        assert_eq!(releaser.waiting(), 1);
        releaser.reader_sleeps();
        assert!(socket.state().held.is_empty());
    }

    #[test]
    fn a_token_that_was_taken_is_not_given_back() {
        let (releaser, socket) = releaser(1, [7]);
        assert_eq!(frag(&releaser, 7).into_token(), 7);
        drop(releaser);
        assert_eq!(socket.state().held.len(), 1);
        assert!(socket.state().calls.is_empty());
    }
}
