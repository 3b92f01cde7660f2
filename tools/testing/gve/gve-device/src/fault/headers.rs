// SPDX-License-Identifier: GPL-2.0
//! Header split that the device claims and has not done.

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
