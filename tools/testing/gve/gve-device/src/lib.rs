// SPDX-License-Identifier: GPL-2.0
//! The logic of the emulated gVNIC.
//!
//! No sockets, no threads, no clock of its own: a [`Port`] is told of register
//! accesses, doorbells, frames and the time, reaches the guest's memory
//! through [`GuestMemory`] and raises interrupts through [`InterruptSink`].
//! So a test can drive every part of it with rings in plain memory.
//!
//! | module | what |
//! | --- | --- |
//! | [`hub`] | ports and the fabric between them: the whole machine |
//! | [`port`] | one port: its state, and who may touch it when |
//! | [`registers`] | BAR 0 and the two handshakes of the admin queue |
//! | [`adminq`] | the admin queue's commands |
//! | [`tx`], [`offload`] | from descriptor ring to finished frames |
//! | [`rx`], [`steering`] | from frames to posted buffers |
//! | [`irq`] | notification blocks: armed and pending |
//! | [`stats`], [`anomaly`] | what happened, and what should not have |
//! | [`fault`] | what goes wrong on request |
//! | [`record`] | what guest and device did, to be replayed |
//!
//! Everything that comes from the guest is taken once, checked, and counted
//! as an [`anomaly`] if it makes no sense; none of it can make the device
//! panic, loop or write outside of what the guest mapped.

pub mod adminq;
pub mod anomaly;
pub mod config;
pub mod fault;
pub mod hub;
pub mod irq;
pub mod memory;
pub mod offload;
pub mod port;
pub mod record;
pub mod registers;
pub mod rx;
pub mod stats;
pub mod steering;
pub mod tx;

pub use config::DeviceConfig;
pub use hub::Hub;
pub use irq::InterruptSink;
pub use memory::GuestMemory;
pub use port::Port;
