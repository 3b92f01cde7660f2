// SPDX-License-Identifier: GPL-2.0
//! Flow rules: which queue a flow goes to, before RSS is asked.

use super::FlowKey;
use gve_net::layout::{L3, L4};
use gve_wire::steering::{FlowRule, FlowSpec, FlowType};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a rule was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FlowError {
    /// There is no such kind of traffic.
    #[error("flow type {0} does not exist")]
    Type(u16),
    /// The location is not one of the table's, or the table is full.
    #[error("no room for a rule at location {0}")]
    Full(u32),
    /// There is no rule to delete.
    #[error("no rule at location {0}")]
    Missing(u32),
}

/// Rules by location; the lower location wins.
#[derive(Clone, Debug)]
pub struct FlowTable {
    max: u32,
    rules: BTreeMap<u32, FlowRule>,
}

impl FlowTable {
    /// No rules, and room for this many.
    pub fn new(max: u32) -> FlowTable {
        FlowTable {
            max,
            rules: BTreeMap::new(),
        }
    }

    /// Locations there are.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds the rule, or puts it in the place of the one that is there.
    pub fn add(&mut self, location: u32, rule: FlowRule) -> Result<(), FlowError> {
        let raw = rule.flow_type.get();
        FlowType::from_raw(raw).ok_or(FlowError::Type(raw))?;
        let replaces = self.rules.contains_key(&location);
        if !replaces && (location >= self.max || self.rules.len() >= self.max as usize) {
            return Err(FlowError::Full(location));
        }
        self.rules.insert(location, rule);
        Ok(())
    }

    /// Deletes the rule.
    pub fn delete(&mut self, location: u32) -> Result<(), FlowError> {
        match self.rules.remove(&location) {
            Some(_) => Ok(()),
            None => Err(FlowError::Missing(location)),
        }
    }

    /// Deletes every rule.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Rules from a location on, in order.
    pub fn from(&self, location: u32) -> impl Iterator<Item = (u32, &FlowRule)> {
        self.rules.range(location..).map(|(&at, rule)| (at, rule))
    }

    /// The queue of the first rule that the key matches.
    pub fn lookup(&self, key: &FlowKey) -> Option<u16> {
        self.rules
            .values()
            .find(|rule| matches(rule, key))
            .map(|rule| rule.action.get())
    }
}

fn matches(rule: &FlowRule, key: &FlowKey) -> bool {
    use FlowType::*;
    let Some(flow) = FlowType::from_raw(rule.flow_type.get()) else {
        return false;
    };
    let l4 = match flow {
        TcpV4 | TcpV6 => L4::Tcp,
        UdpV4 | UdpV6 => L4::Udp,
        SctpV4 | SctpV6 => L4::Sctp,
        AhV4 | AhV6 => L4::Ah,
        EspV4 | EspV6 => L4::Esp,
    };
    let l3 = if flow.is_ipv6() { L3::Ipv6 } else { L3::Ipv4 };
    if key.l3 != l3 || key.l4 != l4 {
        return false;
    }
    let address = if flow.is_ipv6() { 16 } else { 4 };
    same(&key.source, &rule.key.src_ip, &rule.mask.src_ip, address)
        && same(
            &key.destination,
            &rule.key.dst_ip,
            &rule.mask.dst_ip,
            address,
        )
        && same(&key.ports, &ports(&rule.key), &ports(&rule.mask), 4)
        && (key.tos ^ rule.key.tos) & rule.mask.tos == 0
}

/// Both ports, or the security parameter index, as they stand in a packet.
fn ports(spec: &FlowSpec) -> [u8; 4] {
    let [a, b] = spec.src_port.to_bytes();
    let [c, d] = spec.dst_port.to_bytes();
    [a, b, c, d]
}

/// Whether the first `len` bytes agree in the bits of the mask.
fn same(value: &[u8], wanted: &[u8], mask: &[u8], len: usize) -> bool {
    value
        .iter()
        .zip(wanted)
        .zip(mask)
        .take(len)
        .all(|((value, wanted), mask)| (value ^ wanted) & mask == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn rule(flow: FlowType, queue: u16) -> FlowRule {
        let mut rule = FlowRule::new_zeroed();
        rule.flow_type = (flow as u16).into();
        rule.action = queue.into();
        rule
    }

    fn key() -> FlowKey {
        let mut key = FlowKey {
            l3: L3::Ipv4,
            l4: L4::Tcp,
            ports: [0x13, 0x88, 0x14, 0x51],
            ..FlowKey::default()
        };
        key.source[..4].copy_from_slice(&[10, 0, 0, 1]);
        key.destination[..4].copy_from_slice(&[10, 0, 0, 2]);
        key
    }

    #[test]
    fn masks_say_what_counts() {
        let mut table = FlowTable::new(8);
        let mut wanted = rule(FlowType::TcpV4, 7);
        wanted.key.dst_port = 0x1451.into();
        wanted.mask.dst_port = 0xffff.into();
        table.add(3, wanted).unwrap();
        assert_eq!(table.lookup(&key()), Some(7));
        let mut other = key();
        other.ports[3] ^= 1;
        assert_eq!(table.lookup(&other), None);
        let mut other = key();
        other.l4 = L4::Udp;
        assert_eq!(table.lookup(&other), None);
        let mut other = key();
        other.source = [9; 16];
        assert_eq!(table.lookup(&other), Some(7));
        wanted.key.src_ip[..4].copy_from_slice(&[10, 0, 0, 0]);
        wanted.mask.src_ip[..4].copy_from_slice(&[255, 255, 255, 0]);
        table.add(3, wanted).unwrap();
        assert_eq!(table.lookup(&other), None);
        assert_eq!(table.lookup(&key()), Some(7));
    }

    #[test]
    fn lower_location_wins() {
        let mut table = FlowTable::new(8);
        table.add(5, rule(FlowType::TcpV4, 5)).unwrap();
        table.add(2, rule(FlowType::TcpV4, 2)).unwrap();
        assert_eq!(table.lookup(&key()), Some(2));
        table.delete(2).unwrap();
        assert_eq!(table.lookup(&key()), Some(5));
        assert_eq!(table.delete(2), Err(FlowError::Missing(2)));
    }

    #[test]
    fn bounds() {
        let mut table = FlowTable::new(2);
        assert_eq!(
            table.add(2, rule(FlowType::TcpV4, 0)),
            Err(FlowError::Full(2))
        );
        let mut bad = rule(FlowType::TcpV4, 0);
        bad.flow_type = 10.into();
        assert_eq!(table.add(0, bad), Err(FlowError::Type(10)));
        table.add(0, rule(FlowType::TcpV6, 0)).unwrap();
        table.add(1, rule(FlowType::TcpV6, 0)).unwrap();
        table.add(1, rule(FlowType::TcpV6, 1)).unwrap();
        assert_eq!(table.from(1).count(), 1);
        table.clear();
        assert!(table.is_empty());
    }
}
