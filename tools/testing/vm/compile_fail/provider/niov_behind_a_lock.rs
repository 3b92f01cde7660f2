// SPDX-License-Identifier: GPL-2.0

//! A pool is given a niov whose area another thread may take away.
//@ E0597 `area` does not live long enough

mod binding;

use binding::*;
use kernel::sync::Mutex;

struct Binding {
    area: Pin<KBox<Mutex<Pin<KBox<DmabufArea>>>>>,
}

impl MemoryProvider for Binding {
    nothing_else!();

    fn alloc<'a>(&'a self, pool: &mut Refill<'_, 'a>) {
        let area = self.area.lock();
        for niov in area.niovs() {
            pool.push(niov);
        }
    }
}
