// SPDX-License-Identifier: GPL-2.0
//! All that crosses between guest and device, written down in order, so that
//! a test can play the guest's part again and compare the device's.

use crate::irq::InterruptSink;
use crate::memory::{DmaError, GuestMemory};
use gve_net::PortId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// From the guest: an access to the device.
    Guest {
        /// Port.
        port: PortId,
        /// µs since the recording began.
        at: u64,
        /// What it did.
        access: Access,
    },
    /// Time passed, and something was due. For all ports.
    Tick {
        /// µs since the recording began.
        at: u64,
    },
    /// From the device: an access to the guest's memory, or an interrupt.
    Device {
        /// Port.
        port: PortId,
        /// What it did.
        action: Action,
    },
}

/// What a guest does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Writes to BAR 0.
    Register(u64, #[serde(with = "hex::serde")] Vec<u8>),
    /// Reads from BAR 0, and gets this.
    ReadRegister(u64, #[serde(with = "hex::serde")] Vec<u8>),
    /// Writes to BAR 2.
    Doorbell(u64, #[serde(with = "hex::serde")] Vec<u8>),
    /// Resets the device by way of the bus.
    Reset,
}

/// What a device does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Reads from memory, and gets this.
    Read(u64, #[serde(with = "hex::serde")] Vec<u8>),
    /// Writes to memory.
    Write(u64, #[serde(with = "hex::serde")] Vec<u8>),
    /// Stores a word at once, after all that was written before.
    Publish(u64, u64),
    /// An access to memory that is not mapped.
    Miss(u64, usize),
    /// Raises an MSI-X vector.
    Interrupt(u32),
}

/// Where events are written down.
pub trait Log: Send + Sync {
    /// Writes one down.
    fn note(&self, event: Event);
}

/// Memory whose accesses are written down.
pub struct RecordedMemory {
    /// The memory.
    pub inner: Arc<dyn GuestMemory>,
    /// Of which port.
    pub port: PortId,
    /// Where.
    pub log: Arc<dyn Log>,
}

impl RecordedMemory {
    fn note(&self, action: Action) {
        self.log.note(Event::Device {
            port: self.port,
            action,
        });
    }

    fn noted<T>(&self, result: Result<T, DmaError>, action: Action) -> Result<T, DmaError> {
        match &result {
            Ok(_) => self.note(action),
            Err(error) => self.note(Action::Miss(error.address, error.length)),
        }
        result
    }
}

impl GuestMemory for RecordedMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DmaError> {
        let result = self.inner.read(address, into);
        self.noted(result, Action::Read(address, into.to_vec()))
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), DmaError> {
        let result = self.inner.write(address, from);
        self.noted(result, Action::Write(address, from.to_vec()))
    }

    fn publish(&self, address: u64, word: u64) -> Result<(), DmaError> {
        let result = self.inner.publish(address, word);
        self.noted(result, Action::Publish(address, word))
    }
}

/// Interrupts that are written down.
pub struct RecordedInterrupts {
    /// Where they go.
    pub inner: Arc<dyn InterruptSink>,
    /// Of which port.
    pub port: PortId,
    /// Where they are written down.
    pub log: Arc<dyn Log>,
}

impl InterruptSink for RecordedInterrupts {
    fn fire(&self, vector: u32) {
        self.log.note(Event::Device {
            port: self.port,
            action: Action::Interrupt(vector),
        });
        self.inner.fire(vector);
    }
}
