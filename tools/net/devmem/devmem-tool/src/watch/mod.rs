// SPDX-License-Identifier: GPL-2.0
//! `watch`: throughput, occupancy and holders, again and again.

mod rates;
mod screen;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use devmem::Netdev;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::WatchArgs;
use crate::bindings::{Binding, Processes, Source, snapshot};
use crate::list::only_on;
use crate::output::{Lines, SCHEMA};
use rates::{Meter, Rates};
use screen::Screen;

/// A line of `watch --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WatchOutput {
    /// Number of this schema.
    pub schema: u32,
    /// Since the start, in seconds.
    pub seconds: f64,
    /// Sorted by id.
    pub bindings: Vec<Watched>,
    /// Where the facts come from, and what is missing.
    pub sources: Vec<Source>,
}

/// A binding, and how it has changed since the look before.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Watched {
    /// The binding.
    #[serde(flatten)]
    pub binding: Binding,
    /// Since the look before; nulls in the first.
    pub rates: Rates,
}

/// Runs the subcommand.
pub fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let mut to = match &args.output.json {
        Some(path) => To::Json(Lines::to(path)?),
        None if io::stdout().is_terminal() => To::Screen(Screen::open()?),
        None => To::Lines,
    };
    let mut eyes = Eyes::new(args);
    let mut looks = 0;
    loop {
        let began = Instant::now();
        let output = eyes.look()?;
        match &mut to {
            To::Json(lines) => lines.write(&output)?,
            To::Screen(screen) => screen.show(&output)?,
            To::Lines => {
                if looks == 0 {
                    eyes.complain(&output);
                }
                screen::print_lines(&output)?;
            }
        }
        looks += 1;
        if args.count.is_some_and(|count| looks >= count) {
            return Ok(ExitCode::SUCCESS);
        }
        let rest = args.interval.saturating_sub(began.elapsed());
        match &mut to {
            To::Screen(screen) => {
                if screen.wait(rest, &output)? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            _ => thread::sleep(rest),
        }
    }
}

enum To {
    Json(Lines),
    Screen(Screen),
    Lines,
}

/// Looks, and remembers the look before.
struct Eyes<'a> {
    args: &'a WatchArgs,
    netdev: Netdev,
    meter: Meter,
    start: Instant,
}

impl<'a> Eyes<'a> {
    fn new(args: &'a WatchArgs) -> Self {
        Self {
            args,
            netdev: Netdev::new(),
            meter: Meter::default(),
            start: Instant::now(),
        }
    }

    fn look(&mut self) -> anyhow::Result<WatchOutput> {
        let processes = if self.args.no_processes {
            Processes::Leave
        } else {
            Processes::Find
        };
        let mut snapshot = snapshot(&mut self.netdev, processes)?;
        only_on(&mut snapshot, self.args.dev.as_deref())?;
        let now = Instant::now();
        let counts = rates::counts(&mut self.netdev, &snapshot.bindings);
        let bindings = snapshot
            .bindings
            .into_iter()
            .zip(counts)
            .map(|(binding, counts)| Watched {
                rates: self.meter.rates(binding.id, counts, now),
                binding,
            })
            .collect();
        self.meter.forget_before(now);
        Ok(WatchOutput {
            schema: SCHEMA,
            seconds: (now - self.start).as_secs_f64(),
            bindings,
            sources: snapshot.sources,
        })
    }

    fn complain(&self, output: &WatchOutput) {
        for source in &output.sources {
            if let Some(missing) = &source.missing {
                eprintln!("devmem: {missing}");
            }
        }
    }
}
