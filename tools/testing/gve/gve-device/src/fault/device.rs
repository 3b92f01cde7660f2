// SPDX-License-Identifier: GPL-2.0
//! Queues that never start, a link that flaps, a device that wants a reset.

use super::admin::Aim;
use super::{
    Actions, AdminCommand, AdminVerdict, Arguments, Direction, Entry, Fault, SpecError, Trigger,
};
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
    arguments: "after-ms=N (default 1000), down-ms=N (default 200), count=N (0 for ever; default 1); \
         or, for after-ms, opcode=NAME or number, queue=N, nth, p",
    summary: "after the device was opened, or in the middle of an admin command, the link goes \
        down, and up again later",
    build: |arguments, rng| {
        Ok(Box::new(LinkFlap {
            down: millis(arguments.number("down-ms")?, 200),
            when: Occasion::take(arguments, rng)?,
            up: None,
        }))
    },
};

/// See its summary.
pub const RESET_REQUEST: Entry = Entry {
    name: "reset-request",
    arguments: "after-ms=N (default 1000), count=N (0 for ever; default 1); \
         or, for after-ms, opcode=NAME or number, queue=N, nth, p",
    summary: "after the device was opened, or in the middle of an admin command, it asks the \
        driver for a reset",
    build: |arguments, rng| {
        Ok(Box::new(ResetRequest {
            when: Occasion::take(arguments, rng)?,
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

/// When a fault strikes that is not about a queue.
enum Occasion {
    /// Some time after the device was opened, or after the last time.
    Timer {
        after: Duration,
        left: u64,
        next: Option<Instant>,
    },
    /// In the middle of admin commands.
    Command(Aim),
}

impl Occasion {
    fn take(arguments: &mut Arguments, rng: fastrand::Rng) -> Result<Occasion, SpecError> {
        if let Some(aim) = Aim::take(arguments, rng)? {
            return Ok(Occasion::Command(aim));
        }
        Ok(Occasion::Timer {
            after: millis(arguments.number("after-ms")?, 1000),
            left: match arguments.number("count")?.unwrap_or(1) {
                0 => u64::MAX,
                count => count,
            },
            next: None,
        })
    }

    /// Sets the timer, unless it runs.
    fn arm(&mut self, now: Instant) {
        if let Occasion::Timer { after, left, next } = self {
            if *left > 0 && next.is_none() {
                *next = Some(now + *after);
            }
        }
    }

    /// The timer has run out.
    fn expire(&mut self) {
        if let Occasion::Timer { left, next, .. } = self {
            *next = None;
            *left = left.saturating_sub(1);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Occasion::Timer { next, .. } => *next,
            Occasion::Command(_) => None,
        }
    }

    fn strikes(&mut self, command: &AdminCommand) -> bool {
        match self {
            Occasion::Timer { .. } => false,
            Occasion::Command(aim) => aim.strikes(command),
        }
    }
}

struct LinkFlap {
    when: Occasion,
    down: Duration,
    /// When the link comes back.
    up: Option<Instant>,
}

impl LinkFlap {
    fn take_down(&mut self, now: Instant, actions: &mut Actions) {
        actions.link = Some(false);
        self.up = Some(now + self.down);
    }
}

impl Fault for LinkFlap {
    fn admin(
        &mut self,
        command: &AdminCommand,
        now: Instant,
        actions: &mut Actions,
    ) -> AdminVerdict {
        if self.when.strikes(command) {
            self.take_down(now, actions);
        }
        AdminVerdict::Run
    }

    fn opened(&mut self, now: Instant) {
        if self.up.is_none() {
            self.when.arm(now);
        }
    }

    fn tick(&mut self, now: Instant, actions: &mut Actions) -> u64 {
        if self.up.take().is_some() {
            actions.link = Some(true);
            self.when.arm(now);
        } else {
            self.when.expire();
            self.take_down(now, actions);
        }
        1
    }

    fn deadline(&self) -> Option<Instant> {
        self.up.or_else(|| self.when.deadline())
    }
}

struct ResetRequest {
    when: Occasion,
}

impl Fault for ResetRequest {
    fn admin(
        &mut self,
        command: &AdminCommand,
        _now: Instant,
        actions: &mut Actions,
    ) -> AdminVerdict {
        actions.request_reset |= self.when.strikes(command);
        AdminVerdict::Run
    }

    fn opened(&mut self, now: Instant) {
        if let Occasion::Timer { next, .. } = &mut self.when {
            *next = None;
        }
        self.when.arm(now);
    }

    fn tick(&mut self, _now: Instant, actions: &mut Actions) -> u64 {
        self.when.expire();
        actions.request_reset = true;
        1
    }

    fn deadline(&self) -> Option<Instant> {
        self.when.deadline()
    }
}
