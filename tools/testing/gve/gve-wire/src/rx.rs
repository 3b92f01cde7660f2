// SPDX-License-Identifier: GPL-2.0
//! Receive queue: 32-byte buffers in, 32-byte completions out, all little
//! endian.

use crate::adminq::wire;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a posted buffer.
pub const BUFFER_BYTES: u64 = 32;
/// Bytes of a completion.
pub const COMPLETION_BYTES: u64 = 32;
/// Most bytes a completion can report for one packet buffer.
pub const MAX_PACKET_LEN: u16 = 0x3fff;
/// Most bytes a completion can report for a header.
pub const MAX_HEADER_LEN: u16 = 0x3ff;

wire! {
    /// A buffer that the driver has posted.
    Buffer {
        /// Echoed by the completion.
        buf_id: U16,
        /// Zero.
        reserved1: [u8; 6],
        /// Bus address of the packet buffer.
        address: U64,
        /// Bus address of the header buffer, 0 for none.
        header_address: U64,
        /// Zero.
        reserved2: [u8; 8],
    }
}

/// What a completion says of one buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Id of the buffer.
    pub buf_id: u16,
    /// Bytes of this packet in this packet buffer.
    pub packet_len: u16,
    /// Bytes in the header buffer.
    pub header_len: u16,
    /// Whether the header stands in the header buffer.
    pub split_header: bool,
    /// This is the packet's last buffer.
    pub end_of_packet: bool,
    /// The buffer holds nothing of use.
    pub rx_error: bool,
    /// Number of a `ptype::PacketType`.
    pub packet_type: u16,
    /// Checksums of the network and transport layer were looked at.
    pub l3_l4_processed: bool,
    /// The network layer's checksum is wrong.
    pub csum_ip_err: bool,
    /// The transport layer's checksum is wrong.
    pub csum_l4_err: bool,
    /// The packet has an IPv6 header that hides the true address.
    pub ipv6_ex_add: bool,
    /// RSS hash, 0 for none.
    pub hash: u32,
}

/// A completion's bytes, in the two parts in which they must be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedCompletion {
    /// Bytes 0 to 7, which hold the generation: written last, at once.
    pub head: u64,
    /// Bytes 8 to 31, written first.
    pub tail: [u8; 24],
}

impl Completion {
    const RXDID: u8 = 1;
    const IPV6_EX_ADD: u8 = 0x02;
    const RX_ERROR: u8 = 0x04;
    const GENERATION: u16 = 1 << 14;
    const SPLIT_HEADER: u16 = 1 << 11;
    const DESCRIPTOR_DONE: u8 = 0x01;
    const END_OF_PACKET: u8 = 0x02;
    const L3_L4_PROCESSED: u8 = 0x08;
    const CSUM_IP_ERR: u8 = 0x10;
    const CSUM_L4_ERR: u8 = 0x20;

    /// As it stands in the ring in this lap.
    pub fn encode(&self, generation: bool) -> EncodedCompletion {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let status =
            flag(self.ipv6_ex_add, Self::IPV6_EX_ADD) | flag(self.rx_error, Self::RX_ERROR);
        let [type0, type1] = (self.packet_type & 0x3ff).to_le_bytes();
        let mut len = self.packet_len & MAX_PACKET_LEN;
        if generation {
            len |= Self::GENERATION;
        }
        let [len0, len1] = len.to_le_bytes();
        let mut header = self.header_len & MAX_HEADER_LEN;
        if self.split_header {
            header |= Self::SPLIT_HEADER;
        }
        let [header0, header1] = header.to_le_bytes();
        let done = Self::DESCRIPTOR_DONE
            | flag(self.end_of_packet, Self::END_OF_PACKET)
            | flag(self.l3_l4_processed, Self::L3_L4_PROCESSED)
            | flag(self.csum_ip_err, Self::CSUM_IP_ERR)
            | flag(self.csum_l4_err, Self::CSUM_L4_ERR);
        let [id0, id1] = self.buf_id.to_le_bytes();
        let [hash0, hash1, hash2, hash3] = self.hash.to_le_bytes();
        EncodedCompletion {
            head: u64::from_le_bytes([
                Self::RXDID,
                status,
                type0,
                type1,
                len0,
                len1,
                header0,
                header1,
            ]),
            tail: [
                done, 0, 0, 0, id0, id1, 0, 0, hash0, hash1, hash2, hash3, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0,
            ],
        }
    }

    /// What 32 bytes of the ring say, with their generation.
    pub fn decode(raw: &[u8; COMPLETION_BYTES as usize]) -> (Completion, bool) {
        let [
            _,
            status,
            t0,
            t1,
            l0,
            l1,
            h0,
            h1,
            done,
            _,
            _,
            _,
            i0,
            i1,
            _,
            _,
            rest @ ..,
        ] = *raw;
        let len = u16::from_le_bytes([l0, l1]);
        let header = u16::from_le_bytes([h0, h1]);
        let completion = Completion {
            buf_id: u16::from_le_bytes([i0, i1]),
            packet_len: len & MAX_PACKET_LEN,
            header_len: header & MAX_HEADER_LEN,
            split_header: header & Self::SPLIT_HEADER != 0,
            end_of_packet: done & Self::END_OF_PACKET != 0,
            rx_error: status & Self::RX_ERROR != 0,
            packet_type: u16::from_le_bytes([t0, t1]) & 0x3ff,
            l3_l4_processed: done & Self::L3_L4_PROCESSED != 0,
            csum_ip_err: done & Self::CSUM_IP_ERR != 0,
            csum_l4_err: done & Self::CSUM_L4_ERR != 0,
            ipv6_ex_add: status & Self::IPV6_EX_ADD != 0,
            hash: U32::read_from_prefix(&rest).map_or(0, |(hash, _)| hash.get()),
        };
        (completion, len & Self::GENERATION != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    fn bytes(encoded: EncodedCompletion) -> [u8; 32] {
        let mut raw = [0; 32];
        raw[..8].copy_from_slice(&encoded.head.to_le_bytes());
        raw[8..].copy_from_slice(&encoded.tail);
        raw
    }

    #[test]
    fn buffer_layout() {
        assert_eq!(size_of::<Buffer>(), 32);
        assert_eq!(offset_of!(Buffer, address), 8);
        assert_eq!(offset_of!(Buffer, header_address), 16);
    }

    #[test]
    fn completion_bits() {
        let completion = Completion {
            buf_id: 0x0102,
            packet_len: 1448,
            header_len: 66,
            split_header: true,
            end_of_packet: true,
            packet_type: 3,
            l3_l4_processed: true,
            hash: 0x51cc_c178,
            ..Completion::default()
        };
        let raw = bytes(completion.encode(true));
        assert_eq!(raw[0], 1);
        assert_eq!(raw[1], 0);
        assert_eq!(raw[2..4], [3, 0]);
        assert_eq!(u16::from_le_bytes([raw[4], raw[5]]), 1448 | (1 << 14));
        assert_eq!(u16::from_le_bytes([raw[6], raw[7]]), 66 | (1 << 11));
        assert_eq!(raw[8], 0x0b);
        assert_eq!(raw[12..14], [0x02, 0x01]);
        assert_eq!(raw[16..20], 0x51cc_c178_u32.to_le_bytes());
        assert_eq!(Completion::decode(&raw), (completion, true));
    }

    #[test]
    fn every_flag_round_trips() {
        let completion = Completion {
            rx_error: true,
            csum_ip_err: true,
            csum_l4_err: true,
            ipv6_ex_add: true,
            ..Completion::default()
        };
        let raw = bytes(completion.encode(false));
        assert_eq!(raw[1], 0x06);
        assert_eq!(raw[8], 0x31);
        assert_eq!(Completion::decode(&raw), (completion, false));
    }
}
