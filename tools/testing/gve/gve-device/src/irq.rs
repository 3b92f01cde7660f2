// SPDX-License-Identifier: GPL-2.0
//! Interrupts. A notification block fires when it is armed and something is
//! written to one of its rings; firing disarms it. What is written while it
//! is not armed is remembered and fires when the driver arms it again.

use crate::fault::{FaultSet, Vector};
use gve_wire::doorbell::IrqDoorbell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A driver whose poll has used up its budget on another CPU than the one its
/// interrupt is routed to arms the block with work left in the ring, and waits
/// for an interrupt that nothing new will cause. So a block that stays quiet
/// for a while after it was armed fires once more: soon if so much was written
/// before that a poll may have left some of it, late if that is unlikely.
const REFIRE_SOON: Duration = Duration::from_millis(2);
const REFIRE_LATE: Duration = Duration::from_millis(20);
/// Completions that one poll takes under any driver.
const SURELY_POLLED: u32 = 32;

/// Where interrupts go.
pub trait InterruptSink: Send + Sync {
    /// Raises the MSI-X vector.
    fn fire(&self, vector: u32);
}

/// Interrupts of a device that is not connected.
#[derive(Debug, Default)]
pub struct NoInterrupts;

impl InterruptSink for NoInterrupts {
    fn fire(&self, _vector: u32) {}
}

#[derive(Debug, Default)]
struct Block {
    armed: bool,
    pending: bool,
    /// Completions that the next arming may leave behind.
    written: u32,
    refire_at: Option<Instant>,
}

/// The blocks of a port and its management vector.
pub struct Interrupts {
    sink: Arc<dyn InterruptSink>,
    blocks: Vec<Block>,
    base: u32,
    management: Option<u32>,
    fired: u64,
    refired: u64,
    lost: u64,
}

impl Interrupts {
    /// No block is armed, and there is no management vector yet.
    pub fn new(blocks: u32) -> Interrupts {
        Interrupts {
            sink: Arc::new(NoInterrupts),
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            base: 0,
            management: None,
            fired: 0,
            refired: 0,
            lost: 0,
        }
    }

    /// Where interrupts go from now on.
    pub fn connect(&mut self, sink: Arc<dyn InterruptSink>) {
        self.sink = sink;
    }

    /// The driver's layout: `blocks` from vector `base` on, then management.
    pub fn configure(&mut self, base: u32, blocks: u32) {
        self.quiesce();
        self.base = base;
        self.management = base.checked_add(blocks);
    }

    /// Disarms everything and forgets the layout.
    pub fn reset(&mut self) {
        self.quiesce();
        self.base = 0;
        self.management = None;
    }

    fn quiesce(&mut self) {
        for block in &mut self.blocks {
            *block = Block::default();
        }
    }

    /// Forgets what was written for a queue that is gone.
    pub fn clear(&mut self, block: u32) {
        if let Some(block) = self.blocks.get_mut(block as usize) {
            block.pending = false;
            block.written = 0;
            block.refire_at = None;
        }
    }

    /// So many completions were written to a ring of `block`.
    pub fn event(&mut self, block: u32, completions: u32, faults: &mut FaultSet) {
        let Some(state) = self.blocks.get_mut(block as usize) else {
            return;
        };
        state.written = state.written.saturating_add(completions);
        if state.armed {
            state.armed = false;
            state.refire_at = None;
            self.raise(block, faults);
        } else {
            state.pending = true;
        }
    }

    /// The driver wrote the block's doorbell. Returns when [`Self::tick`] is
    /// due because of it.
    pub fn doorbell(
        &mut self,
        block: u32,
        doorbell: IrqDoorbell,
        now: Instant,
        faults: &mut FaultSet,
    ) -> Option<Instant> {
        let state = self.blocks.get_mut(block as usize)?;
        if !doorbell.enable() {
            return None;
        }
        if state.pending {
            state.pending = false;
            state.armed = false;
            state.refire_at = None;
            self.raise(block, faults);
            return None;
        }
        state.armed = true;
        state.refire_at = match std::mem::take(&mut state.written) {
            0 => None,
            written if written < SURELY_POLLED => Some(now + REFIRE_LATE),
            _ => Some(now + REFIRE_SOON),
        };
        state.refire_at
    }

    /// Fires blocks that were left alone for too long. Returns when it is due
    /// again.
    pub fn tick(&mut self, now: Instant, faults: &mut FaultSet) -> Option<Instant> {
        let mut due = Vec::new();
        let mut next = None;
        for (index, block) in self.blocks.iter_mut().enumerate() {
            match block.refire_at {
                Some(at) if at <= now => {
                    block.refire_at = None;
                    if block.armed {
                        block.armed = false;
                        due.push(index as u32);
                    }
                }
                Some(at) => next = Some(next.map_or(at, |next: Instant| next.min(at))),
                None => {}
            }
        }
        for block in due {
            self.refired += 1;
            self.raise(block, faults);
        }
        next
    }

    /// Tells the driver to look at the device's status.
    pub fn raise_management(&mut self, faults: &mut FaultSet) {
        let Some(vector) = self.management else {
            return;
        };
        if faults.lose_interrupt(Vector::Management) {
            self.lost += 1;
            return;
        }
        self.fired += 1;
        self.sink.fire(vector);
    }

    fn raise(&mut self, block: u32, faults: &mut FaultSet) {
        if faults.lose_interrupt(Vector::Block(block)) {
            self.lost += 1;
            return;
        }
        if let Some(vector) = self.base.checked_add(block) {
            self.fired += 1;
            self.sink.fire(vector);
        }
    }

    /// Interrupts raised, of those the repeated ones, and those a fault ate.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.fired, self.refired, self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Sink(Mutex<Vec<u32>>);

    impl InterruptSink for Sink {
        fn fire(&self, vector: u32) {
            self.0.lock().unwrap().push(vector);
        }
    }

    const ENABLE: IrqDoorbell = IrqDoorbell(0x19);

    fn setup() -> (Interrupts, Arc<Sink>, FaultSet, Instant) {
        let sink = Arc::new(Sink::default());
        let mut irqs = Interrupts::new(4);
        irqs.connect(sink.clone());
        irqs.configure(0, 4);
        (irqs, sink, FaultSet::default(), Instant::now())
    }

    fn fired(sink: &Sink) -> Vec<u32> {
        std::mem::take(&mut sink.0.lock().unwrap())
    }

    #[test]
    fn fires_once_per_arming() {
        let (mut irqs, sink, mut faults, now) = setup();
        irqs.doorbell(2, ENABLE, now, &mut faults);
        irqs.event(2, 1, &mut faults);
        irqs.event(2, 1, &mut faults);
        assert_eq!(fired(&sink), [2]);
        // The second event is pending and fires on arming.
        irqs.doorbell(2, ENABLE, now, &mut faults);
        assert_eq!(fired(&sink), [2]);
        irqs.event(2, 1, &mut faults);
        assert!(fired(&sink).is_empty());
    }

    #[test]
    fn pending_survives_until_armed() {
        let (mut irqs, sink, mut faults, now) = setup();
        irqs.event(1, 1, &mut faults);
        assert!(fired(&sink).is_empty());
        irqs.doorbell(1, IrqDoorbell(0), now, &mut faults);
        assert!(fired(&sink).is_empty());
        irqs.doorbell(1, ENABLE, now, &mut faults);
        assert_eq!(fired(&sink), [1]);
    }

    #[test]
    fn quiet_block_fires_once_more() {
        for (completions, delay) in [(1, REFIRE_LATE), (64, REFIRE_SOON)] {
            let (mut irqs, sink, mut faults, now) = setup();
            irqs.doorbell(0, ENABLE, now, &mut faults);
            irqs.event(0, completions, &mut faults);
            assert_eq!(fired(&sink), [0]);
            let due = irqs.doorbell(0, ENABLE, now, &mut faults).unwrap();
            assert_eq!(due, now + delay);
            assert_eq!(irqs.tick(now, &mut faults), Some(due));
            assert!(fired(&sink).is_empty());
            assert_eq!(irqs.tick(due, &mut faults), None);
            assert_eq!(fired(&sink), [0]);
            // The repetition wrote nothing, so it is not repeated.
            assert_eq!(irqs.doorbell(0, ENABLE, due, &mut faults), None);
            assert_eq!(irqs.tick(due + REFIRE_LATE, &mut faults), None);
            assert!(fired(&sink).is_empty());
        }
    }

    #[test]
    fn news_make_the_repetition_needless() {
        let (mut irqs, sink, mut faults, now) = setup();
        irqs.doorbell(0, ENABLE, now, &mut faults);
        irqs.event(0, 1, &mut faults);
        let due = irqs.doorbell(0, ENABLE, now, &mut faults).unwrap();
        irqs.event(0, 1, &mut faults);
        assert_eq!(fired(&sink), [0, 0]);
        assert_eq!(irqs.tick(due, &mut faults), None);
        assert!(fired(&sink).is_empty());
    }

    #[test]
    fn management_is_the_vector_behind_the_blocks() {
        let (mut irqs, sink, mut faults, _) = setup();
        irqs.raise_management(&mut faults);
        assert_eq!(fired(&sink), [4]);
        irqs.reset();
        irqs.raise_management(&mut faults);
        assert!(fired(&sink).is_empty());
    }

    #[test]
    fn wild_blocks_are_ignored() {
        let (mut irqs, sink, mut faults, now) = setup();
        irqs.event(4, 1, &mut faults);
        irqs.doorbell(u32::MAX, ENABLE, now, &mut faults);
        assert!(fired(&sink).is_empty());
    }
}
