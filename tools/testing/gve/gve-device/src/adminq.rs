// SPDX-License-Identifier: GPL-2.0
//! The admin queue: commands run when its doorbell is rung, in order, each to
//! its end, whatever became of the one before.

mod describe;
mod queues;
mod report;
mod steer;

pub use report::StatsReport;

use crate::anomaly::Anomaly;
use crate::fault::{self, AdminVerdict};
use crate::memory::DmaError;
use crate::port::State;
use gve_wire::adminq::{
    Buffer, COMMAND_BYTES, Command, ConfigureDeviceResources, DestroyQueue, DriverInfo, Extended,
    FORMAT_DQO_RDA, Opcode, ReportLinkSpeed, STATUS_OFFSET, Status, VerifyDriverCompatibility,
};
use gve_wire::ptype;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::U64;

/// Why a command did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the driver is told.
    pub status: Status,
    /// What the log is told.
    pub reason: String,
}

impl Refusal {
    fn new(status: Status, reason: impl Into<String>) -> Refusal {
        Refusal {
            status,
            reason: reason.into(),
        }
    }

    fn invalid(reason: impl Into<String>) -> Refusal {
        Refusal::new(Status::InvalidArgument, reason)
    }
}

impl From<DmaError> for Refusal {
    fn from(error: DmaError) -> Refusal {
        Refusal::invalid(error.to_string())
    }
}

/// How a command ended.
pub type Outcome = Result<(), Refusal>;

/// The running admin queue.
#[derive(Debug)]
pub struct AdminQueue {
    base: u64,
    slots: u32,
    /// A command never ends, so none that follows begins.
    hung: bool,
}

impl AdminQueue {
    /// A queue of `bytes` at `base`.
    pub fn new(base: u64, bytes: u64) -> AdminQueue {
        AdminQueue {
            base,
            slots: (bytes / COMMAND_BYTES) as u32,
            hung: false,
        }
    }
}

/// What `ConfigureDeviceResources` said.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// Notification blocks.
    pub blocks: u32,
    /// Event counters.
    pub counters: u32,
}

impl State {
    /// The admin queue's doorbell: run commands until `submitted` of them,
    /// counted from the start, are complete.
    pub(crate) fn run_commands(&mut self, submitted: u32, now: Instant) {
        let Some(queue) = &self.adminq else {
            self.anomalies.note(
                Anomaly::AdminQueue,
                "doorbell of a queue that is not running",
            );
            return;
        };
        let waiting = submitted.wrapping_sub(self.registers.event_counter);
        if waiting > queue.slots {
            self.anomalies.note(
                Anomaly::AdminQueue,
                format_args!("{waiting} commands in a ring of {}", queue.slots),
            );
            return;
        }
        for _ in 0..waiting {
            let Some(queue) = self.adminq.as_ref().filter(|queue| !queue.hung) else {
                return;
            };
            let slot = self.registers.event_counter % queue.slots;
            let address = queue.base.wrapping_add(u64::from(slot) * COMMAND_BYTES);
            let status = match self.memory.load::<Command>(address) {
                Ok(command) => match self.run_command(&command, now) {
                    Some(status) => status,
                    None => {
                        if let Some(queue) = &mut self.adminq {
                            queue.hung = true;
                        }
                        return;
                    }
                },
                Err(error) => {
                    self.anomalies.note(Anomaly::DmaRead, error);
                    Status::Internal
                }
            };
            let raw = (status as u32).to_be_bytes();
            let status_address = address.wrapping_add(STATUS_OFFSET);
            if let Err(error) = self.memory.write(status_address, &raw) {
                self.anomalies.note(Anomaly::DmaWrite, error);
            }
            self.registers.event_counter = self.registers.event_counter.wrapping_add(1);
        }
    }

    /// Runs one command; `None` if it never ends.
    fn run_command(&mut self, command: &Command, now: Instant) -> Option<Status> {
        let raw = command.opcode.get();
        let Some(opcode) = Opcode::from_raw(raw) else {
            self.anomalies
                .note(Anomaly::AdminCommand, format_args!("opcode {raw:#x}"));
            self.counters.admin_failed += 1;
            return Some(Status::Unimplemented);
        };
        *self.counters.admin.entry(opcode.name()).or_default() += 1;
        let about = fault::AdminCommand {
            opcode,
            queue: queue_of(opcode, command),
        };
        let (verdict, actions) = self.faults.admin(&about, now);
        self.act(&actions);
        let outcome = match verdict {
            AdminVerdict::Run => self.dispatch(opcode, command, now),
            AdminVerdict::Fail(status) => {
                self.counters.admin_failed += 1;
                return Some(status);
            }
            AdminVerdict::Hang => return None,
        };
        tracing::debug!(port = self.port, opcode = opcode.name(), ?outcome, "admin");
        match outcome {
            Ok(()) => Some(Status::Passed),
            Err(refusal) => {
                self.counters.admin_failed += 1;
                self.anomalies.note(
                    Anomaly::AdminCommand,
                    format_args!(
                        "{} refused with {:?}: {}",
                        opcode.name(),
                        refusal.status,
                        refusal.reason
                    ),
                );
                Some(refusal.status)
            }
        }
    }

    fn dispatch(&mut self, opcode: Opcode, command: &Command, now: Instant) -> Outcome {
        match opcode {
            Opcode::VerifyDriverCompatibility => self.verify_driver(&body(command)?),
            Opcode::DescribeDevice => self.describe_device(&body(command)?),
            Opcode::ConfigureDeviceResources => self.configure_resources(&body(command)?),
            Opcode::DeconfigureDeviceResources => {
                self.resources = None;
                self.report = None;
                self.interrupts.reset();
                Ok(())
            }
            Opcode::CreateTxQueue => self.create_tx_queue(&body(command)?, now),
            Opcode::CreateRxQueue => self.create_rx_queue(&body(command)?, now),
            Opcode::DestroyTxQueue => self.destroy_tx_queue(body::<DestroyQueue>(command)?),
            Opcode::DestroyRxQueue => self.destroy_rx_queue(body::<DestroyQueue>(command)?),
            Opcode::GetPtypeMap => {
                let buffer: Buffer = body(command)?;
                if buffer.length.get() < ptype::MAP_BYTES as u64 {
                    return Err(Refusal::invalid("buffer is smaller than the map"));
                }
                Ok(self.memory.write(buffer.address.get(), &ptype::map())?)
            }
            Opcode::ReportLinkSpeed => {
                let request: ReportLinkSpeed = body(command)?;
                let speed = U64::new(self.config.link_mbps);
                Ok(self
                    .memory
                    .write(request.address.get(), &speed.to_bytes())?)
            }
            Opcode::ReportNicTimestamp => self.report_timestamp(&body(command)?),
            Opcode::ReportStats => self.attach_report(&body(command)?, now),
            Opcode::ConfigureRss => self.configure_rss(&body(command)?),
            Opcode::QueryRss => self.query_rss(&body(command)?),
            Opcode::QueryFlowRules => self.query_flow_rules(&body(command)?),
            Opcode::Extended => {
                let extended: Extended = body(command)?;
                self.extended(&extended)
            }
        }
    }

    fn verify_driver(&mut self, request: &VerifyDriverCompatibility) -> Outcome {
        if request.length.get() < size_of::<DriverInfo>() as u64 {
            return Err(Refusal::invalid("driver information is too short"));
        }
        let info: DriverInfo = self.memory.load(request.address.get())?;
        let text = String::from_utf8_lossy(&info.os_version_str1);
        tracing::info!(
            port = self.port,
            os = info.os_type,
            capabilities = format_args!("{:#x}", info.capabilities.first().map_or(0, |c| c.get())),
            version = text.trim_end_matches('\0').escape_debug().to_string(),
            "driver"
        );
        // A driver that does not know our one queue format would find out
        // from the description; refusing it here would only hide why.
        Ok(())
    }

    fn configure_resources(&mut self, request: &ConfigureDeviceResources) -> Outcome {
        if request.queue_format != FORMAT_DQO_RDA {
            return Err(Refusal::invalid(format!(
                "queue format {} is not DQO-RDA",
                request.queue_format
            )));
        }
        let blocks = request.num_irq_dbs.get();
        let base = request.ntfy_blk_msix_base.get();
        if blocks > self.config.blocks()
            || base
                .checked_add(blocks)
                .is_none_or(|management| management >= self.config.vectors())
        {
            return Err(Refusal::invalid(format!(
                "{blocks} blocks from vector {base} on, of {} vectors",
                self.config.vectors()
            )));
        }
        let stride = u64::from(request.irq_db_stride.get());
        for block in 0..blocks {
            let address = request
                .irq_db_address
                .get()
                .wrapping_add(u64::from(block) * stride);
            let index = self
                .config
                .doorbell_index(crate::config::Doorbell::Irq(block));
            self.memory.write(address, &index.to_be_bytes())?;
        }
        self.interrupts.configure(base, blocks);
        self.resources = Some(Resources {
            blocks,
            counters: request.num_counters.get(),
        });
        Ok(())
    }

    fn report_timestamp(&mut self, request: &Buffer) -> Outcome {
        if request.length.get() < 8 {
            return Err(Refusal::invalid("no room for a timestamp"));
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64);
        Ok(self
            .memory
            .write(request.address.get(), &U64::new(now).to_bytes())?)
    }
}

fn body<T: FromBytes>(command: &Command) -> Result<T, Refusal> {
    command
        .body()
        .ok_or_else(|| Refusal::new(Status::Internal, "body does not fit a slot"))
}

/// The queue a command is about.
fn queue_of(opcode: Opcode, command: &Command) -> Option<u32> {
    match opcode {
        Opcode::CreateTxQueue
        | Opcode::CreateRxQueue
        | Opcode::DestroyTxQueue
        | Opcode::DestroyRxQueue => command.body::<DestroyQueue>().map(|q| q.queue_id.get()),
        _ => None,
    }
}
