// SPDX-License-Identifier: GPL-2.0
//! Frames, and what lies between two ports.
//!
//! | module | what |
//! | --- | --- |
//! | [`frame`] | a frame: headers, body, and what is known of both |
//! | [`layout`] | where in a frame which header stands |
//! | [`checksum`] | finishing and verifying checksums |
//! | [`fabric`] | what joins ports: a [`fabric::Wire`] or a [`fabric::Switch`] |

pub mod checksum;
pub mod fabric;
pub mod frame;
pub mod layout;

pub use fabric::{Egress, Fabric};
pub use frame::Frame;
pub use layout::Layout;

/// A port's number, from 0 in the order in which sockets were named.
pub type PortId = usize;
