// SPDX-License-Identifier: GPL-2.0
//! What kind of device a port is.

use gve_net::frame::MacAddress;

/// Bytes of an RSS key.
pub const RSS_KEY_BYTES: usize = 40;
/// Entries of the RSS table.
pub const RSS_TABLE_ENTRIES: usize = 128;
/// Bytes of BAR 0 and BAR 2 each.
pub const BAR_BYTES: u64 = 4096;
/// Most queues of each kind that [`BAR_BYTES`] of doorbells allow.
pub const MAX_QUEUES: u16 = 128;

/// Fixed for the life of a port.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// The port's address.
    pub mac: MacAddress,
    /// Queues of each kind, 1 to [`MAX_QUEUES`].
    pub queues: u16,
    /// Most bytes of a packet behind its Ethernet header.
    pub max_mtu: u16,
    /// Entries of a ring unless the driver wants it otherwise.
    pub ring_default: u16,
    /// Most entries of a ring.
    pub ring_max: u16,
    /// Fewest entries of a transmit ring that is advertised.
    pub tx_ring_min: u16,
    /// Fewest entries of a receive ring that is advertised.
    pub rx_ring_min: u16,
    /// Bytes of a packet buffer that are advertised.
    pub packet_buffer: u16,
    /// Bytes of a header buffer that are advertised; 0 for no header split.
    pub header_buffer: u16,
    /// Locations for flow rules.
    pub max_flow_rules: u32,
    /// Speed of the link, Mbit/s.
    pub link_mbps: u64,
    /// Bytes of payload that header split leaves with the header.
    pub split_late: u16,
    /// Frames that wait for buffers, per receive queue, before any is dropped.
    pub backlog: usize,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        DeviceConfig {
            mac: [0x02, 0x1a, 0xe0, 0, 0, 0],
            queues: 16,
            max_mtu: 9000,
            ring_default: 1024,
            ring_max: 4096,
            tx_ring_min: 256,
            rx_ring_min: 512,
            packet_buffer: 4096,
            header_buffer: 256,
            max_flow_rules: 1024,
            link_mbps: 100_000,
            split_late: 0,
            backlog: 8192,
        }
    }
}

impl DeviceConfig {
    /// Notification blocks: one for each queue.
    pub fn blocks(&self) -> u32 {
        2 * u32::from(self.queues)
    }

    /// MSI-X vectors: the blocks' and the management vector.
    pub fn vectors(&self) -> u32 {
        self.blocks() + 1
    }

    /// What the word of BAR 2 at `index` is.
    pub fn doorbell(&self, index: u32) -> Option<Doorbell> {
        let queues = u32::from(self.queues);
        let within = (index % queues) as u16;
        match index / queues {
            0 | 1 => Some(Doorbell::Irq(index)),
            2 => Some(Doorbell::Tx(within)),
            3 => Some(Doorbell::Rx(within)),
            _ => None,
        }
    }

    /// Where in BAR 2 a doorbell is, in words.
    pub fn doorbell_index(&self, doorbell: Doorbell) -> u32 {
        let queues = u32::from(self.queues);
        match doorbell {
            Doorbell::Irq(block) => block,
            Doorbell::Tx(queue) => 2 * queues + u32::from(queue),
            Doorbell::Rx(queue) => 3 * queues + u32::from(queue),
        }
    }
}

/// What a word of BAR 2 is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// Interrupt control of a notification block.
    Irq(u32),
    /// Tail of a transmit ring.
    Tx(u16),
    /// Tail of a receive buffer ring.
    Rx(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doorbells_are_distinct_and_inside_the_bar() {
        for queues in [1, 2, 16, MAX_QUEUES] {
            let config = DeviceConfig {
                queues,
                ..DeviceConfig::default()
            };
            let irqs = (0..config.blocks()).map(Doorbell::Irq);
            let tx = (0..queues).map(Doorbell::Tx);
            let rx = (0..queues).map(Doorbell::Rx);
            let mut seen = std::collections::HashSet::new();
            for doorbell in irqs.chain(tx).chain(rx) {
                let index = config.doorbell_index(doorbell);
                assert!(seen.insert(index));
                assert!(u64::from(index) * 4 < BAR_BYTES);
                assert_eq!(config.doorbell(index), Some(doorbell));
            }
            assert_eq!(config.doorbell(4 * u32::from(queues)), None);
            assert_eq!(config.vectors() % 2, 1);
        }
    }
}
