// SPDX-License-Identifier: GPL-2.0
//! Whose socket is it? /proc/PID/fd names sockets by their inodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use procfs::net::TcpNetEntry;
use procfs::process::{self, FDTarget};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Socket, Source};

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its name, as in /proc/PID/comm.
    pub comm: String,
    /// The descriptor.
    pub fd: i32,
}

/// The processes of some sockets, and these sockets' addresses.
#[derive(Debug, Default)]
pub struct Holders {
    processes: BTreeMap<u64, Vec<Process>>,
    addresses: BTreeMap<u64, TcpNetEntry>,
    /// Processes that could not be looked into.
    denied: usize,
    /// Wanted sockets that nobody was found for.
    without: usize,
}

impl Holders {
    /// Walks through /proc for these inodes.
    pub fn find(mut wanted: BTreeSet<u64>) -> Self {
        let mut found = Self::default();
        wanted.remove(&0);
        if wanted.is_empty() {
            return found;
        }
        let mut seen_netns = BTreeSet::new();
        for process in process::all_processes().into_iter().flatten() {
            // It may end at any time; then it holds nothing.
            let Ok(process) = process else { continue };
            let Ok(fds) = process.fd() else {
                found.denied += usize::from(process.is_alive());
                continue;
            };
            let mut ours = Vec::new();
            for fd in fds.flatten() {
                if let FDTarget::Socket(inode) = fd.target {
                    if wanted.contains(&inode) {
                        ours.push((inode, fd.fd));
                    }
                }
            }
            if ours.is_empty() {
                continue;
            }
            let comm = process.stat().map(|stat| stat.comm).unwrap_or_default();
            for (inode, fd) in ours {
                found.processes.entry(inode).or_default().push(Process {
                    pid: process.pid,
                    comm: comm.clone(),
                    fd,
                });
            }
            if netns_of(process.pid).is_none_or(|netns| seen_netns.insert(netns)) {
                found.read_addresses(&process, &wanted);
            }
        }
        found.without = wanted.len() - found.processes.len();
        found
    }

    /// The TCP sockets of a process's network namespace.
    fn read_addresses(&mut self, process: &process::Process, wanted: &BTreeSet<u64>) {
        let tables = [process.tcp(), process.tcp6()];
        for entry in tables.into_iter().flatten().flatten() {
            if wanted.contains(&entry.inode) {
                self.addresses.insert(entry.inode, entry);
            }
        }
    }

    /// Adds what is known of a socket.
    pub fn describe(&self, socket: &mut Socket) {
        if let Some(processes) = self.processes.get(&socket.inode) {
            socket.processes.clone_from(processes);
        }
        if let Some(entry) = self.addresses.get(&socket.inode) {
            socket.local = Some(entry.local_address.to_string());
            socket.remote = Some(entry.remote_address.to_string());
            socket.tcp_state = Some(format!("{:?}", entry.state).to_uppercase());
        }
    }

    /// Whether all processes could be looked into. Those that could not are of
    /// no interest if every socket has its process.
    pub fn source(&self) -> Source {
        if self.denied == 0 || self.without == 0 {
            return Source::complete("proc");
        }
        Source::incomplete(
            "proc",
            &format!(
                "{} processes could not be looked into: {} sockets may be theirs",
                self.denied, self.without
            ),
            "other users' processes are for root: sudo devmem",
        )
    }
}

/// Inode of the network namespace of a process.
fn netns_of(pid: i32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net"))
        .ok()
        .map(|file| file.ino())
}

/// Inode of the caller's network namespace.
pub fn own_netns() -> Option<u64> {
    fs::metadata("/proc/self/ns/net")
        .ok()
        .map(|file| file.ino())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    fn inode(stream: &TcpStream) -> u64 {
        let link = fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
        let name = link.to_str().unwrap();
        name.trim_start_matches("socket:[")
            .trim_end_matches(']')
            .parse()
            .unwrap()
    }

    #[test]
    fn finds_this_process_and_both_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let inode = inode(&client);
        let holders = Holders::find(BTreeSet::from([0, inode, 1]));
        let mut socket = Socket {
            inode,
            tokens: 1,
            oldest_seconds: 0.0,
            local: None,
            remote: None,
            tcp_state: None,
            processes: vec![],
        };
        holders.describe(&mut socket);
        let me = &socket.processes[0];
        assert_eq!(me.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(me.fd, client.as_raw_fd());
        assert!(!me.comm.is_empty());
        assert_eq!(socket.local, Some(client.local_addr().unwrap().to_string()));
        assert_eq!(socket.remote, Some(client.peer_addr().unwrap().to_string()));
        assert_eq!(socket.tcp_state.as_deref(), Some("ESTABLISHED"));
        // Socket 1 is nobody's.
        assert_eq!(holders.without, 1);
        assert!(own_netns().is_some());
    }
}
