// SPDX-License-Identifier: GPL-2.0
//! Sockets, threads, and when the process ends.
//!
//! A thread per port speaks vfio-user and does what a doorbell asks for, up
//! to and including the delivery to another port; one more thread runs what
//! is due by time. The main thread waits for all of them to end.

use crate::backend::{self, Backend, Machine};
use crate::cli::{Options, Topology, mac_of};
use crate::orders::Orders;
use crate::pci::MsixLayout;
use crate::record::Recorder;
use crate::stats;
use crate::timer::Timer;
use gve_device::fault::{FaultSet, SpecError};
use gve_device::{DeviceConfig, Hub, Port};
use gve_net::fabric::{Switch, Wire};
use gve_net::{Fabric, PortId};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;
use vfio_user::Server;

/// How often counters are written.
const STATS_PERIOD: Duration = Duration::from_secs(1);

/// Why the server could not do its work.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A socket could not be made.
    #[error("cannot listen on {path}: {error}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A fault makes no sense.
    #[error(transparent)]
    Fault(#[from] SpecError),
    /// Signals or threads are not to be had.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

enum Event {
    Connected,
    Disconnected,
    Signal(i32),
}

/// Sockets that go when the process does.
struct Sockets(Vec<PathBuf>);

impl Drop for Sockets {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "socket is left behind");
            }
        }
    }
}

/// Serves until there is nothing left to serve.
pub fn serve(options: &Options) -> Result<(), ServeError> {
    let hub = Arc::new(build(options)?);
    let recorder = match &options.record {
        None => None,
        Some(path) => Some(Arc::new(Recorder::create(path).map_err(|error| {
            ServeError::Write {
                path: path.clone(),
                error,
            }
        })?)),
    };
    let timer = Arc::new(Timer::default());
    let (sender, receiver) = channel();
    watch_signals(sender.clone())?;
    let mut sockets = Sockets(Vec::new());
    let mut listeners = Vec::new();
    for path in &options.sockets {
        let listener = UnixListener::bind(path).map_err(|error| ServeError::Listen {
            path: path.clone(),
            error,
        })?;
        sockets.0.push(path.clone());
        listeners.push(listener);
    }
    {
        let (timer, hub, recorder) = (timer.clone(), hub.clone(), recorder.clone());
        thread::Builder::new()
            .name("timer".into())
            .spawn(move || timer.run(&hub, recorder.as_deref()))?;
    }
    if let Some(path) = &options.fault_file {
        let orders = Orders::new(path, options.seed, options.faults.clone());
        let (timer, hub) = (timer.clone(), hub.clone());
        thread::Builder::new()
            .name("orders".into())
            .spawn(move || orders.watch(&hub, || timer.schedule(Some(Instant::now()))))?;
    }
    let layout = MsixLayout::new(2 * u32::from(options.queues) + 1);
    for ((id, listener), port) in listeners.into_iter().enumerate().zip(hub.ports()) {
        let machine = Machine {
            hub: hub.clone(),
            timer: timer.clone(),
            recorder: recorder.clone(),
        };
        let backend = Backend::new(machine, id, port.clone(), layout);
        let (sender, persist) = (sender.clone(), options.persist);
        thread::Builder::new()
            .name(format!("port {id}"))
            .spawn(move || serve_port(id, listener, backend, layout, persist, &sender))?;
    }
    if let Some(path) = &options.ready_file {
        fs::write(path, b"").map_err(|error| ServeError::Write {
            path: path.clone(),
            error,
        })?;
    }
    tracing::info!(ports = options.sockets.len(), "listening");
    wait(&receiver, options, &hub);
    write_stats(&hub, options.stats.as_deref());
    if let Some(Err(error)) = recorder.map(|recorder| recorder.flush()) {
        tracing::warn!(%error, "recording is incomplete");
    }
    Ok(())
}

fn build(options: &Options) -> Result<Hub, ServeError> {
    let mut ports = Vec::new();
    for id in 0..options.sockets.len() {
        let usual = DeviceConfig::default();
        let config = DeviceConfig {
            mac: mac_of(options.mac_base, id),
            queues: options.queues,
            max_mtu: options.mtu,
            ring_max: options.ring_max,
            ring_default: options.ring_default.min(options.ring_max),
            tx_ring_min: usual.tx_ring_min.min(options.ring_max),
            rx_ring_min: options.rx_ring_min.min(options.ring_max),
            split_late: options.split_late,
            backlog: options.backlog,
            ..usual
        };
        let faults = FaultSet::build(&options.faults, id, options.seed)?;
        ports.push(Arc::new(Port::new(id, config, faults)));
    }
    let fabric: Box<dyn Fabric> = match options.topology {
        Topology::Wire => Box::new(Wire),
        Topology::Switch => Box::new(Switch::new(ports.len())),
    };
    Ok(Hub::new(ports, fabric))
}

fn watch_signals(sender: Sender<Event>) -> Result<(), ServeError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if sender.send(Event::Signal(signal)).is_err() {
                    break;
                }
            }
        })?;
    Ok(())
}

fn serve_port(
    id: PortId,
    listener: UnixListener,
    mut backend: Backend,
    layout: MsixLayout,
    persist: bool,
    sender: &Sender<Event>,
) {
    let waiting = match listener.try_clone() {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::error!(port = id, %error, "socket");
            let _ = sender.send(Event::Disconnected);
            return;
        }
    };
    let server = Server::from_owned_fd(
        OwnedFd::from(listener),
        true,
        backend::irqs(layout.vectors),
        backend::regions(layout),
    );
    loop {
        // The server says nothing when a client comes, so look beforehand.
        let mut ready = [PollFd::new(&waiting, PollFlags::IN)];
        while poll(&mut ready, None).is_err() {}
        if sender.send(Event::Connected).is_err() {
            return;
        }
        tracing::info!(port = id, "client connected");
        let result = server.run(&mut backend);
        backend.disconnect();
        match &result {
            Ok(()) => tracing::info!(port = id, "client gone"),
            Err(error) => tracing::warn!(port = id, %error, "client lost"),
        }
        if sender.send(Event::Disconnected).is_err() || !persist {
            return;
        }
    }
}

/// Waits for the end, and writes counters meanwhile.
fn wait(receiver: &Receiver<Event>, options: &Options, hub: &Hub) {
    let mut connected = 0usize;
    loop {
        match receiver.recv_timeout(STATS_PERIOD) {
            Ok(Event::Connected) => connected += 1,
            Ok(Event::Disconnected) => {
                connected = connected.saturating_sub(1);
                if connected == 0 && !options.persist {
                    return;
                }
            }
            Ok(Event::Signal(SIGUSR1)) | Err(RecvTimeoutError::Timeout) => {
                write_stats(hub, options.stats.as_deref());
            }
            Ok(Event::Signal(signal)) => {
                tracing::info!(signal, "ending");
                return;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn write_stats(hub: &Hub, path: Option<&Path>) {
    if let Some(path) = path {
        if let Err(error) = stats::write(hub, path) {
            tracing::warn!(path = %path.display(), %error, "counters are not written");
        }
    }
}
