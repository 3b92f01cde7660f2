// SPDX-License-Identifier: GPL-2.0
//! Frames that are dropped, corrupted, doubled or overtaken on their way out.

use super::{Actions, Entry, Fault, Trigger};
use bytes::Bytes;
use gve_net::Frame;
use std::time::{Duration, Instant};

/// A frame that is held longer is of no use to anyone.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// See its summary.
pub const DROP: Entry = Entry {
    name: "drop",
    arguments: "min-len=N (only frames of at least N bytes), nth, count, p",
    summary: "a frame that the port sends is lost",
    build: |arguments, rng| {
        Ok(Box::new(Drop(Pick {
            min_len: arguments.number("min-len")?.unwrap_or(0),
            trigger: Trigger::take(arguments, rng)?,
        })))
    },
};

/// See its summary.
pub const CORRUPT: Entry = Entry {
    name: "corrupt",
    arguments: "min-len=N (only frames of at least N bytes), nth, count, p",
    summary: "the last byte of a frame changes on the way",
    build: |arguments, rng| {
        Ok(Box::new(Corrupt(Pick {
            min_len: arguments.number("min-len")?.unwrap_or(0),
            trigger: Trigger::take(arguments, rng)?,
        })))
    },
};

/// See its summary.
pub const DUPLICATE: Entry = Entry {
    name: "duplicate",
    arguments: "min-len=N (only frames of at least N bytes), nth, count, p",
    summary: "a frame arrives twice",
    build: |arguments, rng| {
        Ok(Box::new(Duplicate(Pick {
            min_len: arguments.number("min-len")?.unwrap_or(0),
            trigger: Trigger::take(arguments, rng)?,
        })))
    },
};

/// See its summary.
pub const REORDER: Entry = Entry {
    name: "reorder",
    arguments: "by=N (frames that overtake; default 3), hold-ms=N (at most; default 5), \
         min-len=N, nth, count, p",
    summary: "a frame is overtaken by those that follow it",
    build: |arguments, rng| {
        Ok(Box::new(Reorder {
            by: arguments.number("by")?.unwrap_or(3),
            hold: Duration::from_millis(arguments.number("hold-ms")?.unwrap_or(5))
                .min(LONGEST_HOLD),
            pick: Pick {
                min_len: arguments.number("min-len")?.unwrap_or(0),
                trigger: Trigger::take(arguments, rng)?,
            },
            held: None,
        }))
    },
};

struct Pick {
    min_len: usize,
    trigger: Trigger,
}

impl Pick {
    fn strikes(&mut self, frame: &Frame) -> bool {
        frame.len() >= self.min_len && self.trigger.strikes()
    }
}

struct Drop(Pick);

impl Fault for Drop {
    fn transmit(&mut self, frames: &mut Vec<Frame>, _now: Instant) -> u64 {
        let before = frames.len();
        frames.retain(|frame| !self.0.strikes(frame));
        (before - frames.len()) as u64
    }
}

struct Corrupt(Pick);

impl Fault for Corrupt {
    fn transmit(&mut self, frames: &mut Vec<Frame>, _now: Instant) -> u64 {
        let mut touched = 0;
        for frame in frames {
            if self.0.strikes(frame) {
                let mut raw = frame.to_vec();
                if let Some(last) = raw.last_mut() {
                    *last ^= 0xff;
                }
                // Parsed anew, so that the receiver verifies its checksum.
                *frame = Frame::new(Bytes::from(raw));
                touched += 1;
            }
        }
        touched
    }
}

struct Duplicate(Pick);

impl Fault for Duplicate {
    fn transmit(&mut self, frames: &mut Vec<Frame>, _now: Instant) -> u64 {
        let before = frames.len();
        for frame in std::mem::take(frames) {
            if self.0.strikes(&frame) {
                frames.push(frame.clone());
            }
            frames.push(frame);
        }
        (frames.len() - before) as u64
    }
}

struct Held {
    frame: Frame,
    overtaken: usize,
    until: Instant,
}

struct Reorder {
    by: usize,
    hold: Duration,
    pick: Pick,
    held: Option<Held>,
}

impl Fault for Reorder {
    fn transmit(&mut self, frames: &mut Vec<Frame>, now: Instant) -> u64 {
        let mut touched = 0;
        for frame in std::mem::take(frames) {
            if self.held.is_none() && self.pick.strikes(&frame) {
                self.held = Some(Held {
                    frame,
                    overtaken: 0,
                    until: now + self.hold,
                });
                touched += 1;
                continue;
            }
            frames.push(frame);
            if let Some(held) = &mut self.held {
                held.overtaken += 1;
                if held.overtaken >= self.by {
                    frames.extend(self.held.take().map(|held| held.frame));
                }
            }
        }
        touched
    }

    fn tick(&mut self, _now: Instant, actions: &mut Actions) -> u64 {
        actions
            .frames
            .extend(self.held.take().map(|held| held.frame));
        0
    }

    fn deadline(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }
}
