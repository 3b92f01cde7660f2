// SPDX-License-Identifier: GPL-2.0
//! A binding that another process holds: what `devmem bind -- COMMAND` hands
//! to its command.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::map::DmabufMap;
use crate::sys;

/// Names of the environment variables.
pub mod env {
    /// Number of the dma-buf's descriptor.
    pub const DMABUF_FD: &str = "DEVMEM_DMABUF_FD";
    /// Number of the descriptor of the memfd behind it: the same bytes at the
    /// same offsets.
    pub const MEMFD_FD: &str = "DEVMEM_MEMFD_FD";
    /// The binding's id.
    pub const ID: &str = "DEVMEM_ID";
    /// Bytes in the dma-buf.
    pub const SIZE: &str = "DEVMEM_SIZE";
    /// Name of the interface.
    pub const DEV: &str = "DEVMEM_DEV";
    /// Index of the interface.
    pub const IFINDEX: &str = "DEVMEM_IFINDEX";
    /// The RX queues, separated by commas.
    pub const QUEUES: &str = "DEVMEM_QUEUES";
}

/// A binding that the process above holds. It ends with that process, or when
/// this one does.
#[derive(Debug)]
pub struct Inherited {
    described: Described,
    dmabuf: OwnedFd,
    memfd: Option<OwnedFd>,
}

/// What the environment says.
#[derive(Debug, PartialEq, Eq)]
struct Described {
    dmabuf_fd: i32,
    memfd_fd: Option<i32>,
    id: u32,
    size: usize,
    dev: Option<String>,
    ifindex: Option<u32>,
    queues: Vec<u32>,
}

impl Inherited {
    /// Takes the binding that the environment describes, if it describes one.
    /// It can be taken once; later calls find nothing. Programs that this one
    /// starts do not inherit it.
    ///
    /// # Errors
    /// [`Error::Environment`] if a variable makes no sense, [`Error::Os`] if a
    /// descriptor is not open.
    pub fn take() -> Result<Option<Self>> {
        let Some(described) = Described::read(|name| std::env::var(name).ok())? else {
            return Ok(None);
        };
        let numbers = [Some(described.dmabuf_fd), described.memfd_fd];
        let Some([dmabuf, memfd]) =
            sys::adopt_inherited(numbers).map_err(Error::os("taking the inherited descriptors"))?
        else {
            return Ok(None);
        };
        Ok(dmabuf.map(|dmabuf| Self {
            described,
            dmabuf,
            memfd,
        }))
    }

    /// The binding's id, which frags carry.
    pub fn id(&self) -> u32 {
        self.described.id
    }

    /// Bytes in the dma-buf.
    pub fn size(&self) -> usize {
        self.described.size
    }

    /// The interface's name.
    pub fn dev(&self) -> Option<&str> {
        self.described.dev.as_deref()
    }

    /// The interface's index.
    pub fn ifindex(&self) -> Option<u32> {
        self.described.ifindex
    }

    /// The bound RX queues.
    pub fn queues(&self) -> &[u32] {
        &self.described.queues
    }

    /// The memory behind the dma-buf, with the same offsets.
    pub fn memfd(&self) -> Option<BorrowedFd<'_>> {
        self.memfd.as_ref().map(AsFd::as_fd)
    }

    /// Maps the whole dma-buf for reading.
    ///
    /// # Errors
    /// As [`DmabufMap::new`].
    pub fn map(&self) -> Result<DmabufMap> {
        DmabufMap::new(&self.dmabuf, self.described.size)
    }
}

impl AsFd for Inherited {
    /// The dma-buf.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dmabuf.as_fd()
    }
}

impl Described {
    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let Some(dmabuf_fd) = number(&lookup, env::DMABUF_FD)? else {
            return Ok(None);
        };
        let needed = |name| Error::Environment {
            name,
            value: String::new(),
        };
        let queues = lookup(env::QUEUES).unwrap_or_default();
        let queue = |text: &str| {
            text.parse().map_err(|_| Error::Environment {
                name: env::QUEUES,
                value: queues.clone(),
            })
        };
        Ok(Some(Self {
            dmabuf_fd,
            memfd_fd: number(&lookup, env::MEMFD_FD)?,
            id: number(&lookup, env::ID)?.ok_or_else(|| needed(env::ID))?,
            size: number(&lookup, env::SIZE)?.ok_or_else(|| needed(env::SIZE))?,
            dev: lookup(env::DEV),
            ifindex: number(&lookup, env::IFINDEX)?,
            queues: queues
                .split(',')
                .filter(|text| !text.is_empty())
                .map(queue)
                .collect::<Result<_>>()?,
        }))
    }
}

fn number<T: FromStr>(
    lookup: &impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<Option<T>> {
    let Some(value) = lookup(name) else {
        return Ok(None);
    };
    match value.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Error::Environment { name, value }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Described>> {
        let map: HashMap<_, _> = variables.iter().copied().collect();
        Described::read(|name| map.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn reads_what_bind_writes() {
        let described = read(&[
            (env::DMABUF_FD, "3"),
            (env::MEMFD_FD, "4"),
            (env::ID, "17"),
            (env::SIZE, "65536"),
            (env::DEV, "eth0"),
            (env::IFINDEX, "2"),
            (env::QUEUES, "2,3"),
        ]);
        let expected = Described {
            dmabuf_fd: 3,
            memfd_fd: Some(4),
            id: 17,
            size: 65536,
            dev: Some("eth0".into()),
            ifindex: Some(2),
            queues: vec![2, 3],
        };
        assert_eq!(described.unwrap(), Some(expected));
    }

    #[test]
    fn no_descriptor_is_no_binding_and_nonsense_an_error() {
        assert_eq!(read(&[(env::ID, "x")]).unwrap(), None);
        let base = [(env::DMABUF_FD, "3"), (env::ID, "1"), (env::SIZE, "4096")];
        assert!(read(&base).unwrap().is_some());
        for spoiled in 0..base.len() {
            let mut variables = base;
            variables[spoiled].1 = "x";
            let err = read(&variables).unwrap_err();
            assert!(err.to_string().contains(base[spoiled].0), "{err}");
        }
        assert!(
            read(&base[..2])
                .unwrap_err()
                .to_string()
                .contains(env::SIZE)
        );
        let with_queues = [&base[..], &[(env::QUEUES, "1,b")]].concat();
        assert!(read(&with_queues).is_err());
    }
}
