// SPDX-License-Identifier: GPL-2.0
//! One flow: a connection is read to its end, and checked.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context, bail};
use common::mib_per_s;
use devmem::{CpuAccess, Frag, Piece, ReceiveBuffer, Receiver};
use serde::Serialize;

use super::counts::Counts;
use super::device::Device;
use crate::args::ServeArgs;
use crate::stream::{Answer, Header};
use crate::verify::{HeaderReader, Mismatch, Place, Verifier};

/// Bytes that are copied out of the dma-buf at a time.
const STEP: usize = 4096;

/// What became of a flow.
#[derive(Debug, Default, Serialize)]
pub struct FlowReport {
    /// Its number, if the header came.
    pub flow: Option<u32>,
    /// The other end.
    pub peer: String,
    /// This end.
    pub local: String,
    /// `ipv4`, `ipv6`, or `ipv4-mapped` for IPv4 on an IPv6 socket.
    pub family: &'static str,
    /// Bytes that the header announced, itself among them.
    pub bytes_expected: Option<u64>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Bytes that were looked at.
    pub bytes_checked: u64,
    /// The first that was wrong.
    pub first_mismatch: Option<Mismatch>,
    /// Every byte was looked at and right, and none was missing.
    pub verified: bool,
    /// From the first byte to the last.
    pub seconds: f64,
    /// Over that time.
    pub mib_per_s: f64,
    /// What went wrong.
    pub errors: Vec<String>,
    /// When the first byte came and when the last.
    #[serde(skip)]
    pub span: Option<(Instant, Instant)>,
}

/// Receives one flow and answers its sender.
pub fn receive(
    stream: TcpStream,
    args: &ServeArgs,
    device: Option<&Device>,
    received: &AtomicU64,
) -> FlowReport {
    let mut report = FlowReport::default();
    if let Err(err) = receive_into(&mut report, stream, args, device, received) {
        report.errors.push(format!("{err:#}"));
    }
    report
}

fn receive_into(
    report: &mut FlowReport,
    stream: TcpStream,
    args: &ServeArgs,
    device: Option<&Device>,
    received: &AtomicU64,
) -> anyhow::Result<()> {
    let peer = stream.peer_addr()?;
    report.peer = peer.to_string();
    report.local = stream.local_addr()?.to_string();
    report.family = family(&peer);
    stream.set_write_timeout(Some(args.timeout))?;
    let answer_to = stream.try_clone()?;

    let mut flow = Flow::new(args, received);
    let outcome = match device {
        Some(device) => flow.run_devmem(stream, device),
        None => flow.run_host(stream),
    };
    flow.finish(report);
    if let Err(err) = outcome {
        report.errors.push(format!("{err:#}"));
    }
    judge(report, args);
    let good = report.errors.is_empty();
    answer(answer_to, report.counts.bytes_total, good).context("answering the sender")
}

/// Says what is wrong with a flow that has ended.
fn judge(report: &mut FlowReport, args: &ServeArgs) {
    let mut wrong = Vec::new();
    let counts = &report.counts;
    if let Some(expected) = report.bytes_expected {
        let total = counts.bytes_total;
        match total.cmp(&expected) {
            Ordering::Less => wrong.push(format!(
                "{} of {expected} bytes are missing",
                expected - total
            )),
            Ordering::Equal => {}
            Ordering::Greater => wrong.push(format!("{} bytes too many", total - expected)),
        }
    } else if report.errors.is_empty() {
        wrong.push("ended within its header".into());
    }
    if let Some(mismatch) = &report.first_mismatch {
        wrong.push(format!(
            "{} bytes are wrong; first: {mismatch}",
            counts.bytes_wrong
        ));
    }
    if counts.tokens_released != counts.frags || counts.tokens_unknown != 0 {
        wrong.push(format!(
            "{} frags came but the kernel took {} tokens back, {} it did not know",
            counts.frags, counts.tokens_released, counts.tokens_unknown
        ));
    }
    if args.verify && report.bytes_checked != counts.bytes_total {
        wrong.push(format!(
            "only {} of {} bytes were looked at",
            report.bytes_checked, counts.bytes_total
        ));
    }
    report.errors.extend(wrong);
    report.verified = args.verify && report.errors.is_empty();
}

fn answer(mut stream: TcpStream, bytes: u64, good: bool) -> io::Result<()> {
    match stream.write_all(&Answer { bytes, good }.encode()) {
        // A sender that does not wait for it has closed.
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn family(addr: &SocketAddr) -> &'static str {
    match addr {
        SocketAddr::V4(_) => "ipv4",
        SocketAddr::V6(addr) if addr.ip().to_ipv4_mapped().is_some() => "ipv4-mapped",
        SocketAddr::V6(_) => "ipv6",
    }
}

/// A flow while it is received.
struct Flow<'a> {
    args: &'a ServeArgs,
    received: &'a AtomicU64,
    reader: HeaderReader,
    header: Option<Header>,
    verifier: Option<Verifier>,
    /// Bytes that were given back before the header was whole.
    header_only: u64,
    /// Frags that are not verified yet, with their stream positions.
    kept: VecDeque<(u64, Frag)>,
    at: u64,
    counts: Counts,
    /// When the first byte came and when the last.
    span: Option<(Instant, Instant)>,
}

impl<'a> Flow<'a> {
    fn new(args: &'a ServeArgs, received: &'a AtomicU64) -> Self {
        Self {
            args,
            received,
            reader: HeaderReader::default(),
            header: None,
            verifier: None,
            header_only: 0,
            kept: VecDeque::new(),
            at: 0,
            counts: Counts::default(),
            span: None,
        }
    }

    fn run_devmem(&mut self, stream: TcpStream, device: &Device) -> anyhow::Result<()> {
        let receiver = Receiver::new(stream)
            .batch(self.args.batch)
            .timeout(Some(self.args.timeout));
        let outcome = self.read_to_end(&receiver, device);
        // Also after an error: what is held has to go back.
        let checked = device.map().begin_read().map_err(Into::into);
        let checked = checked.and_then(|access| self.check_kept(&access, 0));
        self.kept.clear();
        let flushed = receiver.flush();
        let stats = receiver.stats();
        self.counts.tokens_released = stats.tokens_released;
        self.counts.tokens_unknown = stats.tokens_unknown;
        self.counts.release_calls = stats.release_calls;
        outcome.and(checked)?;
        Ok(flushed?)
    }

    fn read_to_end(&mut self, receiver: &Receiver, device: &Device) -> anyhow::Result<()> {
        let mut buffer = ReceiveBuffer::new(self.args.recv_size, self.args.pieces);
        loop {
            let received = receiver
                .recv(&mut buffer)
                .with_context(|| format!("at byte {}", self.at))?;
            if received.is_end() {
                return Ok(());
            }
            self.arrived(received.bytes() as u64);
            let access = device.map().begin_read()?;
            for piece in received {
                match piece {
                    Piece::Dmabuf(frag) => self.take_frag(frag, device.dmabuf_id(), &access)?,
                    Piece::Linear(bytes) => {
                        self.counts.bytes_linear += bytes.len() as u64;
                        self.take_bytes(bytes, Place::Linear)?;
                    }
                    Piece::Host(bytes) => {
                        self.counts.bytes_host += bytes.len() as u64;
                        self.take_bytes(bytes, Place::Host)?;
                    }
                }
            }
        }
    }

    fn run_host(&mut self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(self.args.timeout))?;
        let mut buffer = vec![0; self.args.recv_size];
        loop {
            let n = match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => return Err(err).with_context(|| format!("at byte {}", self.at)),
            };
            self.arrived(n as u64);
            self.counts.bytes_host += n as u64;
            self.take_bytes(&buffer[..n], Place::Host)?;
        }
    }

    fn arrived(&mut self, bytes: u64) {
        let now = Instant::now();
        let (first, _) = self.span.unwrap_or((now, now));
        self.span = Some((first, now));
        self.counts.recv_calls += 1;
        self.received.fetch_add(bytes, Relaxed);
    }

    fn take_bytes(&mut self, bytes: &[u8], place: Place) -> anyhow::Result<()> {
        let at = self.at;
        self.at += bytes.len() as u64;
        self.read_header(bytes)?;
        if self.args.verify {
            self.check(at, bytes, place);
        }
        Ok(())
    }

    fn take_frag(&mut self, frag: Frag, ours: u32, access: &CpuAccess) -> anyhow::Result<()> {
        let (at, len) = (self.at, frag.len());
        self.at += len as u64;
        self.counts.frags += 1;
        self.counts.bytes_devmem += len as u64;
        let id = frag.dmabuf_id();
        if id != ours {
            bail!("byte {at} lies in dma-buf {id}, not in ours, {ours}");
        }
        if self.header.is_none() {
            let mut bytes = [0; crate::stream::HEADER];
            let bytes = &mut bytes[..len.min(self.reader.wants())];
            access.read(frag.offset(), bytes)?;
            self.read_header(bytes)?;
        }
        if self.args.verify {
            self.kept.push_back((at, frag));
            self.check_kept(access, self.args.keep)?;
        }
        Ok(())
    }

    /// Checks and gives back the oldest frags until `keep` are left.
    fn check_kept(&mut self, access: &CpuAccess, keep: usize) -> anyhow::Result<()> {
        while self.kept.len() > keep {
            if let Some((at, frag)) = self.kept.pop_front() {
                self.check_frag(at, &frag, access)?;
            }
        }
        Ok(())
    }

    fn check_frag(&mut self, at: u64, frag: &Frag, access: &CpuAccess) -> anyhow::Result<()> {
        let mut scratch = [0; STEP];
        let mut done = 0;
        while done < frag.len() {
            let step = &mut scratch[..STEP.min(frag.len() - done)];
            let offset = frag.offset() + done as u64;
            access.read(offset, step)?;
            self.check(at + done as u64, step, Place::Dmabuf { offset });
            done += step.len();
        }
        Ok(())
    }

    fn check(&mut self, at: u64, bytes: &[u8], place: Place) {
        match &mut self.verifier {
            Some(verifier) => verifier.check(at, bytes, place),
            // The header is not whole: all of this is header.
            None => self.header_only += bytes.len() as u64,
        }
    }

    fn read_header(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.header.is_some() {
            return Ok(());
        }
        let Some(header) = self.reader.feed(bytes) else {
            return Ok(());
        };
        let header = header.context("the first bytes are not those of ncdevmem send")?;
        if header.flows != self.args.flows.get() {
            bail!(
                "the sender has {} flows, {} are expected",
                header.flows,
                self.args.flows
            );
        }
        self.verifier = Some(Verifier::new(header.flow));
        self.header = Some(header);
        Ok(())
    }

    /// Moves what was counted into the report.
    fn finish(self, report: &mut FlowReport) {
        report.flow = self.header.map(|header| header.flow);
        report.bytes_expected = self.header.map(|header| header.bytes);
        report.counts = self.counts;
        report.counts.bytes_total = self.at;
        if let Some(verifier) = &self.verifier {
            report.bytes_checked = self.header_only + verifier.checked();
            report.counts.bytes_wrong = verifier.wrong();
            report.first_mismatch = verifier.first_mismatch().cloned();
        }
        report.span = self.span;
        if let Some((first, last)) = self.span {
            report.seconds = (last - first).as_secs_f64();
        }
        report.mib_per_s = mib_per_s(self.at, report.seconds);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn judged(change: impl Fn(&mut FlowReport)) -> FlowReport {
        let line = [
            "ncdevmem", "serve", "--dev", "a", "--queues", "1", "--verify",
        ];
        let Command::Serve(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!()
        };
        let mut report = FlowReport {
            bytes_expected: Some(100),
            counts: Counts {
                bytes_total: 100,
                frags: 2,
                tokens_released: 2,
                ..Default::default()
            },
            bytes_checked: 100,
            ..Default::default()
        };
        change(&mut report);
        judge(&mut report, &args);
        assert_eq!(report.verified, report.errors.is_empty());
        report
    }

    #[test]
    fn a_flow_passes_only_if_all_of_it_is_right() {
        assert!(judged(|_| {}).verified);
        assert!(!judged(|flow| flow.bytes_expected = Some(101)).verified);
        assert!(!judged(|flow| flow.bytes_expected = Some(99)).verified);
        assert!(!judged(|flow| flow.bytes_expected = None).verified);
        assert!(!judged(|flow| flow.bytes_checked = 99).verified);
        assert!(!judged(|flow| flow.counts.tokens_released = 1).verified);
        assert!(!judged(|flow| flow.counts.tokens_unknown = 1).verified);
        assert!(!judged(|flow| flow.errors.push("x".into())).verified);
        let mismatch = Mismatch {
            at: 40,
            place: Place::Dmabuf { offset: 8232 },
            belongs_to: Some((1, 64)),
        };
        let wrong = judged(|flow| flow.first_mismatch = Some(mismatch.clone()));
        assert!(!wrong.verified);
        assert!(wrong.errors[0].contains("dma-buf offset 8232: the bytes of flow 1 at 64"));
    }

    #[test]
    fn mapped_addresses_are_told_apart() {
        for (addr, name) in [
            ("192.0.2.1:1", "ipv4"),
            ("[2001:db8::1]:1", "ipv6"),
            ("[::ffff:192.0.2.1]:1", "ipv4-mapped"),
        ] {
            assert_eq!(family(&addr.parse().unwrap()), name);
        }
    }
}
