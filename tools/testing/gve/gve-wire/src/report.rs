// SPDX-License-Identifier: GPL-2.0
//! The statistics report, big endian: a count of writes and then one
//! [`Stat`] after the other. The driver's own part comes first; the device's
//! ends with the last [`Stat`] that the buffer holds.

use crate::adminq::wire;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the count of writes, before the first [`Stat`].
pub const HEADER_BYTES: u64 = 8;
/// Stats of the device for a receive queue.
pub const NIC_STATS_PER_RX_QUEUE: u64 = 4;

/// Names of the device's stats for a receive queue, in their order.
pub mod nic_stat {
    /// Packets dropped by the queue.
    pub const RX_QUEUE_DROP: u32 = 65;
    /// Packets dropped because no buffer was posted.
    pub const RX_NO_BUFFERS: u32 = 66;
    /// Packets dropped because they were too big.
    pub const RX_DROPS_PACKET_OVER_MRU: u32 = 67;
    /// Packets with a bad checksum.
    pub const RX_DROPS_INVALID_CHECKSUM: u32 = 68;
}

wire! {
    /// One figure.
    Stat {
        /// What it is.
        name: U32,
        /// Of which queue.
        queue_id: U32,
        /// How much.
        value: U64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_eq!(core::mem::size_of::<Stat>(), 16);
    }
}
