// SPDX-License-Identifier: GPL-2.0
//! The dma-buf of a run: made, bound, mapped, and let go of at the end.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use devmem::{BindRx, Binding, DmabufMap, Netdev, Result, Udmabuf, UdmabufOptions};
use tracing::{debug, warn};

use crate::args::ServeArgs;

/// How often the page pools are looked at after unbinding.
const DRAIN_POLL: Duration = Duration::from_millis(100);

/// A bound dma-buf.
#[derive(Debug)]
pub struct Device {
    binding: Binding,
    map: DmabufMap,
    memory: Udmabuf,
    name: String,
    queues: Vec<u32>,
}

/// What was left of a binding after it was undone.
#[derive(Debug)]
pub struct Drained {
    /// The binding's id.
    pub dmabuf_id: u32,
    /// The interface's index.
    pub ifindex: u32,
    /// Niovs that did not come back; nothing if the kernel would not say.
    pub niovs_leaked: Option<u64>,
    /// Page pools that still hold the binding.
    pub pools_left: usize,
}

impl Device {
    /// Makes memory and binds it.
    pub fn bind(args: &ServeArgs, name: &str, queues: &[u32]) -> Result<Self> {
        let request = BindRx::to_interface(name)?.rx_queues(queues.iter().copied());
        let request = match args.rx_page_size {
            Some(bytes) => request.rx_page_size(bytes),
            None => request,
        };
        let memory = UdmabufOptions::new(args.size)
            .pieces(args.scatter)
            .huge(args.huge)
            .create()?;
        let map = memory.map()?;
        // The first access sets the exporter up; later ones, from several
        // threads, find it done.
        drop(map.begin_read()?);
        let binding = request.bind(&memory)?;
        debug!(id = binding.id(), name, ?queues, "bound");
        if let Some(warning) = binding.warning() {
            warn!("{warning}");
        }

        let pages = args.size / 4096;
        let held = (args.batch + args.keep as u64) * u64::from(args.flows.get());
        if held * 2 > pages {
            warn!("up to {held} of {pages} pages wait to be given back: the NIC may run dry");
        }
        Ok(Self {
            binding,
            map,
            memory,
            name: name.into(),
            queues: queues.into(),
        })
    }

    /// The binding's id.
    pub fn dmabuf_id(&self) -> u32 {
        self.binding.id()
    }

    /// The dma-buf, for reading.
    pub fn map(&self) -> &DmabufMap {
        &self.map
    }

    /// Unbinds, and waits until no page pool holds the binding any more.
    pub fn unbind(self, patience: Duration) -> Drained {
        let (dmabuf_id, ifindex) = (self.binding.id(), self.binding.ifindex());
        drop(self.binding);
        let mut netdev = Netdev::new();
        let deadline = Instant::now() + patience;
        let (niovs_leaked, pools_left) = loop {
            let pools = match netdev.page_pools() {
                Ok(pools) => pools,
                Err(err) => {
                    warn!("cannot tell whether niovs leaked: {err}");
                    break (None, 0);
                }
            };
            let ours: Vec<_> = pools
                .iter()
                .filter(|pool| pool.dmabuf == Some(dmabuf_id))
                .collect();
            if ours.is_empty() {
                break (Some(0), 0);
            }
            if Instant::now() >= deadline {
                warn!(?ours, "page pools still hold the binding");
                let out = ours.iter().filter_map(|pool| pool.inflight).sum();
                break (Some(out), ours.len());
            }
            thread::sleep(DRAIN_POLL);
        };
        Drained {
            dmabuf_id,
            ifindex,
            niovs_leaked,
            pools_left,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "dma-buf {} of {} MiB on {} queues {:?}",
            self.dmabuf_id(),
            self.memory.size() >> 20,
            self.name,
            self.queues
        )
    }
}
