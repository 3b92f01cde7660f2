// SPDX-License-Identifier: GPL-2.0
//! `bind`: one request, its answer as JSON.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::thread;

use common::{Failure, write_json};
use devmem::netlink::BindingAttribute;
use devmem::{BindRx, Binding, Result, Udmabuf};
use serde::Serialize;

use crate::EXIT_SETUP;
use crate::args::{BindArgs, Hold, Omit};

#[derive(Debug, Serialize)]
struct Bound<'a> {
    ok: bool,
    id: u32,
    ifindex: u32,
    queues: &'a [u32],
    size: u64,
    warning: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Refused {
    ok: bool,
    #[serde(flatten)]
    failure: Failure,
}

/// Runs the subcommand.
pub fn run(args: &BindArgs) -> anyhow::Result<ExitCode> {
    let dev = args.dev.as_deref().unwrap_or_default();
    let bound = match bind(args) {
        Ok(bound) => bound,
        Err(err) => {
            let failure = Failure::new(&err, dev);
            failure.print("ncdevmem");
            write_json(&args.json, &Refused { ok: false, failure })?;
            return Ok(ExitCode::from(EXIT_SETUP));
        }
    };
    let (binding, _memory) = bound;
    let answer = Bound {
        ok: true,
        id: binding.id(),
        ifindex: binding.ifindex(),
        queues: &args.queues.0,
        size: args.size,
        warning: binding.warning(),
    };
    if let Some(warning) = binding.warning() {
        eprintln!("ncdevmem: {warning}");
    }
    write_json(&args.json, &answer)?;
    match args.hold {
        Hold::For(time) => thread::sleep(time),
        Hold::UntilEof => {
            io::copy(&mut io::stdin().lock(), &mut io::sink())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn bind(args: &BindArgs) -> Result<(Binding, Option<Udmabuf>)> {
    let mut request = match (&args.dev, args.ifindex) {
        (Some(dev), _) => BindRx::to_interface(dev)?,
        (None, ifindex) => BindRx::to_ifindex(ifindex.unwrap_or_default()),
    };
    for &queue in &args.queues.0 {
        request = request.queue(args.queue_type, queue);
    }
    if let Some(bytes) = args.rx_page_size {
        request = request.rx_page_size(bytes);
    }
    for omit in &args.omit {
        request = request.without(match omit {
            Omit::Ifindex => BindingAttribute::Ifindex,
            Omit::Fd => BindingAttribute::Fd,
            Omit::Queues => BindingAttribute::Queues,
            Omit::QueueId => BindingAttribute::QueueId,
            Omit::QueueType => BindingAttribute::QueueType,
        });
    }
    if let Some(fd) = args.fd {
        return Ok((request.bind_descriptor(fd)?, None));
    }
    if let Some(path) = &args.fd_file {
        let file = File::open(path)?;
        return Ok((request.bind_descriptor(file.as_fd().as_raw_fd())?, None));
    }
    if args.omit.contains(&Omit::Fd) {
        return Ok((request.bind_descriptor(-1)?, None));
    }
    let memory = Udmabuf::new(args.size)?;
    Ok((request.bind(&memory)?, Some(memory)))
}
