// SPDX-License-Identifier: GPL-2.0

//! Queue management of Google's virtual NIC, gVNIC, as part of the driver `gve`.
//!
//! | file | subject |
//! | --- | --- |
//! | [`queue`] | the ops: what is done in which order, and what if a step fails |
//! | [`ffi`] | what C calls, what it offers, and all `unsafe` of this crate |
//! | `gve_glue.c` | single steps, in the terms of the C driver |
//!
//! The rest of the driver is C: `drivers/net/ethernet/google/gve/`.

mod ffi;
mod queue;

use ffi::LocalModule;

/// What the kernel log says before messages of this crate.
const __LOG_PREFIX: &[u8] = b"gve\0";
