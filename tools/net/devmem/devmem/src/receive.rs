// SPDX-License-Identifier: GPL-2.0
//! Receiving from a TCP socket whose payload may lie in device memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zerocopy::IntoBytes;

use crate::abi::DmabufCmsg;
use crate::control::{ControlError, ControlItem, ControlMessages, devmem_message_space};
use crate::error::{Error, Result};
use crate::release::{Frag, Releaser};
use crate::socket::Socket;
use crate::sys;

/// Tokens that are collected before they go back to the kernel, unless
/// [`Receiver::batch`] says otherwise.
const DEFAULT_BATCH: u64 = 128;

/// A piece of the stream as the control messages describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RawPiece {
    Dmabuf(DmabufCmsg),
    Linear(usize),
    Host(usize),
}

/// Memory that [`Receiver::recv`] works with; used again for each call.
#[derive(Debug)]
pub struct ReceiveBuffer {
    data: Vec<u8>,
    control: Vec<u64>,
    pieces: Vec<RawPiece>,
}

impl ReceiveBuffer {
    /// `bytes` limits what one call returns, in host and device memory
    /// together; `pieces` limits how many pieces of device memory that may be.
    /// Neither is less than 1.
    pub fn new(bytes: usize, pieces: usize) -> Self {
        let control = pieces.max(1) * devmem_message_space();
        Self {
            data: vec![0; bytes.max(1)],
            control: vec![0; control.div_ceil(size_of::<u64>())],
            pieces: Vec::with_capacity(pieces.max(1)),
        }
    }
}

/// Bytes of the stream, in the order of the stream.
#[derive(Debug)]
pub enum Piece<'a> {
    /// They lie in the dma-buf.
    Dmabuf(Frag),
    /// They belong to a segment whose other bytes lie in the dma-buf, but the
    /// NIC put them into host memory.
    Linear(&'a [u8]),
    /// They came by a queue that is not bound, or by a NIC that did not split.
    Host(&'a [u8]),
}

/// What one call received: an iterator over its pieces. Frags that are not
/// taken out are given back when this is dropped.
#[derive(Debug)]
pub struct Received<'a> {
    releaser: Arc<Releaser>,
    bytes: usize,
    data: &'a [u8],
    pieces: &'a [RawPiece],
}

impl<'a> Received<'a> {
    /// Bytes received by this call.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The peer has sent everything.
    pub fn is_end(&self) -> bool {
        self.bytes == 0
    }

    /// Pieces that were not yet taken out.
    pub fn remaining(&self) -> usize {
        self.pieces.len()
    }

    /// The next piece; the same as the iterator's `next`.
    pub fn next_piece(&mut self) -> Option<Piece<'a>> {
        let (first, rest) = self.pieces.split_first()?;
        self.pieces = rest;
        Some(match *first {
            RawPiece::Dmabuf(cmsg) => Piece::Dmabuf(Frag::new(self.releaser.clone(), cmsg)),
            RawPiece::Linear(len) => Piece::Linear(self.take_host(len)),
            RawPiece::Host(len) => Piece::Host(self.take_host(len)),
        })
    }

    /// [`split`] has checked that the lengths fit.
    fn take_host(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.data.split_at(len);
        self.data = rest;
        bytes
    }
}

impl<'a> Iterator for Received<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        self.next_piece()
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        give_back(&self.releaser, self.pieces);
    }
}

fn give_back(releaser: &Releaser, pieces: &[RawPiece]) {
    for piece in pieces {
        if let RawPiece::Dmabuf(cmsg) = piece {
            releaser.give_back(cmsg.frag_token);
        }
    }
}

/// Totals of a [`Receiver`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// `SO_DEVMEM_DONTNEED` calls that succeeded.
    pub release_calls: u64,
    /// Tokens that the kernel says it freed.
    pub tokens_released: u64,
    /// Tokens that the kernel did not know when they were given back: 0 unless
    /// somebody else released them too.
    pub tokens_unknown: u64,
    /// Tokens that are dropped but not given back yet.
    pub tokens_waiting: u64,
}

/// The receiving side of a TCP socket.
///
/// All methods take `&self`: several threads may receive on one socket, and
/// frags may be dropped on any thread.
///
/// Tokens go back in batches. When there is nothing to read, those that wait
/// go back before the call sleeps, or before it returns `WouldBlock`. From then
/// on until there is something, the drop of the last frag gives back all that
/// wait. So a socket that is not read keeps no memory that nobody uses, unless
/// a frag is held all the time; then it may be up to a batch.
#[derive(Debug)]
pub struct Receiver {
    releaser: Arc<Releaser>,
    timeout: Option<Duration>,
}

impl Receiver {
    /// Takes a connected TCP socket, blocking or not. To send on it as well,
    /// clone it first (`TcpStream::try_clone`).
    pub fn new(socket: impl Into<OwnedFd>) -> Self {
        Self::over(socket.into())
    }

    pub(crate) fn over(socket: impl Socket + 'static) -> Self {
        Self {
            releaser: Arc::new(Releaser::new(socket, DEFAULT_BATCH)),
            timeout: None,
        }
    }

    /// How many tokens to collect before they are given back (at least 1, 128
    /// if not set). It has to be well below the number of pages in the dma-buf
    /// divided by the number of sockets that share it.
    #[must_use]
    pub fn batch(self, tokens: u64) -> Self {
        self.releaser.set_batch(tokens);
        self
    }

    /// How long [`recv`](Self::recv) waits; for ever if not set.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Receives, and sleeps until there is something, whatever the mode of the
    /// descriptor.
    ///
    /// # Errors
    /// [`std::io::ErrorKind::TimedOut`] after [`timeout`](Self::timeout);
    /// otherwise as [`try_recv`](Self::try_recv).
    pub fn recv<'b>(&self, buffer: &'b mut ReceiveBuffer) -> Result<Received<'b>> {
        // The sleep is ours and not recvmsg's: tokens must go back before it.
        let message = loop {
            match self.recvmsg(buffer) {
                Err(err) if err.is_would_block() => self.wait()?,
                other => break other?,
            }
        };
        self.split(buffer, message)
    }

    /// Receives what is there: for event loops and async runtimes, which wait
    /// for the descriptor themselves.
    ///
    /// # Errors
    /// `WouldBlock` ([`Error::is_would_block`]) if there is nothing;
    /// [`ETOOSMALL`](crate::abi::ETOOSMALL) never, because the buffer has room
    /// for one piece; [`Error::Control`] if the kernel breaks its contract.
    pub fn try_recv<'b>(&self, buffer: &'b mut ReceiveBuffer) -> Result<Received<'b>> {
        let message = self.recvmsg(buffer)?;
        self.split(buffer, message)
    }

    /// Gives back the tokens of dropped frags now.
    ///
    /// # Errors
    /// As `SO_DEVMEM_DONTNEED`; the tokens stay queued.
    pub fn flush(&self) -> Result<()> {
        self.releaser
            .flush()
            .map_err(Error::os("setsockopt(SO_DEVMEM_DONTNEED)"))
    }

    /// Totals so far.
    pub fn stats(&self) -> ReceiverStats {
        let totals = self.releaser.totals();
        ReceiverStats {
            release_calls: totals.calls,
            tokens_released: totals.released,
            tokens_unknown: totals.unknown,
            tokens_waiting: self.releaser.waiting(),
        }
    }

    pub(crate) fn recvmsg(&self, buffer: &mut ReceiveBuffer) -> Result<sys::Message> {
        let outcome = self
            .releaser
            .socket()
            .recvmsg(&mut buffer.data, &mut buffer.control);
        match &outcome {
            Ok(_) => self.releaser.reader_wakes(),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => self.releaser.reader_sleeps(),
            Err(_) => {}
        }
        outcome.map_err(Error::os("recvmsg"))
    }

    fn wait(&self) -> Result<()> {
        let timeout = match self.timeout {
            None => PollTimeout::NONE,
            Some(timeout) => PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX),
        };
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => Err(Error::os("recvmsg")(io::ErrorKind::TimedOut.into())),
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(err) => Err(Error::os("poll")(err.into())),
        }
    }

    pub(crate) fn split<'b>(
        &self,
        buffer: &'b mut ReceiveBuffer,
        message: sys::Message,
    ) -> Result<Received<'b>> {
        let ReceiveBuffer {
            data,
            control,
            pieces,
        } = buffer;
        let control = &control.as_bytes()[..message.control];
        match split(control, message, data.len(), pieces) {
            Ok(()) => Ok(Received {
                releaser: self.releaser.clone(),
                bytes: message.bytes,
                data,
                pieces,
            }),
            Err(err) => {
                give_back(&self.releaser, pieces);
                Err(err.into())
            }
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.releaser.socket().fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Turns control messages into pieces. A call is all readable or all not, so
/// the pieces cover either every byte or none; in the second case the bytes
/// are host memory's. On an error `pieces` holds what was found before it.
fn split(
    control: &[u8],
    message: sys::Message,
    room: usize,
    pieces: &mut Vec<RawPiece>,
) -> std::result::Result<(), ControlError> {
    pieces.clear();
    let (mut sum, mut linear) = (0u64, 0u64);
    for item in ControlMessages::new(control) {
        match item? {
            ControlItem::Dmabuf(cmsg) => {
                sum += u64::from(cmsg.frag_size);
                pieces.push(RawPiece::Dmabuf(cmsg));
            }
            ControlItem::Linear { len } => {
                sum += u64::from(len);
                linear += u64::from(len);
                pieces.push(RawPiece::Linear(len as usize));
            }
            ControlItem::Other { .. } => {}
        }
    }
    if message.flags & libc::MSG_CTRUNC != 0 {
        return Err(ControlError::Dropped);
    }
    if pieces.is_empty() && message.bytes > 0 {
        sum = message.bytes as u64;
        linear = sum;
        pieces.push(RawPiece::Host(message.bytes));
    }
    if sum != message.bytes as u64 || linear > room as u64 {
        return Err(ControlError::BadSum {
            pieces: sum,
            bytes: message.bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use super::*;
    use crate::control::tests::{put, put_dmabuf, put_linear};
    use crate::socket::fake::{FakeSocket, Segment, tcp_pair};

    fn message(bytes: usize, flags: i32) -> sys::Message {
        sys::Message {
            bytes,
            control: 0,
            flags,
        }
    }

    /// A receiver over a socket that has received this.
    fn receiver(segments: impl IntoIterator<Item = Segment>) -> (Receiver, FakeSocket) {
        let socket = FakeSocket::new();
        segments
            .into_iter()
            .for_each(|segment| socket.push(segment));
        (Receiver::over(socket.clone()).batch(1000), socket)
    }

    #[test]
    fn pieces_come_in_order_and_linear_bytes_from_the_data() {
        let mut segment = Segment::default().linear(b"ab");
        put_dmabuf(&mut segment.control, 4096, 1448, 7);
        segment = segment.linear(b"cde");
        put_dmabuf(&mut segment.control, 8192, 10, 8);
        segment.bytes += 1458;
        let (receiver, _socket) = receiver([segment]);
        let mut buffer = ReceiveBuffer::new(4096, 8);
        let received = receiver.try_recv(&mut buffer).unwrap();
        assert_eq!((received.bytes(), received.remaining()), (1463, 4));
        let seen: Vec<String> = received
            .map(|piece| match piece {
                Piece::Dmabuf(frag) => {
                    format!(
                        "{:?} {} {}",
                        frag.range(),
                        frag.dmabuf_id(),
                        frag.into_token()
                    )
                }
                Piece::Linear(bytes) => format!("{bytes:?}"),
                Piece::Host(_) => unreachable!(),
            })
            .collect();
        let expected = [
            format!("{:?}", b"ab"),
            "4096..5544 9 7".into(),
            format!("{:?}", b"cde"),
            "8192..8202 9 8".into(),
        ];
        assert_eq!(seen, expected);
        assert_eq!(receiver.stats().tokens_waiting, 0);
    }

    #[test]
    fn bytes_without_messages_are_host_bytes() {
        let mut pieces = Vec::new();
        let mut control = Vec::new();
        put(
            &mut control,
            libc::SOL_SOCKET,
            libc::SCM_TIMESTAMP,
            &[0; 16],
        );
        split(&control, message(5, 0), 16, &mut pieces).unwrap();
        assert_eq!(pieces, [RawPiece::Host(5)]);
        split(&[], message(0, 0), 16, &mut pieces).unwrap();
        assert!(pieces.is_empty());
    }

    #[test]
    fn pieces_that_do_not_add_up_are_refused() {
        let mut control = Vec::new();
        put_dmabuf(&mut control, 0, 100, 1);
        let mut pieces = Vec::new();
        for bytes in [0, 99, 101] {
            assert_eq!(
                split(&control, message(bytes, 0), 4096, &mut pieces),
                Err(ControlError::BadSum { pieces: 100, bytes })
            );
        }
        let mut control = Vec::new();
        put_linear(&mut control, 100);
        assert!(split(&control, message(100, 0), 99, &mut pieces).is_err());
        assert!(split(&control, message(100, 0), 100, &mut pieces).is_ok());
    }

    #[test]
    fn tokens_of_a_broken_message_go_back() {
        let mut segment = Segment::frags([3, 4], 100);
        segment.bytes += 1;
        let (receiver, socket) = receiver([segment]);
        let mut buffer = ReceiveBuffer::new(16, 2);
        let err = receiver.try_recv(&mut buffer).unwrap_err();
        assert!(matches!(err, Error::Control(_)));
        receiver.flush().unwrap();
        assert!(socket.state().held.is_empty());
    }

    #[test]
    fn dropped_messages_are_an_error() {
        let mut control = Vec::new();
        put_dmabuf(&mut control, 0, 100, 1);
        let mut pieces = Vec::new();
        assert_eq!(
            split(&control, message(100, libc::MSG_CTRUNC), 4096, &mut pieces),
            Err(ControlError::Dropped)
        );
    }

    #[test]
    fn a_dropped_frag_queues_its_token_and_so_does_a_piece_not_taken() {
        let (receiver, socket) = receiver([Segment::frags(0..5, 10)]);
        let mut buffer = ReceiveBuffer::new(64, 8);
        let mut received = receiver.try_recv(&mut buffer).unwrap();
        let held = received.next_piece();
        drop(received.next_piece());
        assert_eq!(receiver.stats().tokens_waiting, 1);
        drop(received);
        assert_eq!(receiver.stats().tokens_waiting, 4);
        drop(held);
        assert_eq!(receiver.stats().tokens_waiting, 5);
        // Nothing to read: they go back by themselves.
        assert!(receiver.try_recv(&mut buffer).unwrap_err().is_would_block());
        assert!(socket.state().held.is_empty());
        assert_eq!(receiver.stats().tokens_released, 5);
    }

    #[test]
    fn frags_may_be_dropped_on_other_threads_and_after_the_receiver() {
        let (receiver, socket) = receiver((0..8).map(|i| Segment::frags(i * 10..i * 10 + 10, 1)));
        let receiver = receiver.batch(7);
        let mut buffer = ReceiveBuffer::new(64, 16);
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let frags: Vec<_> = receiver
                    .try_recv(&mut buffer)
                    .unwrap()
                    .map(frag_of)
                    .collect();
                thread::spawn(move || drop(frags))
            })
            .collect();
        drop(receiver);
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
        assert!(socket.state().held.is_empty());
    }

    fn frag_of(piece: Piece<'_>) -> Frag {
        match piece {
            Piece::Dmabuf(frag) => frag,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ordinary_tcp_comes_as_host_bytes_up_to_the_end() {
        let (socket, mut peer) = tcp_pair();
        let receiver = Receiver::new(socket).timeout(Some(Duration::from_secs(10)));
        let mut buffer = ReceiveBuffer::new(4, 1);
        assert!(receiver.try_recv(&mut buffer).unwrap_err().is_would_block());
        peer.write_all(b"abcdef").unwrap();
        drop(peer);
        let mut seen = Vec::new();
        loop {
            let received = receiver.recv(&mut buffer).unwrap();
            if received.is_end() {
                break;
            }
            assert!(received.bytes() <= 4);
            for piece in received {
                match piece {
                    Piece::Host(bytes) => seen.extend_from_slice(bytes),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(seen, b"abcdef");
    }

    #[test]
    fn recv_times_out() {
        let (socket, _peer) = tcp_pair();
        let receiver = Receiver::new(socket).timeout(Some(Duration::from_millis(20)));
        let err = receiver.recv(&mut ReceiveBuffer::new(4, 1)).unwrap_err();
        assert!(
            matches!(&err, Error::Os { source, .. } if source.kind() == io::ErrorKind::TimedOut),
            "{err}"
        );
    }
}
