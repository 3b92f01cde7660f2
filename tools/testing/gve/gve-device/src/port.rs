// SPDX-License-Identifier: GPL-2.0
//! One port.
//!
//! All of a port's state is behind one lock, and no code holds the locks of
//! two ports: frames are taken from one port, then given to another. So a
//! command that has completed has no DMA of its queue in flight, ports cannot
//! wait for each other, and the guest's memory can be remapped at any time.

use crate::adminq::{AdminQueue, Resources, StatsReport};
use crate::anomaly::{Anomalies, Anomaly};
use crate::config::{DeviceConfig, Doorbell};
use crate::fault::{Actions, CompletionFault, FaultSet};
use crate::irq::{InterruptSink, Interrupts};
use crate::memory::{GuestMemory, NoMemory};
use crate::offload::TxDrop;
use crate::registers::{Registers, Request};
use crate::rx::{RxContext, RxQueue};
use crate::stats::PortCounters;
use crate::steering::Steering;
use crate::tx::{Budget, Fetched, TxContext, TxQueue};
use gve_net::{Frame, PortId};
use gve_wire::doorbell::IrqDoorbell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Everything a port knows.
pub(crate) struct State {
    pub(crate) port: PortId,
    pub(crate) config: DeviceConfig,
    pub(crate) memory: Arc<dyn GuestMemory>,
    pub(crate) registers: Registers,
    pub(crate) adminq: Option<AdminQueue>,
    pub(crate) resources: Option<Resources>,
    pub(crate) report: Option<StatsReport>,
    pub(crate) interrupts: Interrupts,
    pub(crate) tx: Vec<Option<TxQueue>>,
    pub(crate) rx: Vec<Option<RxQueue>>,
    pub(crate) rx_spread: u16,
    pub(crate) steering: Steering,
    pub(crate) counters: PortCounters,
    pub(crate) anomalies: Anomalies,
    pub(crate) faults: FaultSet,
    /// Queues have been created since the last reset.
    pub(crate) opened: bool,
}

/// What a write to the device leaves to do, outside of the port's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Todo {
    /// This transmit queue has descriptors.
    pub transmit: Option<u16>,
    /// [`Port::tick`] is due then.
    pub tick: Option<Instant>,
}

/// What [`Port::tick`] did.
#[derive(Debug, Default)]
pub struct Tick {
    /// Frames that leave the port.
    pub frames: Vec<Frame>,
    /// When it is due again.
    pub next: Option<Instant>,
}

/// A port of the emulated NIC.
pub struct Port {
    state: Mutex<State>,
}

impl Port {
    /// A port that is not connected to a guest.
    pub fn new(port: PortId, config: DeviceConfig, faults: FaultSet) -> Port {
        let queues = usize::from(config.queues);
        Port {
            state: Mutex::new(State {
                port,
                memory: Arc::new(NoMemory),
                registers: Registers::new(config.queues),
                adminq: None,
                resources: None,
                report: None,
                interrupts: Interrupts::new(config.blocks()),
                tx: std::iter::repeat_with(|| None).take(queues).collect(),
                rx: std::iter::repeat_with(|| None).take(queues).collect(),
                rx_spread: 0,
                steering: Steering::new(config.max_flow_rules),
                counters: PortCounters::new(port, config.queues),
                anomalies: Anomalies::new(port),
                faults,
                opened: false,
                config,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's memory from now on. When this returns, nothing touches
    /// what was there before.
    pub fn set_memory(&self, memory: Arc<dyn GuestMemory>) {
        self.lock().memory = memory;
    }

    /// Where interrupts go from now on.
    pub fn connect_interrupts(&self, sink: Arc<dyn InterruptSink>) {
        self.lock().interrupts.connect(sink);
    }

    /// Other faults from now on. Those that wait for the device to be opened
    /// do not have to if it is.
    pub fn set_faults(&self, faults: FaultSet, now: Instant) {
        let mut state = self.lock();
        state.faults.replace(faults);
        if state.opened {
            state.faults.opened(now);
        }
    }

    /// Reads from BAR 0.
    pub fn read_registers(&self, offset: u64, into: &mut [u8]) {
        let mut state = self.lock();
        if !state.registers.read(offset, into) {
            state.anomalies.note(
                Anomaly::Register,
                format_args!("read of {} bytes at {offset:#x}", into.len()),
            );
        }
    }

    /// Writes to BAR 0.
    pub fn write_registers(&self, offset: u64, data: &[u8], now: Instant) -> Todo {
        let mut state = self.lock();
        match state.registers.write(offset, data) {
            Request::None => {}
            Request::Start(base) => state.start(base),
            Request::Release => state.reset(),
            Request::Commands(submitted) => state.run_commands(submitted, now),
            Request::Version(version) => {
                tracing::info!(port = state.port, version, "driver version");
            }
            Request::Unknown => state.anomalies.note(
                Anomaly::Register,
                format_args!("write of {} bytes at {offset:#x}", data.len()),
            ),
        }
        Todo {
            transmit: None,
            tick: state.deadline(),
        }
    }

    /// Writes to BAR 2.
    pub fn write_doorbell(&self, offset: u64, data: &[u8], now: Instant) -> Todo {
        let mut guard = self.lock();
        let state = &mut *guard;
        let doorbell = match data {
            &[a, b, c, d] if offset % 4 == 0 => u32::try_from(offset / 4)
                .ok()
                .and_then(|index| state.config.doorbell(index))
                .map(|doorbell| (doorbell, u32::from_le_bytes([a, b, c, d]))),
            _ => None,
        };
        let Some((doorbell, value)) = doorbell else {
            state.anomalies.note(
                Anomaly::Doorbell,
                format_args!("write of {} bytes at {offset:#x}", data.len()),
            );
            return Todo::default();
        };
        match doorbell {
            Doorbell::Irq(block) => Todo {
                transmit: None,
                tick: state
                    .interrupts
                    .doorbell(block, IrqDoorbell(value), now, &mut state.faults),
            },
            Doorbell::Tx(id) => Todo {
                transmit: state.tx_doorbell(id, value).then_some(id),
                tick: None,
            },
            Doorbell::Rx(id) => {
                state.rx_doorbell(id, value);
                Todo::default()
            }
        }
    }

    /// Takes packets from a transmit queue.
    pub fn fetch(&self, id: u16, budget: Budget) -> Fetched {
        let mut guard = self.lock();
        let state = &mut *guard;
        let index = usize::from(id);
        let (Some(Some(queue)), Some(counters)) =
            (state.tx.get_mut(index), state.counters.tx.get_mut(index))
        else {
            return Fetched::default();
        };
        let mut fetched = queue.fetch(
            budget,
            &mut TxContext {
                memory: &*state.memory,
                anomalies: &mut state.anomalies,
                counters,
            },
        );
        if fetched.completed > 0 {
            let block = queue.block();
            let completed = fetched.completed;
            state.interrupts.event(block, completed, &mut state.faults);
        }
        if !state.registers.link_up {
            state.counters.link_down += fetched.packets.len() as u64;
            fetched.packets.clear();
        }
        fetched
    }

    /// Counts what became of fetched packets, and lets faults have their way
    /// with the frames. Returns when [`Self::tick`] is due for those that
    /// were held back.
    pub fn sent(
        &self,
        id: u16,
        frames: &mut Vec<Frame>,
        dropped: &[TxDrop],
        now: Instant,
    ) -> Option<Instant> {
        let mut guard = self.lock();
        let state = &mut *guard;
        for drop in dropped {
            state.anomalies.note(Anomaly::TxPacket, drop);
        }
        if let Some(counters) = state.counters.tx.get_mut(usize::from(id)) {
            counters.dropped += dropped.len() as u64;
            counters.frames += frames.len() as u64;
            counters.bytes += frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
        }
        state.faults.transmit(frames, now);
        state.faults.deadline()
    }

    /// Frames arrive from the fabric.
    pub fn receive(&self, frames: Vec<Frame>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if !state.registers.link_up {
            state.counters.link_down += frames.len() as u64;
            return;
        }
        let mut touched: Vec<(u32, u32)> = Vec::new();
        for frame in frames {
            let destination = state.steering.steer(&frame);
            if destination.by_rule {
                state.counters.steered_by_rule += 1;
            } else if destination.hash != 0 {
                state.counters.steered_by_rss += 1;
            }
            let index = usize::from(destination.queue);
            let (Some(Some(queue)), Some(counters)) =
                (state.rx.get_mut(index), state.counters.rx.get_mut(index))
            else {
                state.counters.absent_queue += 1;
                continue;
            };
            let fault = state.faults.completion(destination.queue);
            let written = queue.deliver(
                frame,
                destination,
                &mut RxContext {
                    memory: &*state.memory,
                    anomalies: &mut state.anomalies,
                    counters,
                    fault,
                },
            );
            let block = queue.block();
            match touched.iter_mut().find(|(touched, _)| *touched == block) {
                Some((_, completions)) => *completions += written,
                None => touched.push((block, written)),
            }
        }
        // Once a batch: the driver then finds all of it in one go.
        for (block, completions) in touched {
            if completions > 0 {
                state
                    .interrupts
                    .event(block, completions, &mut state.faults);
            }
        }
    }

    /// Does what is due by time.
    pub fn tick(&self, now: Instant) -> Tick {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut actions = state.faults.tick(now);
        state.act(&actions);
        let interrupts = state.interrupts.tick(now, &mut state.faults);
        state.tick_report(now);
        Tick {
            frames: std::mem::take(&mut actions.frames),
            next: [state.deadline(), interrupts].into_iter().flatten().min(),
        }
    }

    /// Resets the device, as the bus does.
    pub fn reset(&self) {
        self.lock().reset();
    }

    /// A copy of the counters.
    pub fn counters(&self) -> PortCounters {
        let state = self.lock();
        let (interrupts, repeated, lost) = state.interrupts.counts();
        PortCounters {
            interrupts,
            interrupts_repeated: repeated,
            interrupts_lost: lost,
            anomalies: state.anomalies.counts().clone(),
            faults: state.faults.hits().clone(),
            ..state.counters.clone()
        }
    }
}

impl State {
    /// Does what a fault makes the device do; frames are for the caller to send.
    pub(crate) fn act(&mut self, actions: &Actions) {
        if let Some(up) = actions.link {
            self.registers.link_up = up;
        }
        self.registers.reset_request |= actions.request_reset;
        if actions.link.is_some() || actions.request_reset {
            self.interrupts.raise_management(&mut self.faults);
        }
    }

    /// The driver starts the admin queue. One that was not released, because
    /// the driver died, is released by this.
    fn start(&mut self, base: u64) {
        let bytes = self.registers.adminq_bytes();
        if self.adminq.is_some() {
            self.reset();
        }
        self.registers.is_reset = false;
        self.registers.event_counter = 0;
        self.adminq = Some(AdminQueue::new(base, bytes));
        tracing::info!(port = self.port, base = format_args!("{base:#x}"), "start");
    }

    /// Forgets all that the driver has set up.
    fn reset(&mut self) {
        if self.adminq.is_some() {
            self.counters.resets += 1;
            tracing::info!(port = self.port, "reset");
        }
        self.adminq = None;
        self.resources = None;
        self.report = None;
        self.tx.fill_with(|| None);
        self.rx.fill_with(|| None);
        self.rx_spread = 0;
        self.steering.reset();
        self.interrupts.reset();
        self.registers.reset();
        self.opened = false;
    }

    /// Whether the queue has something to transmit.
    fn tx_doorbell(&mut self, id: u16, tail: u32) -> bool {
        let index = usize::from(id);
        let (Some(Some(queue)), Some(counters)) =
            (self.tx.get_mut(index), self.counters.tx.get_mut(index))
        else {
            self.anomalies
                .note(Anomaly::AbsentQueue, format_args!("transmit queue {id}"));
            return false;
        };
        counters.doorbells += 1;
        if !queue.doorbell(tail) {
            self.anomalies.note(
                Anomaly::Tail,
                format_args!("tail {tail} of transmit queue {id}"),
            );
        }
        queue.has_work()
    }

    fn rx_doorbell(&mut self, id: u16, tail: u32) {
        let index = usize::from(id);
        let (Some(Some(queue)), Some(counters)) =
            (self.rx.get_mut(index), self.counters.rx.get_mut(index))
        else {
            self.anomalies
                .note(Anomaly::AbsentQueue, format_args!("receive queue {id}"));
            return;
        };
        counters.doorbells += 1;
        if !queue.doorbell(tail) {
            self.anomalies.note(
                Anomaly::Tail,
                format_args!("tail {tail} of receive queue {id}"),
            );
            return;
        }
        let written = queue.drain(&mut RxContext {
            memory: &*self.memory,
            anomalies: &mut self.anomalies,
            counters,
            fault: CompletionFault::None,
        });
        if written > 0 {
            let block = queue.block();
            self.interrupts.event(block, written, &mut self.faults);
        }
    }

    /// When a fault or the report is due next.
    fn deadline(&self) -> Option<Instant> {
        let report = self.report.as_ref().map(StatsReport::next);
        [self.faults.deadline(), report].into_iter().flatten().min()
    }
}
