// SPDX-License-Identifier: GPL-2.0
//! `send`: ordinary TCP that carries the pattern.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::{mib_per_s, table, write_json};
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use crate::args::SendArgs;
use crate::pattern::{self, MAX_FLOW_BYTES, MAX_FLOWS};
use crate::progress::Progress;
use crate::stream::{Answer, HEADER, Header, shares};

/// How often progress is looked at, and a connection tried again.
const TICK: Duration = Duration::from_millis(100);

/// What became of a flow.
#[derive(Debug, Default, Serialize)]
struct FlowReport {
    flow: u32,
    local: String,
    bytes: u64,
    seconds: f64,
    mib_per_s: f64,
    /// What the receiver says; nothing if it was not asked.
    receiver_good: Option<bool>,
    errors: Vec<String>,
}

/// The result of a run, as `--json` gets it.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    to: String,
    flows: u32,
    bytes_total: u64,
    seconds: f64,
    mib_per_s: f64,
    errors: Vec<String>,
    per_flow: Vec<FlowReport>,
}

/// Runs the subcommand.
pub fn run(args: &SendArgs) -> anyhow::Result<ExitCode> {
    let flows = args.flows.get();
    if flows > MAX_FLOWS || args.bytes > MAX_FLOW_BYTES {
        bail!("the pattern has room for {MAX_FLOWS} flows and {MAX_FLOW_BYTES} bytes");
    }
    let shares = shares(args.bytes, flows);
    if shares.iter().any(|share| *share < HEADER as u64) {
        bail!("each flow needs at least the {HEADER} bytes of its header");
    }
    let to = args
        .to
        .to_socket_addrs()
        .with_context(|| format!("{:?} is no address and port", args.to))?
        .next()
        .with_context(|| format!("{:?} has no address", args.to))?;

    let sent = AtomicU64::new(0);
    let mut progress = Progress::new("sending", Some(args.bytes));
    let start = Instant::now();
    let per_flow: Vec<FlowReport> = thread::scope(|scope| {
        let threads: Vec<_> = (0..flows)
            .zip(&shares)
            .map(|(flow, &bytes)| {
                let sent = &sent;
                scope.spawn(move || send(args, to, flow, bytes, sent))
            })
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            thread::sleep(TICK);
            progress.set(sent.load(Ordering::Relaxed), || format!("{flows} flows"));
        }
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| FlowReport {
                    errors: vec!["its thread panicked".into()],
                    ..Default::default()
                })
            })
            .collect()
    });
    progress.finish();

    let seconds = start.elapsed().as_secs_f64();
    let errors: Vec<String> = per_flow
        .iter()
        .flat_map(|flow| {
            let number = flow.flow;
            flow.errors
                .iter()
                .map(move |err| format!("flow {number}: {err}"))
        })
        .collect();
    let bytes_total = per_flow.iter().map(|flow| flow.bytes).sum();
    let report = Report {
        ok: errors.is_empty(),
        to: to.to_string(),
        flows,
        bytes_total,
        seconds,
        mib_per_s: mib_per_s(bytes_total, seconds),
        errors,
        per_flow,
    };
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

impl Report {
    fn print(&self, stdout_is_taken: bool) {
        let mut table = table(&["flow", "bytes", "MiB/s"]);
        for flow in &self.per_flow {
            table.add_row(vec![
                format!("{} {}", flow.flow, flow.local),
                flow.bytes.to_string(),
                format!("{:.1}", flow.mib_per_s),
            ]);
        }
        table.add_row(vec![
            "all".into(),
            self.bytes_total.to_string(),
            format!("{:.1}", self.mib_per_s),
        ]);
        if stdout_is_taken {
            eprintln!("{table}");
        } else {
            println!("{table}");
        }
        for error in &self.errors {
            eprintln!("ncdevmem: {error}");
        }
    }
}

fn send(args: &SendArgs, to: SocketAddr, flow: u32, bytes: u64, sent: &AtomicU64) -> FlowReport {
    let mut report = FlowReport {
        flow,
        ..Default::default()
    };
    if let Err(err) = send_into(&mut report, args, to, bytes, sent) {
        report.errors.push(format!("{err:#}"));
    }
    report
}

fn send_into(
    report: &mut FlowReport,
    args: &SendArgs,
    to: SocketAddr,
    bytes: u64,
    sent: &AtomicU64,
) -> anyhow::Result<()> {
    let flow = report.flow;
    let mut stream = connect(args, to, flow).with_context(|| format!("connecting to {to}"))?;
    report.local = stream.local_addr()?.to_string();
    let header = Header {
        flow,
        flows: args.flows.get(),
        bytes,
    };
    let fault = args.fault.filter(|_| flow == 0);
    let end = fault
        .and_then(|fault| fault.end())
        .map_or(bytes, |end| end.min(bytes));

    let start = Instant::now();
    let mut chunk = vec![0; args.chunk];
    while report.bytes < end {
        let at = report.bytes;
        let len = usize::try_from(end - at).map_or(args.chunk, |left| left.min(args.chunk));
        let chunk = &mut chunk[..len];
        match &fault {
            Some(fault) => fault.fill(flow, at, chunk),
            None => pattern::fill(flow, at, chunk),
        }
        lay_over(&header.encode(), at, chunk);
        stream
            .write_all(chunk)
            .with_context(|| format!("sending at byte {at}"))?;
        report.bytes += len as u64;
        sent.fetch_add(len as u64, Ordering::Relaxed);
    }
    stream.shutdown(Shutdown::Write)?;
    if !args.no_answer {
        let answer = read_answer(&mut stream).context("waiting for the receiver's answer")?;
        report.receiver_good = Some(answer.good);
        if answer.bytes != report.bytes {
            bail!(
                "the receiver has {} of {} bytes",
                answer.bytes,
                report.bytes
            );
        }
        if !answer.good {
            bail!("the receiver says that not all is right");
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report.mib_per_s = mib_per_s(report.bytes, report.seconds);
    Ok(())
}

/// Puts the part of the header that lies in a chunk at `at` over it.
fn lay_over(header: &[u8; HEADER], at: u64, chunk: &mut [u8]) {
    if let Some(rest) = usize::try_from(at).ok().and_then(|at| header.get(at..)) {
        let len = rest.len().min(chunk.len());
        chunk[..len].copy_from_slice(&rest[..len]);
    }
}

fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut answer = [0; Answer::SIZE];
    stream.read_exact(&mut answer)?;
    Ok(Answer::decode(answer))
}

/// Connects, and tries again while nobody listens.
fn connect(args: &SendArgs, to: SocketAddr, flow: u32) -> io::Result<TcpStream> {
    let deadline = Instant::now() + args.timeout;
    loop {
        match connect_once(args, to, flow) {
            Err(err)
                if err.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < deadline =>
            {
                thread::sleep(TICK);
            }
            other => return other,
        }
    }
}

fn connect_once(args: &SendArgs, to: SocketAddr, flow: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(mss) = args.mss {
        socket.set_tcp_mss(mss)?;
    }
    if args.from.is_some() || args.bind_port.is_some() {
        socket.set_reuse_address(true)?;
        socket.bind(&source(args, to, flow)?.into())?;
    }
    socket.connect_timeout(&to.into(), args.timeout)?;
    socket.set_write_timeout(Some(args.timeout))?;
    socket.set_read_timeout(Some(args.timeout))?;
    socket.set_tcp_nodelay(args.nodelay)?;
    Ok(socket.into())
}

fn source(args: &SendArgs, to: SocketAddr, flow: u32) -> io::Result<SocketAddr> {
    let ip = match (args.from, to) {
        // An IPv6 socket that talks IPv4 has a mapped source address too.
        (Some(IpAddr::V4(from)), SocketAddr::V6(_)) => from.to_ipv6_mapped().into(),
        (Some(from), _) => from,
        (None, SocketAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (None, SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let port = match args.bind_port {
        None => 0,
        Some(base) => u16::try_from(flow)
            .ok()
            .and_then(|flow| base.checked_add(flow))
            .ok_or_else(|| io::Error::other("--bind-port leaves no port for this flow"))?,
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_lies_over_chunks_of_any_size() {
        let header: [u8; HEADER] = std::array::from_fn(|i| i as u8 + 1);
        for size in [1, 5, 31, 32, 33, 100] {
            let mut all = [0; 100];
            for (i, chunk) in all.chunks_mut(size).enumerate() {
                lay_over(&header, (i * size) as u64, chunk);
            }
            assert_eq!(all[..HEADER], header, "{size}");
            assert!(all[HEADER..].iter().all(|b| *b == 0));
        }
    }
}
