// SPDX-License-Identifier: GPL-2.0
//! Interrupts that never arrive.

use super::{Entry, Fault, Trigger, Vector};

/// See its summary.
pub const LOSE: Entry = Entry {
    name: "irq-lost",
    arguments: "block=N or block=mgmt (default any), nth, count, p",
    summary: "an interrupt is raised and does not arrive",
    build: |arguments, rng| {
        let vector = arguments.parsed("block", "notification block", |text| match text {
            "mgmt" => Some(Vector::Management),
            number => number.parse().ok().map(Vector::Block),
        })?;
        Ok(Box::new(Lose {
            vector,
            trigger: Trigger::take(arguments, rng)?,
        }))
    },
};

struct Lose {
    vector: Option<Vector>,
    trigger: Trigger,
}

impl Fault for Lose {
    fn lose_interrupt(&mut self, vector: Vector) -> bool {
        self.vector.is_none_or(|wanted| wanted == vector) && self.trigger.strikes()
    }
}
