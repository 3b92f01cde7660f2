// SPDX-License-Identifier: GPL-2.0
//! `serve`: receives flows and verifies them.

mod counts;
mod device;
mod flow;
mod listen;
mod report;

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Failure, write_json};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::EXIT_SETUP;
use crate::args::ServeArgs;
use crate::progress::Progress;
use device::Device;
use flow::FlowReport;
use report::Report;

/// How often connections and progress are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Runs the subcommand.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let device = match (&args.dev, &args.queues) {
        (Some(dev), Some(queues)) if !args.host => match Device::bind(args, dev, &queues.0) {
            Ok(device) => Some(device),
            Err(err) => return setup_failed(args, Failure::new(&err, dev)),
        },
        _ => None,
    };
    let listener = match listen::listen(args.addr, args.port, args.flows.get()) {
        Ok(listener) => listener,
        Err(err) => {
            let dev = args.dev.as_deref().unwrap_or_default();
            return setup_failed(args, Failure::new(&err, dev));
        }
    };
    let ready = Ready {
        ready: true,
        addr: listener.local_addr()?.to_string(),
        port: listener.local_addr()?.port(),
        dmabuf_id: device.as_ref().map(Device::dmabuf_id),
    };
    if let Some(path) = &args.ready_file {
        write_json(path, &ready)?;
    }
    match &device {
        Some(device) => eprintln!("ready: listening on {}, {device}", ready.addr),
        None => eprintln!("ready: listening on {}, host memory", ready.addr),
    }

    let (flows, errors) = receive_all(args, device.as_ref(), &listener);
    drop(listener);
    let drained = device.map(|device| device.unbind(args.drain));
    let report = Report::new(args, &ready.addr, drained, flows, errors);
    report.print(args.json.as_deref() == Some(Path::new("-")));
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What `--ready-file` gets.
#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    addr: String,
    port: u16,
    dmabuf_id: Option<u32>,
}

/// Nothing was received; the result has all its fields even so.
fn setup_failed(args: &ServeArgs, failure: Failure) -> anyhow::Result<ExitCode> {
    failure.print("ncdevmem");
    if let Some(path) = &args.json {
        write_json(path, &Report::of_failed_setup(args, failure))?;
    }
    Ok(ExitCode::from(EXIT_SETUP))
}

/// Accepts and receives all flows, each in a thread of its own.
fn receive_all(
    args: &ServeArgs,
    device: Option<&Device>,
    listener: &TcpListener,
) -> (Vec<FlowReport>, Vec<String>) {
    let received = AtomicU64::new(0);
    let wanted = args.flows.get() as usize;
    let mut errors = Vec::new();
    let mut progress = Progress::new("receiving", args.bytes);
    let reports = thread::scope(|scope| {
        let mut flows = Vec::new();
        let mut seen = 0;
        let mut moved = Instant::now();
        loop {
            if flows.len() < wanted {
                match next_connection(listener) {
                    Ok(Some(stream)) => {
                        moved = Instant::now();
                        let received = &received;
                        flows.push(
                            scope.spawn(move || flow::receive(stream, args, device, received)),
                        );
                    }
                    Ok(None) => {}
                    Err(err) => {
                        errors.push(format!("accept: {err}"));
                        break;
                    }
                }
            } else if flows.iter().all(|flow| flow.is_finished()) {
                break;
            } else {
                thread::sleep(TICK);
            }
            let now = received.load(Ordering::Relaxed);
            progress.set(now, || format!("{} of {wanted} flows", flows.len()));
            if now != seen {
                (seen, moved) = (now, Instant::now());
            }
            if flows.len() < wanted && moved.elapsed() > args.timeout {
                errors.push(format!(
                    "{} of {wanted} flows connected, then nothing for {:?}",
                    flows.len(),
                    args.timeout
                ));
                break;
            }
        }
        flows
            .into_iter()
            .filter_map(|flow| match flow.join() {
                Ok(report) => Some(report),
                Err(_) => {
                    errors.push("a flow's thread panicked".into());
                    None
                }
            })
            .collect()
    });
    progress.finish();
    (reports, errors)
}

fn next_connection(listener: &TcpListener) -> std::io::Result<Option<std::net::TcpStream>> {
    use std::os::fd::AsFd;
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
    match poll(&mut fds, timeout) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
        Ok(_) => {}
        Err(err) => return Err(err.into()),
    }
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(err) => match err.kind() {
            // The peer gave up in the meantime.
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::ConnectionAborted => Ok(None),
            _ => Err(err),
        },
    }
}
