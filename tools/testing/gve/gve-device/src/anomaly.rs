// SPDX-License-Identifier: GPL-2.0
//! What a sane driver does not do. Each kind is counted and logged, but less
//! and less often, so that a hostile guest cannot fill a disk.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Kinds of anomalies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Anomaly {
    /// An access to a register that is not there, or of a wrong width.
    Register,
    /// An access to a doorbell that is not there, or of a wrong width.
    Doorbell,
    /// A tail outside its ring.
    Tail,
    /// A doorbell of a queue that does not exist.
    AbsentQueue,
    /// The admin queue's ring or its doorbell makes no sense.
    AdminQueue,
    /// An admin command was refused.
    AdminCommand,
    /// A read from memory that is not mapped.
    DmaRead,
    /// A write to memory that is not mapped, or not for writing.
    DmaWrite,
    /// A transmit descriptor of an unknown type, or out of order.
    TxDescriptor,
    /// A packet that is too short, too long or does not fit its context.
    TxPacket,
    /// The link came to the device with a queue that cannot hold the frame.
    RxBuffers,
}

/// Counts by kind.
#[derive(Debug, Default)]
pub struct Anomalies {
    port: usize,
    counts: BTreeMap<Anomaly, u64>,
}

impl Anomalies {
    /// None so far, on this port.
    pub fn new(port: usize) -> Anomalies {
        Anomalies {
            port,
            counts: BTreeMap::new(),
        }
    }

    /// Counts one, and logs it if it is the 1st, 10th, 100th … of its kind.
    pub fn note(&mut self, kind: Anomaly, what: impl fmt::Display) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if is_power_of_ten(*count) {
            tracing::warn!(port = self.port, ?kind, count = *count, "{what}");
        }
    }

    /// How many of each kind.
    pub fn counts(&self) -> &BTreeMap<Anomaly, u64> {
        &self.counts
    }
}

fn is_power_of_ten(mut n: u64) -> bool {
    while n > 1 && n % 10 == 0 {
        n /= 10;
    }
    n == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_thin_out() {
        let logged: Vec<u64> = (0..=1000).filter(|&n| is_power_of_ten(n)).collect();
        assert_eq!(logged, [1, 10, 100, 1000]);
    }
}
