// SPDX-License-Identifier: GPL-2.0
//! The `netdev` generic netlink family: binding a dma-buf to RX queues, and
//! looking at queues and page pools. With the feature `nic` also what a NIC is
//! set to.

mod bind;
mod dump;
mod error;
mod exchange;
#[cfg(feature = "nic")]
mod nic;
mod request;

pub use bind::{BindRx, Binding, BindingAttribute};
pub use dump::{Netdev, PagePool, Queue, RxCount};
pub use error::{BadAttribute, MissingAttribute, NetlinkError, errno_name};
#[cfg(feature = "nic")]
pub use nic::{Channels, Feature, Link, Nic, Rings, RssTable, XdpMode};

use crate::error::{Error, Result};

/// The direction of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// Receive.
    Rx,
    /// Transmit.
    Tx,
}

impl QueueType {
    /// `NETDEV_QUEUE_TYPE_*`.
    pub fn number(self) -> u32 {
        match self {
            Self::Rx => 0,
            Self::Tx => 1,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Rx),
            1 => Some(Self::Tx),
            _ => None,
        }
    }
}

/// Looks an interface's index up, in the caller's network namespace.
///
/// # Errors
/// [`Error::NoInterface`].
pub fn interface_index(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name).map_err(|_| Error::NoInterface { name: name.into() })
}

/// The name of an interface, in the caller's network namespace.
pub fn interface_name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    Some(name.to_string_lossy().into_owned())
}
