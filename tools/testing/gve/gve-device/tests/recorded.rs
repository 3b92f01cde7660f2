// SPDX-License-Identifier: GPL-2.0
//! What Linux' driver did, played again: every access of the guest is made
//! once more, every read of the device gets what it got then, and all that
//! the device does has to be what it did then, in order.
//!
//! `recorded/linux-7.3.jsonl` was made by `gvnic --record` with `--queues 2
//! --ring-default 512`: two NICs of one guest are probed and opened, header
//! split and flow rules are switched on for the second, and ping, TCP and UDP
//! cross the wire. Make it anew when the device is meant to behave otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::expect_used)]

use gve_device::fault::FaultSet;
use gve_device::memory::DmaError;
use gve_device::record::{Access, Action, Event};
use gve_device::{DeviceConfig, GuestMemory, Hub, InterruptSink, Port};
use gve_net::fabric::Wire;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const RECORDING: &str = include_str!("recorded/linux-7.3.jsonl");

/// What the device is still expected to do before the guest's next access.
#[derive(Default)]
struct Script {
    expected: Mutex<VecDeque<(usize, Action)>>,
}

impl Script {
    /// The next action, which has to pass `check`.
    fn next(&self, port: usize, what: &str, check: impl Fn(&Action) -> bool) -> Action {
        let next = self.expected.lock().unwrap().pop_front();
        match next {
            Some((from, action)) if from == port && check(&action) => action,
            other => panic!("port {port} does {what}, but the recording has {other:x?}"),
        }
    }
}

struct Replayed {
    port: usize,
    script: Arc<Script>,
}

impl GuestMemory for Replayed {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DmaError> {
        let length = into.len();
        let what = format!("a read of {length} bytes at {address:#x}");
        let action = self.script.next(self.port, &what, |action| match action {
            Action::Read(at, data) => *at == address && data.len() == length,
            Action::Miss(at, len) => *at == address && *len == length,
            _ => false,
        });
        match action {
            Action::Read(_, data) => into.copy_from_slice(&data),
            _ => return Err(DmaError { address, length }),
        }
        Ok(())
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), DmaError> {
        let wanted = Action::Write(address, from.to_vec());
        let what = format!("{wanted:x?}");
        self.script
            .next(self.port, &what, |action| *action == wanted);
        Ok(())
    }

    fn publish(&self, address: u64, word: u64) -> Result<(), DmaError> {
        let wanted = Action::Publish(address, word);
        let what = format!("{wanted:x?}");
        self.script
            .next(self.port, &what, |action| *action == wanted);
        Ok(())
    }
}

impl InterruptSink for Replayed {
    fn fire(&self, vector: u32) {
        let wanted = Action::Interrupt(vector);
        self.script
            .next(self.port, &format!("{wanted:?}"), |action| {
                *action == wanted
            });
    }
}

fn machine(script: &Arc<Script>) -> Hub {
    let ports = (0..2u8)
        .map(|id| {
            let config = DeviceConfig {
                mac: [2, 0x1a, 0xe0, 0, 0, id],
                queues: 2,
                ring_default: 512,
                ..DeviceConfig::default()
            };
            let port = Arc::new(Port::new(id.into(), config, FaultSet::default()));
            let replayed = Arc::new(Replayed {
                port: id.into(),
                script: script.clone(),
            });
            port.set_memory(replayed.clone());
            port.connect_interrupts(replayed);
            port
        })
        .collect();
    Hub::new(ports, Box::new(Wire))
}

#[test]
fn device_does_what_it_did() {
    let script = Arc::new(Script::default());
    let hub = machine(&script);
    let start = Instant::now();
    let time = |at| start + Duration::from_micros(at);
    let mut events = RECORDING
        .lines()
        .map(|line| serde_json::from_str::<Event>(line).unwrap())
        .peekable();
    let mut inputs = 0;
    while let Some(event) = events.next() {
        inputs += 1;
        while let Some(Event::Device { port, action }) =
            events.next_if(|event| matches!(event, Event::Device { .. }))
        {
            script.expected.lock().unwrap().push_back((port, action));
        }
        match event {
            Event::Tick { at } => {
                hub.tick(time(at));
            }
            Event::Guest { port, at, access } => match access {
                Access::Register(offset, data) => {
                    hub.ports()[port].write_registers(offset, &data, time(at));
                }
                Access::ReadRegister(offset, data) => {
                    let mut read = vec![0; data.len()];
                    hub.ports()[port].read_registers(offset, &mut read);
                    assert_eq!(read, data, "register {offset:#x} of port {port}");
                }
                Access::Doorbell(offset, data) => {
                    hub.write_doorbell(port, offset, &data, time(at));
                }
                Access::Reset => hub.ports()[port].reset(),
            },
            Event::Device { .. } => panic!("the device acts before anyone asks it to"),
        }
        let left = script.expected.lock().unwrap();
        assert!(left.is_empty(), "the device did not do {left:x?}");
    }
    assert!(inputs > 500, "only {inputs} inputs");
    let counters = hub.ports()[1].counters();
    assert!(counters.rx[1].split > 5, "{counters:?}");
    assert_eq!(counters.anomalies.len(), 0);
}
