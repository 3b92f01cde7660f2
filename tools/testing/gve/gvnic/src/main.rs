// SPDX-License-Identifier: GPL-2.0
//! `gvnic`: an emulated Google Virtual NIC behind vfio-user sockets.
//!
//! | module | what |
//! | --- | --- |
//! | [`cli`] | the command line |
//! | [`server`] | sockets, threads, and when the process ends |
//! | [`backend`] | one vfio-user connection: regions, interrupts, DMA |
//! | [`pci`] | configuration space and the shape of the BARs |
//! | [`dma`] | the guest's memory, from the file descriptors it came in |
//! | [`vectors`] | MSI-X vectors: event file descriptors |
//! | [`timer`] | the thread that lets time pass for the device |
//! | [`orders`] | faults that come while the device runs |
//! | [`stats`] | counters, to a file |
//! | [`record`] | all that crosses between guest and device, to a file |

mod backend;
mod cli;
mod dma;
mod orders;
mod pci;
mod record;
mod server;
mod stats;
mod timer;
mod vectors;

use std::process::ExitCode;

fn main() -> ExitCode {
    let options = cli::parse();
    cli::start_log(&options);
    match server::serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
