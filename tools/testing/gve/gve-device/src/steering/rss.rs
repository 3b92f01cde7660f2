// SPDX-License-Identifier: GPL-2.0
//! Receive side scaling: the Toeplitz hash and its table.

use super::{Destination, FlowKey};
use crate::config::{RSS_KEY_BYTES, RSS_TABLE_ENTRIES};
use gve_net::layout::{L3, L4};
use gve_wire::steering::{HASH_TOEPLITZ, hash_type};
use thiserror::Error;

/// The key that is in force until the driver sets one. It is the one that the
/// published test vectors of the hash use.
const DEFAULT_KEY: [u8; RSS_KEY_BYTES] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Toeplitz hash of `input`, at most 36 bytes, which the key's 40 cover.
pub fn toeplitz(key: &[u8; RSS_KEY_BYTES], input: &[u8]) -> u32 {
    let mut key_bytes = key.iter().copied();
    let mut window: u64 = 0;
    for _ in 0..8 {
        window = (window << 8) | u64::from(key_bytes.next().unwrap_or(0));
    }
    let mut hash = 0;
    for &byte in input {
        for bit in 0..8 {
            if byte & (0x80 >> bit) != 0 {
                hash ^= (window >> (32 - bit)) as u32;
            }
        }
        // The next byte of input meets the key a byte further on.
        window = (window << 8) | u64::from(key_bytes.next().unwrap_or(0));
    }
    hash
}

/// Why a configuration was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RssError {
    /// Not Toeplitz.
    #[error("hash algorithm {0} is not Toeplitz")]
    Algorithm(u8),
}

/// RSS of a port.
#[derive(Clone, Debug)]
pub struct Rss {
    key: [u8; RSS_KEY_BYTES],
    hash_types: u16,
    /// What the driver has set.
    table: Option<[u32; RSS_TABLE_ENTRIES]>,
    /// Queues that the default table spreads over.
    spread: u16,
}

impl Default for Rss {
    fn default() -> Self {
        Rss {
            key: DEFAULT_KEY,
            hash_types: hash_type::DEFAULT,
            table: None,
            spread: 1,
        }
    }
}

impl Rss {
    /// Sets what is given.
    pub fn configure(
        &mut self,
        algorithm: u8,
        hash_types: u16,
        key: Option<[u8; RSS_KEY_BYTES]>,
        table: Option<[u32; RSS_TABLE_ENTRIES]>,
    ) -> Result<(), RssError> {
        if algorithm != 0 && algorithm != HASH_TOEPLITZ {
            return Err(RssError::Algorithm(algorithm));
        }
        if hash_types != 0 {
            self.hash_types = hash_types;
        }
        self.key = key.unwrap_or(self.key);
        self.table = table.or(self.table);
        Ok(())
    }

    /// Receive queues there are, for a table that nobody has set.
    pub fn set_spread(&mut self, queues: u16) {
        self.spread = queues.max(1);
    }

    /// Bits of [`hash_type`].
    pub fn hash_types(&self) -> u16 {
        self.hash_types
    }

    /// The key.
    pub fn key(&self) -> &[u8; RSS_KEY_BYTES] {
        &self.key
    }

    /// The table in force.
    pub fn table(&self) -> [u32; RSS_TABLE_ENTRIES] {
        self.table
            .unwrap_or_else(|| std::array::from_fn(|entry| entry as u32 % u32::from(self.spread)))
    }

    fn entry(&self, hash: u32) -> u32 {
        let index = hash as usize % RSS_TABLE_ENTRIES;
        match &self.table {
            Some(table) => table.get(index).copied().unwrap_or(0),
            None => index as u32 % u32::from(self.spread),
        }
    }

    /// Hash and queue. What is not hashed goes to queue 0.
    pub fn steer(&self, key: &FlowKey) -> Destination {
        let (four_tuple, two_tuple, address) = match (key.l3, key.l4) {
            (L3::Ipv4, L4::Tcp) => (hash_type::TCPV4, hash_type::IPV4, 4),
            (L3::Ipv4, L4::Udp) => (hash_type::UDPV4, hash_type::IPV4, 4),
            (L3::Ipv4, _) => (0, hash_type::IPV4, 4),
            (L3::Ipv6, L4::Tcp) => (hash_type::TCPV6, hash_type::IPV6, 16),
            (L3::Ipv6, L4::Udp) => (hash_type::UDPV6, hash_type::IPV6, 16),
            (L3::Ipv6, _) => (0, hash_type::IPV6, 16),
            (L3::Other, _) => return Destination::default(),
        };
        let ports = self.hash_types & four_tuple != 0;
        if !ports && self.hash_types & two_tuple == 0 {
            return Destination::default();
        }
        let mut input = Vec::with_capacity(36);
        input.extend(key.source.iter().take(address));
        input.extend(key.destination.iter().take(address));
        if ports {
            input.extend(key.ports);
        }
        let hash = toeplitz(&self.key, &input);
        Destination {
            // A table entry that fits no queue number names a queue that is
            // not there, like any other queue that is not there.
            queue: u16::try_from(self.entry(hash)).unwrap_or(u16::MAX),
            hash,
            by_rule: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(source: &str, destination: &str, ports: Option<(u16, u16)>) -> u32 {
        let mut input = Vec::new();
        input.extend(source.parse::<Ipv4Addr>().unwrap().octets());
        input.extend(destination.parse::<Ipv4Addr>().unwrap().octets());
        if let Some((source, destination)) = ports {
            input.extend(source.to_be_bytes());
            input.extend(destination.to_be_bytes());
        }
        toeplitz(&DEFAULT_KEY, &input)
    }

    fn v6(source: &str, destination: &str, ports: Option<(u16, u16)>) -> u32 {
        let mut input = Vec::new();
        input.extend(source.parse::<Ipv6Addr>().unwrap().octets());
        input.extend(destination.parse::<Ipv6Addr>().unwrap().octets());
        if let Some((source, destination)) = ports {
            input.extend(source.to_be_bytes());
            input.extend(destination.to_be_bytes());
        }
        toeplitz(&DEFAULT_KEY, &input)
    }

    /// The vectors that Microsoft publishes for verifying RSS hashes.
    #[test]
    fn published_vectors_ipv4() {
        for (source, sport, destination, dport, addresses, with_ports) in [
            (
                "66.9.149.187",
                2794,
                "161.142.100.80",
                1766,
                0x323e_8fc2,
                0x51cc_c178,
            ),
            (
                "199.92.111.2",
                14230,
                "65.69.140.83",
                4739,
                0xd718_262a,
                0xc626_b0ea,
            ),
            (
                "24.19.198.95",
                12898,
                "12.22.207.184",
                38024,
                0xd2d0_a5de,
                0x5c2b_394a,
            ),
            (
                "38.27.205.30",
                48228,
                "209.142.163.6",
                2217,
                0x8298_9176,
                0xafc7_327f,
            ),
            (
                "153.39.163.191",
                44251,
                "202.188.127.2",
                1303,
                0x5d18_09c5,
                0x10e8_28a2,
            ),
        ] {
            assert_eq!(v4(source, destination, None), addresses);
            assert_eq!(v4(source, destination, Some((sport, dport))), with_ports);
        }
    }

    #[test]
    fn published_vectors_ipv6() {
        for (source, sport, destination, dport, addresses, with_ports) in [
            (
                "3ffe:2501:200:1fff::7",
                2794,
                "3ffe:2501:200:3::1",
                1766,
                0x2cc1_8cd5,
                0x4020_7d3d,
            ),
            (
                "3ffe:501:8::260:97ff:fe40:efab",
                14230,
                "ff02::1",
                4739,
                0x0f0c_461c,
                0xdde5_1bbf,
            ),
            (
                "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
                44251,
                "fe80::200:f8ff:fe21:67cf",
                38024,
                0x4b61_e985,
                0x02d1_feef,
            ),
        ] {
            assert_eq!(v6(source, destination, None), addresses);
            assert_eq!(v6(source, destination, Some((sport, dport))), with_ports);
        }
    }

    fn key(l3: L3, l4: L4) -> FlowKey {
        FlowKey {
            l3,
            l4,
            source: [1; 16],
            destination: [2; 16],
            ports: [0, 1, 0, 2],
            tos: 0,
        }
    }

    #[test]
    fn table_decides() {
        let mut rss = Rss::default();
        let tcp = key(L3::Ipv4, L4::Tcp);
        let index = rss.steer(&tcp).hash as usize % RSS_TABLE_ENTRIES;
        rss.set_spread(5);
        assert_eq!(usize::from(rss.steer(&tcp).queue), index % 5);
        let mut table = [0; RSS_TABLE_ENTRIES];
        table[index] = 3;
        rss.configure(HASH_TOEPLITZ, 0, None, Some(table)).unwrap();
        assert_eq!(rss.steer(&tcp).queue, 3);
        // Once set, the number of queues has no say.
        rss.set_spread(2);
        assert_eq!(rss.steer(&tcp).queue, 3);
        table[index] = u32::MAX;
        rss.configure(0, 0, None, Some(table)).unwrap();
        assert_eq!(rss.steer(&tcp).queue, u16::MAX);
    }

    #[test]
    fn types_decide() {
        let mut rss = Rss::default();
        assert_ne!(rss.steer(&key(L3::Ipv6, L4::Udp)).hash, 0);
        assert_eq!(rss.steer(&key(L3::Ipv4, L4::Other)), Destination::default());
        rss.configure(1, hash_type::IPV4, None, None).unwrap();
        let mut other_port = key(L3::Ipv4, L4::Tcp);
        other_port.ports = [9; 4];
        let destination = rss.steer(&key(L3::Ipv4, L4::Tcp));
        assert_ne!(destination.hash, 0);
        assert_eq!(rss.steer(&other_port), destination);
        assert_eq!(rss.configure(2, 0, None, None), Err(RssError::Algorithm(2)));
    }
}
