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

/// Writes the counters of all ports.
pub fn write(hub: &Hub, path: &Path) -> io::Result<()> {
    let report = Report {
        unreachable: hub.unreachable(),
        ports: hub.ports().iter().map(|port| port.counters()).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&report)?;
    text.push(b'\n');
    replace(path, &text)
}

/// Writes a file so that whoever reads it sees either the old content or the
/// new one, whole.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    fs::write(&name, content)?;
    fs::rename(&name, path)
}
