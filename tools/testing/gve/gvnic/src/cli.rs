// SPDX-License-Identifier: GPL-2.0
//! The command line.

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use gve_device::config::MAX_QUEUES;
use gve_device::fault::{CATALOGUE, FaultSpec};
use gve_net::frame::{MacAddress, is_multicast};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use tracing_subscriber::filter::LevelFilter;

/// Emulated Google Virtual NIC (gVNIC), as a vfio-user server
///
/// Serves one gVNIC port per socket to QEMU's vfio-user-pci device, and joins
/// the ports by a wire or a switch. The Linux gve driver finds PCI device
/// 1ae0:0042 and works in DQO-RDA mode, with header split, RSS, flow
/// steering, segmentation and checksum offload, and jumbo frames.
///
/// The process ends, with status 0, when every client that was connected is
/// gone, or on SIGTERM or SIGINT. SIGUSR1 writes the counters at once.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Options {
    /// Serve a port on this Unix socket, which must not exist; repeat for more ports
    ///
    /// The first socket is port 0, the next one port 1, and so on.
    #[arg(long = "socket", value_name = "PATH", required = true)]
    pub sockets: Vec<PathBuf>,

    /// What joins the ports
    #[arg(long, value_enum, default_value_t = Topology::Wire)]
    pub topology: Topology,

    /// Transmit queues, and receive queues, of each port
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_QUEUES)))]
    pub queues: u16,

    /// Biggest MTU a driver may set, in bytes; also the one it starts with
    #[arg(long, value_name = "BYTES", default_value_t = 9000,
          value_parser = clap::value_parser!(u16).range(68..=9714))]
    pub mtu: u16,

    /// Fewest entries of a receive ring that the driver is told of; a power of two
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = ring_size)]
    pub rx_ring_min: u16,

    /// Most entries of a ring; a power of two
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = ring_size)]
    pub ring_max: u16,

    /// Entries of a ring that the driver starts with; a power of two
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = ring_size)]
    pub ring_default: u16,

    /// Split headers this many bytes late
    ///
    /// So many bytes of payload stay with the header, as far as the header
    /// buffer has room. With 0, the default, the split is exact.
    #[arg(long, value_name = "BYTES", default_value_t = 0,
          value_parser = clap::value_parser!(u16).range(0..=1023))]
    pub split_late: u16,

    /// Frames that wait for receive buffers, per queue, before any is dropped
    ///
    /// Stands for flow control on the wire and the buffers of a switch. With
    /// 0 a frame that finds no buffer is dropped at once.
    #[arg(long, value_name = "FRAMES", default_value_t = 8192)]
    pub backlog: usize,

    /// Address of port 0; the address counts up from port to port
    #[arg(long, value_name = "MAC", default_value = "02:1a:e0:00:00:00", value_parser = mac)]
    pub mac_base: MacAddress,

    /// Write counters of every port and queue to this file, as JSON
    ///
    /// Written once a second, on SIGUSR1 and at the end; each time a whole
    /// file takes the place of the one before.
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,

    /// Write down all that crosses between guest and device, one JSON object a line
    ///
    /// For tests that replay it; slow, and big. Ports take turns meanwhile.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Create this file once every socket is listening
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Serve the next client when one is gone, rather than end
    #[arg(long)]
    pub persist: bool,

    /// Let something go wrong; repeat for more
    ///
    /// See FAULTS below.
    #[arg(long = "fault", value_name = "NAME[=KEY=VALUE,...]")]
    pub faults: Vec<FaultSpec>,

    /// Take further faults from this file, while the device runs
    ///
    /// One fault a line, as after --fault. Whenever the file changes, its
    /// faults take the place of those it named before, and start counting
    /// anew; FILE.applied then has the same content, or a line with an error.
    #[arg(long, value_name = "FILE")]
    pub fault_file: Option<PathBuf>,

    /// Where the randomness of faults starts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// What to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LevelFilter,

    /// Log one JSON object a line
    #[arg(long)]
    pub log_json: bool,
}

/// What joins the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// Ports in pairs: 0 with 1, 2 with 3, ...
    Wire,
    /// All ports on one learning switch
    Switch,
}

fn ring_size(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(entries) if entries.is_power_of_two() && (64..=4096).contains(&entries) => Ok(entries),
        _ => Err("not a power of two from 64 to 4096".into()),
    }
}

fn mac(text: &str) -> Result<MacAddress, String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|part| {
            u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| part.len() == 2)
        })
        .collect();
    let address = bytes.and_then(|bytes| MacAddress::try_from(bytes).ok());
    match address {
        Some(address) if !is_multicast(&address) => Ok(address),
        Some(_) => Err("a multicast address".into()),
        None => Err("not six bytes in hexadecimal, with colons".into()),
    }
}

/// The address of a port.
pub fn mac_of(base: MacAddress, port: usize) -> MacAddress {
    let [a, b, c, d, e, f] = base;
    let tail = u32::from_be_bytes([0, d, e, f]).wrapping_add(port as u32);
    let [_, d, e, f] = tail.to_be_bytes();
    [a, b, c, d, e, f]
}

/// Reads the command line; ends the process if it asks for help or is wrong.
pub fn parse() -> Options {
    let command = Options::command().after_long_help(fault_help());
    let matches = command.get_matches();
    match Options::from_arg_matches(&matches) {
        Ok(options) => options,
        Err(error) => error.exit(),
    }
}

fn fault_help() -> String {
    let mut text = String::from(
        "FAULTS\n  Every fault takes port=N as well; without it, it is on every port.\n  \
         Where nth, count and p are named: nth=N is the first occasion on which the\n  \
         fault strikes (from 1; default 1), count=N on how many in a row (0 for ever;\n  \
         default 1); or p=P, each occasion with this probability.\n",
    );
    for entry in CATALOGUE {
        let _ = write!(
            text,
            "\n  {}\n      {}\n      {}\n",
            entry.name, entry.summary, entry.arguments
        );
    }
    text.push_str(
        "\nEXAMPLES\n  Two ports joined by a wire:\n      \
         gvnic --socket /tmp/a.sock --socket /tmp/b.sock --stats /tmp/gvnic.json\n  \
         One frame in a thousand is lost, and the second time that receive queue 2 is\n  \
         created on port 0 fails:\n      \
         gvnic --socket /tmp/a.sock --socket /tmp/b.sock --seed 7 --fault drop=p=0.001 \\\n          \
         --fault admin-fail=port=0,opcode=CREATE_RX_QUEUE,queue=2,nth=2\n  \
         What QEMU needs, once for each socket:\n      \
         -machine q35,memory-backend=m -object memory-backend-memfd,id=m,size=2G,share=on \\\n      \
         -device '{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/tmp/a.sock\"}}'\n",
    );
    text
}

/// Logs to standard error from now on.
pub fn start_log(options: &Options) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(options.log_level)
        .with_writer(std::io::stderr)
        .with_target(false);
    if options.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn values_are_checked() {
        let parse = |args: &[&str]| {
            Options::try_parse_from([&["gvnic", "--socket", "a"], args].concat()).is_ok()
        };
        assert!(parse(&[]));
        assert!(parse(&["--fault", "drop=p=0.5", "--queues", "4"]));
        for bad in [
            ["--queues", "0"],
            ["--mtu", "10000"],
            ["--ring-max", "1000"],
            ["--fault", "gremlins"],
            ["--mac-base", "01:00:00:00:00:00"],
            ["--mac-base", "2:0:0:0:0:0"],
        ] {
            assert!(!parse(&bad), "{bad:?}");
        }
        assert!(Options::try_parse_from(["gvnic"]).is_err());
    }

    #[test]
    fn addresses_count_up() {
        assert_eq!(mac_of([2, 0, 0, 0, 0, 0xff], 1), [2, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn help_names_every_fault() {
        let help = fault_help();
        assert!(CATALOGUE.iter().all(|entry| help.contains(entry.name)));
    }
}
