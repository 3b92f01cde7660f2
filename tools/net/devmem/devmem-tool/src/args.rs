// SPDX-License-Identifier: GPL-2.0
//! The command line. Its help is also the manual page ([`crate::manual`]).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::values::{Queues, seconds, size, size32};

/// See and set up device memory TCP.
///
/// A NIC with header split can write the payload of received TCP segments into
/// memory that belongs to a device, handed to the kernel as a dma-buf and bound
/// to RX queues. This tool shows such bindings and who holds their memory,
/// makes one for a command, and says what a NIC lacks for it.
#[derive(Debug, Parser)]
#[command(
    name = "devmem",
    version,
    max_term_width = 100,
    after_long_help = "\
Where the facts come from:
  netlink    queues, page pools and counters of the caller's network namespace;
             anybody may ask, on every kernel with device memory TCP
  debugfs    /sys/kernel/debug/net_devmem/, with CONFIG_NET_DEVMEM_RUST: sizes,
             niovs, bytes, and which sockets hold memory, of all namespaces;
             root only
  /proc      which process a socket belongs to; other users' for root only
What is missing is said, and its columns stay empty.

Examples:
  devmem check --dev eth0 --queues 6,7
  devmem check --dev eth0 --queues 6,7 --commands | sh -e
  devmem bind --dev eth0 --queues 6,7 --size 256M -- my-server --port 5201
  devmem list
  devmem show 3 --json
  devmem watch --interval 0.5"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List bindings, one a line.
    ///
    /// Bindings whose state is "unbound" are off their queues, but memory of
    /// theirs is still held: by received data that nobody has read, or by
    /// programs that have not given it back.
    #[command(after_long_help = EXIT_STATUS)]
    List(ListArgs),
    /// Show all there is to know about a binding.
    ///
    /// With root's rights also the sockets that hold its memory, how much, for
    /// how long, and the processes that these belong to. A socket without a
    /// process is one that was closed and still has data to send.
    #[command(after_long_help = EXIT_STATUS)]
    Show(ShowArgs),
    /// Show throughput, occupancy and holders again and again.
    ///
    /// On a terminal this is a table that is refreshed until q, Escape or
    /// Ctrl-C is pressed; elsewhere a line for each binding and interval. Without
    /// debugfs the throughput is that of the bound queues, packet headers
    /// included, if the driver counts by queue. In the bar, "#" is memory
    /// that is out, in the NIC's rings, in packets or with programs, "+" what
    /// page pools keep ready, "." is free.
    ///
    /// JSON is an object a line, one for each interval.
    #[command(after_long_help = EXIT_STATUS)]
    Watch(WatchArgs),
    /// Bind memory to RX queues and run a command with it.
    ///
    /// Makes a dma-buf over ordinary memory (udmabuf), binds it, runs the
    /// command, and holds the binding until the command ends. The command
    /// inherits open descriptors, and finds in its environment:
    ///
    ///   DEVMEM_DMABUF_FD  number of the dma-buf's descriptor
    ///   DEVMEM_MEMFD_FD   number of the memory's (memfd): the same bytes at
    ///                     the same offsets
    ///   DEVMEM_ID         the binding's id, which control messages carry
    ///   DEVMEM_SIZE       bytes
    ///   DEVMEM_DEV        the interface's name
    ///   DEVMEM_IFINDEX    the interface's index
    ///   DEVMEM_QUEUES     the RX queues, separated by commas
    ///
    /// Programs that use the library get all of it from Inherited::take().
    ///
    /// SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT and SIGWINCH
    /// that another process sends to devmem are passed on to the command; those
    /// that the terminal sends reach it by themselves. If devmem is killed, the
    /// binding ends, and the command keeps its memory.
    ///
    /// JSON says what was bound, and is written before the command starts.
    #[command(verbatim_doc_comment, after_long_help = BIND_EXIT_STATUS)]
    Bind(BindArgs),
    /// Say what a NIC lacks for device memory TCP, and the command that mends it.
    ///
    /// Looks at: kernel, permission, queue-management (of the driver), link, xdp,
    /// queues, queue-users, header-split, hds-thresh, ntuple (rules), rss,
    /// udmabuf, size; with --try also: bind. These names do not change.
    ///
    /// Nothing is changed: whether the driver
    /// has queue management is found out with a request to bind a descriptor
    /// that is not open, which the kernel refuses before it touches a queue.
    /// The commands are printed in an order in which they work.
    ///
    /// "ok" is as it has to be; "missing" keeps a binding, or its traffic, from
    /// working; "warning" may not matter to you; "unknown" could not be found
    /// out.
    #[command(after_long_help = CHECK_EXIT_STATUS)]
    Check(CheckArgs),
    /// Print the JSON schema of what a subcommand writes with --json.
    Schema(SchemaArgs),
    /// Write the manual pages.
    ///
    /// One page for devmem and one for each subcommand, as devmem-list.1, into
    /// a folder.
    Manual(ManualArgs),
}

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  failed, or there is no such binding
  2  the command line is wrong";

const BIND_EXIT_STATUS: &str = "\
Exit status:
  that of the command; 128 + N if signal N ended it
  2    the command line is wrong
  125  nothing was bound: no such interface, no /dev/udmabuf, or the kernel
       refused (its message is printed)
  126  the command cannot be executed
  127  there is no such command";

const CHECK_EXIT_STATUS: &str = "\
Exit status:
  0  ready: nothing is missing
  1  something is missing
  2  the command line is wrong
  3  it could not be found out: no such interface";

/// Where the result goes.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Write JSON instead of text: to the standard output, or with =FILE there.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "-")]
    pub json: Option<PathBuf>,
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only bindings on this interface.
    #[arg(long, value_name = "IF")]
    pub dev: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

/// Options of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The binding's id.
    pub id: u32,
    #[command(flatten)]
    pub output: Output,
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Only bindings on this interface.
    #[arg(long, value_name = "IF")]
    pub dev: Option<String>,
    /// Time between two looks.
    #[arg(long, short = 'n', value_name = "SECONDS", default_value = "1",
          value_parser = interval)]
    pub interval: Duration,
    /// End after this many.
    #[arg(long, short, value_name = "N")]
    pub count: Option<u64>,
    /// Do not look for the processes that sockets belong to, which takes a walk
    /// through /proc each time.
    #[arg(long)]
    pub no_processes: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Options of `bind`.
#[derive(Debug, Args)]
pub struct BindArgs {
    /// The interface to bind on, in this network namespace.
    #[arg(long, value_name = "IF")]
    pub dev: String,
    /// RX queues to bind: numbers and ranges, as in 2,3 or 4-7.
    #[arg(long, value_name = "LIST")]
    pub queues: Queues,
    /// Bytes to bind; suffixes K, M, G (binary).
    #[arg(long, default_value = "64M", value_name = "BYTES", value_parser = size)]
    pub size: u64,
    /// Take the memory from the pool of huge pages.
    #[arg(long)]
    pub huge: bool,
    /// Buffer size that is asked of the NIC, instead of the page size.
    #[arg(long, value_name = "BYTES", value_parser = size32)]
    pub rx_page_size: Option<u32>,
    /// Put the number of the dma-buf's descriptor into this variable too.
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub fd_env: Option<String>,
    /// Put the number of the memfd's descriptor into this variable too.
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub memfd_env: Option<String>,
    /// Put the binding's id into this variable too.
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub id_env: Option<String>,
    #[command(flatten)]
    pub output: Output,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The interface, in this network namespace.
    #[arg(long, value_name = "IF")]
    pub dev: String,
    /// RX queues that are to be bound; the upper half of all if not given.
    #[arg(long, value_name = "LIST")]
    pub queues: Option<Queues>,
    /// Bytes that are to be bound; suffixes K, M, G (binary).
    #[arg(long, default_value = "64M", value_name = "BYTES", value_parser = size)]
    pub size: u64,
    /// If nothing is missing, bind for a moment, as the last proof. This
    /// restarts the queues twice.
    #[arg(long = "try")]
    pub try_bind: bool,
    /// Print the commands alone, one a line, for a shell.
    #[arg(long, conflicts_with = "json")]
    pub commands: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Options of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The subcommand; "error" is what each writes instead when it fails.
    pub of: Schema,
}

/// What `schema` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    /// `devmem list`.
    List,
    /// `devmem show`.
    Show,
    /// A line of `devmem watch`.
    Watch,
    /// `devmem bind`.
    Bind,
    /// `devmem check`.
    Check,
    /// A failure of any.
    Error,
}

/// Options of `manual`.
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// The folder; it is made if need be.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

fn interval(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        short if short < Duration::from_millis(50) => Err("at least 0.05".into()),
        time => Ok(time),
    }
}

fn variable(text: &str) -> Result<String, String> {
    let good = |at: usize, letter: char| {
        letter == '_' || letter.is_ascii_alphabetic() || at > 0 && letter.is_ascii_digit()
    };
    if !text.is_empty()
        && text
            .chars()
            .enumerate()
            .all(|(at, letter)| good(at, letter))
    {
        Ok(text.into())
    } else {
        Err("not a name of a variable".into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
    fn bind_takes_a_command_with_options_of_its_own() {
        let line = "devmem bind --dev eth0 --queues 2-3 --size 64M --fd-env FD -- cat --json -n";
        let Command::Bind(args) = parse(line).unwrap().command else {
            panic!()
        };
        assert_eq!(args.queues.0, [2, 3]);
        assert_eq!(args.command, ["cat", "--json", "-n"]);
        assert_eq!(args.output.json, None);
        assert!(parse("devmem bind --dev eth0 --queues 2").is_err());
        assert!(parse("devmem bind --dev eth0 --queues 2 cat").is_err());
        assert!(parse("devmem bind --dev eth0 --queues 2 --fd-env 1X -- cat").is_err());
    }

    #[test]
    fn json_goes_to_the_standard_output_or_a_file() {
        let json = |line: &str| match parse(line).unwrap().command {
            Command::Show(args) => (args.id, args.output.json),
            other => panic!("{other:?}"),
        };
        assert_eq!(json("devmem show 3"), (3, None));
        assert_eq!(
            json("devmem show --json 3").1.as_deref(),
            Some(Path::new("-"))
        );
        assert_eq!(
            json("devmem show --json=a 3").1.as_deref(),
            Some(Path::new("a"))
        );
    }

    #[test]
    fn watch_does_not_spin() {
        assert!(parse("devmem watch --interval 0").is_err());
        assert!(parse("devmem watch -n 0.2 -c 3").is_ok());
    }
}
