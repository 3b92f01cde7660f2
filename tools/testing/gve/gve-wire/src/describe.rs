// SPDX-License-Identifier: GPL-2.0
//! The device descriptor and the options that follow it, all big endian.

use crate::adminq::wire;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Most bytes the descriptor and its options may take.
pub const MAX_BYTES: usize = 4096;

wire! {
    /// The descriptor.
    DeviceDescriptor {
        /// Pages that may be registered; of no use with raw addressing.
        max_registered_pages: U64,
        /// Zero.
        reserved1: U16,
        /// Default entries of a transmit ring: a power of two.
        tx_queue_entries: U16,
        /// Default entries of a receive ring: a power of two.
        rx_queue_entries: U16,
        /// Queues of each kind to start with; 0 for as many as there are.
        default_num_queues: U16,
        /// Most bytes of a packet behind its Ethernet header.
        mtu: U16,
        /// Event counters; at least 1.
        counters: U16,
        /// Of no use with raw addressing.
        tx_pages_per_qpl: U16,
        /// Of no use with raw addressing.
        rx_pages_per_qpl: U16,
        /// The port's address.
        mac: [u8; 6],
        /// Options that follow.
        num_device_options: U16,
        /// Bytes of descriptor and options.
        total_length: U16,
        /// Zero.
        reserved2: [u8; 6],
    }
}

wire! {
    /// What stands before each option's data.
    OptionHeader {
        /// One of [`option_id`].
        id: U16,
        /// Bytes of data.
        length: U16,
        /// Bits the driver must know to use the option.
        required_features: U32,
    }
}

/// Option numbers.
pub mod option_id {
    /// Queue format DQO with raw addressing.
    pub const DQO_RDA: u16 = 0x4;
    /// Ring sizes may change.
    pub const MODIFY_RING: u16 = 0x6;
    /// Bigger MTU.
    pub const JUMBO_FRAMES: u16 = 0x8;
    /// Packet and header buffer sizes.
    pub const BUFFER_SIZES: u16 = 0xa;
    /// Flow rules.
    pub const FLOW_STEERING: u16 = 0xb;
    /// RSS sizes, and that RSS can be read back.
    pub const RSS_CONFIG: u16 = 0xe;
}

/// Bits of [`DqoRda::supported_features`].
pub mod feature {
    /// [`super::ModifyRing`] holds.
    pub const MODIFY_RING: u32 = 1 << 0;
    /// [`super::JumboFrames`] holds.
    pub const JUMBO_FRAMES: u32 = 1 << 2;
    /// [`super::BufferSizes`] holds.
    pub const BUFFER_SIZES: u32 = 1 << 4;
    /// [`super::FlowSteering`] holds.
    pub const FLOW_STEERING: u32 = 1 << 5;
    /// [`super::RssConfig`] holds.
    pub const RSS_CONFIG: u32 = 1 << 7;
}

wire! {
    /// Data of [`option_id::DQO_RDA`].
    DqoRda {
        /// The only place where a driver looks for [`feature`] bits.
        supported_features: U32,
        /// Zero.
        reserved: U32,
    }
}

wire! {
    /// Data of [`option_id::MODIFY_RING`].
    ModifyRing {
        /// Its own [`feature`] bit.
        supported_features: U32,
        /// Most entries of a receive ring.
        max_rx: U16,
        /// Most entries of a transmit ring.
        max_tx: U16,
        /// Fewest entries of a receive ring.
        min_rx: U16,
        /// Fewest entries of a transmit ring.
        min_tx: U16,
    }
}

wire! {
    /// Data of [`option_id::JUMBO_FRAMES`].
    JumboFrames {
        /// Its own [`feature`] bit.
        supported_features: U32,
        /// Most bytes behind the Ethernet header.
        max_mtu: U16,
        /// Zero.
        reserved: U16,
    }
}

wire! {
    /// Data of [`option_id::BUFFER_SIZES`].
    BufferSizes {
        /// Its own [`feature`] bit.
        supported_features: U32,
        /// Bytes of a packet buffer.
        packet_buffer_size: U16,
        /// Bytes of a header buffer; not 0 offers header split.
        header_buffer_size: U16,
    }
}

wire! {
    /// Data of [`option_id::FLOW_STEERING`].
    FlowSteering {
        /// Its own [`feature`] bit.
        supported_features: U32,
        /// Zero.
        reserved: U32,
        /// Locations for rules.
        max_flow_rules: U32,
    }
}

wire! {
    /// Data of [`option_id::RSS_CONFIG`].
    RssConfig {
        /// Its own [`feature`] bit.
        supported_features: U32,
        /// Bytes of the key.
        hash_key_size: U16,
        /// Entries of the table.
        hash_lut_size: U16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn layout() {
        assert_eq!(size_of::<DeviceDescriptor>(), 40);
        assert_eq!(offset_of!(DeviceDescriptor, tx_queue_entries), 10);
        assert_eq!(offset_of!(DeviceDescriptor, default_num_queues), 14);
        assert_eq!(offset_of!(DeviceDescriptor, mtu), 16);
        assert_eq!(offset_of!(DeviceDescriptor, counters), 18);
        assert_eq!(offset_of!(DeviceDescriptor, mac), 24);
        assert_eq!(offset_of!(DeviceDescriptor, num_device_options), 30);
        assert_eq!(offset_of!(DeviceDescriptor, total_length), 32);
        assert_eq!(size_of::<OptionHeader>(), 8);
        assert_eq!(size_of::<DqoRda>(), 8);
        assert_eq!(size_of::<ModifyRing>(), 12);
        assert_eq!(size_of::<JumboFrames>(), 8);
        assert_eq!(size_of::<BufferSizes>(), 8);
        assert_eq!(size_of::<FlowSteering>(), 12);
        assert_eq!(size_of::<RssConfig>(), 8);
    }
}
