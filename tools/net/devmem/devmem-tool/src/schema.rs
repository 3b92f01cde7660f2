// SPDX-License-Identifier: GPL-2.0
//! `schema`: what the JSON looks like, from the types that it is written of.

use std::process::ExitCode;

use crate::args::{Schema, SchemaArgs};
use crate::bind::BindOutput;
use crate::check::CheckOutput;
use crate::failure::ErrorOutput;
use crate::list::ListOutput;
use crate::output::print;
use crate::show::ShowOutput;
use crate::watch::WatchOutput;

/// Runs the subcommand.
pub fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = match args.of {
        Schema::List => schemars::schema_for!(ListOutput),
        Schema::Show => schemars::schema_for!(ShowOutput),
        Schema::Watch => schemars::schema_for!(WatchOutput),
        Schema::Bind => schemars::schema_for!(BindOutput),
        Schema::Check => schemars::schema_for!(CheckOutput),
        Schema::Error => schemars::schema_for!(ErrorOutput),
    };
    print(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(ExitCode::SUCCESS)
}
