// SPDX-License-Identifier: GPL-2.0
//! `show`: queues and page pools.

use std::process::ExitCode;

use common::{Failure, table, write_json};
use devmem::netlink::{PagePool, Queue, interface_index};
use devmem::{Netdev, Result};
use serde::Serialize;

use crate::EXIT_SETUP;
use crate::args::ShowArgs;

#[derive(Debug, Serialize)]
struct Shown {
    queues: Vec<Queue>,
    page_pools: Vec<PagePool>,
}

/// Runs the subcommand.
pub fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let shown = match look(args.dev.as_deref()) {
        Ok(shown) => shown,
        Err(err) => {
            Failure::new(&err, args.dev.as_deref().unwrap_or_default()).print("ncdevmem");
            return Ok(ExitCode::from(EXIT_SETUP));
        }
    };
    match &args.json {
        Some(path) => write_json(path, &shown)?,
        None => shown.print(),
    }
    Ok(ExitCode::SUCCESS)
}

fn look(dev: Option<&str>) -> Result<Shown> {
    let mut netdev = Netdev::new();
    let ifindex = dev.map(interface_index).transpose()?;
    let queues = match ifindex {
        Some(ifindex) => netdev.queues(ifindex)?,
        None => Vec::new(),
    };
    let mut page_pools = netdev.page_pools()?;
    if ifindex.is_some() {
        page_pools.retain(|pool| pool.ifindex == ifindex);
    }
    Ok(Shown { queues, page_pools })
}

impl Shown {
    fn print(&self) {
        let text = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
        if !self.queues.is_empty() {
            let mut table = table(&["queue", "id", "napi", "dma-buf"]);
            for queue in &self.queues {
                table.add_row(vec![
                    format!("{:?}", queue.kind).to_lowercase(),
                    queue.id.to_string(),
                    text(queue.napi_id.map(u64::from)),
                    text(queue.dmabuf.map(u64::from)),
                ]);
            }
            println!("{table}");
        }
        let mut table = table(&[
            "page pool",
            "ifindex",
            "napi",
            "out",
            "bytes out",
            "detached",
            "dma-buf",
        ]);
        for pool in &self.page_pools {
            table.add_row(vec![
                pool.id.to_string(),
                text(pool.ifindex.map(u64::from)),
                text(pool.napi_id.map(u64::from)),
                text(pool.inflight),
                text(pool.inflight_mem),
                text(pool.detach_time),
                text(pool.dmabuf.map(u64::from)),
            ]);
        }
        println!("{table}");
    }
}
