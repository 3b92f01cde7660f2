// SPDX-License-Identifier: GPL-2.0
//! Counters of a port. They outlive queues and resets.

use crate::anomaly::Anomaly;
use serde::Serialize;
use std::collections::BTreeMap;

/// Of one transmit queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TxCounters {
    /// Doorbells.
    pub doorbells: u64,
    /// Descriptors fetched.
    pub descriptors: u64,
    /// Packets taken from the ring.
    pub packets: u64,
    /// Of those, packets that were cut into segments.
    pub segmented: u64,
    /// Frames sent.
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Packets and frames that were not sent.
    pub dropped: u64,
}

/// Of one receive queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RxCounters {
    /// Doorbells.
    pub doorbells: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Buffers used.
    pub buffers: u64,
    /// Frames that were delivered with split headers.
    pub split: u64,
    /// Bytes that went to header buffers.
    pub header_bytes: u64,
    /// Frames on a queue with header split that could not be split.
    pub unsplit: u64,
    /// Frames with a wrong checksum, delivered all the same.
    pub bad_checksum: u64,
    /// Frames that had to wait for buffers.
    pub backlogged: u64,
    /// Most frames that ever waited.
    pub backlog_peak: u64,
    /// Frames dropped because no buffer came in time.
    pub no_buffers: u64,
    /// Frames dropped because they are too big for the queue.
    pub over_mru: u64,
    /// Frames dropped for other reasons.
    pub dropped: u64,
}

/// Of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortCounters {
    /// The port's number.
    pub port: usize,
    /// Transmit queues by number.
    pub tx: Vec<TxCounters>,
    /// Receive queues by number.
    pub rx: Vec<RxCounters>,
    /// Frames for a receive queue that does not exist.
    pub absent_queue: u64,
    /// Frames that a flow rule steered.
    pub steered_by_rule: u64,
    /// Frames that RSS steered.
    pub steered_by_rss: u64,
    /// Frames that came or went while the link was down.
    pub link_down: u64,
    /// Admin commands by name.
    pub admin: BTreeMap<&'static str, u64>,
    /// Admin commands that did not pass.
    pub admin_failed: u64,
    /// Resets of the device.
    pub resets: u64,
    /// Interrupts raised.
    pub interrupts: u64,
    /// Of those, repeated because the block stayed quiet.
    pub interrupts_repeated: u64,
    /// Interrupts that a fault ate.
    pub interrupts_lost: u64,
    /// Anomalies by kind.
    pub anomalies: BTreeMap<Anomaly, u64>,
    /// Faults that took effect, by name.
    pub faults: BTreeMap<&'static str, u64>,
}

impl PortCounters {
    /// All zero.
    pub fn new(port: usize, queues: u16) -> PortCounters {
        PortCounters {
            port,
            tx: vec![TxCounters::default(); queues.into()],
            rx: vec![RxCounters::default(); queues.into()],
            ..PortCounters::default()
        }
    }
}
