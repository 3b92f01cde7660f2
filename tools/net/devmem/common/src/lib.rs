// SPDX-License-Identifier: GPL-2.0
//! What the command line tools have in common: values of arguments, tables,
//! JSON files, and what to tell people when something fails.
#![forbid(unsafe_code)]

mod failure;
mod output;
pub mod values;

pub use failure::{Failure, hint};
pub use output::{mib_per_s, table, write_json};
