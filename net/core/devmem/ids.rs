// SPDX-License-Identifier: GPL-2.0

//! The ids that user space knows bindings by.

use kernel::{
    cyclic_ids::{CyclicId, CyclicIds},
    prelude::*,
    sync::SetOnce,
};

static IDS: SetOnce<Pin<KBox<CyclicIds>>> = SetOnce::new();

/// Called once, before there is any binding.
pub(crate) fn init() -> Result {
    IDS.populate(KBox::pin_init(CyclicIds::new(), GFP_KERNEL)?);
    Ok(())
}

/// An id that no other binding has. Free again when dropped.
///
/// Ids go up and wrap around, so one is not used again soon after its binding has ended. Zero is
/// never given.
pub(crate) struct Id(CyclicId<'static>);

impl Id {
    /// Reserves an id. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let ids = IDS.as_ref().ok_or(ENOMEM)?;
        Ok(Self(ids.reserve(GFP_KERNEL)?))
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.get()
    }
}
