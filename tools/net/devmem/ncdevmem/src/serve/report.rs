// SPDX-License-Identifier: GPL-2.0
//! The result of a run.

use std::collections::BTreeSet;

use common::{Failure, mib_per_s, table};
use serde::Serialize;

use super::counts::Counts;
use super::device::Drained;
use super::flow::FlowReport;
use crate::args::ServeArgs;

/// The result of a run, as `--json` gets it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Nothing is wrong; the exit status says the same.
    pub ok: bool,
    /// `devmem` or `host`.
    pub mode: &'static str,
    /// The interface.
    pub dev: Option<String>,
    /// Its index.
    pub ifindex: Option<u32>,
    /// Queues that were bound.
    pub queues: Vec<u32>,
    /// The binding's id.
    pub dmabuf_id: Option<u32>,
    /// Bytes in the dma-buf.
    pub dmabuf_size: Option<u64>,
    /// Where it listened.
    pub listen: String,
    /// Address families that were seen.
    pub families: BTreeSet<&'static str>,
    /// Flows that were asked for.
    pub flows: u32,
    /// Bytes that were asked for, or else announced.
    pub bytes_expected: Option<u64>,
    /// Of all flows.
    #[serde(flatten)]
    pub counts: Counts,
    /// Every byte of every flow was looked at and right, and none was missing.
    pub verified: bool,
    /// Niovs that were not back in time after unbinding.
    pub niovs_leaked: Option<u64>,
    /// From the first byte of any flow to the last.
    pub seconds: f64,
    /// Over that time.
    pub mib_per_s: f64,
    /// What went wrong, of all flows.
    pub errors: Vec<String>,
    /// Why the run did not begin.
    pub setup: Option<Failure>,
    /// The flows by themselves.
    pub per_flow: Vec<FlowReport>,
}

impl Report {
    /// Sums up and judges.
    pub fn new(
        args: &ServeArgs,
        listen: &str,
        drained: Option<Drained>,
        mut flows: Vec<FlowReport>,
        mut errors: Vec<String>,
    ) -> Self {
        flows.sort_by_key(|flow| flow.flow);
        let counts: Counts = flows.iter().map(|flow| flow.counts).sum();
        let bytes_total = counts.bytes_total;
        let announced = flows.iter().map(|flow| flow.bytes_expected).sum();
        let bytes_expected = args.bytes.or(announced);
        let seconds = span(&flows);

        for flow in &flows {
            let name = flow.flow.map_or("?".into(), |flow| flow.to_string());
            let peer = &flow.peer;
            errors.extend(
                flow.errors
                    .iter()
                    .map(|err| format!("flow {name} from {peer}: {err}")),
            );
        }
        let numbers: BTreeSet<_> = flows.iter().filter_map(|flow| flow.flow).collect();
        if numbers.len() != args.flows.get() as usize {
            errors.push(format!(
                "{} of {} flows were seen",
                numbers.len(),
                args.flows
            ));
        }
        if let Some(expected) = args.bytes.filter(|bytes| *bytes != bytes_total) {
            errors.push(format!(
                "{bytes_total} bytes came, {expected} were expected"
            ));
        }
        if !args.host && bytes_total > 0 {
            let percent = counts.bytes_devmem as f64 * 100.0 / bytes_total as f64;
            if percent < args.min_devmem {
                errors.push(format!(
                    "{percent:.2} % of the bytes came by the dma-buf, {} % were wanted: are \
                     the flows steered to the bound queues (ethtool -N), is header split on \
                     (ethtool -g)?",
                    args.min_devmem
                ));
            }
        }
        if let Some(drained) = drained.as_ref().filter(|drained| drained.pools_left > 0) {
            errors.push(format!(
                "{} page pools still hold the dma-buf after {:?}, {} niovs are out",
                drained.pools_left,
                args.drain,
                drained.niovs_leaked.unwrap_or_default()
            ));
        }
        Self {
            ok: errors.is_empty(),
            mode: if args.host { "host" } else { "devmem" },
            dev: args.dev.clone(),
            ifindex: drained.as_ref().map(|drained| drained.ifindex),
            queues: args.queues.clone().unwrap_or_default().0,
            dmabuf_id: drained.as_ref().map(|drained| drained.dmabuf_id),
            dmabuf_size: (!args.host).then_some(args.size),
            listen: listen.into(),
            families: flows.iter().map(|flow| flow.family).collect(),
            flows: args.flows.get(),
            bytes_expected,
            counts,
            verified: args.verify
                && flows.len() == args.flows.get() as usize
                && flows.iter().all(|flow| flow.verified)
                && bytes_expected == Some(bytes_total),
            niovs_leaked: drained.and_then(|drained| drained.niovs_leaked),
            seconds,
            mib_per_s: mib_per_s(bytes_total, seconds),
            errors,
            setup: None,
            per_flow: flows,
        }
    }

    /// Of a run that did not begin.
    pub fn of_failed_setup(args: &ServeArgs, setup: Failure) -> Self {
        let mut report = Self::new(args, "", None, vec![], vec![]);
        report.errors = vec![setup.error.clone()];
        report.setup = Some(setup);
        report
    }

    /// Prints a table, and to the error output what went wrong.
    pub fn print(&self, stdout_is_taken: bool) {
        let mut table = table(&[&["flow"], &Counts::HEADING[..], &["MiB/s"]].concat());
        let row = |name: String, counts: &Counts, speed: f64| {
            let mut cells = vec![name];
            cells.extend(counts.cells().map(|number| number.to_string()));
            cells.push(format!("{speed:.1}"));
            cells
        };
        for flow in &self.per_flow {
            let name = flow.flow.map_or("?".into(), |number| number.to_string());
            let name = format!("{name} {}", flow.peer);
            table.add_row(row(name, &flow.counts, flow.mib_per_s));
        }
        table.add_row(row("all".into(), &self.counts, self.mib_per_s));
        let verdict = match (self.ok, self.verified) {
            (true, true) => "every byte verified",
            (true, false) => "complete, not verified",
            (false, _) => "FAILED",
        };
        let text = format!("{table}\n{verdict}, {:.2} s", self.seconds);
        if stdout_is_taken {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
        for error in &self.errors {
            eprintln!("ncdevmem: {error}");
        }
    }
}

/// Seconds from the first byte of any flow to the last of any.
fn span(flows: &[FlowReport]) -> f64 {
    let spans = || flows.iter().filter_map(|flow| flow.span);
    let first = spans().map(|(first, _)| first).min();
    let last = spans().map(|(_, last)| last).max();
    match (first, last) {
        (Some(first), Some(last)) => (last - first).as_secs_f64(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(line: &str) -> ServeArgs {
        let line = format!("ncdevmem serve --dev a --queues 1 --verify --flows 2 {line}");
        match Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        {
            Command::Serve(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn flow(number: u32) -> FlowReport {
        FlowReport {
            flow: Some(number),
            family: "ipv6",
            bytes_expected: Some(1000),
            counts: Counts {
                bytes_total: 1000,
                bytes_devmem: 990,
                bytes_linear: 10,
                frags: 3,
                tokens_released: 3,
                ..Default::default()
            },
            verified: true,
            ..Default::default()
        }
    }

    fn drained() -> Drained {
        Drained {
            dmabuf_id: 1,
            ifindex: 2,
            niovs_leaked: Some(0),
            pools_left: 0,
        }
    }

    fn report(line: &str, flows: Vec<FlowReport>) -> Report {
        Report::new(&args(line), "", Some(drained()), flows, vec![])
    }

    #[test]
    fn a_good_run_adds_up() {
        let report = report("--bytes 2000 --min-devmem 99", vec![flow(1), flow(0)]);
        assert_eq!(report.errors, [""; 0]);
        assert!(report.ok && report.verified);
        assert_eq!(report.counts.cells(), [2000, 1980, 20, 0, 6, 6, 0]);
        assert_eq!(report.niovs_leaked, Some(0));
        assert_eq!(report.per_flow[0].flow, Some(0));
    }

    #[test]
    fn each_flaw_fails_the_run() {
        let flows = || vec![flow(0), flow(1)];
        assert!(report("", flows()).ok);
        assert!(!report("--bytes 2001", flows()).ok);
        assert!(!report("--bytes 2001", flows()).verified);
        assert!(!report("--min-devmem 99.5", flows()).ok);
        // A flow is missing, or came twice.
        assert!(!report("", vec![flow(0)]).verified);
        assert!(!report("", vec![flow(0)]).ok);
        assert!(!report("", vec![flow(0), flow(0)]).ok);
        let mut bad = flows();
        bad[1].verified = false;
        bad[1].errors.push("spoiled".into());
        let bad = report("", bad);
        assert!(!bad.ok && !bad.verified);
        assert!(bad.errors[0].contains("flow 1"));
        let leak = Drained {
            niovs_leaked: Some(7),
            pools_left: 1,
            ..drained()
        };
        let leaked = Report::new(&args(""), "", Some(leak), flows(), vec![]);
        assert!(!leaked.ok);
        assert_eq!(leaked.niovs_leaked, Some(7));
    }

    #[test]
    fn time_runs_from_the_first_flow_to_the_last() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut flows = vec![flow(0), flow(1), flow(2)];
        flows[0].span = Some((at(100), at(400)));
        flows[1].span = Some((at(0), at(300)));
        assert!((span(&flows) - 0.4).abs() < 1e-9);
    }
}
