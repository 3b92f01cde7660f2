// SPDX-License-Identifier: GPL-2.0
//! Transmit ring: 16-byte descriptors in, 8-byte completions out, all little
//! endian. A packet is an optional [`TsoContext`], an optional general
//! context and then data descriptors up to the one with `end_of_packet`.

use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a descriptor of any kind.
pub const DESCRIPTOR_BYTES: u64 = 16;
/// Bytes of a completion.
pub const COMPLETION_BYTES: u64 = 8;
/// Most bytes a data descriptor can name.
pub const MAX_BUFFER_BYTES: u16 = 0x3fff;
/// Smallest segment that TSO can be asked for.
pub const MIN_MSS: u16 = 88;
/// Biggest segment that TSO can be asked for, and the biggest single frame.
pub const MAX_FRAME: u16 = 9728;
/// Most payload of one TSO packet.
pub const MAX_TSO_PAYLOAD: u32 = 262_143;

/// Byte 8 of every kind of descriptor: what kind it is, and flags.
const KIND: usize = 8;
const DTYPE: u8 = 0x1f;
const DTYPE_PACKET: u8 = 0x0c;
const DTYPE_TSO: u8 = 0x05;
const DTYPE_GENERAL: u8 = 0x04;
const END_OF_PACKET: u8 = 0x20;
const CHECKSUM_OFFLOAD: u8 = 0x40;
const REPORT_EVENT: u8 = 0x80;

/// Sixteen bytes from the ring.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct RawDescriptor(pub [u8; DESCRIPTOR_BYTES as usize]);

/// A data descriptor: one piece of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Bus address of the piece.
    pub address: u64,
    /// Bytes of the piece.
    pub length: u16,
    /// Tag that the completion of the packet echoes.
    pub tag: u16,
    /// This is the packet's last piece.
    pub end_of_packet: bool,
    /// Finish the checksum of the transport header.
    pub checksum_offload: bool,
    /// Write a descriptor completion once this descriptor is fetched.
    pub report_event: bool,
}

/// What TSO is to do with the packet that follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TsoContext {
    /// Bytes of payload in all segments together.
    pub total_payload: u32,
    /// Bytes of payload in each segment but the last.
    pub mss: u16,
    /// Bytes that every segment begins with.
    pub header_len: u8,
    /// Whether the segmentation bit is set at all.
    pub enabled: bool,
}

/// A descriptor, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// A piece of a packet.
    Packet(Packet),
    /// Segmentation of the packet that follows.
    Tso(TsoContext),
    /// Metadata, of no consequence to what is sent.
    General,
    /// Something else, with its type.
    Unknown(u8),
}

impl RawDescriptor {
    /// Takes the descriptor apart.
    pub fn decode(&self) -> Descriptor {
        let [a, b, c, _, d, e, f, _, kind, _, _, _, g, h, i, j] = self.0;
        match kind & DTYPE {
            DTYPE_PACKET => Descriptor::Packet(Packet {
                address: U64::read_from_prefix(&self.0).map_or(0, |(v, _)| v.get()),
                length: u16::from_le_bytes([i, j]) & MAX_BUFFER_BYTES,
                tag: u16::from_le_bytes([g, h]),
                end_of_packet: kind & END_OF_PACKET != 0,
                checksum_offload: kind & CHECKSUM_OFFLOAD != 0,
                report_event: kind & REPORT_EVENT != 0,
            }),
            DTYPE_TSO => Descriptor::Tso(TsoContext {
                total_payload: u32::from_le_bytes([a, b, c, 0]),
                mss: u16::from_le_bytes([d, e]) & MAX_BUFFER_BYTES,
                header_len: f,
                enabled: kind & END_OF_PACKET != 0,
            }),
            DTYPE_GENERAL => Descriptor::General,
            other => Descriptor::Unknown(other),
        }
    }
}

impl Packet {
    /// As it stands in the ring.
    pub fn encode(&self) -> RawDescriptor {
        let mut raw = [0; 16];
        let [tag0, tag1] = self.tag.to_le_bytes();
        let [len0, len1] = (self.length & MAX_BUFFER_BYTES).to_le_bytes();
        let (address, rest) = raw.split_at_mut(KIND);
        address.copy_from_slice(&self.address.to_le_bytes());
        let mut kind = DTYPE_PACKET;
        if self.end_of_packet {
            kind |= END_OF_PACKET;
        }
        if self.checksum_offload {
            kind |= CHECKSUM_OFFLOAD;
        }
        if self.report_event {
            kind |= REPORT_EVENT;
        }
        rest.copy_from_slice(&[kind, 0, 0, 0, tag0, tag1, len0, len1]);
        RawDescriptor(raw)
    }
}

impl TsoContext {
    /// As it stands in the ring.
    pub fn encode(&self) -> RawDescriptor {
        let [a, b, c, _] = self.total_payload.to_le_bytes();
        let [d, e] = self.mss.to_le_bytes();
        let kind = DTYPE_TSO | if self.enabled { END_OF_PACKET } else { 0 };
        RawDescriptor([
            a,
            b,
            c,
            0,
            d,
            e,
            self.header_len,
            0,
            kind,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ])
    }
}

/// A general context, as it stands in the ring.
pub fn general_context() -> RawDescriptor {
    RawDescriptor([0, 0, 0, 0, 0, 0, 0, 0, DTYPE_GENERAL, 0, 0, 0, 0, 0, 0, 0])
}

/// What a completion says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The packet with this tag is sent; its buffers are the driver's again.
    Packet(u16),
    /// Descriptors up to, not including, this index are fetched.
    Descriptor(u16),
}

impl Completion {
    const TYPE_SHIFT: u16 = 11;
    const TYPE_PACKET: u16 = 2;
    const TYPE_DESCRIPTOR: u16 = 4;
    const GENERATION: u16 = 1 << 15;

    /// The eight bytes for the ring of this queue, in this lap.
    pub fn encode(self, queue: u16, generation: bool) -> u64 {
        let (kind, value) = match self {
            Completion::Packet(tag) => (Self::TYPE_PACKET, tag),
            Completion::Descriptor(head) => (Self::TYPE_DESCRIPTOR, head),
        };
        let mut word = (queue & 0x7ff) | (kind << Self::TYPE_SHIFT);
        if generation {
            word |= Self::GENERATION;
        }
        u64::from(word) | (u64::from(value) << 16)
    }

    /// What eight bytes of the ring say, with their generation.
    pub fn decode(raw: u64) -> Option<(Completion, bool)> {
        let word = raw as u16;
        let value = (raw >> 16) as u16;
        let completion = match (word >> Self::TYPE_SHIFT) & 7 {
            Self::TYPE_PACKET => Completion::Packet(value),
            Self::TYPE_DESCRIPTOR => Completion::Descriptor(value),
            _ => return None,
        };
        Some((completion, word & Self::GENERATION != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_bytes() {
        let packet = Packet {
            address: 0x1122_3344_5566_7788,
            length: 0x3001,
            tag: 0xabcd,
            end_of_packet: true,
            checksum_offload: true,
            report_event: true,
        };
        let raw = packet.encode();
        assert_eq!(
            raw.0,
            [
                0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xec, 0, 0, 0, 0xcd, 0xab, 0x01,
                0x30
            ]
        );
        assert_eq!(raw.decode(), Descriptor::Packet(packet));
    }

    #[test]
    fn reserved_length_bits_are_ignored() {
        let mut raw = Packet::default().encode();
        raw.0[15] = 0xff;
        let Descriptor::Packet(packet) = raw.decode() else {
            panic!("not a packet");
        };
        assert_eq!(packet.length, 0x3f00);
    }

    #[test]
    fn tso_bytes() {
        let tso = TsoContext {
            total_payload: 0x3_ffff,
            mss: 1448,
            header_len: 66,
            enabled: true,
        };
        let raw = tso.encode();
        assert_eq!(raw.0[..9], [0xff, 0xff, 0x03, 0, 0xa8, 0x05, 66, 0, 0x25]);
        assert_eq!(raw.decode(), Descriptor::Tso(tso));
    }

    #[test]
    fn other_types() {
        assert_eq!(general_context().decode(), Descriptor::General);
        assert_eq!(RawDescriptor::default().decode(), Descriptor::Unknown(0));
    }

    #[test]
    fn completion_bytes() {
        let raw = Completion::Packet(0x0123).encode(5, true);
        assert_eq!(raw.to_le_bytes(), [0x05, 0x90, 0x23, 0x01, 0, 0, 0, 0]);
        let raw = Completion::Descriptor(0x0040).encode(5, false);
        assert_eq!(raw.to_le_bytes(), [0x05, 0x20, 0x40, 0x00, 0, 0, 0, 0]);
        assert_eq!(
            Completion::decode(raw),
            Some((Completion::Descriptor(0x40), false))
        );
        assert_eq!(Completion::decode(0), None);
    }
}
