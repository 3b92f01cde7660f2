// SPDX-License-Identifier: GPL-2.0
//! Admin commands that fail or never end.

use super::{Actions, AdminCommand, AdminVerdict, Arguments, Entry, Fault, SpecError, Trigger};
use gve_wire::adminq::{Opcode, Status};
use std::time::Instant;

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

/// Which admin commands a fault is about, and which of those it strikes at.
pub struct Aim {
    opcode: Opcode,
    queue: Option<u32>,
    trigger: Trigger,
}

impl Aim {
    /// From `opcode`, `queue` and what [`Trigger::take`] takes; `None` without an opcode.
    pub fn take(arguments: &mut Arguments, rng: fastrand::Rng) -> Result<Option<Aim>, SpecError> {
        let Some(opcode) = arguments.parsed("opcode", "admin command", parse_opcode)? else {
            return Ok(None);
        };
        Ok(Some(Aim {
            opcode,
            queue: arguments.number("queue")?,
            trigger: Trigger::take(arguments, rng)?,
        }))
    }

    /// Whether the fault strikes at this command.
    pub fn strikes(&mut self, command: &AdminCommand) -> bool {
        command.opcode == self.opcode
            && self.queue.is_none_or(|queue| command.queue == Some(queue))
            && self.trigger.strikes()
    }
}

struct Admin {
    aim: Aim,
    verdict: AdminVerdict,
}

fn build(
    arguments: &mut Arguments,
    rng: fastrand::Rng,
    verdict: AdminVerdict,
) -> Result<Box<dyn Fault>, SpecError> {
    let aim = Aim::take(arguments, rng)?.ok_or(SpecError::Missing("opcode"))?;
    Ok(Box::new(Admin { aim, verdict }))
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
    fn admin(
        &mut self,
        command: &AdminCommand,
        _now: Instant,
        _actions: &mut Actions,
    ) -> AdminVerdict {
        if self.aim.strikes(command) {
            self.verdict
        } else {
            AdminVerdict::Run
        }
    }
}
