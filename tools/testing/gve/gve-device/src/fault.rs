// SPDX-License-Identifier: GPL-2.0
//! What goes wrong on request.
//!
//! A fault is a type that implements [`Fault`] and overrides the hooks it
//! needs; every hook's default is "nothing wrong". To add one, write it in a
//! file of its own under `fault/` and add a line to [`CATALOGUE`]: the command
//! line, its help, the log and the counters follow from that.

mod admin;
mod completions;
mod device;
mod frames;
mod interrupt;
mod spec;
mod trigger;

pub use spec::{Arguments, FaultSpec, SpecError};
pub use trigger::Trigger;

use gve_net::Frame;
use gve_wire::adminq::{Opcode, Status};
use std::collections::BTreeMap;
use std::time::Instant;

/// Transmit or receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Transmit.
    Tx,
    /// Receive.
    Rx,
}

/// An interrupt vector by its purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vector {
    /// Of a notification block.
    Block(u32),
    /// The management vector.
    Management,
}

/// An admin command that is about to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminCommand {
    /// What it asks for.
    pub opcode: Opcode,
    /// The queue it is about, for the four commands that are about one.
    pub queue: Option<u32>,
}

/// What becomes of an admin command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminVerdict {
    /// It runs.
    Run,
    /// It does not run, and ends like this.
    Fail(Status),
    /// It never ends, and neither does any that follows, until a reset.
    Hang,
}

/// What is wrong with what a received packet's completions say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompletionFault {
    /// Nothing.
    #[default]
    None,
    /// The packet is not split, and its completion says it was.
    HeaderLost,
    /// The completion says that the header is so much longer than its buffer.
    HeaderLong(u16),
    /// The first completion says that the data are so much longer than their buffer.
    DataLong(u16),
    /// The last completion does not say that it is the last.
    EndLost,
}

/// What a fault makes the device do of its own accord.
#[derive(Debug, Default)]
pub struct Actions {
    /// The link goes up or down.
    pub link: Option<bool>,
    /// The device asks the driver for a reset.
    pub request_reset: bool,
    /// Frames that were held back and leave now.
    pub frames: Vec<Frame>,
}

impl Actions {
    fn is_empty(&self) -> bool {
        self.link.is_none() && !self.request_reset && self.frames.is_empty()
    }

    fn merge(&mut self, later: Actions) {
        self.link = later.link.or(self.link);
        self.request_reset |= later.request_reset;
        self.frames.extend(later.frames);
    }
}

/// The hooks. A hook returns whether, or how, it interferes; the set counts
/// that under the fault's name.
pub trait Fault: Send {
    /// An admin command is about to run. What it does to the link, and the
    /// reset that it asks for, in `actions`, come before that.
    fn admin(
        &mut self,
        _command: &AdminCommand,
        _now: Instant,
        _actions: &mut Actions,
    ) -> AdminVerdict {
        AdminVerdict::Run
    }

    /// A queue is being created. True: it passes, but never works.
    fn stick_queue(&mut self, _direction: Direction, _queue: u16) -> bool {
        false
    }

    /// Frames are about to leave the port. Returns how many it touched.
    fn transmit(&mut self, _frames: &mut Vec<Frame>, _now: Instant) -> u64 {
        0
    }

    /// A packet is about to be received.
    fn completion(&mut self, _queue: u16) -> CompletionFault {
        CompletionFault::None
    }

    /// An interrupt is about to be raised. True: it is lost.
    fn lose_interrupt(&mut self, _vector: Vector) -> bool {
        false
    }

    /// The driver has created its first queue since the last reset.
    fn opened(&mut self, _now: Instant) {}

    /// Time has come for [`Self::deadline`]. Returns how often it acted.
    fn tick(&mut self, _now: Instant, _actions: &mut Actions) -> u64 {
        0
    }

    /// When [`Self::tick`] has to be called next.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Makes a fault from its arguments, with randomness of its own.
pub type Build = fn(&mut Arguments, fastrand::Rng) -> Result<Box<dyn Fault>, SpecError>;

/// A line of the catalogue.
pub struct Entry {
    /// What the fault is called.
    pub name: &'static str,
    /// Its arguments, for people.
    pub arguments: &'static str,
    /// What it does, for people.
    pub summary: &'static str,
    /// Makes one.
    pub build: Build,
}

/// Every fault there is.
pub const CATALOGUE: &[Entry] = &[
    admin::FAIL,
    admin::HANG,
    device::STUCK_QUEUE,
    device::LINK_FLAP,
    device::RESET_REQUEST,
    frames::DROP,
    frames::CORRUPT,
    frames::DUPLICATE,
    frames::REORDER,
    completions::HEADER_LOST,
    completions::HEADER_LONG,
    completions::DATA_LONG,
    completions::END_LOST,
    interrupt::LOSE,
];

/// The faults of one port.
#[derive(Default)]
pub struct FaultSet {
    faults: Vec<(&'static str, Box<dyn Fault>)>,
    hits: BTreeMap<&'static str, u64>,
    port: usize,
}

impl FaultSet {
    /// The faults among `specs` that are meant for `port`.
    pub fn build(specs: &[FaultSpec], port: usize, seed: u64) -> Result<FaultSet, SpecError> {
        let mut faults = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            // Each fault draws from a stream of its own, so that adding one
            // does not change what the others do.
            let stream = ((index as u64) << 32) | port as u64;
            let rng = fastrand::Rng::with_seed(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            if let Some(fault) = spec.build(port, rng)? {
                faults.push((spec.entry().name, fault));
            }
        }
        Ok(FaultSet {
            faults,
            hits: BTreeMap::new(),
            port,
        })
    }

    /// Other faults from now on; what took effect so far stays counted.
    pub fn replace(&mut self, other: FaultSet) {
        let hits = std::mem::take(&mut self.hits);
        *self = FaultSet { hits, ..other };
    }

    /// How often each fault took effect.
    pub fn hits(&self) -> &BTreeMap<&'static str, u64> {
        &self.hits
    }

    fn hit(&mut self, name: &'static str, times: u64, what: impl std::fmt::Debug) {
        if times > 0 {
            *self.hits.entry(name).or_default() += times;
            tracing::info!(port = self.port, fault = name, times, ?what, "fault");
        }
    }

    /// The first verdict that is not "run", and what happens before it.
    pub fn admin(&mut self, command: &AdminCommand, now: Instant) -> (AdminVerdict, Actions) {
        let mut actions = Actions::default();
        for index in 0..self.faults.len() {
            let Some((name, fault)) = self.faults.get_mut(index) else {
                break;
            };
            let mut own = Actions::default();
            let (name, verdict) = (*name, fault.admin(command, now, &mut own));
            if verdict != AdminVerdict::Run || !own.is_empty() {
                self.hit(name, 1, (command, verdict));
            }
            actions.merge(own);
            if verdict != AdminVerdict::Run {
                return (verdict, actions);
            }
        }
        (AdminVerdict::Run, actions)
    }

    /// Whether any fault wants the queue stuck.
    pub fn stick_queue(&mut self, direction: Direction, queue: u16) -> bool {
        self.any((direction, queue), |fault| {
            fault.stick_queue(direction, queue)
        })
    }

    /// What will be wrong with what is said of the packet.
    pub fn completion(&mut self, queue: u16) -> CompletionFault {
        let mut found = CompletionFault::None;
        self.any(queue, |fault| {
            found = fault.completion(queue);
            found != CompletionFault::None
        });
        found
    }

    /// Whether any fault eats the interrupt.
    pub fn lose_interrupt(&mut self, vector: Vector) -> bool {
        self.any(vector, |fault| fault.lose_interrupt(vector))
    }

    fn any(
        &mut self,
        what: impl std::fmt::Debug + Copy,
        mut ask: impl FnMut(&mut dyn Fault) -> bool,
    ) -> bool {
        let hit = self
            .faults
            .iter_mut()
            .find_map(|(name, fault)| ask(fault.as_mut()).then_some(*name));
        if let Some(name) = hit {
            self.hit(name, 1, what);
        }
        hit.is_some()
    }

    /// Lets every fault have its way with the frames.
    pub fn transmit(&mut self, frames: &mut Vec<Frame>, now: Instant) {
        for index in 0..self.faults.len() {
            if let Some((name, fault)) = self.faults.get_mut(index) {
                let (name, times) = (*name, fault.transmit(frames, now));
                self.hit(name, times, "transmit");
            }
        }
    }

    /// Tells every fault that the device is open.
    pub fn opened(&mut self, now: Instant) {
        for (_, fault) in &mut self.faults {
            fault.opened(now);
        }
    }

    /// Runs what is due.
    pub fn tick(&mut self, now: Instant) -> Actions {
        let mut actions = Actions::default();
        for index in 0..self.faults.len() {
            if let Some((name, fault)) = self.faults.get_mut(index) {
                if fault.deadline().is_some_and(|at| at <= now) {
                    let (name, times) = (*name, fault.tick(now, &mut actions));
                    self.hit(name, times, "timer");
                }
            }
        }
        actions
    }

    /// When [`Self::tick`] is due next.
    pub fn deadline(&self) -> Option<Instant> {
        self.faults.iter().filter_map(|(_, f)| f.deadline()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spec: &str) -> FaultSet {
        FaultSet::build(&[spec.parse().unwrap()], 0, 1).unwrap()
    }

    #[test]
    fn names_are_unique_and_documented() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        assert!(CATALOGUE.iter().all(|entry| !entry.summary.is_empty()));
    }

    #[test]
    fn nth_admin_command_of_a_queue_fails() {
        let mut faults = set("admin-fail=opcode=CREATE_RX_QUEUE,queue=2,nth=2,status=INTERNAL");
        let command = |queue| AdminCommand {
            opcode: Opcode::CreateRxQueue,
            queue: Some(queue),
        };
        let mut verdict = |queue| faults.admin(&command(queue), Instant::now()).0;
        assert_eq!(verdict(2), AdminVerdict::Run);
        assert_eq!(verdict(1), AdminVerdict::Run);
        assert_eq!(verdict(2), AdminVerdict::Fail(Status::Internal));
        assert_eq!(verdict(2), AdminVerdict::Run);
        assert_eq!(faults.hits().get("admin-fail"), Some(&1));
    }

    #[test]
    fn same_seed_same_faults() {
        let frames = || -> Vec<Frame> {
            (0..100u8)
                .map(|i| Frame::new(bytes::Bytes::from(vec![i; 60])))
                .collect()
        };
        let run = |seed| {
            let spec = "drop=p=0.2".parse().unwrap();
            let mut faults = FaultSet::build(&[spec], 0, seed).unwrap();
            let mut frames = frames();
            faults.transmit(&mut frames, Instant::now());
            frames.iter().map(Frame::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!((60..95).contains(&run(7).len()));
    }

    #[test]
    fn reordered_frames_are_not_lost() {
        let mut faults = set("reorder=nth=1,by=2,hold-ms=5");
        let now = Instant::now();
        let mut frames: Vec<Frame> = (0..5u8)
            .map(|i| Frame::new(bytes::Bytes::from(vec![i; 60])))
            .collect();
        faults.transmit(&mut frames, now);
        let order: Vec<u8> = frames.iter().map(|f| f.to_vec()[0]).collect();
        assert_eq!(order, [1, 2, 0, 3, 4]);

        // One that has nothing to hide behind leaves when its time is up.
        let mut faults = set("reorder=nth=1,by=2,hold-ms=5");
        let mut frames = vec![Frame::new(bytes::Bytes::from(vec![9; 60]))];
        faults.transmit(&mut frames, now);
        assert!(frames.is_empty());
        let due = faults.deadline().unwrap();
        let actions = faults.tick(due);
        assert_eq!(actions.frames.len(), 1);
        assert_eq!(faults.deadline(), None);
    }

    #[test]
    fn link_flaps_on_time() {
        let mut faults = set("link-flap=after-ms=100,down-ms=50,count=2");
        let start = Instant::now();
        assert_eq!(faults.deadline(), None);
        faults.opened(start);
        let mut states = Vec::new();
        while let Some(at) = faults.deadline() {
            let actions = faults.tick(at);
            states.push(((at - start).as_millis(), actions.link));
        }
        assert_eq!(
            states,
            [
                (100, Some(false)),
                (150, Some(true)),
                (250, Some(false)),
                (300, Some(true)),
            ]
        );
    }

    #[test]
    fn link_flaps_in_the_middle_of_a_command() {
        let mut faults = set("link-flap=opcode=DESTROY_RX_QUEUE,queue=2,down-ms=50");
        let start = Instant::now();
        faults.opened(start);
        assert_eq!(faults.deadline(), None);
        let mut link = |opcode, queue| {
            let queue = Some(queue);
            faults.admin(&AdminCommand { opcode, queue }, start).1.link
        };
        assert_eq!(link(Opcode::CreateRxQueue, 2), None);
        assert_eq!(link(Opcode::DestroyRxQueue, 1), None);
        assert_eq!(link(Opcode::DestroyRxQueue, 2), Some(false));
        assert_eq!(link(Opcode::DestroyRxQueue, 2), None);
        let up = faults.deadline().unwrap();
        assert_eq!(up - start, std::time::Duration::from_millis(50));
        assert_eq!(faults.tick(up).link, Some(true));
        assert_eq!(faults.deadline(), None);
        assert_eq!(faults.hits().get("link-flap"), Some(&2));
    }

    #[test]
    fn reset_is_asked_for_in_the_middle_of_a_command() {
        let mut faults = set("reset-request=opcode=CREATE_RX_QUEUE,nth=2,count=2");
        let now = Instant::now();
        faults.opened(now);
        assert_eq!(faults.deadline(), None);
        let command = AdminCommand {
            opcode: Opcode::CreateRxQueue,
            queue: Some(1),
        };
        let asked: Vec<bool> = (0..4)
            .map(|_| faults.admin(&command, now).1.request_reset)
            .collect();
        assert_eq!(asked, [false, true, true, false]);
    }

    #[test]
    fn ports_are_told_apart() {
        let spec: FaultSpec = "irq-lost=port=1,nth=1".parse().unwrap();
        let mut none = FaultSet::build(std::slice::from_ref(&spec), 0, 1).unwrap();
        let mut some = FaultSet::build(std::slice::from_ref(&spec), 1, 1).unwrap();
        assert!(!none.lose_interrupt(Vector::Block(0)));
        assert!(some.lose_interrupt(Vector::Block(0)));
        assert!(!some.lose_interrupt(Vector::Block(0)));
    }
}
