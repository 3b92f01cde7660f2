// SPDX-License-Identifier: GPL-2.0

//! Device memory TCP: payload of received TCP segments lands in a dma-buf.
//!
//! | module | subject |
//! | --- | --- |
//! | [`netlink`] | `bind-rx`, and the bindings that a netlink socket owns |
//! | [`request`] | what a `bind-rx` asks for, and what of it to blame for a failure |
//! | [`explain`] | why a queue can't be bound |
//! | [`enough`] | whether a dma-buf has enough niovs for its queues |
//! | [`binding`] | a mapped dma-buf on its queues, from bind to the last reference |
//! | [`mapped`] | the mapping of a dma-buf, for as long as hardware has a use for it |
//! | [`users`] | who has hardware use a mapping: a count |
//! | [`place`] | the device and the queues that a binding is on |
//! | [`ids`] | the ids that user space knows bindings by |
//! | [`genpool`] | which niovs of a binding are free |
//! | [`provider`] | the memory provider that page pools draw from |
//! | [`recv`] | `recvmsg`: a packet in device memory as control messages |
//! | [`tokens`] | the table behind the tokens of a socket |
//! | [`release`] | `SO_DEVMEM_DONTNEED` |
//! | [`sockets`] | the sockets that hold tokens |
//! | [`debugfs`] | what a binding is and who holds its memory, for people |
//! | [`ffi`] | what the C net core calls, and all `unsafe` of this crate |
//!
//! The way of a piece of memory: [`genpool`], [`provider`], the page pool of a queue, the NIC, an
//! skb, [`recv`], which makes it a token, user space, [`release`], and the page pool again, which
//! keeps it for the next packet or, when the pool ends, gives it back to [`genpool`].
//!
//! C header: [`include/net/devmem_rust.h`](srctree/include/net/devmem_rust.h)

mod binding;
mod debugfs;
mod enough;
mod explain;
mod ffi;
mod genpool;
mod ids;
mod mapped;
mod netlink;
mod place;
mod provider;
mod recv;
mod release;
mod request;
mod sockets;
mod tokens;
mod users;

use kernel::prelude::*;

module! {
    type: Devmem,
    name: "net_devmem",
    authors: ["Device memory TCP in Rust"],
    description: "Device memory TCP",
    license: "GPL",
}

/// What there is one of, for all bindings and sockets, is made when the kernel starts, before it
/// has user space that could ask for it.
struct Devmem;

impl kernel::Module for Devmem {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        ids::init()?;
        mapped::init()?;
        sockets::init()?;
        debugfs::init();
        Ok(Self)
    }
}
