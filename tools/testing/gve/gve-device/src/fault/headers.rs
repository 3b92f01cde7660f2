// SPDX-License-Identifier: GPL-2.0
//! Header split that is not as the device says.

use super::{Entry, Fault, Trigger};

/// See its summary.
pub const LOST: Entry = Entry {
    name: "header-lost",
    arguments: "queue=N, nth, count, p",
    summary: "a received packet is said to be split, and all of it is in the packet buffer",
    build: |arguments, rng| {
        Ok(Box::new(Lost {
            queue: arguments.number("queue")?,
            trigger: Trigger::take(arguments, rng)?,
        }))
    },
};

struct Lost {
    queue: Option<u16>,
    trigger: Trigger,
}

impl Fault for Lost {
    fn lose_header(&mut self, queue: u16) -> bool {
        self.queue.is_none_or(|wanted| wanted == queue) && self.trigger.strikes()
    }
}

/// See its summary.
pub const LONG: Entry = Entry {
    name: "header-long",
    arguments: "by=N (default 1), queue=N, nth, count, p",
    summary: "the header of a received packet is said to be N bytes longer than its buffer",
    build: |arguments, rng| {
        Ok(Box::new(Long {
            by: arguments.number("by")?.unwrap_or(1),
            queue: arguments.number("queue")?,
            trigger: Trigger::take(arguments, rng)?,
        }))
    },
};

struct Long {
    by: u16,
    queue: Option<u16>,
    trigger: Trigger,
}

impl Fault for Long {
    fn lengthen_header(&mut self, queue: u16) -> Option<u16> {
        let meant = self.queue.is_none_or(|wanted| wanted == queue);
        (meant && self.trigger.strikes()).then_some(self.by)
    }
}
