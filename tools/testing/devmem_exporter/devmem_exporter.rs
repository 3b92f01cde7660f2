// SPDX-License-Identifier: GPL-2.0

//! Test exporter of dma-bufs.
//!
//! `/dev/devmem_exporter` makes dma-bufs whose every detail is chosen by the test, and tells what
//! importers did with them; see the README beside this file and [`abi`] for the calls.
//!
//! Each open file of the device is a [`Session`](session::Session): it makes one buffer, and keeps
//! the [`Record`](record::Record) of it and the [`Memory`](memory::Memory), poisoned, when the
//! buffer is gone.

mod abi;
mod buffer;
mod memory;
mod record;
mod session;

use kernel::{
    miscdevice::{MiscDeviceOptions, MiscDeviceRegistration},
    prelude::*,
};
use session::Session;

module! {
    type: DevmemExporter,
    name: "devmem_exporter",
    authors: ["Device memory TCP in Rust"],
    description: "Test exporter of dma-bufs",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}

#[pin_data]
struct DevmemExporter {
    #[pin]
    device: MiscDeviceRegistration<Session>,
}

impl kernel::InPlaceModule for DevmemExporter {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let options = MiscDeviceOptions {
            name: c"devmem_exporter",
        };

        try_pin_init!(Self {
            device <- MiscDeviceRegistration::register(options),
        })
    }
}
