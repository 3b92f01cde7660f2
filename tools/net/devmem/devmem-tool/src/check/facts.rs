// SPDX-License-Identifier: GPL-2.0
//! What is to be found out about an interface. Nothing is changed by it.

use std::fs;
use std::io;
use std::path::Path;

use devmem::netlink::{
    Channels, Feature, Link, Nic, Queue, QueueType, Rings, RssTable, interface_index,
};
use devmem::{Netdev, Result};

use super::probe::{Probe, probe};
use crate::args::CheckArgs;

/// The kernel's name for n-tuple rules.
const NTUPLE: &str = "rx-ntuple-filter";

/// What was found.
#[derive(Debug)]
pub struct Facts {
    /// The interface.
    pub dev: String,
    /// Its index.
    pub ifindex: u32,
    /// Its driver; nothing if it has no device.
    pub driver: Option<String>,
    /// Queues that are to be bound: those that were asked for, else the upper
    /// half of those that there are.
    pub queues: Vec<u32>,
    /// Bytes that are to be bound.
    pub size: u64,
    /// Bytes in a page.
    pub page: u64,
    /// What the kernel says to a request that it has to refuse.
    pub probe: Probe,
    /// The link.
    pub link: Result<Link>,
    /// Queue counts.
    pub channels: Result<Channels>,
    /// Who uses the RX queues.
    pub users: Result<Vec<Queue>>,
    /// Header split, among other things.
    pub rings: Result<Rings>,
    /// N-tuple rules.
    pub ntuple: Result<Feature>,
    /// Where traffic goes that no rule steers.
    pub rss: Result<RssTable>,
    /// `/dev/udmabuf`.
    pub udmabuf: Udmabuf,
}

/// `/dev/udmabuf`.
#[derive(Debug)]
pub struct Udmabuf {
    /// Whether it can be opened.
    pub open: io::Result<()>,
    /// Pieces that a dma-buf may be made of.
    pub list_limit: Option<u64>,
    /// MiB that it may have.
    pub size_limit_mb: Option<u64>,
}

impl Facts {
    /// Asks for everything.
    pub fn gather(args: &CheckArgs) -> Result<Self> {
        let ifindex = interface_index(&args.dev)?;
        let mut nic = Nic::new(ifindex);
        let channels = nic.channels();
        let users = Netdev::new().queues(ifindex).map(|mut queues| {
            queues.retain(|queue| queue.kind == QueueType::Rx);
            queues
        });
        let count = count(&channels, &users);
        let queues = match &args.queues {
            Some(queues) => queues.0.clone(),
            None => proposed(count.unwrap_or(0)),
        };
        // One that is not there would be refused for that.
        let there: Vec<u32> = queues
            .iter()
            .copied()
            .filter(|queue| count.is_none_or(|count| *queue < count))
            .collect();
        Ok(Self {
            dev: args.dev.clone(),
            ifindex,
            driver: driver(&args.dev),
            size: args.size,
            page: page_size(),
            probe: probe(ifindex, if there.is_empty() { &[0] } else { &there }),
            link: nic.link(),
            users,
            channels,
            queues,
            rings: nic.rings(),
            ntuple: nic.feature(NTUPLE),
            rss: nic.rss(),
            udmabuf: Udmabuf::look(),
        })
    }

    /// RX queues in use.
    pub fn count(&self) -> Option<u32> {
        count(&self.channels, &self.users)
    }
}

/// From `ethtool -l`; a driver without it may still list its queues.
fn count(channels: &Result<Channels>, users: &Result<Vec<Queue>>) -> Option<u32> {
    match (channels, users) {
        (Ok(channels), _) => Some(channels.rx_queues()),
        (Err(_), Ok(users)) if !users.is_empty() => u32::try_from(users.len()).ok(),
        _ => None,
    }
}

/// The upper half, and never queue 0: it is where unsteered traffic goes.
fn proposed(count: u32) -> Vec<u32> {
    ((count / 2).max(1)..count).collect()
}

fn driver(dev: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/class/net/{dev}/device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

fn page_size() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    page.and_then(|page| u64::try_from(page).ok())
        .unwrap_or(4096)
}

impl Udmabuf {
    fn look() -> Self {
        let parameter = |name: &str| {
            let path = Path::new("/sys/module/udmabuf/parameters").join(name);
            fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        Self {
            open: fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/udmabuf")
                .map(drop),
            list_limit: parameter("list_limit"),
            size_limit_mb: parameter("size_limit_mb"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_half_without_queue_0_is_proposed() {
        assert!(proposed(0).is_empty());
        assert!(proposed(1).is_empty());
        assert_eq!(proposed(2), [1]);
        assert_eq!(proposed(5), [2, 3, 4]);
        assert_eq!(proposed(8), [4, 5, 6, 7]);
    }
}
