// SPDX-License-Identifier: GPL-2.0
//! The bindings of the system, put together from netlink and debugfs.

mod debugfs;
mod holders;

use std::collections::BTreeMap;
use std::path::Path;

use devmem::Netdev;
use devmem::netlink::{PagePool, Queue, QueueType, interface_name};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::Failed;
pub use holders::{Holders, Process};

/// A dma-buf that is, or was, bound to RX queues. What could not be found out
/// is null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Binding {
    /// The kernel's number for it.
    pub id: u32,
    /// Whether it is on its queues.
    pub state: State,
    /// The interface's name; null when it is gone, or of another network
    /// namespace whose names debugfs does not tell.
    pub device: Option<String>,
    /// The interface's index.
    pub ifindex: Option<u32>,
    /// Inode of the interface's network namespace.
    pub netns: Option<u64>,
    /// That is the caller's.
    pub netns_is_ours: bool,
    /// The bound RX queues.
    pub queues: Vec<u32>,
    /// Who exported the dma-buf.
    pub exporter: Option<String>,
    /// Inode of the dma-buf, as in /sys/kernel/debug/dma_buf/bufinfo.
    pub dmabuf_inode: Option<u64>,
    /// Bytes.
    pub size: Option<u64>,
    /// Runs of consecutive addresses, as the device sees the memory.
    pub chunks: Option<u64>,
    /// Where the memory is.
    pub niovs: Niovs,
    /// What was received.
    pub received: Received,
    /// The page pools that draw from it, of the caller's network namespace.
    pub page_pools: Vec<Pool>,
    /// How many there are.
    pub page_pool_count: Option<u64>,
    /// Sockets that hold its memory; null if that cannot be seen.
    pub sockets: Option<Vec<Socket>>,
}

/// Whether a binding is on its queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    #[default]
    Bound,
    /// No more, but memory of it is still held.
    Unbound,
}

/// Where a binding's niovs are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Niovs {
    /// Bytes in one.
    pub size: Option<u64>,
    /// All.
    pub total: Option<u64>,
    /// In the binding's pool, for any queue.
    pub free: Option<u64>,
    /// In the caches of page pools, for one queue.
    pub idle: Option<u64>,
    /// In the NIC's rings, in packets, or held by programs.
    pub out: Option<u64>,
    /// Not free: idle and out together. Without debugfs, what the page pools
    /// say that they have taken.
    pub used: Option<u64>,
}

/// Counters of what came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Received {
    /// Payload in the dma-buf, in bytes.
    pub bytes: Option<u64>,
    /// Pieces of it.
    pub frags: Option<u64>,
    /// Times that a queue asked for a niov and none was left.
    pub alloc_failures: Option<u64>,
}

/// A page pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pool {
    /// The kernel's number for it.
    pub id: u64,
    /// The NAPI instance that it serves.
    pub napi_id: Option<u32>,
    /// Niovs that it has taken and not given back.
    pub inflight: Option<u64>,
    /// Seconds since boot when its queue let go of it; null while it is in use.
    pub detach_time: Option<u64>,
}

/// A TCP socket that holds memory.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Socket {
    /// Its inode; 0 if it was closed and lives on to send what is left.
    pub inode: u64,
    /// Tokens that it holds: frags that were received and not given back.
    pub tokens: u64,
    /// Age of the oldest in seconds.
    pub oldest_seconds: f64,
    /// This end, as ADDRESS:PORT.
    pub local: Option<String>,
    /// The other end.
    pub remote: Option<String>,
    /// Its TCP state.
    pub tcp_state: Option<String>,
    /// Who has it open.
    pub processes: Vec<Process>,
}

/// Somewhere that facts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Source {
    /// `netlink`, `debugfs` or `proc`.
    pub name: &'static str,
    /// All of it could be read.
    pub complete: bool,
    /// What is missing, and why.
    pub missing: Option<String>,
    /// What may help.
    pub hint: Option<String>,
}

impl Source {
    fn complete(name: &'static str) -> Self {
        Self {
            name,
            complete: true,
            missing: None,
            hint: None,
        }
    }

    fn incomplete(name: &'static str, missing: &str, hint: &str) -> Self {
        Self {
            name,
            complete: false,
            missing: Some(missing.into()),
            hint: Some(hint.into()),
        }
    }
}

/// All bindings, and what could not be seen of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Sorted by id.
    pub bindings: Vec<Binding>,
    /// Where they come from.
    pub sources: Vec<Source>,
}

/// Whether to walk through /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// Find out whose sockets they are.
    Find,
    /// Leave that out.
    Leave,
}

/// Looks at all bindings.
pub fn snapshot(netdev: &mut Netdev, processes: Processes) -> anyhow::Result<Snapshot> {
    let failed = |err| Failed::new(&err, "");
    let queues = netdev.all_queues().map_err(failed)?;
    let pools = netdev.page_pools().map_err(failed)?;
    let look = debugfs::read(Path::new(debugfs::FOLDER))?;
    let mut snapshot = put_together(&queues, &pools, look, holders::own_netns());
    for binding in &mut snapshot.bindings {
        if binding.device.is_none() && binding.netns_is_ours {
            binding.device = binding.ifindex.and_then(interface_name);
        }
    }
    if processes == Processes::Find {
        let wanted = snapshot
            .bindings
            .iter()
            .flat_map(|binding| binding.sockets.iter().flatten())
            .map(|socket| socket.inode);
        let holders = Holders::find(wanted.collect());
        for binding in &mut snapshot.bindings {
            for socket in binding.sockets.iter_mut().flatten() {
                holders.describe(socket);
            }
        }
        snapshot.sources.push(holders.source());
    }
    Ok(snapshot)
}

/// Merges what netlink and debugfs say.
fn put_together(
    queues: &[Queue],
    pools: &[PagePool],
    look: debugfs::Look,
    own_netns: Option<u64>,
) -> Snapshot {
    let mut bindings: BTreeMap<u32, Binding> = BTreeMap::new();
    let (debugfs, source) = match look {
        debugfs::Look::Found(entries) => (Some(entries), Source::complete("debugfs")),
        debugfs::Look::Absent => (
            None,
            Source::incomplete(
                "debugfs",
                "no /sys/kernel/debug/net_devmem: sizes, counters and sockets cannot be seen",
                "it takes a kernel with CONFIG_NET_DEVMEM_RUST, and debugfs: \
                 mount -t debugfs none /sys/kernel/debug",
            ),
        ),
        debugfs::Look::Denied => (
            None,
            Source::incomplete(
                "debugfs",
                "/sys/kernel/debug is not ours to read: sizes, counters and sockets cannot be seen",
                "debugfs is root's: sudo devmem",
            ),
        ),
    };
    let has_debugfs = debugfs.is_some();
    for entry in debugfs.into_iter().flatten() {
        let binding = from_debugfs(entry, own_netns);
        bindings.insert(binding.id, binding);
    }
    for queue in queues {
        let Some(id) = queue.dmabuf.filter(|_| queue.kind == QueueType::Rx) else {
            continue;
        };
        let binding = bindings.entry(id).or_insert_with(|| Binding {
            id,
            state: State::Bound,
            netns: own_netns,
            ..Default::default()
        });
        binding.ifindex.get_or_insert(queue.ifindex);
        binding.netns_is_ours = true;
        if !binding.queues.contains(&queue.id) {
            binding.queues.push(queue.id);
        }
    }
    for pool in pools {
        let Some(id) = pool.dmabuf else { continue };
        let binding = bindings.entry(id).or_insert_with(|| Binding {
            id,
            // No queue names it any more.
            state: State::Unbound,
            netns: own_netns,
            ..Default::default()
        });
        binding.netns_is_ours = true;
        binding.ifindex = binding.ifindex.or(pool.ifindex);
        binding.page_pools.push(Pool {
            id: pool.id,
            napi_id: pool.napi_id,
            inflight: pool.inflight,
            detach_time: pool.detach_time,
        });
    }
    let mut bindings: Vec<_> = bindings.into_values().collect();
    for binding in &mut bindings {
        binding.queues.sort_unstable();
        binding.page_pools.sort_unstable_by_key(|pool| pool.id);
        if !has_debugfs {
            let taken = binding.page_pools.iter().filter_map(|pool| pool.inflight);
            binding.niovs.used = Some(taken.sum());
            binding.page_pool_count = Some(binding.page_pools.len() as u64);
        }
    }
    Snapshot {
        bindings,
        sources: vec![Source::complete("netlink"), source],
    }
}

fn from_debugfs(entry: debugfs::Entry, own_netns: Option<u64>) -> Binding {
    let info = entry.info;
    let used = info
        .niovs
        .zip(info.niovs_free)
        .map(|(all, free)| all.saturating_sub(free));
    Binding {
        id: info.id,
        state: match info.bound {
            Some(false) => State::Unbound,
            _ => State::Bound,
        },
        device: info.device,
        ifindex: info.ifindex,
        netns: info.netns,
        netns_is_ours: info.netns.is_some() && info.netns == own_netns,
        queues: info.queues,
        exporter: info.exporter,
        dmabuf_inode: info.dmabuf_inode,
        size: info.size,
        chunks: info.chunks,
        niovs: Niovs {
            size: info.niov_size,
            total: info.niovs,
            free: info.niovs_free,
            idle: info.niovs_idle,
            out: info.niovs_out,
            used,
        },
        received: Received {
            bytes: info.bytes_received,
            frags: info.frags_received,
            alloc_failures: info.alloc_failures,
        },
        page_pools: Vec::new(),
        page_pool_count: info.page_pools,
        sockets: Some(
            entry
                .sockets
                .into_iter()
                .map(|socket| Socket {
                    inode: socket.inode,
                    tokens: socket.tokens,
                    oldest_seconds: socket.oldest.as_secs_f64(),
                    local: None,
                    remote: None,
                    tcp_state: None,
                    processes: Vec::new(),
                })
                .collect(),
        ),
    }
}

impl Binding {
    /// The interface, for people: its name, else its index.
    pub fn place(&self) -> String {
        match (&self.device, self.ifindex) {
            (Some(name), _) => name.clone(),
            (None, Some(ifindex)) => format!("#{ifindex}"),
            (None, None) => "-".into(),
        }
    }

    /// It is on this interface of the caller's network namespace.
    pub fn is_on(&self, ifindex: u32) -> bool {
        self.netns_is_ours && self.ifindex == Some(ifindex)
    }
}

impl Snapshot {
    /// Prints to the error output what could not be seen.
    pub fn complain(&self) {
        for source in self.sources.iter().filter(|source| !source.complete) {
            if let Some(missing) = &source.missing {
                eprintln!("devmem: {missing}");
            }
            if let Some(hint) = &source.hint {
                eprintln!("devmem: {hint}");
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    fn queue(id: u32, dmabuf: Option<u32>) -> Queue {
        Queue {
            id,
            ifindex: 2,
            kind: QueueType::Rx,
            napi_id: None,
            dmabuf,
            io_uring: false,
            xsk: false,
            leased: false,
        }
    }

    fn pool(id: u64, dmabuf: Option<u32>, inflight: u64) -> PagePool {
        PagePool {
            id,
            ifindex: Some(2),
            napi_id: None,
            inflight: Some(inflight),
            inflight_mem: None,
            detach_time: None,
            dmabuf,
        }
    }

    fn entry(id: u32, netns: u64) -> debugfs::Entry {
        debugfs::Entry {
            info: debugfs::Info {
                id,
                bound: Some(true),
                netns: Some(netns),
                ifindex: Some(2),
                device: Some("gve0".into()),
                queues: vec![2, 3],
                niovs: Some(1000),
                niovs_free: Some(600),
                niovs_idle: Some(100),
                niovs_out: Some(300),
                page_pools: Some(2),
                bytes_received: Some(7),
                ..Default::default()
            },
            sockets: vec![debugfs::Socket {
                inode: 5,
                tokens: 6,
                oldest: Duration::from_secs(7),
            }],
        }
    }

    #[test]
    fn without_debugfs_queues_and_pools_tell() {
        let queues = [queue(0, None), queue(3, Some(9)), queue(2, Some(9))];
        let pools = [
            pool(1, None, 5),
            pool(7, Some(9), 1024),
            pool(6, Some(9), 10),
            pool(8, Some(4), 3),
        ];
        let snapshot = put_together(&queues, &pools, debugfs::Look::Absent, Some(1));
        assert_eq!(snapshot.bindings.len(), 2);
        let [left, bound] = &snapshot.bindings[..] else {
            panic!()
        };
        assert_eq!((bound.id, bound.state), (9, State::Bound));
        assert_eq!((bound.ifindex, &bound.queues[..]), (Some(2), &[2, 3][..]));
        assert_eq!(bound.niovs.used, Some(1034));
        assert_eq!(
            (bound.niovs.total, bound.size, &bound.sockets),
            (None, None, &None)
        );
        assert_eq!(
            (left.id, left.state, left.niovs.used),
            (4, State::Unbound, Some(3))
        );
        let debugfs = &snapshot.sources[1];
        assert!(!debugfs.complete && debugfs.hint.as_ref().unwrap().contains("mount"));
    }

    #[test]
    fn with_debugfs_other_namespaces_are_seen_too() {
        let queues = [queue(2, Some(3)), queue(3, Some(3))];
        let pools = [pool(6, Some(3), 200), pool(7, Some(3), 200)];
        let look = debugfs::Look::Found(vec![entry(3, 1), entry(4, 2)]);
        let snapshot = put_together(&queues, &pools, look, Some(1));
        let [ours, theirs] = &snapshot.bindings[..] else {
            panic!()
        };
        assert_eq!(ours.queues, [2, 3]);
        assert!(ours.is_on(2) && !ours.is_on(3));
        assert_eq!(ours.niovs.used, Some(400));
        assert_eq!((ours.page_pools.len(), ours.page_pool_count), (2, Some(2)));
        assert_eq!(ours.sockets.as_ref().unwrap()[0].tokens, 6);
        assert!(!theirs.netns_is_ours && !theirs.is_on(2));
        assert_eq!(theirs.place(), "gve0");
        assert!(snapshot.sources.iter().all(|source| source.complete));
    }

    #[test]
    fn no_permission_is_said() {
        let snapshot = put_together(&[], &[], debugfs::Look::Denied, None);
        assert!(
            snapshot.sources[1]
                .missing
                .as_ref()
                .unwrap()
                .contains("not ours")
        );
    }

    /// A binding for tests elsewhere.
    pub(crate) fn sample() -> Binding {
        from_debugfs(entry(3, 1), Some(1))
    }
}
