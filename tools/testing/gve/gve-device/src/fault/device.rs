// SPDX-License-Identifier: GPL-2.0
//! Queues that never start, a link that flaps, a device that wants a reset.

use super::{Actions, Direction, Entry, Fault, Trigger};
use std::time::{Duration, Instant};

/// See its summary.
pub const STUCK_QUEUE: Entry = Entry {
    name: "queue-stuck",
    arguments: "dir=rx or tx (default rx), queue=N, nth, count, p",
    summary: "a queue is created without error, and then neither takes nor gives anything",
    build: |arguments, rng| {
        let direction = arguments
            .parsed("dir", "direction", |text| match text {
                "rx" => Some(Direction::Rx),
                "tx" => Some(Direction::Tx),
                _ => None,
            })?
            .unwrap_or(Direction::Rx);
        Ok(Box::new(StuckQueue {
            direction,
            queue: arguments.number("queue")?,
            trigger: Trigger::take(arguments, rng)?,
        }))
    },
};

/// See its summary.
pub const LINK_FLAP: Entry = Entry {
    name: "link-flap",
    arguments: "after-ms=N (default 1000), down-ms=N (default 200), count=N (0 for ever; default 1)",
    summary: "after the device was opened the link goes down, and up again later",
    build: |arguments, _| {
        Ok(Box::new(LinkFlap {
            after: millis(arguments.number("after-ms")?, 1000),
            down: millis(arguments.number("down-ms")?, 200),
            left: match arguments.number("count")?.unwrap_or(1) {
                0 => u64::MAX,
                count => count,
            },
            next: None,
        }))
    },
};

/// See its summary.
pub const RESET_REQUEST: Entry = Entry {
    name: "reset-request",
    arguments: "after-ms=N (default 1000), count=N (0 for ever; default 1)",
    summary: "after the device was opened it asks the driver for a reset",
    build: |arguments, _| {
        Ok(Box::new(ResetRequest {
            after: millis(arguments.number("after-ms")?, 1000),
            left: match arguments.number("count")?.unwrap_or(1) {
                0 => u64::MAX,
                count => count,
            },
            next: None,
        }))
    },
};

/// A year: as good as never, and no point in time is out of reach.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

fn millis(value: Option<u64>, default: u64) -> Duration {
    Duration::from_millis(value.unwrap_or(default)).min(LONGEST)
}

struct StuckQueue {
    direction: Direction,
    queue: Option<u16>,
    trigger: Trigger,
}

impl Fault for StuckQueue {
    fn stick_queue(&mut self, direction: Direction, queue: u16) -> bool {
        direction == self.direction
            && self.queue.is_none_or(|wanted| wanted == queue)
            && self.trigger.strikes()
    }
}

struct LinkFlap {
    after: Duration,
    down: Duration,
    left: u64,
    /// When the link changes, and to what.
    next: Option<(Instant, bool)>,
}

impl Fault for LinkFlap {
    fn opened(&mut self, now: Instant) {
        if self.left > 0 && self.next.is_none() {
            self.next = Some((now + self.after, false));
        }
    }

    fn tick(&mut self, now: Instant, actions: &mut Actions) -> u64 {
        let Some((_, up)) = self.next.take() else {
            return 0;
        };
        actions.link = Some(up);
        if !up {
            self.next = Some((now + self.down, true));
        } else {
            self.left = self.left.saturating_sub(1);
            if self.left > 0 {
                self.next = Some((now + self.after, false));
            }
        }
        1
    }

    fn deadline(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }
}

struct ResetRequest {
    after: Duration,
    left: u64,
    next: Option<Instant>,
}

impl Fault for ResetRequest {
    fn opened(&mut self, now: Instant) {
        if self.left > 0 {
            self.next = Some(now + self.after);
        }
    }

    fn tick(&mut self, _now: Instant, actions: &mut Actions) -> u64 {
        self.next = None;
        self.left = self.left.saturating_sub(1);
        actions.request_reset = true;
        1
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }
}
