// SPDX-License-Identifier: GPL-2.0
//! Header split that is not as the device says.

use super::{Arguments, Entry, Fault, HeaderFault, SpecError, Trigger};

/// See its summary.
pub const LOST: Entry = Entry {
    name: "header-lost",
    arguments: "queue=N, nth, count, p",
    summary: "a received packet is said to be split, and all of it is in the packet buffer",
    build: |arguments, rng| build(arguments, rng, HeaderFault::Lost),
};

/// See its summary.
pub const LONG: Entry = Entry {
    name: "header-long",
    arguments: "by=N (default 1), queue=N, nth, count, p",
    summary: "the header of a received packet is said to be N bytes longer than its buffer",
    build: |arguments, rng| {
        let by = arguments.number("by")?.unwrap_or(1);
        build(arguments, rng, HeaderFault::Long(by))
    },
};

struct Header {
    fault: HeaderFault,
    queue: Option<u16>,
    trigger: Trigger,
}

fn build(
    arguments: &mut Arguments,
    rng: fastrand::Rng,
    fault: HeaderFault,
) -> Result<Box<dyn Fault>, SpecError> {
    Ok(Box::new(Header {
        fault,
        queue: arguments.number("queue")?,
        trigger: Trigger::take(arguments, rng)?,
    }))
}

impl Fault for Header {
    fn header(&mut self, queue: u16) -> HeaderFault {
        if self.queue.is_none_or(|wanted| wanted == queue) && self.trigger.strikes() {
            self.fault
        } else {
            HeaderFault::None
        }
    }
}
