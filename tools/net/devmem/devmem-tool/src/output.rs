// SPDX-License-Identifier: GPL-2.0
//! Where JSON goes.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// Number of the schemas. Fields may be added under the same number; a field
/// that goes, or changes its meaning, makes it the next.
pub const SCHEMA: u32 = 1;

/// Prints a text. That nobody reads it is an error like others, and no panic.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes objects, one a line.
pub struct Lines {
    out: Box<dyn Write>,
}

impl Lines {
    /// To a file, or for `-` to the standard output.
    pub fn to(path: &Path) -> anyhow::Result<Self> {
        let out: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).with_context(|| format!("writing {}", path.display()))?)
        };
        Ok(Self { out })
    }

    /// Writes one, and lets nobody wait for it.
    pub fn write(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(value)?;
        text.push('\n');
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }
}
