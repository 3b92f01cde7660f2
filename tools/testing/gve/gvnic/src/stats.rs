// SPDX-License-Identifier: GPL-2.0
//! Counters, to a file.

use gve_device::Hub;
use gve_device::stats::PortCounters;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;

#[derive(Serialize)]
struct Report {
    /// Frames that the fabric could not bring anywhere.
    unreachable: u64,
    ports: Vec<PortCounters>,
}

/// Writes the counters of all ports. Whoever reads the file sees either this
/// report or the one before, whole.
pub fn write(hub: &Hub, path: &Path) -> io::Result<()> {
    let report = Report {
        unreachable: hub.unreachable(),
        ports: hub.ports().iter().map(|port| port.counters()).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&report)?;
    text.push(b'\n');
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    fs::write(&name, text)?;
    fs::rename(&name, path)
}
