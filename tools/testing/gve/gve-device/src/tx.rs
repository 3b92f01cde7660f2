// SPDX-License-Identifier: GPL-2.0
//! Transmit queues: from the descriptor ring to private copies of packets.

use crate::anomaly::{Anomalies, Anomaly};
use crate::memory::{DmaError, GuestMemory};
use crate::offload::TxPacket;
use crate::stats::TxCounters;
use gve_wire::tx::{
    COMPLETION_BYTES, Completion, DESCRIPTOR_BYTES, Descriptor, MAX_FRAME, MAX_TSO_PAYLOAD, Packet,
    RawDescriptor, TsoContext,
};

/// Most bytes of one packet with all its segments.
const MAX_PACKET: usize = MAX_TSO_PAYLOAD as usize + 255;

/// What a queue is created with; the sizes are powers of two.
#[derive(Clone, Copy, Debug)]
pub struct TxQueueConfig {
    /// Number of the queue.
    pub id: u16,
    /// Address of the descriptor ring.
    pub ring: u64,
    /// Entries of the descriptor ring.
    pub size: u16,
    /// Address of the completion ring.
    pub completion_ring: u64,
    /// Entries of the completion ring.
    pub completion_size: u16,
    /// Notification block.
    pub block: u32,
}

/// A transmit queue.
#[derive(Debug)]
pub struct TxQueue {
    config: TxQueueConfig,
    head: u16,
    tail: u16,
    completion: u16,
    generation: bool,
    /// A fault keeps it from working.
    stuck: bool,
}

/// Limits of one [`TxQueue::fetch`].
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Packets.
    pub packets: usize,
    /// Bytes after which no further packet is begun.
    pub bytes: usize,
}

/// What [`TxQueue::fetch`] did.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Packets, in order.
    pub packets: Vec<TxPacket>,
    /// Whether the budget ended it.
    pub more: bool,
    /// Completions that were written.
    pub completed: u32,
}

/// Where the queue lives, for the time of one fetch.
pub struct TxContext<'a> {
    /// The guest's memory.
    pub memory: &'a dyn GuestMemory,
    /// Where nonsense is noted.
    pub anomalies: &'a mut Anomalies,
    /// The queue's counters.
    pub counters: &'a mut TxCounters,
}

/// A packet's descriptors, read but not acted upon.
#[derive(Default)]
struct Pending {
    tso: Option<TsoContext>,
    pieces: Vec<Packet>,
    /// Index behind each descriptor that wants a completion of its own.
    reports: Vec<u16>,
    malformed: Option<&'static str>,
}

impl TxQueue {
    /// A queue at the start of its rings.
    pub fn new(config: TxQueueConfig, stuck: bool) -> TxQueue {
        TxQueue {
            config,
            head: 0,
            tail: 0,
            completion: 0,
            generation: true,
            stuck,
        }
    }

    /// Notification block.
    pub fn block(&self) -> u32 {
        self.config.block
    }

    /// The driver wrote the tail. False if it is outside of the ring.
    pub fn doorbell(&mut self, tail: u32) -> bool {
        match u16::try_from(tail) {
            Ok(tail) if tail < self.config.size => {
                self.tail = tail;
                true
            }
            _ => false,
        }
    }

    /// Whether a fetch would find something.
    pub fn has_work(&self) -> bool {
        !self.stuck && self.head != self.tail
    }

    fn next(&self, index: u16) -> u16 {
        (index + 1) & (self.config.size - 1)
    }

    /// Takes packets up to the budget and completes them: each is copied, so
    /// the driver gets its buffers back at once.
    pub fn fetch(&mut self, budget: Budget, context: &mut TxContext<'_>) -> Fetched {
        let mut fetched = Fetched::default();
        let mut bytes = 0;
        let mut taken = 0;
        while self.has_work() {
            if taken >= budget.packets || bytes >= budget.bytes {
                fetched.more = true;
                break;
            }
            let (pending, end) = match self.scan(context) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    // The ring itself is gone: there is nothing to complete.
                    context.anomalies.note(Anomaly::DmaRead, error);
                    self.head = self.tail;
                    break;
                }
            };
            taken += 1;
            if let Some(packet) = gather(&pending, context) {
                bytes += packet.data.len();
                fetched.packets.push(packet);
            } else {
                context.counters.dropped += 1;
            }
            self.head = end;
            for &report in &pending.reports {
                self.complete(Completion::Descriptor(report), context);
                fetched.completed += 1;
            }
            if let Some(piece) = pending.pieces.last() {
                self.complete(Completion::Packet(piece.tag), context);
                fetched.completed += 1;
            }
            context.counters.packets += 1;
        }
        fetched
    }

    /// Reads the next packet's descriptors; `None` if its end is not posted.
    fn scan(&self, context: &mut TxContext<'_>) -> Result<Option<(Pending, u16)>, DmaError> {
        let mut pending = Pending::default();
        let mut index = self.head;
        while index != self.tail {
            let address = self
                .config
                .ring
                .wrapping_add(u64::from(index) * DESCRIPTOR_BYTES);
            let raw: RawDescriptor = context.memory.load(address)?;
            index = self.next(index);
            match raw.decode() {
                Descriptor::Packet(piece) => {
                    if piece.report_event {
                        pending.reports.push(index);
                    }
                    pending.pieces.push(piece);
                    if piece.end_of_packet {
                        let count = index.wrapping_sub(self.head) & (self.config.size - 1);
                        context.counters.descriptors += u64::from(count);
                        return Ok(Some((pending, index)));
                    }
                }
                Descriptor::Tso(tso) if pending.pieces.is_empty() => pending.tso = Some(tso),
                Descriptor::General if pending.pieces.is_empty() => {}
                Descriptor::Tso(_) | Descriptor::General => {
                    pending.malformed = Some("context descriptor inside a packet");
                }
                Descriptor::Unknown(_) => {
                    pending.malformed = Some("descriptor of an unknown type");
                }
            }
        }
        Ok(None)
    }

    fn complete(&mut self, completion: Completion, context: &mut TxContext<'_>) {
        let address = self
            .config
            .completion_ring
            .wrapping_add(u64::from(self.completion) * COMPLETION_BYTES);
        let word = completion.encode(self.config.id, self.generation);
        if let Err(error) = context.memory.publish(address, word) {
            context.anomalies.note(Anomaly::DmaWrite, error);
        }
        self.completion = (self.completion + 1) & (self.config.completion_size - 1);
        if self.completion == 0 {
            self.generation = !self.generation;
        }
    }
}

/// Copies a packet out of the guest; `None` if it can't be sent.
fn gather(pending: &Pending, context: &mut TxContext<'_>) -> Option<TxPacket> {
    if let Some(what) = pending.malformed {
        context.anomalies.note(Anomaly::TxDescriptor, what);
        return None;
    }
    let segmented = pending.tso.is_some_and(|tso| tso.enabled);
    let total: usize = pending.pieces.iter().map(|p| usize::from(p.length)).sum();
    let limit = if segmented {
        MAX_PACKET
    } else {
        usize::from(MAX_FRAME)
    };
    if total > limit {
        context.anomalies.note(
            Anomaly::TxPacket,
            format_args!("packet of {total} bytes, more than {limit}"),
        );
        return None;
    }
    let mut data = Vec::with_capacity(total);
    for piece in &pending.pieces {
        let length = usize::from(piece.length);
        if let Err(error) = context.memory.append(piece.address, length, &mut data) {
            context.anomalies.note(Anomaly::DmaRead, error);
            return None;
        }
    }
    if segmented {
        context.counters.segmented += 1;
    }
    Some(TxPacket {
        data,
        tso: pending.tso,
        checksum: pending.pieces.iter().any(|piece| piece.checksum_offload),
    })
}

#[cfg(test)]
mod tests;
