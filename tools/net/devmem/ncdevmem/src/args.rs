// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::values::{Queues, seconds, size, size_usize, size32};

use crate::fault::Fault;

const EXIT_STATUS: &str = "\
Exit status:
  0  done, and everything that was to be verified is right
  1  bytes are missing, wrong or outside of the dma-buf, or the transfer failed
  2  the command line is wrong
  3  set-up failed: no such interface, no /dev/udmabuf, the kernel refused to
     bind (its errno and message are printed), the port is taken";

/// netcat for device memory TCP: receives into a dma-buf, sends, and verifies
/// every byte.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS, after_long_help = concat!(
"Device memory TCP needs a NIC with header split, whose traffic has been steered
onto the bound queues. That is not done here. For an interface eth0, queues 1 and
2, and port 5201:

  ethtool -G eth0 tcp-data-split on
  ethtool -X eth0 equal 1
  ethtool -N eth0 flow-type tcp6 dst-port 5201 queue 1

Example:

  receiver# ncdevmem serve --dev eth0 --queues 1,2 --flows 4 --verify
  sender$   ncdevmem send --to [2001:db8::1]:5201 --flows 4 --bytes 256M
"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more (-v) or much more (-vv) on the error output.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive flows into a dma-buf.
    #[command(args_override_self = true, after_help = EXIT_STATUS)]
    Serve(ServeArgs),
    /// Send flows of the pattern that `serve` verifies.
    #[command(args_override_self = true, after_help = EXIT_STATUS)]
    Send(SendArgs),
    /// Bind a dma-buf to RX queues, print the answer as JSON, and hold it.
    ///
    /// Prints one JSON object: `ok`, and either `id`, or `errno`, `errno_name`,
    /// `message` (the kernel's extended acknowledgment), `bad_attribute` and
    /// `missing_attribute`. Some options make a request that the kernel has to
    /// refuse: they are for tests of the kernel.
    #[command(args_override_self = true, after_help = EXIT_STATUS)]
    Bind(BindArgs),
    /// Show queues and page pools, and which dma-buf they are bound to.
    Show(ShowArgs),
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The interface to bind on, in this network namespace.
    #[arg(long, value_name = "IF", required_unless_present = "host")]
    pub dev: Option<String>,
    /// RX queues to bind: numbers and ranges, as in 1,2 or 4-7.
    #[arg(long, value_name = "LIST", required_unless_present = "host")]
    pub queues: Option<Queues>,
    /// Receive into ordinary memory, with no binding: a baseline with the same
    /// verification.
    #[arg(long, conflicts_with_all = ["dev", "queues", "min_devmem", "keep"])]
    pub host: bool,
    /// TCP port to listen on; 0 takes a free one (see --ready-file).
    #[arg(long, default_value_t = 5201)]
    pub port: u16,
    /// Address to listen on. Without it all addresses of both families.
    #[arg(long)]
    pub addr: Option<IpAddr>,
    /// Flows to receive; the run ends after the last.
    #[arg(long, default_value = "1", value_name = "N")]
    pub flows: NonZeroU32,
    /// Bytes in the dma-buf; suffixes K, M, G (binary).
    #[arg(long, default_value = "64M", value_name = "BYTES", value_parser = size)]
    pub size: u64,
    /// Cut the dma-buf's memory into this many pieces, laid out backwards.
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub scatter: u64,
    /// Take the dma-buf's memory from the pool of huge pages.
    #[arg(long)]
    pub huge: bool,
    /// Buffer size that is asked of the NIC, instead of the page size.
    #[arg(long, value_name = "BYTES", value_parser = size32)]
    pub rx_page_size: Option<u32>,
    /// Verify every byte where the control messages say that it is.
    #[arg(long)]
    pub verify: bool,
    /// Bytes expected in all flows together, headers among them. Without it
    /// what the flows' headers announce.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub bytes: Option<u64>,
    /// Fail unless at least this much of the bytes came by the dma-buf.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub min_devmem: f64,
    /// Tokens to collect before they are given back.
    #[arg(long, default_value_t = 128, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: u64,
    /// Verify and give back a frag only after this many later ones have come in
    /// its flow: shows memory that is written while it is still held.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub keep: usize,
    /// Most bytes that one recvmsg takes, in host and device memory together.
    #[arg(long, default_value = "256K", value_name = "BYTES", value_parser = size_usize)]
    pub recv_size: usize,
    /// Most pieces that one recvmsg takes: room in the control buffer.
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub pieces: usize,
    /// Give up when nothing has come for this long.
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,
    /// After unbinding, wait this long for the page pools to let the dma-buf go.
    #[arg(long, default_value = "15", value_name = "SECONDS", value_parser = seconds)]
    pub drain: Duration,
    /// Write the result there, - for the standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write port and dma-buf id there, as JSON, once connections are accepted.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Options of `send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Where to: an address and a port, as in 192.0.2.1:5201 or, for IPv6,
    /// `[2001:db8::1]:5201`; a mapped `[::ffff:192.0.2.1]:5201` or a name do too.
    #[arg(long, value_name = "ADDR:PORT")]
    pub to: String,
    /// Flows, each one TCP connection.
    #[arg(long, default_value = "1", value_name = "N")]
    pub flows: NonZeroU32,
    /// Bytes in all flows together, headers (32 bytes a flow) among them;
    /// suffixes K, M, G (binary).
    #[arg(long, default_value = "256M", value_name = "BYTES", value_parser = size)]
    pub bytes: u64,
    /// Source port of flow 0; flow N gets the Nth after it.
    #[arg(long, value_name = "PORT")]
    pub bind_port: Option<u16>,
    /// Source address.
    #[arg(long, value_name = "ADDR")]
    pub from: Option<IpAddr>,
    /// Bytes that one send takes.
    #[arg(long, default_value = "256K", value_name = "BYTES", value_parser = size_usize)]
    pub chunk: usize,
    /// Send each chunk at once (TCP_NODELAY).
    #[arg(long)]
    pub nodelay: bool,
    /// Largest segment (TCP_MAXSEG), in bytes.
    #[arg(long, value_name = "BYTES")]
    pub mss: Option<u32>,
    /// Spoil flow 0, so that the receiver has to complain: KIND:OFFSET with
    /// KIND one of flip (a bit), lose, double (8 bytes), swap (4 KiB with the
    /// next), cut (end there).
    #[arg(long, value_name = "KIND:OFFSET")]
    pub fault: Option<Fault>,
    /// Do not wait for the receiver's answer.
    #[arg(long)]
    pub no_answer: bool,
    /// Give up when nothing moves for this long; also how long to wait for
    /// the receiver to listen.
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,
    /// Write the result there, - for the standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Options of `bind`.
#[derive(Debug, Args)]
pub struct BindArgs {
    /// The interface to bind on, in this network namespace.
    #[arg(long, value_name = "IF", required_unless_present = "ifindex")]
    pub dev: Option<String>,
    /// Its index instead, which need not exist.
    #[arg(long, value_name = "N", conflicts_with = "dev")]
    pub ifindex: Option<u32>,
    /// Queues to bind: numbers and ranges, as in 1,2 or 4-7.
    #[arg(long, value_name = "LIST", default_value = "")]
    pub queues: Queues,
    /// Type of the queues: rx, tx or a number.
    #[arg(long, value_name = "TYPE", default_value = "rx", value_parser = queue_type)]
    pub queue_type: u32,
    /// Bytes in the dma-buf; suffixes K, M, G (binary).
    #[arg(long, default_value = "4M", value_name = "BYTES", value_parser = size)]
    pub size: u64,
    /// Buffer size that is asked of the NIC, instead of the page size.
    #[arg(long, value_name = "BYTES", value_parser = size32)]
    pub rx_page_size: Option<u32>,
    /// Send this descriptor number instead of a dma-buf's.
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        conflicts_with = "fd_file"
    )]
    pub fd: Option<i32>,
    /// Send the descriptor of this file, which is no dma-buf.
    #[arg(long, value_name = "FILE")]
    pub fd_file: Option<PathBuf>,
    /// Leave attributes out of the request.
    #[arg(long, value_name = "ATTRIBUTE", value_delimiter = ',')]
    pub omit: Vec<Omit>,
    /// Keep the binding for so many seconds, or until the standard input ends.
    #[arg(long, value_name = "SECONDS|eof", default_value = "0")]
    pub hold: Hold,
    /// Write the answer there instead of the standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub json: PathBuf,
}

/// Options of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The interface. Without it only page pools, of all interfaces.
    #[arg(long, value_name = "IF")]
    pub dev: Option<String>,
    /// Write JSON there instead of a table, - for the standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub json: Option<PathBuf>,
}

/// Attributes that `bind --omit` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Omit {
    /// The interface's index.
    Ifindex,
    /// The dma-buf.
    Fd,
    /// All queues.
    Queues,
    /// The number in each queue.
    QueueId,
    /// The type in each queue.
    QueueType,
}

/// How long `bind` keeps the binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// This long.
    For(Duration),
    /// Until the standard input ends.
    UntilEof,
}

impl FromStr for Hold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "eof" => Ok(Self::UntilEof),
            _ => seconds(text).map(Self::For),
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        Ok(_) => Err("not between 0 and 100".into()),
        Err(err) => Err(format!("{err}")),
    }
}

fn queue_type(text: &str) -> Result<u32, String> {
    match text {
        "rx" => Ok(devmem::netlink::QueueType::Rx.number()),
        "tx" => Ok(devmem::netlink::QueueType::Tx.number()),
        _ => text.parse().map_err(|_| "not rx, tx or a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_what_the_harness_gives() {
        let line = "ncdevmem serve --dev eth0 --queues 1,3-5 --port 7 --addr ::1 --flows 4 \
                    --size 64M --verify --bytes 1G --json out.json --timeout 2.5 --batch 64 \
                    --min-devmem 99";
        let Command::Serve(args) = parse(line).unwrap().command else {
            panic!()
        };
        assert_eq!(args.dev.as_deref(), Some("eth0"));
        assert_eq!(args.queues.unwrap().0, [1, 3, 4, 5]);
        assert_eq!((args.size, args.bytes), (64 << 20, Some(1 << 30)));
        assert_eq!(args.timeout, Duration::from_millis(2500));
        assert_eq!(args.flows.get(), 4);
        assert!(args.verify);
    }

    #[test]
    fn serve_wants_an_interface_or_host() {
        assert!(parse("ncdevmem serve").is_err());
        assert!(parse("ncdevmem serve --dev eth0").is_err());
        assert!(parse("ncdevmem serve --host").is_ok());
        assert!(parse("ncdevmem serve --host --dev eth0 --queues 1").is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "serve --host --flows 0",
            "serve --host --batch 0",
            "serve --host --recv-size 0",
            "serve --dev a --queues 5-1",
            "serve --dev a --queues x",
            "serve --dev a --queues 1 --min-devmem 101",
            "send --to a:1 --fault explode:3",
            "bind --queues 1",
            "bind --dev a --queue-type up",
            "bind --dev a --hold soon",
            "bind --dev a --hold -1",
        ] {
            let line = format!("ncdevmem {line}");
            assert!(parse(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn bind_can_make_bad_requests() {
        let line = "ncdevmem bind --ifindex 0 --fd -1 --omit queues,queue-id --queue-type 7 \
                    --hold eof";
        let Command::Bind(args) = parse(line).unwrap().command else {
            panic!()
        };
        assert_eq!((args.ifindex, args.fd), (Some(0), Some(-1)));
        assert_eq!(args.omit, [Omit::Queues, Omit::QueueId]);
        assert_eq!((args.queue_type, args.hold), (7, Hold::UntilEof));
    }
}
