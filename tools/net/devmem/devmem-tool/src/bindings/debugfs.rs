// SPDX-License-Identifier: GPL-2.0
//! `/sys/kernel/debug/net_devmem/`: a folder for each binding, named by its
//! id, with the files `info` and `sockets`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;

/// Where it is.
pub const FOLDER: &str = "/sys/kernel/debug/net_devmem";

/// The file `info`. A field that the kernel does not have is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// The binding.
    pub id: u32,
    /// `bound`, or `unbound` while memory is still held.
    pub bound: Option<bool>,
    /// Inode of the network namespace.
    pub netns: Option<u64>,
    /// The interface.
    pub ifindex: Option<u32>,
    /// Its name; empty when it is gone.
    pub device: Option<String>,
    /// Its bound RX queues.
    pub queues: Vec<u32>,
    /// Who exported the dma-buf.
    pub exporter: Option<String>,
    /// Inode of the dma-buf.
    pub dmabuf_inode: Option<u64>,
    /// Bytes.
    pub size: Option<u64>,
    /// Runs of consecutive addresses that the device sees.
    pub chunks: Option<u64>,
    /// Bytes in a niov.
    pub niov_size: Option<u64>,
    /// Niovs in all.
    pub niovs: Option<u64>,
    /// … in the binding's pool.
    pub niovs_free: Option<u64>,
    /// … in the caches of page pools.
    pub niovs_idle: Option<u64>,
    /// … in the NIC's rings, in packets, or held by tokens.
    pub niovs_out: Option<u64>,
    /// Page pools that draw from it.
    pub page_pools: Option<u64>,
    /// Payload that was received into it.
    pub bytes_received: Option<u64>,
    /// Pieces of it.
    pub frags_received: Option<u64>,
    /// Times that no niov was left.
    pub alloc_failures: Option<u64>,
}

/// A line of the file `sockets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its inode; 0 if it has no owner any more.
    pub inode: u64,
    /// Tokens that it holds.
    pub tokens: u64,
    /// Age of the oldest.
    pub oldest: Duration,
}

/// A binding as debugfs has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file `info`.
    pub info: Info,
    /// The file `sockets`.
    pub sockets: Vec<Socket>,
}

/// What came of looking.
#[derive(Debug)]
pub enum Look {
    /// The bindings.
    Found(Vec<Entry>),
    /// The folder is not there.
    Absent,
    /// It is not ours to read.
    Denied,
}

/// Reads all bindings.
///
/// # Errors
/// A file that is not as it should be.
pub fn read(folder: &Path) -> anyhow::Result<Look> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => return Ok(Look::Denied),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Look::Absent),
        Err(err) => return Err(err).with_context(|| format!("reading {}", folder.display())),
    };
    let mut entries = Vec::new();
    for item in list {
        let path = item?.path();
        let is_binding = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.parse::<u32>().is_ok());
        if is_binding {
            entries.extend(read_entry(&path)?);
        }
    }
    entries.sort_unstable_by_key(|entry| entry.info.id);
    Ok(Look::Found(entries))
}

/// A binding may go while it is looked at: then it is none.
fn read_entry(folder: &Path) -> anyhow::Result<Option<Entry>> {
    let read = |name: &str| -> anyhow::Result<Option<(PathBuf, String)>> {
        let path = folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(err) if is_gone(&err) => Ok(None),
            Err(err) => Err(err).with_context(|| format!("reading {}", path.display())),
        }
    };
    let Some((path, text)) = read("info")? else {
        return Ok(None);
    };
    let info = parse_info(&text).with_context(|| path.display().to_string())?;
    let Some((path, text)) = read("sockets")? else {
        return Ok(None);
    };
    let sockets = parse_sockets(&text).with_context(|| path.display().to_string())?;
    Ok(Some(Entry { info, sockets }))
}

/// The file's binding is gone; if it was opened before that, debugfs answers
/// EIO.
fn is_gone(err: &io::Error) -> bool {
    let errno = err.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::EIO | Errno::ENODEV))
}

/// Reads `key: value` lines. Keys that are not known are a later kernel's.
fn parse_info(text: &str) -> anyhow::Result<Info> {
    let mut fields = HashMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (key, value) = line
            .split_once(':')
            .with_context(|| format!("no \"key: value\": {line:?}"))?;
        if fields.insert(key.trim(), value.trim()).is_some() {
            bail!("{key:?} comes twice");
        }
    }
    let fields = Fields(fields);
    let text = |key| {
        let value = fields.0.get(key).copied();
        value.filter(|value| !matches!(*value, "" | "-"))
    };
    Ok(Info {
        id: fields.number("id")?.context("no id")?,
        bound: match text("state") {
            None => None,
            Some("bound") => Some(true),
            Some("unbound") => Some(false),
            Some(other) => bail!("a state {other:?} is not known"),
        },
        netns: fields.number("netns")?,
        ifindex: fields.number("ifindex")?,
        device: text("device").map(Into::into),
        queues: text("queues")
            .unwrap_or_default()
            .split_whitespace()
            .map(|queue| number("queues", queue))
            .collect::<anyhow::Result<_>>()?,
        exporter: text("exporter").map(Into::into),
        dmabuf_inode: fields.number("dmabuf_inode")?,
        size: fields.number("size")?,
        chunks: fields.number("chunks")?,
        niov_size: fields.number("niov_size")?,
        niovs: fields.number("niovs")?,
        niovs_free: fields.number("niovs_free")?,
        niovs_idle: fields.number("niovs_idle")?,
        niovs_out: fields.number("niovs_out")?,
        page_pools: fields.number("page_pools")?,
        bytes_received: fields.number("bytes_received")?,
        frags_received: fields.number("frags_received")?,
        alloc_failures: fields.number("alloc_failures")?,
    })
}

struct Fields<'a>(HashMap<&'a str, &'a str>);

impl Fields<'_> {
    fn number<T: FromStr>(&self, key: &str) -> anyhow::Result<Option<T>> {
        match self.0.get(key).copied() {
            None | Some("" | "-") => Ok(None),
            Some(value) => number(key, value).map(Some),
        }
    }
}

fn number<T: FromStr>(key: &str, value: &str) -> anyhow::Result<T> {
    match value.parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("{key} is not a number: {value:?}"),
    }
}

/// Reads the table `inode tokens oldest_s`. Its heading names the columns, of
/// which later kernels may have more.
fn parse_sockets(text: &str) -> anyhow::Result<Vec<Socket>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let Some(heading) = lines.next() else {
        return Ok(Vec::new());
    };
    let columns: Vec<_> = heading.split_whitespace().collect();
    let place = |name: &str| {
        let place = columns.iter().position(|column| *column == name);
        place.with_context(|| format!("no column {name} in {heading:?}"))
    };
    let (inode, tokens, oldest) = (place("inode")?, place("tokens")?, place("oldest_s")?);
    lines
        .map(|line| {
            let cells: Vec<_> = line.split_whitespace().collect();
            let cell = |place: usize| cells.get(place).copied().unwrap_or_default();
            let seconds: f64 = number("oldest_s", cell(oldest))?;
            Ok(Socket {
                inode: number("inode", cell(inode))?,
                tokens: number("tokens", cell(tokens))?,
                oldest: Duration::try_from_secs_f64(seconds)
                    .with_context(|| format!("oldest_s: {seconds}"))?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
id: 3
state: bound
netns: 4026532178
ifindex: 2
device: gve0
queues: 2 3
exporter: udmabuf
dmabuf_inode: 77
size: 67108864
chunks: 17
niov_size: 4096
niovs: 16384
niovs_free: 12000
niovs_idle: 1384
niovs_out: 3000
page_pools: 2
bytes_received: 5000000000
frags_received: 1200000
alloc_failures: 4
";

    #[test]
    fn reads_every_field() {
        let info = parse_info(INFO).unwrap();
        let expected = Info {
            id: 3,
            bound: Some(true),
            netns: Some(4_026_532_178),
            ifindex: Some(2),
            device: Some("gve0".into()),
            queues: vec![2, 3],
            exporter: Some("udmabuf".into()),
            dmabuf_inode: Some(77),
            size: Some(64 << 20),
            chunks: Some(17),
            niov_size: Some(4096),
            niovs: Some(16384),
            niovs_free: Some(12000),
            niovs_idle: Some(1384),
            niovs_out: Some(3000),
            page_pools: Some(2),
            bytes_received: Some(5_000_000_000),
            frags_received: Some(1_200_000),
            alloc_failures: Some(4),
        };
        assert_eq!(info, expected);
    }

    #[test]
    fn an_unbound_binding_without_device_or_queues() {
        let text = "id: 4\nstate: unbound\ndevice: -\nqueues:\nlater_key: a: b\n";
        let expected = Info {
            id: 4,
            bound: Some(false),
            ..Default::default()
        };
        assert_eq!(parse_info(text).unwrap(), expected);
    }

    #[test]
    fn nonsense_is_told_from_a_missing_field() {
        for (text, says) in [
            ("state: bound\n", "no id"),
            ("id: x\n", "id is not a number"),
            ("id: -1\n", "id is not a number"),
            ("id: 1\nid: 2\n", "twice"),
            ("id: 1\nstate: new\n", "\"new\""),
            ("id: 1\nqueues: 1 b\n", "queues"),
            ("id: 1\nhello\n", "hello"),
        ] {
            let err = parse_info(text).unwrap_err().to_string();
            assert!(err.contains(says), "{text:?}: {err}");
        }
    }

    #[test]
    fn reads_sockets_by_their_heading() {
        assert_eq!(parse_sockets("").unwrap(), []);
        assert_eq!(parse_sockets("inode tokens oldest_s\n").unwrap(), []);
        let sockets = parse_sockets("inode tokens oldest_s\n1234 200 12\n0 1 0.25\n").unwrap();
        let expected = [(1234, 200, 12_000), (0, 1, 250)].map(|(inode, tokens, ms)| Socket {
            inode,
            tokens,
            oldest: Duration::from_millis(ms),
        });
        assert_eq!(sockets, expected);
        let later = parse_sockets("tokens  inode  name  oldest_s\n200 1234 x 12\n").unwrap();
        assert_eq!(later, expected[..1]);
        for bad in [
            "inode tokens\n1 2\n",
            "inode tokens oldest_s\n1 2\n",
            "inode tokens oldest_s\n1 2 -3\n",
        ] {
            assert!(parse_sockets(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reads_a_tree() {
        let folder = std::env::temp_dir().join(format!("devmem-debugfs-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        assert!(matches!(read(&folder).unwrap(), Look::Absent));
        for (id, text) in [("10", INFO.replace("id: 3", "id: 10")), ("3", INFO.into())] {
            fs::create_dir_all(folder.join(id)).unwrap();
            fs::write(folder.join(id).join("info"), text).unwrap();
            fs::write(
                folder.join(id).join("sockets"),
                "inode tokens oldest_s\n5 6 7\n",
            )
            .unwrap();
        }
        // One that is just going, and a file that is no binding.
        fs::create_dir_all(folder.join("11")).unwrap();
        fs::write(folder.join("stats"), "").unwrap();
        let Look::Found(entries) = read(&folder).unwrap() else {
            panic!()
        };
        let ids: Vec<_> = entries.iter().map(|entry| entry.info.id).collect();
        assert_eq!(ids, [3, 10]);
        assert_eq!(entries[0].sockets[0].tokens, 6);
        fs::write(folder.join("3/info"), "id 3\n").unwrap();
        let err = format!("{:#}", read(&folder).unwrap_err());
        assert!(err.contains("3/info"), "{err}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
