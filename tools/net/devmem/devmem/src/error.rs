// SPDX-License-Identifier: GPL-2.0
//! What can go wrong.

use std::io;

use crate::control::ControlError;
use crate::netlink::NetlinkError;

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// The crate's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a netlink request.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A system call failed.
    #[error("{operation}: {source}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Any other I/O failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No interface of that name in this network namespace.
    #[error("no network interface {name:?} in this network namespace")]
    NoInterface {
        /// The name that was looked up.
        name: String,
    },
    /// The kernel's control messages break the contract. Tokens in the
    /// messages before the flaw are given back all the same.
    #[error("control messages of the kernel: {0}")]
    Control(#[from] ControlError),
    /// A size is zero, not a multiple of the page size, or too large.
    #[error("size {size} is not a positive multiple of the page size ({page})")]
    Size {
        /// What was asked for, in bytes.
        size: u64,
        /// The page size in bytes.
        page: u64,
    },
    /// An environment variable of [`Inherited`](crate::Inherited) is missing or
    /// makes no sense.
    #[error("environment variable {name}={value:?} makes no sense")]
    Environment {
        /// Its name.
        name: &'static str,
        /// Its value; empty if it is not there.
        value: String,
    },
    /// A range is not in the dma-buf.
    #[error("{len} bytes at offset {offset} are not within the dma-buf of {size} bytes")]
    OutOfRange {
        /// Start in bytes.
        offset: u64,
        /// Length in bytes.
        len: usize,
        /// The dma-buf's size in bytes.
        size: usize,
    },
}

impl Error {
    /// Names the operation of a failed system call.
    pub(crate) fn os(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { operation, source }
    }

    /// The errno behind this error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Netlink(err) => err.errno,
            Self::Os { source, .. } | Self::Io(source) => source.raw_os_error(),
            Self::NoInterface { .. } => Some(libc::ENODEV),
            Self::Control(_)
            | Self::Size { .. }
            | Self::Environment { .. }
            | Self::OutOfRange { .. } => None,
        }
    }

    /// The call on a non-blocking socket has nothing to give yet.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Self::Os { source, .. } | Self::Io(source)
            if source.kind() == io::ErrorKind::WouldBlock)
    }
}
