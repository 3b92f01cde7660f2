// SPDX-License-Identifier: GPL-2.0

//! A binding as the memory provider of page pools.

use crate::binding::Binding;
use kernel::{
    net::{
        netmem::Niov,
        page_pool::{MemoryProvider, PoolSetup, ProviderOps, Refill},
        rx_queue::Uninstalled,
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::ArcBorrow,
};

/// The one vtable, by whose address the net core knows this provider.
pub(crate) static OPS: ProviderOps<Binding> = ProviderOps::new();

impl MemoryProvider for Binding {
    fn init(&self, pool: &PoolSetup<'_>) -> Result {
        // A driver that fills its ring with other pieces would write past a niov's end.
        let shift = self.memory.pool.area().niov_shift() as usize;
        if PAGE_SHIFT.checked_add(pool.order() as usize) != Some(shift) {
            return Err(E2BIG);
        }
        self.mapped().add_user()
    }

    fn let_go(this: ArcBorrow<'_, Self>) {
        this.mapped().remove_user();
    }

    #[inline]
    fn alloc<'a>(&'a self, pool: &mut Refill<'_, 'a>) {
        let room = pool.room();

        self.memory.pool.alloc(room, |niov| pool.push(niov));
        if pool.room() == room && room != 0 {
            self.memory.count_alloc_failure();
        }
    }

    #[inline]
    fn release(&self, niov: &Niov) {
        // The page pool hands back what it was given.
        kernel::warn_on!(!self.memory.pool.release(niov));
    }

    fn dmabuf_id(&self) -> u32 {
        self.memory.pool.area().dmabuf_id()
    }

    fn uninstall(this: ArcBorrow<'_, Self>, queue: &Uninstalled<'_>) {
        this.forget_queue(queue);
    }
}
