// SPDX-License-Identifier: GPL-2.0
//! Device memory TCP for applications.
//!
//! A NIC with header split can write the payload of received TCP segments
//! straight into memory that belongs to a device, handed to the kernel as a
//! dma-buf. This crate is the user's side of that:
//!
//! - [`Udmabuf`] makes a dma-buf out of ordinary memory, for machines without
//!   a device that exports one;
//! - [`BindRx`] ties a dma-buf to RX queues; the returned [`Binding`] unbinds
//!   when it is dropped;
//! - [`Receiver`] reads a TCP socket. What landed in the dma-buf comes as
//!   [`Frag`]s, guards that give their token back, in batches, when they are
//!   dropped; what landed in host memory comes as bytes;
//! - [`Inherited`] is a binding that `devmem bind -- COMMAND` holds for its
//!   command;
//! - [`Netdev`] lists queues and page pools, to see who is bound to what.
//!
//! Features, both off unless asked for: `tokio` adds `AsyncReceiver`; `nic`
//! adds `netlink::Nic`, which reads what a NIC is set to.
//!
//! Header split, RSS and flow steering are the NIC's set-up and not done here
//! (`ethtool -G`, `-X`, `-N`).
//!
//! ```no_run
//! use std::net::TcpListener;
//! use devmem::{BindRx, Piece, ReceiveBuffer, Receiver, Udmabuf};
//!
//! # fn main() -> devmem::Result<()> {
//! let memory = Udmabuf::new(64 << 20)?;
//! let binding = BindRx::to_interface("eth0")?.rx_queues([1, 2]).bind(&memory)?;
//! println!("dma-buf id {}", binding.id());
//!
//! let (stream, _) = TcpListener::bind("[::]:5201")?.accept()?;
//! let mut rx = Receiver::new(stream);
//! let mut buffer = ReceiveBuffer::new(256 << 10, 256);
//! loop {
//!     let mut received = rx.recv(&mut buffer)?;
//!     if received.is_end() {
//!         break;
//!     }
//!     while let Some(piece) = received.next_piece() {
//!         match piece {
//!             Piece::Dmabuf(frag) => println!("{} bytes at {}", frag.len(), frag.offset()),
//!             Piece::Linear(bytes) | Piece::Host(bytes) => println!("{} bytes", bytes.len()),
//!         }
//!         // A frag that is not stored elsewhere is given back here.
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

pub mod abi;
#[cfg(feature = "tokio")]
mod asynchronous;
mod control;
mod error;
pub mod inherit;
mod map;
pub mod netlink;
pub mod raw;
mod receive;
mod release;
mod socket;
#[allow(unsafe_code)]
mod sys;
mod token;
mod udmabuf;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncReceiver;
pub use control::{ControlError, ControlItem, ControlMessages};
pub use error::{Error, Result};
pub use inherit::Inherited;
pub use map::{CpuAccess, DmabufMap};
pub use netlink::{BindRx, Binding, Netdev};
pub use receive::{Piece, ReceiveBuffer, Received, Receiver, ReceiverStats};
pub use release::Frag;
pub use token::TokenBatch;
pub use udmabuf::{Udmabuf, UdmabufOptions};

/// The example of the README is compiled like the others.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
