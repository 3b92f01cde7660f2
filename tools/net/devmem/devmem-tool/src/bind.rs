// SPDX-License-Identifier: GPL-2.0
//! `bind`: a binding for the life of a command.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;

use anyhow::Context;
use command_fds::{CommandFdExt, FdMapping};
use common::write_json;
use devmem::inherit::env;
use devmem::{BindRx, Binding, Udmabuf, UdmabufOptions};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use schemars::JsonSchema;
use serde::Serialize;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::args::BindArgs;
use crate::failure::Failed;
use crate::output::SCHEMA;

/// The dma-buf's descriptor in the command.
const DMABUF_FD: i32 = 3;
/// The memfd's.
const MEMFD_FD: i32 = 4;

/// Signals that are passed on.
const SIGNALS: [i32; 8] = [
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH,
];

/// What `bind --json` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BindOutput {
    /// Number of this schema.
    pub schema: u32,
    /// The binding's id.
    pub id: u32,
    /// The interface.
    pub device: String,
    /// Its index.
    pub ifindex: u32,
    /// The RX queues.
    pub queues: Vec<u32>,
    /// Bytes.
    pub size: u64,
    /// Number of the dma-buf's descriptor in the command.
    pub dmabuf_fd: i32,
    /// Number of the memfd's.
    pub memfd_fd: i32,
    /// What the kernel warns of, if it does.
    pub warning: Option<String>,
}

/// Runs the subcommand.
pub fn run(args: &BindArgs) -> anyhow::Result<ExitCode> {
    let (memory, binding) = bind(args).map_err(|err| Failed::new(&err, &args.dev))?;
    let output = BindOutput {
        schema: SCHEMA,
        id: binding.id(),
        device: args.dev.clone(),
        ifindex: binding.ifindex(),
        queues: args.queues.0.clone(),
        size: args.size,
        dmabuf_fd: DMABUF_FD,
        memfd_fd: MEMFD_FD,
        warning: binding.warning().map(str::to_owned),
    };
    if let Some(warning) = binding.warning() {
        eprintln!("devmem: {}: {warning}", args.dev);
    }
    if let Some(path) = &args.output.json {
        write_json(path, &output)?;
    }
    let mut command = command(args, &output);
    command
        .fd_mappings(vec![
            mapping(memory.as_fd().try_clone_to_owned()?, DMABUF_FD),
            mapping(memory.memfd().try_clone_to_owned()?, MEMFD_FD),
        ])
        .context("handing the descriptors over")?;
    // Before the command runs, so that no signal is lost on the way.
    let signals = SignalsInfo::<WithOrigin>::new(SIGNALS).context("catching signals")?;
    let child = match command.spawn() {
        Ok(child) => child,
        Err(err) => {
            eprintln!("devmem: {}: {err}", args.command[0].to_string_lossy());
            let missing = err.kind() == io::ErrorKind::NotFound;
            return Ok(ExitCode::from(if missing { 127 } else { 126 }));
        }
    };
    // The command's descriptors: a pipe's reader waits for the last of them.
    drop(command);
    let status = wait(child, signals).context("waiting for the command")?;
    drop(binding);
    Ok(ExitCode::from(exit_code(status)))
}

fn bind(args: &BindArgs) -> devmem::Result<(Udmabuf, Binding)> {
    let mut request = BindRx::to_interface(&args.dev)?.rx_queues(args.queues.0.iter().copied());
    if let Some(bytes) = args.rx_page_size {
        request = request.rx_page_size(bytes);
    }
    let memory = UdmabufOptions::new(args.size).huge(args.huge).create()?;
    let binding = request.bind(&memory)?;
    Ok((memory, binding))
}

fn mapping(parent_fd: OwnedFd, child_fd: i32) -> FdMapping {
    FdMapping {
        parent_fd,
        child_fd,
    }
}

fn command(args: &BindArgs, output: &BindOutput) -> Command {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]).envs([
        (env::DMABUF_FD, DMABUF_FD.to_string()),
        (env::MEMFD_FD, MEMFD_FD.to_string()),
        (env::ID, output.id.to_string()),
        (env::SIZE, output.size.to_string()),
        (env::DEV, output.device.clone()),
        (env::IFINDEX, output.ifindex.to_string()),
        (env::QUEUES, args.queues.to_string()),
    ]);
    let extra = [
        (&args.fd_env, DMABUF_FD.to_string()),
        (&args.memfd_env, MEMFD_FD.to_string()),
        (&args.id_env, output.id.to_string()),
    ];
    for (name, value) in extra {
        if let Some(name) = name {
            command.env(name, value);
        }
    }
    command
}

/// Waits for the command, and passes signals on to it meanwhile.
fn wait(mut child: Child, mut signals: SignalsInfo<WithOrigin>) -> io::Result<ExitStatus> {
    let handle = signals.handle();
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    thread::scope(|scope| {
        let forwarder = scope.spawn(|| {
            for origin in &mut signals {
                if is_for_us_alone(&origin) {
                    if let Ok(signal) = Signal::try_from(origin.signal) {
                        // It may have ended by now.
                        let _ = kill(pid, signal);
                    }
                }
            }
        });
        // Its number is not reaped, and so not used again, before the last
        // signal to it is out.
        let ended = wait_unreaped(pid);
        handle.close();
        let _ = forwarder.join();
        ended.and_then(|()| child.wait())
    })
}

fn wait_unreaped(pid: Pid) -> io::Result<()> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
}

/// What the terminal sends goes to all processes in front of it.
fn is_for_us_alone(origin: &Origin) -> bool {
    !matches!(origin.cause, Cause::Kernel)
}

/// As a shell has it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn status_of(script: &str) -> u8 {
        let signals = SignalsInfo::<WithOrigin>::new([SIGUSR2]).unwrap();
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        exit_code(wait(child, signals).unwrap())
    }

    #[test]
    fn the_exit_status_is_the_commands() {
        assert_eq!(status_of("exit 0"), 0);
        assert_eq!(status_of("exit 42"), 42);
        assert_eq!(status_of("kill -9 $$"), 137);
    }

    #[test]
    fn signals_reach_the_command() {
        let signals = SignalsInfo::<WithOrigin>::new([SIGUSR1]).unwrap();
        let mut child = Command::new("sh")
            .args([
                "-c",
                "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done",
            ])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(out), &mut line).unwrap();
        kill(Pid::this(), Signal::SIGUSR1).unwrap();
        let start = Instant::now();
        assert_eq!(exit_code(wait(child, signals).unwrap()), 7);
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
