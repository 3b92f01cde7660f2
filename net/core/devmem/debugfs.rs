// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/net_devmem/ID/`: what a binding is and who holds its memory.
//!
//! A binding has its folder from bind until its memory is let go, which is after unbind if tokens
//! or packets are out. The files are for people and for the `devmem` tool; lines may be added.

use crate::{binding::Memory, provider, sockets};
use kernel::{
    debugfs::{Dir, Scope},
    fmt,
    prelude::*,
    str::CStr,
    sync::SetOnce,
};

/// The folder of all bindings.
static ROOT: SetOnce<Dir> = SetOnce::new();

/// Called once, before there is any binding.
pub(crate) fn init() {
    ROOT.populate(Dir::new(c"net_devmem"));
}

/// Puts `memory` into a scope in which it has its files. Process context, as its end.
///
/// No files is no error: debugfs may be off, or out of memory.
pub(crate) fn publish<'a>(
    name: &'a CStr,
    memory: impl PinInit<Memory, Error> + 'a,
) -> Result<impl PinInit<Scope<Memory>, Error> + 'a> {
    let root = ROOT.as_ref().ok_or(ENOMEM)?;
    Ok(root.scope(memory, name, |memory, dir| {
        dir.read_callback_file(c"info", memory, &info);
        dir.read_callback_file(c"sockets", memory, &holders);
    }))
}

fn info(memory: &Memory, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (area, buf) = (memory.pool.area(), memory.dma_buf());
    let (niovs, free) = (area.niovs().len(), memory.pool.available());
    let usage = provider::OPS.usage(area.dmabuf_id());
    let (bytes, frags) = area.received();

    writeln!(f, "id: {}", area.dmabuf_id())?;
    memory.place.lock().describe(f)?;
    f.write_fmt(fmt!("exporter: {}\n", buf.exporter_name()))?;
    writeln!(f, "dmabuf_inode: {}", buf.inode())?;
    writeln!(f, "size: {}", buf.size())?;
    writeln!(f, "chunks: {}", area.chunks())?;
    writeln!(f, "niov_size: {}", 1u64 << area.niov_shift())?;
    writeln!(f, "niovs: {niovs}")?;
    writeln!(f, "niovs_free: {free}")?;
    writeln!(f, "niovs_idle: {}", usage.idle)?;
    // The three are read one after the other, while niovs move.
    writeln!(f, "niovs_out: {}", niovs.saturating_sub(free + usage.idle))?;
    writeln!(f, "page_pools: {}", usage.pools)?;
    writeln!(f, "pools_detached: {}", usage.pools - usage.in_use)?;
    writeln!(f, "bytes_received: {bytes}")?;
    writeln!(f, "frags_received: {frags}")?;
    writeln!(f, "alloc_failures: {}", memory.alloc_failures())
}

fn holders(memory: &Memory, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "inode tokens oldest_s")?;
    sockets::list(memory.pool.area(), f)
}
