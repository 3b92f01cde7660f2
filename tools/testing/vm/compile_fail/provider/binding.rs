// SPDX-License-Identifier: GPL-2.0

//! What the crates beside this one have in common: short names, and what a provider does that has
//! nothing to give.

#![allow(dead_code, unused_imports)]

pub(crate) use kernel::{
    net::{
        netdevice::NetDeviceGuard,
        netmem::{DmabufArea, Niov},
        page_pool::{MemoryProvider, PoolSetup, ProviderOps, Refill},
        rx_queue::{InstalledProvider, Uninstalled},
    },
    prelude::*,
    sync::ArcBorrow,
};

/// All of a provider but for its niovs.
macro_rules! nothing_else {
    () => {
        fn init(&self, _pool: &PoolSetup<'_>) -> Result {
            Ok(())
        }

        fn let_go(_this: ArcBorrow<'_, Self>) {}

        fn release(&self, _niov: &Niov) {}

        fn dmabuf_id(&self) -> u32 {
            1
        }

        fn uninstall(_this: ArcBorrow<'_, Self>, _queue: &Uninstalled<'_>) {}
    };
}
pub(crate) use nothing_else;

/// A provider.
pub(crate) struct Empty;

impl MemoryProvider for Empty {
    nothing_else!();

    fn alloc<'a>(&'a self, _pool: &mut Refill<'_, 'a>) {}
}

pub(crate) type Installed = InstalledProvider<Empty>;
