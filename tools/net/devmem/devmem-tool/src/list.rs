// SPDX-License-Identifier: GPL-2.0
//! `list`: bindings, one a line.

use std::process::ExitCode;

use common::{table, write_json};
use devmem::Netdev;
use devmem::netlink::interface_index;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::ListArgs;
use crate::bindings::{Binding, Processes, Snapshot, Source, State, snapshot};
use crate::failure::Failed;
use crate::output::{SCHEMA, print};
use crate::text::{bytes, list, or_dash, usage};

/// What `list --json` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListOutput {
    /// Number of this schema.
    pub schema: u32,
    /// Sorted by id.
    pub bindings: Vec<Binding>,
    /// Where the facts come from, and what is missing.
    pub sources: Vec<Source>,
}

/// Runs the subcommand.
pub fn run(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let mut snapshot = snapshot(&mut Netdev::new(), Processes::Leave)?;
    only_on(&mut snapshot, args.dev.as_deref())?;
    match &args.output.json {
        Some(path) => write_json(
            path,
            &ListOutput {
                schema: SCHEMA,
                bindings: snapshot.bindings,
                sources: snapshot.sources,
            },
        )?,
        None => {
            print(&format!("{}\n", render(&snapshot.bindings)))?;
            snapshot.complain();
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Leaves out what is on other interfaces.
pub fn only_on(snapshot: &mut Snapshot, dev: Option<&str>) -> anyhow::Result<()> {
    if let Some(dev) = dev {
        let ifindex = interface_index(dev).map_err(|err| Failed::new(&err, dev))?;
        snapshot.bindings.retain(|binding| binding.is_on(ifindex));
    }
    Ok(())
}

/// How a state is written.
pub fn state(binding: &Binding) -> &'static str {
    match binding.state {
        State::Bound => "bound",
        State::Unbound => "unbound",
    }
}

fn render(bindings: &[Binding]) -> String {
    if bindings.is_empty() {
        return "no bindings".into();
    }
    let elsewhere = bindings.iter().any(|binding| !binding.netns_is_ours);
    let mut heading = vec![
        "id",
        "device",
        "queues",
        "state",
        "exporter",
        "size",
        "niovs used",
        "received",
    ];
    if elsewhere {
        heading.push("netns");
    }
    let mut table = table(&heading);
    for binding in bindings {
        let mut cells = vec![
            binding.id.to_string(),
            binding.place(),
            list(&binding.queues),
            state(binding).into(),
            or_dash(binding.exporter.as_deref()),
            or_dash(binding.size.map(bytes)),
            usage(&binding.niovs),
            or_dash(binding.received.bytes.map(bytes)),
        ];
        if elsewhere {
            let ours = binding.netns_is_ours;
            let other = binding.netns.filter(|_| !ours);
            cells.push(or_dash(other));
        }
        table.add_row(cells);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::tests::sample;

    #[test]
    fn a_line_for_each_and_a_column_for_other_namespaces() {
        assert_eq!(render(&[]), "no bindings");
        let text = render(&[sample()]);
        for part in ["gve0", "2,3", "400/1000 (40 %)", "7 B"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("netns"));
        let mut other = sample();
        other.netns_is_ours = false;
        other.netns = Some(4_026_531_840);
        let text = render(&[sample(), other]);
        assert!(text.contains("netns") && text.contains("4026531840"));
    }
}
