// SPDX-License-Identifier: GPL-2.0
//! Receive queues: from frames to posted buffers, with header split.

use crate::anomaly::{Anomalies, Anomaly};
use crate::fault::CompletionFault;
use crate::memory::{DmaError, GuestMemory};
use crate::stats::RxCounters;
use crate::steering::Destination;
use gve_net::Frame;
use gve_net::checksum::{verify_l3, verify_l4};
use gve_net::layout::{L3, L4};
use gve_wire::ptype::PacketType;
use gve_wire::rx::{
    BUFFER_BYTES, Buffer, COMPLETION_BYTES, Completion, MAX_HEADER_LEN, MAX_PACKET_LEN,
};
use std::collections::VecDeque;

/// What a queue is created with; the ring sizes are powers of two.
#[derive(Clone, Copy, Debug)]
pub struct RxQueueConfig {
    /// Address of the buffer ring.
    pub buffer_ring: u64,
    /// Entries of the buffer ring.
    pub buffer_ring_size: u16,
    /// Address of the completion ring.
    pub completion_ring: u64,
    /// Entries of the completion ring.
    pub completion_size: u16,
    /// Bytes of a packet buffer, not 0.
    pub packet_buffer: u16,
    /// Bytes of a header buffer, 0 for no split.
    pub header_buffer: u16,
    /// Bytes of payload that go to the header buffer as well.
    pub split_late: u16,
    /// Frames that may wait for buffers.
    pub backlog: usize,
    /// Notification block.
    pub block: u32,
}

/// A receive queue.
#[derive(Debug)]
pub struct RxQueue {
    config: RxQueueConfig,
    head: u16,
    tail: u16,
    completion: u16,
    generation: bool,
    backlog: VecDeque<(Frame, Destination)>,
    /// A fault keeps it from working.
    stuck: bool,
}

/// Where the queue lives, for the time of one delivery.
pub struct RxContext<'a> {
    /// The guest's memory.
    pub memory: &'a dyn GuestMemory,
    /// Where nonsense is noted.
    pub anomalies: &'a mut Anomalies,
    /// The queue's counters.
    pub counters: &'a mut RxCounters,
    /// What is wrong with what the completions of the next packet say.
    pub fault: CompletionFault,
}

impl RxQueue {
    /// A queue at the start of its rings.
    pub fn new(config: RxQueueConfig, stuck: bool) -> RxQueue {
        RxQueue {
            config,
            head: 0,
            tail: 0,
            completion: 0,
            generation: true,
            backlog: VecDeque::new(),
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
            Ok(tail) if tail < self.config.buffer_ring_size => {
                self.tail = tail;
                true
            }
            _ => false,
        }
    }

    /// Buffers that are posted and not used.
    fn available(&self) -> usize {
        usize::from(self.tail.wrapping_sub(self.head) & (self.config.buffer_ring_size - 1))
    }

    /// Takes a frame: into buffers, into the backlog, or nowhere. Returns how
    /// many completions were written.
    pub fn deliver(
        &mut self,
        frame: Frame,
        destination: Destination,
        context: &mut RxContext<'_>,
    ) -> u32 {
        if self.stuck {
            context.counters.dropped += 1;
            return 0;
        }
        let split = Split::of(&frame, &self.config).with(context.fault, &self.config);
        let needed = split.buffers(&frame, &self.config);
        if needed >= usize::from(self.config.buffer_ring_size) {
            context.counters.over_mru += 1;
            context.anomalies.note(
                Anomaly::RxBuffers,
                format_args!("frame of {} bytes fits no ring", frame.len()),
            );
            return 0;
        }
        if self.backlog.is_empty() && needed <= self.available() {
            return self.write(&frame, &split, needed, &destination, context);
        }
        if self.backlog.len() < self.config.backlog {
            self.backlog.push_back((frame, destination));
            context.counters.backlogged += 1;
            let waiting = self.backlog.len() as u64;
            context.counters.backlog_peak = context.counters.backlog_peak.max(waiting);
        } else {
            context.counters.no_buffers += 1;
        }
        0
    }

    /// Delivers what waits, as far as there are buffers. Returns how many
    /// completions were written.
    pub fn drain(&mut self, context: &mut RxContext<'_>) -> u32 {
        let mut written = 0;
        while let Some((frame, _)) = self.backlog.front() {
            let split = Split::of(frame, &self.config);
            let needed = split.buffers(frame, &self.config);
            if needed > self.available() {
                break;
            }
            let Some((frame, destination)) = self.backlog.pop_front() else {
                break;
            };
            written += self.write(&frame, &split, needed, &destination, context);
        }
        written
    }

    /// Writes the frame into the next `needed` buffers, which are there.
    /// Returns how many completions were written.
    fn write(
        &mut self,
        frame: &Frame,
        split: &Split,
        needed: usize,
        destination: &Destination,
        context: &mut RxContext<'_>,
    ) -> u32 {
        let buffers = match self.take(needed, context.memory) {
            Ok(buffers) => buffers,
            Err(error) => {
                // The ring itself is gone: there are no ids to give back.
                context.anomalies.note(Anomaly::DmaRead, error);
                context.counters.dropped += 1;
                return 0;
            }
        };
        let completions = buffers.len() as u32;
        if let Err(error) = self.fill(frame, split, &buffers, context.memory) {
            // Nothing of the frame may be seen, but every buffer goes back.
            context.anomalies.note(Anomaly::DmaWrite, error);
            context.counters.dropped += 1;
            for buffer in &buffers {
                let failed = Completion {
                    buf_id: buffer.buf_id.get(),
                    rx_error: true,
                    end_of_packet: true,
                    ..Completion::default()
                };
                self.complete(&failed, context);
            }
            return completions;
        }
        self.account(frame, split, needed, context.counters);
        let mut last = describe(frame, destination, context.counters);
        let mut left = frame.len() - split.header;
        for (index, buffer) in buffers.iter().enumerate() {
            let len = left.min(usize::from(self.config.packet_buffer));
            left -= len;
            let mut completion = if left == 0 {
                std::mem::take(&mut last)
            } else {
                Completion::default()
            };
            completion.buf_id = buffer.buf_id.get();
            completion.packet_len = match (index, context.fault) {
                (0, CompletionFault::DataLong(by)) => self
                    .config
                    .packet_buffer
                    .saturating_add(by)
                    .min(MAX_PACKET_LEN),
                _ => len as u16,
            };
            completion.end_of_packet = left == 0 && context.fault != CompletionFault::EndLost;
            if let (0, Some(header_len)) = (index, split.claimed) {
                completion.split_header = true;
                completion.header_len = header_len;
            }
            self.complete(&completion, context);
        }
        completions
    }

    fn take(&mut self, needed: usize, memory: &dyn GuestMemory) -> Result<Vec<Buffer>, DmaError> {
        let mut buffers = Vec::with_capacity(needed);
        for _ in 0..needed {
            let address = self
                .config
                .buffer_ring
                .wrapping_add(u64::from(self.head) * BUFFER_BYTES);
            self.head = (self.head + 1) & (self.config.buffer_ring_size - 1);
            buffers.push(memory.load(address)?);
        }
        Ok(buffers)
    }

    fn fill(
        &self,
        frame: &Frame,
        split: &Split,
        buffers: &[Buffer],
        memory: &dyn GuestMemory,
    ) -> Result<(), DmaError> {
        let size = usize::from(self.config.packet_buffer);
        let mut start = split.header;
        if let (Some(first), true) = (buffers.first(), split.header > 0) {
            copy(frame, 0..split.header, first.header_address.get(), memory)?;
        }
        for buffer in buffers {
            let end = frame.len().min(start + size);
            copy(frame, start..end, buffer.address.get(), memory)?;
            start = end;
        }
        Ok(())
    }

    fn account(&self, frame: &Frame, split: &Split, needed: usize, counters: &mut RxCounters) {
        counters.frames += 1;
        counters.bytes += frame.len() as u64;
        counters.buffers += needed as u64;
        counters.header_bytes += split.header as u64;
        if split.header > 0 {
            counters.split += 1;
        } else if self.config.header_buffer > 0 {
            counters.unsplit += 1;
        }
    }

    fn complete(&mut self, completion: &Completion, context: &mut RxContext<'_>) {
        let address = self
            .config
            .completion_ring
            .wrapping_add(u64::from(self.completion) * COMPLETION_BYTES);
        let encoded = completion.encode(self.generation);
        let written = context
            .memory
            .write(address.wrapping_add(8), &encoded.tail)
            .and_then(|()| context.memory.publish(address, encoded.head));
        if let Err(error) = written {
            context.anomalies.note(Anomaly::DmaWrite, error);
        }
        self.completion = (self.completion + 1) & (self.config.completion_size - 1);
        if self.completion == 0 {
            self.generation = !self.generation;
        }
    }
}

/// How a frame is divided between header buffer and packet buffers.
struct Split {
    /// Bytes for the header buffer, 0 for an undivided frame.
    header: usize,
    /// What the completion says of it.
    claimed: Option<u16>,
}

impl Split {
    fn of(frame: &Frame, config: &RxQueueConfig) -> Split {
        let room = usize::from(config.header_buffer.min(MAX_HEADER_LEN));
        let exact = usize::from(frame.layout().header_end);
        let header = if frame.layout().splittable() && exact <= room {
            (exact + usize::from(config.split_late))
                .min(room)
                .min(frame.len())
        } else {
            0
        };
        Split {
            header,
            claimed: (header > 0).then_some(header as u16),
        }
    }

    /// The same with a fault. A length that the completion can't hold is none.
    fn with(self, fault: CompletionFault, config: &RxQueueConfig) -> Split {
        match fault {
            CompletionFault::None | CompletionFault::DataLong(_) | CompletionFault::EndLost => self,
            CompletionFault::HeaderLost => Split {
                header: 0,
                claimed: Some(0),
            },
            CompletionFault::HeaderLong(by) => Split {
                claimed: self.claimed.map(|exact| {
                    let long = config.header_buffer.saturating_add(by);
                    if long <= MAX_HEADER_LEN { long } else { exact }
                }),
                ..self
            },
        }
    }

    /// Packet buffers that are used up; a pure header uses one as well.
    fn buffers(&self, frame: &Frame, config: &RxQueueConfig) -> usize {
        (frame.len() - self.header)
            .div_ceil(usize::from(config.packet_buffer))
            .max(1)
    }
}

/// Writes a range of the frame's bytes to one address.
fn copy(
    frame: &Frame,
    range: std::ops::Range<usize>,
    address: u64,
    memory: &dyn GuestMemory,
) -> Result<(), DmaError> {
    let middle = frame.head().len();
    let mut address = address;
    if let Some(part) = frame.head().get(range.start..range.end.min(middle)) {
        if !part.is_empty() {
            memory.write(address, part)?;
            address = address.wrapping_add(part.len() as u64);
        }
    }
    let start = range.start.saturating_sub(middle);
    let end = range.end.saturating_sub(middle);
    match frame.body().get(start..end) {
        Some(part) if !part.is_empty() => memory.write(address, part),
        _ => Ok(()),
    }
}

/// What the last completion of a frame says of it as a whole.
fn describe(frame: &Frame, destination: &Destination, counters: &mut RxCounters) -> Completion {
    let layout = frame.layout();
    // The type decides whether the driver believes our checksum verdict, so
    // TCP and UDP are named even when their ports were not hashed.
    let packet_type = match (layout.l3, layout.l4) {
        (L3::Ipv4, L4::Tcp) => PacketType::TcpIpv4,
        (L3::Ipv4, L4::Udp) => PacketType::UdpIpv4,
        (L3::Ipv4, _) => PacketType::Ipv4,
        (L3::Ipv6, L4::Tcp) => PacketType::TcpIpv6,
        (L3::Ipv6, L4::Udp) => PacketType::UdpIpv6,
        (L3::Ipv6, _) => PacketType::Ipv6,
        (L3::Other, _) => PacketType::Unknown,
    };
    let mut completion = Completion {
        packet_type: packet_type as u16,
        hash: destination.hash,
        ipv6_ex_add: layout.ipv6_address_ext,
        ..Completion::default()
    };
    if layout.splittable() {
        let l4_good = frame.checksum_finished()
            || verify_l4(frame.head(), frame.body(), layout).unwrap_or(false);
        completion.l3_l4_processed = true;
        completion.csum_ip_err = !verify_l3(frame.head(), layout);
        completion.csum_l4_err = !l4_good;
        if completion.csum_ip_err || completion.csum_l4_err {
            counters.bad_checksum += 1;
        }
    }
    completion
}

#[cfg(test)]
mod tests;
