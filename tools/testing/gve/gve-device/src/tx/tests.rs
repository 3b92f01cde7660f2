// SPDX-License-Identifier: GPL-2.0
//! Made-up descriptor rings in plain memory.

use super::*;
use crate::memory::PlainMemory;
use gve_wire::tx::general_context;

const RING: u64 = 0x10000;
const COMPLETIONS: u64 = 0x20000;
const DATA: u64 = 0x30000;
const ENTRIES: u16 = 64;
const BUDGET: Budget = Budget {
    packets: 1000,
    bytes: 1 << 20,
};

struct Bench {
    memory: PlainMemory,
    queue: TxQueue,
    counters: TxCounters,
    anomalies: Anomalies,
    tail: u16,
    seen: u16,
    generation: bool,
}

impl Bench {
    fn new() -> Bench {
        let memory = PlainMemory::new(RING, 0x40000);
        let config = TxQueueConfig {
            id: 3,
            ring: RING,
            size: ENTRIES,
            completion_ring: COMPLETIONS,
            completion_size: ENTRIES,
            block: 3,
        };
        let bytes: Vec<u8> = (0..0x10000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
        memory.write(DATA, &bytes).unwrap();
        Bench {
            memory,
            queue: TxQueue::new(config, false),
            counters: TxCounters::default(),
            anomalies: Anomalies::new(0),
            tail: 0,
            seen: 0,
            generation: true,
        }
    }

    fn post(&mut self, raw: RawDescriptor) {
        let at = RING + u64::from(self.tail) * DESCRIPTOR_BYTES;
        self.memory.write(at, &raw.0).unwrap();
        self.tail = (self.tail + 1) % ENTRIES;
    }

    fn fetch(&mut self, budget: Budget) -> Fetched {
        assert!(self.queue.doorbell(self.tail.into()));
        self.queue.fetch(
            budget,
            &mut TxContext {
                memory: &self.memory,
                anomalies: &mut self.anomalies,
                counters: &mut self.counters,
            },
        )
    }

    /// Completions as a driver finds them: by generation.
    fn completions(&mut self) -> Vec<Completion> {
        let mut found = Vec::new();
        loop {
            let mut raw = [0; 8];
            let at = COMPLETIONS + u64::from(self.seen) * COMPLETION_BYTES;
            self.memory.read(at, &mut raw).unwrap();
            match Completion::decode(u64::from_le_bytes(raw)) {
                Some((completion, generation)) if generation == self.generation => {
                    found.push(completion);
                }
                _ => return found,
            }
            self.seen = (self.seen + 1) % ENTRIES;
            if self.seen == 0 {
                self.generation = !self.generation;
            }
        }
    }
}

fn piece(offset: u64, length: u16, tag: u16, end: bool) -> Packet {
    Packet {
        address: DATA + offset,
        length,
        tag,
        end_of_packet: end,
        ..Packet::default()
    }
}

#[test]
fn pieces_become_one_packet() {
    let mut bench = Bench::new();
    bench.post(general_context());
    bench.post(piece(0, 100, 5, false).encode());
    bench.post(piece(1000, 50, 5, false).encode());
    bench.post(
        Packet {
            checksum_offload: true,
            report_event: true,
            ..piece(5000, 7, 5, true)
        }
        .encode(),
    );
    let fetched = bench.fetch(BUDGET);
    assert_eq!(fetched.packets.len(), 1);
    assert_eq!(fetched.completed, 2);
    assert!(!fetched.more);
    let packet = &fetched.packets[0];
    assert!(packet.checksum && packet.tso.is_none());
    let mut expected = Vec::new();
    for (offset, length) in [(0, 100), (1000, 50), (5000, 7)] {
        bench
            .memory
            .append(DATA + offset, length, &mut expected)
            .unwrap();
    }
    assert_eq!(packet.data, expected);
    assert_eq!(
        bench.completions(),
        [Completion::Descriptor(4), Completion::Packet(5)]
    );
    assert_eq!(bench.counters.descriptors, 4);
}

#[test]
fn every_lap_flips_the_generation() {
    let mut bench = Bench::new();
    for round in 0..5 * ENTRIES {
        bench.post(piece(0, 60, round % 7, true).encode());
        assert_eq!(bench.fetch(BUDGET).packets.len(), 1);
        assert_eq!(bench.completions(), [Completion::Packet(round % 7)]);
    }
}

#[test]
fn packet_without_end_waits_for_it() {
    let mut bench = Bench::new();
    bench.post(piece(0, 60, 1, false).encode());
    let fetched = bench.fetch(BUDGET);
    assert!(fetched.packets.is_empty() && fetched.completed == 0 && !fetched.more);
    bench.post(piece(60, 1, 1, true).encode());
    let fetched = bench.fetch(BUDGET);
    assert_eq!(fetched.packets[0].data.len(), 61);
}

#[test]
fn budget_is_kept() {
    let mut bench = Bench::new();
    for tag in 0..10 {
        bench.post(piece(0, 1000, tag, true).encode());
    }
    let fetched = bench.fetch(Budget {
        packets: 4,
        bytes: 1 << 20,
    });
    assert_eq!(fetched.packets.len(), 4);
    assert!(fetched.more);
    let fetched = bench.fetch(Budget {
        packets: 100,
        bytes: 1500,
    });
    assert_eq!(fetched.packets.len(), 2);
    assert!(fetched.more);
    assert_eq!(bench.fetch(BUDGET).packets.len(), 4);
}

#[test]
fn nonsense_is_completed_and_counted() {
    let mut bench = Bench::new();
    // A descriptor of no known type in front of a packet.
    bench.post(RawDescriptor::default());
    bench.post(piece(0, 60, 1, true).encode());
    // A context in the middle of a packet.
    bench.post(piece(0, 60, 2, false).encode());
    bench.post(general_context());
    bench.post(piece(0, 60, 2, true).encode());
    // A piece that is not mapped.
    bench.post(
        Packet {
            address: 0xdead_0000_0000,
            ..piece(0, 60, 3, true)
        }
        .encode(),
    );
    // Too long for one frame.
    bench.post(piece(0, 9000, 4, false).encode());
    bench.post(piece(0, 9000, 4, true).encode());
    // And one that is fine.
    bench.post(piece(0, 60, 5, true).encode());
    let fetched = bench.fetch(BUDGET);
    assert_eq!(fetched.packets.len(), 1);
    assert_eq!(
        bench.completions(),
        (1..=5).map(Completion::Packet).collect::<Vec<_>>()
    );
    let counts = bench.anomalies.counts();
    assert_eq!(counts.get(&Anomaly::TxDescriptor), Some(&2));
    assert_eq!(counts.get(&Anomaly::DmaRead), Some(&1));
    assert_eq!(counts.get(&Anomaly::TxPacket), Some(&1));
    assert_eq!(bench.counters.dropped, 4);
}

#[test]
fn wild_tails_are_refused() {
    let mut bench = Bench::new();
    assert!(!bench.queue.doorbell(ENTRIES.into()));
    assert!(!bench.queue.doorbell(u32::MAX));
    assert!(!bench.queue.has_work());
}

#[test]
fn vanished_ring_is_survived() {
    let mut bench = Bench::new();
    bench.queue.config.ring = 0x5000_0000;
    bench.tail = 5;
    assert!(bench.fetch(BUDGET).packets.is_empty());
    assert!(!bench.queue.has_work());
    bench.queue.config.ring = u64::MAX - 8;
    bench.tail = 9;
    assert!(bench.fetch(BUDGET).packets.is_empty());
}
