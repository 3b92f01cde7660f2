// SPDX-License-Identifier: GPL-2.0
//! Received packets that are not as the device says.

use super::{Arguments, CompletionFault, Entry, Fault, SpecError, Trigger};

/// See its summary.
pub const HEADER_LOST: Entry = Entry {
    name: "header-lost",
    arguments: "queue=N, nth, count, p",
    summary: "a received packet is said to be split, and all of it is in the packet buffer",
    build: |arguments, rng| build(arguments, rng, CompletionFault::HeaderLost),
};

/// See its summary.
pub const HEADER_LONG: Entry = Entry {
    name: "header-long",
    arguments: "by=N (default 1), queue=N, nth, count, p",
    summary: "the header of a received packet is said to be N bytes longer than its buffer",
    build: |arguments, rng| {
        let by = arguments.number("by")?.unwrap_or(1);
        build(arguments, rng, CompletionFault::HeaderLong(by))
    },
};

/// See its summary.
pub const DATA_LONG: Entry = Entry {
    name: "data-long",
    arguments: "by=N (default 1), queue=N, nth, count, p",
    summary: "the first packet buffer of a received packet is said to hold N bytes more than it can",
    build: |arguments, rng| {
        let by = arguments.number("by")?.unwrap_or(1);
        build(arguments, rng, CompletionFault::DataLong(by))
    },
};

/// See its summary.
pub const END_LOST: Entry = Entry {
    name: "end-lost",
    arguments: "queue=N, nth, count, p",
    summary: "a received packet is said to go on, and does not",
    build: |arguments, rng| build(arguments, rng, CompletionFault::EndLost),
};

struct Completion {
    fault: CompletionFault,
    queue: Option<u16>,
    trigger: Trigger,
}

fn build(
    arguments: &mut Arguments,
    rng: fastrand::Rng,
    fault: CompletionFault,
) -> Result<Box<dyn Fault>, SpecError> {
    Ok(Box::new(Completion {
        fault,
        queue: arguments.number("queue")?,
        trigger: Trigger::take(arguments, rng)?,
    }))
}

impl Fault for Completion {
    fn completion(&mut self, queue: u16) -> CompletionFault {
        if self.queue.is_none_or(|wanted| wanted == queue) && self.trigger.strikes() {
            self.fault
        } else {
            CompletionFault::None
        }
    }
}
