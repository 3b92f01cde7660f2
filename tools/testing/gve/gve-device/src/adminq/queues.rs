// SPDX-License-Identifier: GPL-2.0
//! Creating and destroying queues.

use super::{Outcome, Refusal};
use crate::config::Doorbell;
use crate::fault::Direction;
use crate::port::State;
use crate::rx::{RxQueue, RxQueueConfig};
use crate::tx::{TxQueue, TxQueueConfig};
use gve_wire::adminq::{
    CreateRxQueue, CreateTxQueue, DestroyQueue, QueueResources, RAW_ADDRESSING_QPL, Status,
};
use gve_wire::rx::MAX_PACKET_LEN;
use std::time::Instant;
use zerocopy::{FromZeros, IntoBytes};

/// Fewest entries of any ring.
const MIN_RING: u16 = 8;

impl State {
    pub(super) fn create_tx_queue(&mut self, request: &CreateTxQueue, now: Instant) -> Outcome {
        let id = self.queue_id(request.queue_id.get())?;
        let block = self.block(request.ntfy_id.get())?;
        self.raw_addressing(request.queue_page_list_id.get())?;
        let config = TxQueueConfig {
            id,
            ring: request.tx_ring.get(),
            size: self.ring_size(request.tx_ring_size.get())?,
            completion_ring: aligned(request.completion_ring.get())?,
            completion_size: self.ring_size(request.completion_ring_size.get())?,
            block,
        };
        let resources = request.queue_resources.get();
        self.tell_resources(resources, Doorbell::Tx(id), id.into())?;
        let stuck = self.faults.stick_queue(Direction::Tx, id);
        if let Some(slot) = self.tx.get_mut(usize::from(id)) {
            *slot = Some(TxQueue::new(config, stuck));
        }
        self.note_opened(now);
        Ok(())
    }

    pub(super) fn create_rx_queue(&mut self, request: &CreateRxQueue, now: Instant) -> Outcome {
        let id = self.queue_id(request.queue_id.get())?;
        let block = self.block(request.ntfy_id.get())?;
        self.raw_addressing(request.queue_page_list_id.get())?;
        let packet_buffer = request.packet_buffer_size.get();
        if packet_buffer == 0 || packet_buffer > MAX_PACKET_LEN {
            return Err(Refusal::invalid(format!(
                "packet buffer of {packet_buffer} bytes"
            )));
        }
        let config = RxQueueConfig {
            buffer_ring: request.buffer_ring.get(),
            buffer_ring_size: self.ring_size(request.buffer_ring_size.get())?,
            completion_ring: aligned(request.completion_ring.get())?,
            completion_size: self.ring_size(request.completion_ring_size.get())?,
            packet_buffer,
            header_buffer: request.header_buffer_size.get(),
            split_late: self.config.split_late,
            backlog: self.config.backlog,
            block,
        };
        let resources = request.queue_resources.get();
        let counter = u32::from(self.config.queues) + u32::from(id);
        self.tell_resources(resources, Doorbell::Rx(id), counter)?;
        let stuck = self.faults.stick_queue(Direction::Rx, id);
        if let Some(slot) = self.rx.get_mut(usize::from(id)) {
            *slot = Some(RxQueue::new(config, stuck));
        }
        // The default table spreads over the queues there are. A queue that
        // is missing for a moment, because it is restarted, does not count as
        // gone: the spread only grows until all queues are destroyed.
        self.rx_spread = self.rx_spread.max(id.saturating_add(1));
        self.steering.rss_mut().set_spread(self.rx_spread);
        self.note_opened(now);
        Ok(())
    }

    pub(super) fn destroy_tx_queue(&mut self, request: DestroyQueue) -> Outcome {
        let id = self.queue_id(request.queue_id.get())?;
        // A queue that is not there is destroyed already: the driver destroys
        // every queue on close, also one whose restart failed.
        let queue = self.tx.get_mut(usize::from(id)).and_then(Option::take);
        if let Some(queue) = queue {
            self.leave_block(queue.block());
        }
        Ok(())
    }

    pub(super) fn destroy_rx_queue(&mut self, request: DestroyQueue) -> Outcome {
        let id = self.queue_id(request.queue_id.get())?;
        let queue = self.rx.get_mut(usize::from(id)).and_then(Option::take);
        if let Some(queue) = queue {
            self.leave_block(queue.block());
        }
        if self.rx.iter().all(Option::is_none) {
            self.rx_spread = 0;
        }
        Ok(())
    }

    /// A queue is gone. What is pending on its block goes with it, unless
    /// another queue shares the block.
    fn leave_block(&mut self, block: u32) {
        let shared = self.tx.iter().flatten().any(|queue| queue.block() == block)
            || self.rx.iter().flatten().any(|queue| queue.block() == block);
        if !shared {
            self.interrupts.clear(block);
        }
    }

    fn queue_id(&self, raw: u32) -> Result<u16, Refusal> {
        u16::try_from(raw)
            .ok()
            .filter(|&id| id < self.config.queues)
            .ok_or_else(|| Refusal::invalid(format!("queue {raw} of {}", self.config.queues)))
    }

    fn block(&self, raw: u32) -> Result<u32, Refusal> {
        let resources = self.resources.as_ref().ok_or_else(|| {
            Refusal::new(Status::FailedPrecondition, "resources are not configured")
        })?;
        if raw < resources.blocks {
            Ok(raw)
        } else {
            Err(Refusal::invalid(format!(
                "notification block {raw} of {}",
                resources.blocks
            )))
        }
    }

    fn raw_addressing(&self, page_list: u32) -> Outcome {
        if page_list == RAW_ADDRESSING_QPL {
            Ok(())
        } else {
            Err(Refusal::invalid(format!("queue page list {page_list}")))
        }
    }

    fn ring_size(&self, entries: u16) -> Result<u16, Refusal> {
        if entries.is_power_of_two() && (MIN_RING..=self.config.ring_max).contains(&entries) {
            Ok(entries)
        } else {
            Err(Refusal::invalid(format!("ring of {entries} entries")))
        }
    }

    /// Tells the driver which doorbell and which event counter are a queue's.
    fn tell_resources(&self, address: u64, doorbell: Doorbell, counter: u32) -> Outcome {
        let available = self.resources.as_ref().map_or(0, |r| r.counters);
        let mut resources = QueueResources::new_zeroed();
        resources.db_index = self.config.doorbell_index(doorbell).into();
        resources.counter_index = if counter < available { counter } else { 0 }.into();
        Ok(self.memory.write(address, resources.as_bytes())?)
    }

    fn note_opened(&mut self, now: Instant) {
        if !self.opened {
            self.opened = true;
            self.faults.opened(now);
        }
    }
}

/// Completions are published eight bytes at a time.
fn aligned(ring: u64) -> Result<u64, Refusal> {
    if ring % 8 == 0 {
        Ok(ring)
    } else {
        Err(Refusal::invalid(format!("completion ring at {ring:#x}")))
    }
}
