// SPDX-License-Identifier: GPL-2.0
//! The statistics report: the device's figures at the end of the driver's
//! buffer, written anew every second.

use super::Outcome;
use crate::anomaly::Anomaly;
use crate::port::State;
use gve_wire::adminq::ReportStats;
use gve_wire::report::{HEADER_BYTES, NIC_STATS_PER_RX_QUEUE, Stat, nic_stat};
use std::time::{Duration, Instant};
use zerocopy::{FromZeros, IntoBytes};

/// The driver asks for one report in 20 s; nobody minds a fresher one.
const PERIOD: Duration = Duration::from_secs(1);

/// Where the report goes.
#[derive(Clone, Copy, Debug)]
pub struct StatsReport {
    address: u64,
    stats: u64,
    next: Instant,
    /// Receive queues that the last report covered.
    covered: u64,
}

impl StatsReport {
    /// When the next report is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }
}

impl State {
    pub(super) fn attach_report(&mut self, request: &ReportStats, now: Instant) -> Outcome {
        let length = request.length.get();
        let stats = length.saturating_sub(HEADER_BYTES) / size_of::<Stat>() as u64;
        self.report = (request.address.get() != 0 && stats > 0).then_some(StatsReport {
            address: request.address.get(),
            stats,
            next: now + PERIOD,
            covered: 0,
        });
        Ok(())
    }

    /// Writes the report if it is due.
    pub(crate) fn tick_report(&mut self, now: Instant) {
        let Some(mut report) = self.report.filter(|report| report.next <= now) else {
            return;
        };
        report.next = now + PERIOD;
        let queues: Vec<u32> = (0..)
            .zip(&self.rx)
            .filter(|(_, queue)| queue.is_some())
            .map(|(id, _)| id)
            .collect();
        if let Err(error) = self.write_report(&mut report, &queues) {
            self.anomalies.note(Anomaly::DmaWrite, error);
        }
        self.report = Some(report);
    }

    fn write_report(
        &self,
        report: &mut StatsReport,
        queues: &[u32],
    ) -> Result<(), crate::memory::DmaError> {
        // The driver looks for as many entries as it has queues, counted from
        // the end of the buffer; what a longer report left must go.
        let wanted = queues.len() as u64;
        let covered = report.covered.max(wanted);
        report.covered = wanted;
        let Some(first) = report.stats.checked_sub(covered * NIC_STATS_PER_RX_QUEUE) else {
            return Ok(());
        };
        let skipped = (covered - wanted) * NIC_STATS_PER_RX_QUEUE;
        let mut stats = vec![Stat::new_zeroed(); skipped as usize];
        for &queue in queues {
            let counters = self.counters.rx.get(queue as usize);
            let counters = counters.cloned().unwrap_or_default();
            for (name, value) in [
                (nic_stat::RX_QUEUE_DROP, counters.dropped),
                (nic_stat::RX_NO_BUFFERS, counters.no_buffers),
                (nic_stat::RX_DROPS_PACKET_OVER_MRU, counters.over_mru),
                (nic_stat::RX_DROPS_INVALID_CHECKSUM, counters.bad_checksum),
            ] {
                stats.push(Stat {
                    name: name.into(),
                    queue_id: queue.into(),
                    value: value.into(),
                });
            }
        }
        let offset = HEADER_BYTES + first * size_of::<Stat>() as u64;
        self.memory
            .write(report.address.wrapping_add(offset), stats.as_bytes())
    }
}
