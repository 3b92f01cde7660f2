// SPDX-License-Identifier: GPL-2.0
//! Receive side scaling and flow rules, all big endian.

use crate::adminq::wire;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Number of the Toeplitz hash.
pub const HASH_TOEPLITZ: u8 = 1;

/// Bits that say what is hashed.
pub mod hash_type {
    /// Addresses of IPv4.
    pub const IPV4: u16 = 1 << 0;
    /// Addresses and ports of TCP over IPv4.
    pub const TCPV4: u16 = 1 << 1;
    /// Addresses of IPv6.
    pub const IPV6: u16 = 1 << 2;
    /// Addresses and ports of TCP over IPv6.
    pub const TCPV6: u16 = 1 << 4;
    /// Addresses and ports of UDP over IPv4.
    pub const UDPV4: u16 = 1 << 6;
    /// Addresses and ports of UDP over IPv6.
    pub const UDPV6: u16 = 1 << 7;
    /// What Linux asks for.
    pub const DEFAULT: u16 = TCPV4 | TCPV6 | UDPV4 | UDPV6;
}

wire! {
    /// Start of the answer to `QueryRss`; key and table follow.
    RssHeader {
        /// Bytes of header, key and table.
        total_length: U32,
        /// Bits of [`hash_type`].
        hash_types: U16,
        /// [`HASH_TOEPLITZ`].
        hash_alg: u8,
        /// Zero.
        reserved: u8,
    }
}

/// What `EXTENDED_CONFIGURE_FLOW_RULE` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FlowOperation {
    /// Add or replace the rule at a location.
    Add = 0,
    /// Delete the rule at a location.
    Delete = 1,
    /// Delete every rule.
    Reset = 2,
}

impl FlowOperation {
    /// The operation with this number.
    pub fn from_raw(raw: u16) -> Option<Self> {
        [Self::Add, Self::Delete, Self::Reset]
            .into_iter()
            .find(|&op| op as u16 == raw)
    }
}

/// What `QueryFlowRules` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FlowQuery {
    /// Rules with their locations.
    Rules = 0,
    /// Locations.
    Ids = 1,
    /// Numbers only.
    Stats = 2,
}

impl FlowQuery {
    /// The query with this number.
    pub fn from_raw(raw: u16) -> Option<Self> {
        [Self::Rules, Self::Ids, Self::Stats]
            .into_iter()
            .find(|&query| query as u16 == raw)
    }
}

/// What traffic a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FlowType {
    /// TCP over IPv4.
    TcpV4 = 0,
    /// UDP over IPv4.
    UdpV4 = 1,
    /// SCTP over IPv4.
    SctpV4 = 2,
    /// AH over IPv4.
    AhV4 = 3,
    /// ESP over IPv4.
    EspV4 = 4,
    /// TCP over IPv6.
    TcpV6 = 5,
    /// UDP over IPv6.
    UdpV6 = 6,
    /// SCTP over IPv6.
    SctpV6 = 7,
    /// AH over IPv6.
    AhV6 = 8,
    /// ESP over IPv6.
    EspV6 = 9,
}

impl FlowType {
    /// The type with this number.
    pub fn from_raw(raw: u16) -> Option<Self> {
        use FlowType::*;
        [
            TcpV4, UdpV4, SctpV4, AhV4, EspV4, TcpV6, UdpV6, SctpV6, AhV6, EspV6,
        ]
        .into_iter()
        .find(|&flow| flow as u16 == raw)
    }

    /// Whether the addresses are IPv6.
    pub fn is_ipv6(self) -> bool {
        self as u16 >= FlowType::TcpV6 as u16
    }

    /// Whether the ports are a security parameter index instead.
    pub fn has_spi(self) -> bool {
        use FlowType::*;
        matches!(self, AhV4 | EspV4 | AhV6 | EspV6)
    }
}

wire! {
    /// The fields a rule compares, or the mask that says which bits of them.
    FlowSpec {
        /// Source address, network order; IPv4 in the first word.
        src_ip: [u8; 16],
        /// Destination address.
        dst_ip: [u8; 16],
        /// Source port, or the upper half of the SPI.
        src_port: U16,
        /// Destination port, or the lower half of the SPI.
        dst_port: U16,
        /// Type of service or traffic class.
        tos: u8,
        /// Zero.
        padding: [u8; 3],
    }
}

wire! {
    /// A flow rule.
    FlowRule {
        /// Number of a [`FlowType`].
        flow_type: U16,
        /// Receive queue.
        action: U16,
        /// What the packet must have,
        key: FlowSpec,
        /// in the bits that are set here.
        mask: FlowSpec,
    }
}

wire! {
    /// The extended command that configures a rule.
    ConfigureFlowRule {
        /// Number of a [`FlowOperation`].
        operation: U16,
        /// Zero.
        padding: [u8; 2],
        /// The rule.
        rule: FlowRule,
        /// Where it stands; the lower location wins.
        location: U32,
    }
}

wire! {
    /// Start of the answer to `QueryFlowRules`.
    FlowQueryHeader {
        /// Rules there are.
        num_rules: U32,
        /// Rules there can be.
        max_rules: U32,
        /// Records that follow.
        num_queried: U32,
        /// Bytes of header and records.
        total_length: U32,
    }
}

wire! {
    /// A record of [`FlowQuery::Rules`].
    QueriedRule {
        /// Where the rule stands.
        location: U32,
        /// The rule.
        rule: FlowRule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn layout() {
        assert_eq!(size_of::<RssHeader>(), 8);
        assert_eq!(offset_of!(RssHeader, hash_types), 4);
        assert_eq!(offset_of!(RssHeader, hash_alg), 6);
        assert_eq!(size_of::<FlowSpec>(), 40);
        assert_eq!(offset_of!(FlowSpec, dst_ip), 16);
        assert_eq!(offset_of!(FlowSpec, src_port), 32);
        assert_eq!(offset_of!(FlowSpec, tos), 36);
        assert_eq!(size_of::<FlowRule>(), 84);
        assert_eq!(offset_of!(FlowRule, mask), 44);
        assert_eq!(size_of::<ConfigureFlowRule>(), 92);
        assert_eq!(offset_of!(ConfigureFlowRule, location), 88);
        assert_eq!(size_of::<QueriedRule>(), 88);
        assert_eq!(size_of::<FlowQueryHeader>(), 16);
    }

    #[test]
    fn default_hash_types() {
        assert_eq!(hash_type::DEFAULT, 0xd2);
    }
}
