// SPDX-License-Identifier: GPL-2.0
//! `show`: all there is to know about a binding.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::bail;
use common::{table, write_json};
use devmem::Netdev;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::ShowArgs;
use crate::bindings::{Binding, Processes, Source, snapshot};
use crate::list::state;
use crate::output::{SCHEMA, print};
use crate::text::{bar, bytes, list, or_dash, owner, usage};

/// What `show --json` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShowOutput {
    /// Number of this schema.
    pub schema: u32,
    /// The binding.
    pub binding: Binding,
    /// Where the facts come from, and what is missing.
    pub sources: Vec<Source>,
}

/// Runs the subcommand.
pub fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let mut snapshot = snapshot(&mut Netdev::new(), Processes::Find)?;
    let Some(at) = snapshot
        .bindings
        .iter()
        .position(|binding| binding.id == args.id)
    else {
        let others: Vec<_> = snapshot.bindings.iter().map(|binding| binding.id).collect();
        bail!(
            "there is no binding {}; there are: {}",
            args.id,
            list(&others)
        );
    };
    let binding = snapshot.bindings.swap_remove(at);
    match &args.output.json {
        Some(path) => write_json(
            path,
            &ShowOutput {
                schema: SCHEMA,
                binding,
                sources: snapshot.sources,
            },
        )?,
        None => {
            print(&render(&binding))?;
            snapshot.complain();
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn render(binding: &Binding) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<17}{value}", format!("{name}:"));
    };
    let niovs = &binding.niovs;
    line("id", binding.id.to_string());
    line("state", state(binding).into());
    line("device", binding.place());
    line("ifindex", or_dash(binding.ifindex));
    let netns = or_dash(binding.netns);
    let ours = if binding.netns_is_ours { " (ours)" } else { "" };
    line("netns", format!("{netns}{ours}"));
    line("queues", list(&binding.queues));
    line("exporter", or_dash(binding.exporter.as_deref()));
    line("dma-buf inode", or_dash(binding.dmabuf_inode));
    line("size", or_dash(binding.size.map(bytes)));
    line("chunks", or_dash(binding.chunks));
    line("niov size", or_dash(niovs.size.map(bytes)));
    line("niovs used", usage(niovs));
    if niovs.total.is_some() {
        line(
            "",
            format!(
                "[{}] out {}, idle {}, free {}",
                bar(niovs, 32),
                or_dash(niovs.out),
                or_dash(niovs.idle),
                or_dash(niovs.free)
            ),
        );
    }
    line("received", or_dash(binding.received.bytes.map(bytes)));
    line("frags", or_dash(binding.received.frags));
    line("alloc failures", or_dash(binding.received.alloc_failures));
    line("page pools", or_dash(binding.page_pool_count));
    if !binding.page_pools.is_empty() {
        let mut pools = table(&["page pool", "napi", "niovs taken", "detached at"]);
        for pool in &binding.page_pools {
            pools.add_row([
                pool.id.to_string(),
                or_dash(pool.napi_id),
                or_dash(pool.inflight),
                or_dash(pool.detach_time.map(|seconds| format!("{seconds} s"))),
            ]);
        }
        let _ = writeln!(text, "{pools}");
    }
    match binding.sockets.as_deref() {
        None => {}
        Some([]) => text.push_str("no socket holds memory of it\n"),
        Some(sockets) => {
            let mut held = table(&[
                "holder", "tokens", "oldest", "state", "local", "remote", "socket",
            ]);
            for socket in sockets {
                held.add_row([
                    owner(socket),
                    socket.tokens.to_string(),
                    format!("{:.0} s", socket.oldest_seconds),
                    or_dash(socket.tcp_state.as_deref()),
                    or_dash(socket.local.as_deref()),
                    or_dash(socket.remote.as_deref()),
                    socket.inode.to_string(),
                ]);
            }
            let _ = writeln!(text, "{held}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::Process;
    use crate::bindings::tests::sample;

    #[test]
    fn everything_is_there() {
        let mut binding = sample();
        let socket = &mut binding.sockets.as_mut().unwrap()[0];
        socket.local = Some("192.0.2.1:5201".into());
        socket.processes.push(Process {
            pid: 77,
            comm: "reader".into(),
            fd: 5,
        });
        let text = render(&binding);
        for part in [
            "400/1000 (40 %)",
            "out 300, idle 100, free 600",
            "reader[77]",
            "192.0.2.1:5201",
            "7 s",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        binding.sockets = Some(vec![]);
        assert!(render(&binding).contains("no socket holds"));
    }
}
