// SPDX-License-Identifier: GPL-2.0
//! Sees into device memory TCP, and sets it up: `devmem list`, `show`,
//! `watch`, `bind` and `check`.
#![forbid(unsafe_code)]

mod args;
mod bind;
mod bindings;
mod check;
mod failure;
mod list;
mod manual;
mod output;
mod schema;
mod show;
mod text;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (outcome, sink, status) = match &cli.command {
        Command::List(args) => (list::run(args), Some(&args.output), failure::STATUS),
        Command::Show(args) => (show::run(args), Some(&args.output), failure::STATUS),
        Command::Watch(args) => (watch::run(args), Some(&args.output), failure::STATUS),
        Command::Check(args) => (check::run(args), Some(&args.output), failure::STATUS_CHECK),
        Command::Bind(args) => (bind::run(args), Some(&args.output), failure::STATUS_BIND),
        Command::Schema(args) => (schema::run(args), None, failure::STATUS),
        Command::Manual(args) => (manual::run(args), None, failure::STATUS),
    };
    outcome.unwrap_or_else(|err| failure::report(&err, sink, status))
}
