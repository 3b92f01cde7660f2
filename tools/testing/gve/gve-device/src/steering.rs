// SPDX-License-Identifier: GPL-2.0
//! Which receive queue a frame goes to: flow rules first, then RSS.

mod flow;
mod rss;

pub use flow::{FlowError, FlowTable};
pub use rss::{Rss, RssError, toeplitz};

use gve_net::Frame;
use gve_net::layout::{L3, L4};

/// What steering looks at in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// Network layer.
    pub l3: L3,
    /// Transport layer.
    pub l4: L4,
    /// Source address; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Ports, or the security parameter index.
    pub ports: [u8; 4],
    /// Type of service or traffic class.
    pub tos: u8,
}

impl FlowKey {
    /// The key of a frame; `None` for one that is not IP.
    pub fn of(frame: &Frame) -> Option<FlowKey> {
        let layout = frame.layout();
        let head = frame.head();
        let l3 = usize::from(layout.l3_offset);
        let mut key = FlowKey {
            l3: layout.l3,
            l4: layout.l4,
            ..FlowKey::default()
        };
        match layout.l3 {
            L3::Ipv4 => {
                let addresses = head.get(l3 + 12..l3 + 20)?;
                let (source, destination) = addresses.split_at(4);
                key.source.get_mut(..4)?.copy_from_slice(source);
                key.destination.get_mut(..4)?.copy_from_slice(destination);
                key.tos = *head.get(l3 + 1)?;
            }
            L3::Ipv6 => {
                let addresses = head.get(l3 + 8..l3 + 40)?;
                let (source, destination) = addresses.split_at(16);
                key.source.copy_from_slice(source);
                key.destination.copy_from_slice(destination);
                key.tos = (head.get(l3)? << 4) | (head.get(l3 + 1)? >> 4);
            }
            L3::Other => return None,
        }
        let l4 = usize::from(layout.l4_offset);
        key.ports = match layout.l4 {
            L4::Tcp | L4::Udp => *head.get(l4..)?.first_chunk()?,
            // Of these the header is not split off: it starts the body.
            L4::Sctp | L4::Esp => *frame.body().first_chunk()?,
            L4::Ah => *frame.body().get(4..)?.first_chunk()?,
            L4::Other => [0; 4],
        };
        Some(key)
    }

    /// Where the key would be in a table of `slots`, which is not 0.
    fn slot(&self, slots: usize) -> usize {
        let [a, b, c, d] = self.ports;
        let fold = |bytes: &[u8; 16]| {
            bytes
                .iter()
                .fold(0u32, |acc, &b| acc.rotate_left(5) ^ u32::from(b))
        };
        let mixed = u32::from_be_bytes([a, b, c, d])
            ^ fold(&self.source).rotate_left(11)
            ^ fold(&self.destination).rotate_left(17);
        (mixed.wrapping_mul(0x9e37_79b1) >> 16) as usize % slots
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The queue; it need not exist.
    pub queue: u16,
    /// The RSS hash, 0 for none.
    pub hash: u32,
    /// Whether a flow rule decided.
    pub by_rule: bool,
}

/// Entries of the cache of past decisions.
const CACHE: usize = 256;

/// RSS and flow rules of a port.
pub struct Steering {
    rss: Rss,
    flows: FlowTable,
    cache: Vec<Option<(FlowKey, Destination)>>,
}

impl Steering {
    /// Defaults: fixed key, all hash types of Linux, no rules.
    pub fn new(max_rules: u32) -> Steering {
        Steering {
            rss: Rss::default(),
            flows: FlowTable::new(max_rules),
            cache: vec![None; CACHE],
        }
    }

    /// RSS, to read.
    pub fn rss(&self) -> &Rss {
        &self.rss
    }

    /// Flow rules, to read.
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// RSS, to change.
    pub fn rss_mut(&mut self) -> &mut Rss {
        self.cache.fill(None);
        &mut self.rss
    }

    /// Flow rules, to change.
    pub fn flows_mut(&mut self) -> &mut FlowTable {
        self.cache.fill(None);
        &mut self.flows
    }

    /// Back to the defaults.
    pub fn reset(&mut self) {
        *self.rss_mut() = Rss::default();
        self.flows.clear();
    }

    /// Where a frame goes. What is not IP goes to queue 0.
    pub fn steer(&mut self, frame: &Frame) -> Destination {
        let Some(key) = FlowKey::of(frame) else {
            return Destination::default();
        };
        let slot = key.slot(CACHE);
        if let Some(Some((cached, destination))) = self.cache.get(slot) {
            if *cached == key {
                return *destination;
            }
        }
        let mut destination = self.rss.steer(&key);
        if let Some(queue) = self.flows.lookup(&key) {
            destination.queue = queue;
            destination.by_rule = true;
        }
        if let Some(entry) = self.cache.get_mut(slot) {
            *entry = Some((key, destination));
        }
        destination
    }
}
