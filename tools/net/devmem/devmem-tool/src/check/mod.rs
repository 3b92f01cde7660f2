// SPDX-License-Identifier: GPL-2.0
//! `check`: what a NIC lacks for device memory TCP.

mod diagnosis;
mod facts;
mod nic;
mod probe;

use std::process::ExitCode;

use common::write_json;
use devmem::{BindRx, Udmabuf};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::CheckArgs;
use crate::failure::Failed;
use crate::output::{SCHEMA, print};
use crate::text::list;
use diagnosis::diagnose;
use facts::Facts;

/// Names of the items, in their order. They do not change; the last one is only
/// there with --try. The help lists them.
pub const NAMES: [&str; 14] = [
    "kernel",
    "permission",
    "queue-management",
    "link",
    "xdp",
    "queues",
    "queue-users",
    "header-split",
    "hds-thresh",
    "ntuple",
    "rss",
    "udmabuf",
    "size",
    "bind",
];

/// What `check --json` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckOutput {
    /// Number of this schema.
    pub schema: u32,
    /// The interface.
    pub device: String,
    /// Its index.
    pub ifindex: u32,
    /// Its driver.
    pub driver: Option<String>,
    /// The queues that are, or would be, bound.
    pub queues: Vec<u32>,
    /// Nothing is missing; the exit status says the same.
    pub ready: bool,
    /// What was looked at, in an order in which it can be mended.
    pub items: Vec<Item>,
    /// The commands of all items that are missing.
    pub commands: Vec<String>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Item {
    /// Its name, which does not change.
    #[schemars(extend("enum" = NAMES))]
    pub name: &'static str,
    /// Whether it is met.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// Commands that mend it, one after the other.
    pub commands: Vec<String>,
    /// What to do where no command helps, or to know before.
    pub hint: Option<String>,
}

/// Whether a condition is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Ok,
    /// It is not: a binding, or its traffic, will not work.
    Missing,
    /// It may not matter.
    Warning,
    /// It could not be found out.
    Unknown,
}

impl Item {
    fn new(name: &'static str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self {
            name,
            verdict,
            found: found.into(),
            commands: Vec::new(),
            hint: None,
        }
    }

    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, found)
    }

    fn missing(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Verdict::Missing, found)
    }

    fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warning, found)
    }

    fn unknown(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, Verdict::Unknown, why)
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Runs the subcommand.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let facts = Facts::gather(args).map_err(|err| Failed::new(&err, &args.dev))?;
    let mut items = diagnose(&facts);
    if args.try_bind && is_ready(&items) {
        items.push(try_bind(args, &facts));
    }
    let output = CheckOutput {
        schema: SCHEMA,
        device: args.dev.clone(),
        ifindex: facts.ifindex,
        driver: facts.driver.clone(),
        queues: facts.queues.clone(),
        ready: is_ready(&items),
        commands: items
            .iter()
            .filter(|item| item.verdict == Verdict::Missing)
            .flat_map(|item| item.commands.iter().cloned())
            .collect(),
        items,
    };
    if args.commands {
        let lines = output.commands.iter().map(|command| format!("{command}\n"));
        print(&lines.collect::<String>())?;
    } else if let Some(path) = &args.output.json {
        write_json(path, &output)?;
    } else {
        print(&render(&output))?;
    }
    Ok(ExitCode::from(u8::from(!output.ready)))
}

fn is_ready(items: &[Item]) -> bool {
    items.iter().all(|item| item.verdict != Verdict::Missing)
}

/// The last proof.
fn try_bind(args: &CheckArgs, facts: &Facts) -> Item {
    let bound = Udmabuf::new(args.size).and_then(|memory| {
        BindRx::to_ifindex(facts.ifindex)
            .rx_queues(facts.queues.iter().copied())
            .bind(&memory)
    });
    match bound {
        Ok(binding) => Item::ok("bind", format!("bound as {}, and unbound", binding.id())),
        Err(err) => {
            let item = Item::missing("bind", err.to_string());
            match common::hint(&err, &args.dev) {
                Some(hint) => item.hint(hint),
                None => item,
            }
        }
    }
}

fn render(output: &CheckOutput) -> String {
    let driver = output.driver.as_deref().unwrap_or("not known");
    let mut lines = vec![format!(
        "{}, driver {driver}, queues {}",
        output.device,
        list(&output.queues)
    )];
    for item in &output.items {
        let verdict = match item.verdict {
            Verdict::Ok => "ok",
            Verdict::Missing => "MISSING",
            Verdict::Warning => "warning",
            Verdict::Unknown => "unknown",
        };
        lines.push(format!("  {verdict:<8} {:<17} {}", item.name, item.found));
        let indent = " ".repeat(29);
        lines.extend(item.hint.iter().map(|hint| format!("{indent}{hint}")));
        lines.extend(
            item.commands
                .iter()
                .map(|command| format!("{indent}# {command}")),
        );
    }
    let missing = output
        .items
        .iter()
        .filter(|item| item.verdict == Verdict::Missing)
        .count();
    lines.push(match missing {
        0 => format!(
            "ready; steer flows to a bound queue, as in: ethtool -N {} flow-type tcp6 dst-port \
             5201 action {}",
            output.device,
            output.queues.first().map_or("N".into(), u32::to_string)
        ),
        1 => "not ready: 1 thing is missing".into(),
        _ => format!("not ready: {missing} things are missing"),
    });
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(items: Vec<Item>) -> CheckOutput {
        CheckOutput {
            schema: 1,
            device: "eth0".into(),
            ifindex: 2,
            driver: Some("gve".into()),
            queues: vec![2, 3],
            ready: is_ready(&items),
            items,
            commands: vec![],
        }
    }

    #[test]
    fn items_have_these_names_in_this_order() {
        let names: Vec<_> = diagnose(&diagnosis::tests::good())
            .iter()
            .map(|item| item.name)
            .collect();
        assert_eq!(names, NAMES[..NAMES.len() - 1]);
    }

    #[test]
    fn only_what_is_missing_keeps_it_from_being_ready() {
        let good = vec![
            Item::ok("a", "x"),
            Item::warning("b", "x"),
            Item::unknown("c", "x"),
        ];
        assert!(is_ready(&good));
        let text = render(&output(good.clone()));
        assert!(text.contains("dst-port 5201 action 2"), "{text}");
        let mut bad = good;
        bad.push(
            Item::missing("d", "is off")
                .command("turn it on")
                .hint("or not"),
        );
        assert!(!is_ready(&bad));
        let text = render(&output(bad));
        for part in ["MISSING  d", "is off", "# turn it on", "or not", "1 thing"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
