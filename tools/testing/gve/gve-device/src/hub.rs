// SPDX-License-Identifier: GPL-2.0
//! All ports and the fabric between them.

use crate::offload;
use crate::port::{Port, Todo};
use crate::tx::Budget;
use gve_net::{Egress, Fabric, Frame, PortId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How much is taken from a transmit queue before it is delivered. Small
/// enough that the receiver starts early, big enough that it gets a batch
/// with one interrupt.
const BUDGET: Budget = Budget {
    packets: 64,
    bytes: 256 << 10,
};

/// The machine: what a transport talks to.
pub struct Hub {
    ports: Vec<Arc<Port>>,
    fabric: Box<dyn Fabric>,
    unreachable: AtomicU64,
}

impl Hub {
    /// Joins ports.
    pub fn new(ports: Vec<Arc<Port>>, fabric: Box<dyn Fabric>) -> Hub {
        Hub {
            ports,
            fabric,
            unreachable: AtomicU64::new(0),
        }
    }

    /// The ports, in order.
    pub fn ports(&self) -> &[Arc<Port>] {
        &self.ports
    }

    /// Frames that the fabric could not bring anywhere.
    pub fn unreachable(&self) -> u64 {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// A write to BAR 2 of a port, with all that follows from it. Returns
    /// when [`Self::tick`] is due because of it.
    pub fn write_doorbell(
        &self,
        port: PortId,
        offset: u64,
        data: &[u8],
        now: Instant,
    ) -> Option<Instant> {
        let device = self.ports.get(port)?;
        let Todo { transmit, tick } = device.write_doorbell(offset, data, now);
        let held = transmit.and_then(|queue| self.transmit(port, device, queue, now));
        [tick, held].into_iter().flatten().min()
    }

    /// Sends all that a queue has.
    fn transmit(&self, port: PortId, device: &Port, queue: u16, now: Instant) -> Option<Instant> {
        loop {
            let fetched = device.fetch(queue, BUDGET);
            let mut frames = Vec::new();
            let mut dropped = Vec::new();
            for packet in fetched.packets {
                if let Err(drop) = offload::finish(packet, &mut frames) {
                    dropped.push(drop);
                }
            }
            let held = device.sent(queue, &mut frames, &dropped, now);
            self.forward(port, frames);
            if !fetched.more {
                return held;
            }
        }
    }

    fn forward(&self, ingress: PortId, frames: Vec<Frame>) {
        if frames.is_empty() {
            return;
        }
        let mut egress = Egress::new(self.ports.len());
        self.fabric.forward(ingress, frames, &mut egress);
        self.unreachable
            .fetch_add(egress.unreachable(), Ordering::Relaxed);
        for (port, frames) in egress.drain() {
            if let Some(device) = self.ports.get(port) {
                device.receive(frames);
            }
        }
    }

    /// Does what is due by time on every port. Returns when it is due again.
    pub fn tick(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for (port, device) in self.ports.iter().enumerate() {
            let tick = device.tick(now);
            self.forward(port, tick.frames);
            next = [next, tick.next].into_iter().flatten().min();
        }
        next
    }
}
