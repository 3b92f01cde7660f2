// SPDX-License-Identifier: GPL-2.0
//! The packet type map: what the 10-bit packet type of a receive completion
//! means is the device's choice, told once through the admin queue.

/// Entries of the map.
pub const ENTRIES: usize = 1024;
/// Bytes of the map: two a type.
pub const MAP_BYTES: usize = ENTRIES * 2;

/// Network layer of a packet type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum L3 {
    /// Not known.
    Unknown = 0,
    /// Known, but none of those below.
    Other = 1,
    /// IPv4.
    Ipv4 = 2,
    /// IPv6.
    Ipv6 = 3,
}

/// Transport layer of a packet type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum L4 {
    /// Not known. The only value under which a hash counts as an L3 hash.
    Unknown = 0,
    /// Known, but none of those below.
    Other = 1,
    /// TCP.
    Tcp = 2,
    /// UDP.
    Udp = 3,
    /// ICMP of either version.
    Icmp = 4,
    /// SCTP.
    Sctp = 5,
}

/// The types this crate's users agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum PacketType {
    /// Neither IPv4 nor IPv6.
    Unknown = 0,
    /// IPv4, no transport header that was hashed.
    Ipv4 = 1,
    /// IPv6, no transport header that was hashed.
    Ipv6 = 2,
    /// TCP over IPv4.
    TcpIpv4 = 3,
    /// UDP over IPv4.
    UdpIpv4 = 4,
    /// TCP over IPv6.
    TcpIpv6 = 5,
    /// UDP over IPv6.
    UdpIpv6 = 6,
}

impl PacketType {
    /// Every type but `Unknown`, with what the map says of it.
    pub const MEANINGS: [(PacketType, L3, L4); 6] = [
        (PacketType::Ipv4, L3::Ipv4, L4::Unknown),
        (PacketType::Ipv6, L3::Ipv6, L4::Unknown),
        (PacketType::TcpIpv4, L3::Ipv4, L4::Tcp),
        (PacketType::UdpIpv4, L3::Ipv4, L4::Udp),
        (PacketType::TcpIpv6, L3::Ipv6, L4::Tcp),
        (PacketType::UdpIpv6, L3::Ipv6, L4::Udp),
    ];
}

/// The whole map, as the driver gets it.
pub fn map() -> [u8; MAP_BYTES] {
    let mut map = [0; MAP_BYTES];
    for (ptype, l3, l4) in PacketType::MEANINGS {
        if let Some(entry) = map.chunks_exact_mut(2).nth(ptype as usize) {
            entry.copy_from_slice(&[l3 as u8, l4 as u8]);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_names_layers_per_type() {
        let map = map();
        assert_eq!(&map[..14], &[0, 0, 2, 0, 3, 0, 2, 2, 2, 3, 3, 2, 3, 3]);
        assert!(map[14..].iter().all(|&b| b == 0));
    }
}
