// SPDX-License-Identifier: GPL-2.0
//! netcat for device memory TCP.
#![forbid(unsafe_code)]

mod args;
mod bind;
mod failure;
mod fault;
mod output;
mod pattern;
mod send;
mod serve;
mod show;
mod stream;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};

/// Exit status when the run did not begin.
const EXIT_SETUP: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = ["warn", "debug", "trace"][usize::from(cli.verbose.min(2))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
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
