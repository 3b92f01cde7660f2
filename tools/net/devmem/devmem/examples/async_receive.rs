// SPDX-License-Identifier: GPL-2.0
//! Receives TCP streams on one thread with tokio, and says what came: an
//! example of [`AsyncReceiver`], and what the kselftest `tool.py` runs.
//!
//! ```text
//! devmem bind --dev eth0 --queues 6,7 --size 64M -- \
//!     async_receive 192.0.2.1:5201 FLOWS [DELAY_MS]
//! ```
//!
//! takes the binding from `devmem bind`, accepts FLOWS connections, and prints
//! a line of JSON for each when it has ended, and before them one with the port
//! that it listens on (port 0 takes a free one). Each connection has two tasks:
//! one receives; the other, at the end of a queue, reads what lies in the
//! dma-buf and drops the frags, each time after DELAY_MS milliseconds.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use devmem::{AsyncReceiver, DmabufMap, Frag, Inherited, Piece, ReceiveBuffer, Receiver};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Room for pieces between the two tasks: it limits what is held.
const QUEUE: usize = 64;
/// Tokens that go back together.
const BATCH: u64 = 32;
/// Give up when nothing comes for this long.
const SILENCE: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error + Send + Sync>;

/// A piece on its way to the reader.
enum Part {
    Device(Frag),
    Host(Vec<u8>),
}

/// What came by one connection.
#[derive(Default)]
struct Seen {
    crc: crc32fast::Hasher,
    device: u64,
    host: u64,
    frags: u64,
    foreign: u64,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: async_receive ADDR:PORT FLOWS [DELAY_MS]";
    let address = arguments.next().ok_or(usage)?;
    let flows: usize = arguments.next().ok_or(usage)?.parse()?;
    let delay = arguments.next().map_or(Ok(0), |delay| delay.parse())?;
    let delay = Duration::from_millis(delay);
    let inherited = Inherited::take()?.ok_or("run it with: devmem bind … -- async_receive …")?;

    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(&address, flows, delay, &inherited))
}

async fn serve(
    address: &str,
    flows: usize,
    delay: Duration,
    inherited: &Inherited,
) -> Result<(), Failure> {
    let map = Arc::new(inherited.map()?);
    let listener = TcpListener::bind(address).await?;
    let port = listener.local_addr()?.port();
    println!("{}", json!({"port": port, "dmabuf_id": inherited.id()}));
    let mut connections = JoinSet::new();
    for _ in 0..flows {
        let (stream, _) = timeout(SILENCE, listener.accept()).await??;
        // It leaves tokio's own care: the receiver registers it.
        let stream = stream.into_std()?;
        connections.spawn(receive(stream, map.clone(), inherited.id(), delay));
    }
    while let Some(ended) = connections.join_next().await {
        println!("{}", ended??);
    }
    Ok(())
}

/// Receives one connection to its end.
async fn receive(
    stream: std::net::TcpStream,
    map: Arc<DmabufMap>,
    id: u32,
    delay: Duration,
) -> Result<serde_json::Value, Failure> {
    let peer = stream.peer_addr()?;
    let receiver = AsyncReceiver::from_receiver(Receiver::new(stream).batch(BATCH))?;
    let (sender, parts) = mpsc::channel(QUEUE);
    let reader = tokio::spawn(read(parts, map, id, delay));
    let mut buffer = ReceiveBuffer::new(256 << 10, 64);
    let mut calls = 0u64;
    loop {
        let received = timeout(SILENCE, receiver.recv(&mut buffer)).await??;
        if received.is_end() {
            break;
        }
        calls += 1;
        for piece in received {
            let part = match piece {
                Piece::Dmabuf(frag) => Part::Device(frag),
                Piece::Linear(bytes) | Piece::Host(bytes) => Part::Host(bytes.to_vec()),
            };
            if sender.send(part).await.is_err() {
                // The reader has failed, and says why below.
                break;
            }
        }
    }
    drop(sender);
    let seen = reader.await??;
    receiver.receiver().flush()?;
    let stats = receiver.receiver().stats();
    Ok(json!({
        "peer": peer.to_string(),
        "crc32": seen.crc.finalize(),
        "bytes_devmem": seen.device,
        "bytes_host": seen.host,
        "frags": seen.frags,
        "foreign": seen.foreign,
        "recv_calls": calls,
        "tokens_released": stats.tokens_released,
        "tokens_unknown": stats.tokens_unknown,
        "release_calls": stats.release_calls,
    }))
}

/// Reads pieces in stream order; a frag goes back when it has been read.
async fn read(
    mut parts: mpsc::Receiver<Part>,
    map: Arc<DmabufMap>,
    id: u32,
    delay: Duration,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let mut bytes = Vec::new();
    while let Some(part) = parts.recv().await {
        if !delay.is_zero() {
            sleep(delay).await;
        }
        match part {
            Part::Device(frag) => {
                bytes.clear();
                map.begin_read()?.append_frag(&frag, &mut bytes)?;
                seen.crc.update(&bytes);
                seen.device += frag.len() as u64;
                seen.frags += 1;
                seen.foreign += u64::from(frag.dmabuf_id() != id);
            }
            Part::Host(bytes) => {
                seen.crc.update(&bytes);
                seen.host += bytes.len() as u64;
            }
        }
    }
    Ok(seen)
}
