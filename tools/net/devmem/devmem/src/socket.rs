// SPDX-License-Identifier: GPL-2.0
//! The TCP socket below a receiver: the kernel's, or in tests one that is made
//! up, since no loopback has device memory.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::abi::{DmabufToken, MSG_SOCK_DEVMEM};
use crate::sys::{self, Message};

/// What a receiver asks of its socket. Nothing of it sleeps.
pub(crate) trait Socket: fmt::Debug + Send + Sync {
    /// `recvmsg(MSG_SOCK_DEVMEM | MSG_DONTWAIT)`.
    fn recvmsg(&self, data: &mut [u8], control: &mut [u64]) -> io::Result<Message>;

    /// `setsockopt(SO_DEVMEM_DONTNEED)`; returns how many frags were freed.
    fn dontneed(&self, tokens: &[DmabufToken]) -> io::Result<u32>;

    /// The descriptor, to wait for.
    fn fd(&self) -> BorrowedFd<'_>;
}

impl Socket for OwnedFd {
    fn recvmsg(&self, data: &mut [u8], control: &mut [u64]) -> io::Result<Message> {
        let flags = MSG_SOCK_DEVMEM | libc::MSG_DONTWAIT;
        sys::recvmsg(self.as_fd(), data, control, flags)
    }

    fn dontneed(&self, tokens: &[DmabufToken]) -> io::Result<u32> {
        sys::devmem_dontneed(self.as_fd(), tokens)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A socket with a script of what it receives and a table of tokens like
    //! the kernel's: it frees what is held, counts the rest as 0, and stops at
    //! the kernel's limits.

    use std::collections::{BTreeSet, VecDeque};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex, MutexGuard};

    use zerocopy::IntoBytes;

    use super::*;
    use crate::abi::{MAX_DONTNEED_FRAGS, MAX_DONTNEED_TOKENS};
    use crate::control::tests::{put_dmabuf, put_linear};
    use crate::control::{ControlItem, ControlMessages};

    /// A call of `recvmsg`.
    #[derive(Debug, Default)]
    pub(crate) struct Segment {
        pub host: Vec<u8>,
        pub control: Vec<u8>,
        pub bytes: usize,
    }

    impl Segment {
        /// One frag a token, each of `len` bytes.
        pub fn frags(tokens: impl IntoIterator<Item = u32>, len: u32) -> Self {
            let mut segment = Self::default();
            for token in tokens {
                put_dmabuf(&mut segment.control, u64::from(token) * 4096, len, token);
                segment.bytes += len as usize;
            }
            segment
        }

        /// Adds linear bytes behind what is there.
        pub fn linear(mut self, bytes: &[u8]) -> Self {
            put_linear(&mut self.control, u32::try_from(bytes.len()).unwrap());
            self.host.extend(bytes);
            self.bytes += bytes.len();
            self
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct State {
        /// What the next calls receive; when empty, `WouldBlock`.
        pub incoming: VecDeque<Segment>,
        /// Tokens that the user holds.
        pub held: BTreeSet<u32>,
        /// The ranges of each `SO_DEVMEM_DONTNEED`.
        pub calls: Vec<Vec<DmabufToken>>,
        /// What the next calls fail with.
        pub failures: VecDeque<i32>,
    }

    /// Shares its state with the test. Its descriptor is a TCP connection over
    /// the loopback, which [`wake`](Self::wake) makes readable.
    #[derive(Debug, Clone)]
    pub(crate) struct FakeSocket {
        state: Arc<Mutex<State>>,
        stream: Arc<TcpStream>,
        peer: Arc<TcpStream>,
    }

    impl FakeSocket {
        pub fn new() -> Self {
            let (stream, peer) = tcp_pair();
            stream.set_nonblocking(true).unwrap();
            Self {
                state: Arc::default(),
                stream: Arc::new(stream),
                peer: Arc::new(peer),
            }
        }

        pub fn state(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap()
        }

        /// Something is to be received.
        pub fn push(&self, segment: Segment) {
            self.state().incoming.push_back(segment);
        }

        /// The descriptor becomes readable.
        pub fn wake(&self) {
            (&*self.peer).write_all(b"!").unwrap();
        }
    }

    impl Socket for FakeSocket {
        fn recvmsg(&self, data: &mut [u8], control: &mut [u64]) -> io::Result<Message> {
            use std::io::Read;
            let _ = (&*self.stream).read(&mut [0; 16]);
            let mut state = self.state();
            let Some(segment) = state.incoming.pop_front() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            data[..segment.host.len()].copy_from_slice(&segment.host);
            let room = control.as_mut_bytes();
            room[..segment.control.len()].copy_from_slice(&segment.control);
            for item in ControlMessages::new(&segment.control).flatten() {
                if let ControlItem::Dmabuf(cmsg) = item {
                    assert!(state.held.insert(cmsg.frag_token), "the test's own flaw");
                }
            }
            Ok(Message {
                bytes: segment.bytes,
                control: segment.control.len(),
                flags: 0,
            })
        }

        fn dontneed(&self, tokens: &[DmabufToken]) -> io::Result<u32> {
            let mut state = self.state();
            if let Some(errno) = state.failures.pop_front() {
                return Err(io::Error::from_raw_os_error(errno));
            }
            if tokens.is_empty() || tokens.len() > MAX_DONTNEED_TOKENS {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            state.calls.push(tokens.to_vec());
            let named = tokens
                .iter()
                .flat_map(|range| range.token_start..range.token_start + range.token_count);
            let freed = named
                .take(MAX_DONTNEED_FRAGS as usize)
                .filter(|token| state.held.remove(token))
                .count();
            Ok(u32::try_from(freed).unwrap())
        }

        fn fd(&self) -> BorrowedFd<'_> {
            self.stream.as_fd()
        }
    }

    /// Both ends of a connection over the loopback.
    pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (a, listener.accept().unwrap().0)
    }
}
