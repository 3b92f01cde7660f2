// SPDX-License-Identifier: GPL-2.0
//! Admin commands that fail or never end.

use super::{AdminCommand, AdminVerdict, Arguments, Entry, Fault, SpecError, Trigger};
use gve_wire::adminq::{Opcode, Status};

/// See its summary.
pub const FAIL: Entry = Entry {
    name: "admin-fail",
    arguments: "opcode=NAME or number, queue=N, status=NAME (default INTERNAL), nth, count, p",
    summary: "an admin command does nothing and ends with this status",
    build: |arguments, rng| {
        let status = arguments
            .parsed("status", "admin queue status", Status::from_name)?
            .unwrap_or(Status::Internal);
        build(arguments, rng, AdminVerdict::Fail(status))
    },
};

/// See its summary.
pub const HANG: Entry = Entry {
    name: "admin-hang",
    arguments: "opcode=NAME or number, queue=N, nth, count, p",
    summary: "an admin command never completes, nor does any that follows, until a reset",
    build: |arguments, rng| build(arguments, rng, AdminVerdict::Hang),
};

struct Admin {
    opcode: Opcode,
    queue: Option<u32>,
    verdict: AdminVerdict,
    trigger: Trigger,
}

fn build(
    arguments: &mut Arguments,
    rng: fastrand::Rng,
    verdict: AdminVerdict,
) -> Result<Box<dyn Fault>, SpecError> {
    let opcode = arguments
        .parsed("opcode", "admin command", parse_opcode)?
        .ok_or(SpecError::Missing("opcode"))?;
    Ok(Box::new(Admin {
        opcode,
        queue: arguments.number("queue")?,
        verdict,
        trigger: Trigger::take(arguments, rng)?,
    }))
}

fn parse_opcode(text: &str) -> Option<Opcode> {
    let raw = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    raw.and_then(Opcode::from_raw)
        .or_else(|| Opcode::from_name(text))
}

impl Fault for Admin {
    fn admin(&mut self, command: &AdminCommand) -> AdminVerdict {
        let meant = command.opcode == self.opcode
            && self.queue.is_none_or(|queue| command.queue == Some(queue));
        if meant && self.trigger.strikes() {
            self.verdict
        } else {
            AdminVerdict::Run
        }
    }
}
