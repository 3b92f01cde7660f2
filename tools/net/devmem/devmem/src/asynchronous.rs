// SPDX-License-Identifier: GPL-2.0
//! Receiving in tokio.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

use crate::error::Result;
use crate::receive::{ReceiveBuffer, Received, Receiver};
use crate::sys;

/// A [`Receiver`] for tokio: [`recv`](Self::recv) waits without keeping a
/// thread.
///
/// Frags are the same guards as elsewhere: they may be sent to other tasks and
/// dropped there.
///
/// ```no_run
/// use devmem::{AsyncReceiver, Piece, ReceiveBuffer};
///
/// # async fn example(stream: std::net::TcpStream) -> devmem::Result<()> {
/// let receiver = AsyncReceiver::new(stream)?;
/// let mut buffer = ReceiveBuffer::new(256 << 10, 256);
/// loop {
///     let received = receiver.recv(&mut buffer).await?;
///     if received.is_end() {
///         break;
///     }
///     for piece in received {
///         if let Piece::Dmabuf(frag) = piece {
///             tokio::spawn(async move { println!("{:?}", frag.range()) });
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Another runtime needs nothing of this crate but
/// [`Receiver`]'s `AsFd` and [`try_recv`](Receiver::try_recv): wait until the
/// descriptor is readable, call it until it returns `WouldBlock`.
#[derive(Debug)]
pub struct AsyncReceiver {
    fd: AsyncFd<Receiver>,
}

impl AsyncReceiver {
    /// Takes a connected TCP socket, blocking or not.
    ///
    /// # Errors
    /// If the descriptor cannot be waited for.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::from_receiver(Receiver::new(socket))
    }

    /// Takes a receiver, with its batch. Its timeout is not used: that is what
    /// `tokio::time::timeout` is for.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn from_receiver(receiver: Receiver) -> io::Result<Self> {
        let fd = sys::register_readable(receiver)?;
        Ok(Self { fd })
    }

    /// Receives, and waits until there is something. A call that is cancelled
    /// loses nothing.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`], but not `WouldBlock`.
    pub async fn recv<'b>(&self, buffer: &'b mut ReceiveBuffer) -> Result<Received<'b>> {
        let message = loop {
            let mut ready = self.fd.readable().await?;
            match self.receiver().recvmsg(buffer) {
                Err(err) if err.is_would_block() => ready.clear_ready(),
                other => break other?,
            }
        };
        self.receiver().split(buffer, message)
    }

    /// The receiver: for its totals, to flush it, or to receive without
    /// waiting.
    pub fn receiver(&self) -> &Receiver {
        self.fd.get_ref()
    }

    /// Gives the receiver back.
    pub fn into_receiver(self) -> Receiver {
        self.fd.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::receive::Piece;
    use crate::socket::fake::{FakeSocket, Segment, tcp_pair};

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn waits_and_gives_tokens_back_before_it_does() {
        let socket = FakeSocket::new();
        let receiver = Receiver::over(socket.clone()).batch(1000);
        let receiver = AsyncReceiver::from_receiver(receiver).unwrap();
        let mut buffer = ReceiveBuffer::new(64, 8);

        socket.push(Segment::frags(0..3, 10));
        socket.wake();
        let received = timeout(LONG, receiver.recv(&mut buffer)).await.unwrap();
        assert_eq!(received.unwrap().bytes(), 30);
        assert_eq!(socket.state().held.len(), 3);
        // Cancelled while it waits: by then the tokens are back.
        timeout(SHORT, receiver.recv(&mut buffer))
            .await
            .unwrap_err();
        assert!(socket.state().held.is_empty());

        // Something comes while it waits; a frag goes to another task.
        let feeder = socket.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SHORT).await;
            feeder.push(Segment::frags([9], 10).linear(b"xy"));
            feeder.wake();
        });
        let mut received = timeout(LONG, receiver.recv(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        let Some(Piece::Dmabuf(frag)) = received.next_piece() else {
            panic!()
        };
        assert!(matches!(received.next_piece(), Some(Piece::Linear(b"xy"))));
        drop(received);
        timeout(SHORT, receiver.recv(&mut buffer))
            .await
            .unwrap_err();
        assert_eq!(socket.state().held.len(), 1);
        tokio::spawn(async move { drop(frag) }).await.unwrap();
        assert!(socket.state().held.is_empty(), "the reader sleeps");
        assert_eq!(receiver.receiver().stats().tokens_released, 4);
    }

    #[tokio::test]
    async fn ordinary_tcp_ends_with_no_bytes() {
        let (socket, peer) = tcp_pair();
        let receiver = AsyncReceiver::new(socket).unwrap();
        let mut buffer = ReceiveBuffer::new(4, 1);
        let writer = tokio::spawn(async move {
            use std::io::Write;
            for byte in b"abcdef" {
                tokio::time::sleep(Duration::from_millis(5)).await;
                (&peer).write_all(&[*byte]).unwrap();
            }
        });
        let mut seen = Vec::new();
        loop {
            let received = timeout(LONG, receiver.recv(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            if received.is_end() {
                break;
            }
            for piece in received {
                match piece {
                    Piece::Host(bytes) => seen.extend_from_slice(bytes),
                    other => panic!("{other:?}"),
                }
            }
        }
        writer.await.unwrap();
        assert_eq!(seen, b"abcdef");
    }
}
