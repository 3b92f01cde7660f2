// SPDX-License-Identifier: GPL-2.0
//! How the tool fails: a sentence and a hint for people, an object for
//! machines, an exit status for scripts.

use std::io::IsTerminal;
use std::process::ExitCode;

use common::Failure;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::Output;
use crate::output::SCHEMA;

/// Exit status of most subcommands.
pub const STATUS: u8 = 1;
/// … of `check`, where 1 means "not ready".
pub const STATUS_CHECK: u8 = 3;
/// … of `bind`, which passes on that of its command.
pub const STATUS_BIND: u8 = 125;

/// What a subcommand writes with --json when it fails.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorOutput {
    /// Number of this schema.
    pub schema: u32,
    /// What went wrong.
    pub error: ErrorReport,
}

/// A failure.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorReport {
    /// All of it in one sentence.
    pub message: String,
    /// The errno, if it was a system call's or the kernel's.
    pub errno: Option<i32>,
    /// Its symbol.
    pub errno_name: Option<String>,
    /// The message of the kernel's extended acknowledgment.
    pub kernel_message: Option<String>,
    /// The attribute of the request that the kernel objects to.
    pub attribute: Option<String>,
    /// What may help.
    pub hint: Option<String>,
}

/// A failure of the library, with the interface that it was about.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.error)]
pub struct Failed(pub Box<Failure>);

impl Failed {
    /// Makes one; `dev` may be empty.
    pub fn new(err: &devmem::Error, dev: &str) -> Self {
        Self(Box::new(Failure::new(err, dev)))
    }
}

/// Prints an error, and returns the exit status.
pub fn report(err: &anyhow::Error, output: Option<&Output>, status: u8) -> ExitCode {
    let failed = err.downcast_ref::<Failed>().map(|failed| &*failed.0);
    if is_broken_pipe(err) {
        // Who read our output has seen enough.
        return ExitCode::from(status);
    }
    eprintln!("devmem: {err:#}");
    if let Some(hint) = failed.and_then(|failure| failure.hint.as_deref()) {
        eprintln!("devmem: {hint}");
    }
    if let Some(path) = output.and_then(|output| output.json.as_ref()) {
        let object = ErrorOutput {
            schema: SCHEMA,
            error: describe(err, failed),
        };
        if let Err(err) = common::write_json(path, &object) {
            eprintln!("devmem: {err:#}");
        }
    }
    ExitCode::from(status)
}

fn describe(err: &anyhow::Error, failed: Option<&Failure>) -> ErrorReport {
    let attribute = failed.and_then(|failure| {
        let bad = failure.bad_attribute.as_ref().map(|bad| bad.name.clone());
        let missing = failure.missing_attribute.as_ref();
        bad.or(missing.map(|missing| missing.name.clone()))?
    });
    ErrorReport {
        message: format!("{err:#}"),
        errno: failed.and_then(|failure| failure.errno),
        errno_name: failed.and_then(|failure| failure.errno_name.clone()),
        kernel_message: failed.and_then(|failure| failure.message.clone()),
        attribute,
        hint: failed.and_then(|failure| failure.hint.clone()),
    }
}

fn is_broken_pipe(err: &anyhow::Error) -> bool {
    let kind = err
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe) && !std::io::stdout().is_terminal()
}
