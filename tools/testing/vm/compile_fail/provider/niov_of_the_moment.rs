// SPDX-License-Identifier: GPL-2.0

//! A pool is given a niov whose area is gone before the pool gives it back.
//@ E0597 `area` does not live long enough

mod binding;

use binding::*;

struct Binding;

impl MemoryProvider for Binding {
    nothing_else!();

    fn alloc<'a>(&'a self, pool: &mut Refill<'_, 'a>) {
        let Ok(area) = DmabufArea::new(1, 12, 1, [(0, 4096)].into_iter()) else {
            return;
        };
        for niov in area.niovs() {
            pool.push(niov);
        }
    }
}
