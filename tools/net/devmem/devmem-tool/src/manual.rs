// SPDX-License-Identifier: GPL-2.0
//! `manual`: manual pages, from the help of the command line.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Cli, ManualArgs};

/// Runs the subcommand.
pub fn run(args: &ManualArgs) -> anyhow::Result<ExitCode> {
    write(&args.folder).with_context(|| format!("writing to {}", args.folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_with_its_exit_status() {
        let folder = std::env::temp_dir().join(format!("devmem-man-{}", std::process::id()));
        write(&folder).unwrap();
        for command in ["list", "show", "watch", "bind", "check"] {
            let page = fs::read_to_string(folder.join(format!("devmem-{command}.1"))).unwrap();
            for part in ["SYNOPSIS", "DESCRIPTION", "OPTIONS", "Exit status"] {
                assert!(page.contains(part), "{command}: {part}");
            }
        }
        let page = fs::read_to_string(folder.join("devmem.1")).unwrap();
        assert!(page.contains("SUBCOMMANDS") && page.contains("debugfs"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
