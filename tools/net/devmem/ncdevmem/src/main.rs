// SPDX-License-Identifier: GPL-2.0
//! netcat for device memory TCP.
#![forbid(unsafe_code)]

mod args;
mod bind;
mod fault;
mod pattern;
mod progress;
mod send;
mod serve;
mod show;
mod stream;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use tracing::level_filters::LevelFilter;

use args::{Cli, Command};

/// Exit status when the run did not begin.
const EXIT_SETUP: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .init();

    let outcome = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Send(args) => send::run(args),
        Command::Bind(args) => bind::run(args),
        Command::Show(args) => show::run(args),
    };
    outcome.unwrap_or_else(|err| {
        eprintln!("ncdevmem: {err:#}");
        ExitCode::FAILURE
    })
}
