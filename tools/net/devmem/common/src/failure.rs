// SPDX-License-Identifier: GPL-2.0
//! What a failed set-up looks like, to people and to machines.

use devmem::Error;
use devmem::netlink::{BadAttribute, MissingAttribute};
use serde::Serialize;

/// A failed set-up.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// All of it in one sentence.
    pub error: String,
    /// The errno, if the kernel gave one.
    pub errno: Option<i32>,
    /// Its symbol.
    pub errno_name: Option<String>,
    /// The message of the kernel's extended acknowledgment.
    pub message: Option<String>,
    /// The attribute that the kernel objects to.
    pub bad_attribute: Option<BadAttribute>,
    /// The attribute that the kernel misses.
    pub missing_attribute: Option<MissingAttribute>,
    /// What may help.
    pub hint: Option<String>,
}

impl Failure {
    /// Of a call to the library. `dev` is the interface, or empty.
    pub fn new(err: &Error, dev: &str) -> Self {
        let netlink = match err {
            Error::Netlink(netlink) => Some(netlink),
            _ => None,
        };
        Self {
            error: err.to_string(),
            errno: err.errno(),
            errno_name: err.errno().map(devmem::netlink::errno_name),
            message: netlink.and_then(|err| err.message.clone()),
            bad_attribute: netlink.and_then(|err| err.bad_attribute.clone()),
            missing_attribute: netlink.and_then(|err| err.missing_attribute.clone()),
            hint: hint(err, dev),
        }
    }

    /// Prints it to the error output, as the tool of this name.
    pub fn print(&self, tool: &str) {
        eprintln!("{tool}: {}", self.error);
        if let Some(hint) = &self.hint {
            eprintln!("{tool}: {hint}");
        }
    }
}

/// What may help against an error on this interface (empty: on any), if there
/// is something to say.
pub fn hint(err: &Error, dev: &str) -> Option<String> {
    let dev = if dev.is_empty() { "IF" } else { dev };
    let text = match err {
        Error::Netlink(err) => {
            let says = |word: &str| err.message.as_ref().is_some_and(|m| m.contains(word));
            match err.errno? {
                libc::EPERM | libc::EACCES => {
                    "binding takes CAP_NET_ADMIN over the interface's network namespace".into()
                }
                _ if says("split") => format!("try: ethtool -G {dev} tcp-data-split on"),
                _ if says("hds") => format!("try: ethtool -G {dev} hds-thresh 0"),
                libc::EOPNOTSUPP if err.message.is_none() => format!(
                    "{dev} has no queue management, or its device no DMA: lo, veth and \
                     many drivers cannot do this"
                ),
                libc::EEXIST | libc::EBUSY => {
                    format!("a queue is taken; see: devmem list --dev {dev}")
                }
                libc::EAGAIN | libc::ENETDOWN => format!("try: ip link set {dev} up"),
                libc::ERANGE if err.message.is_none() => {
                    "some drivers cannot restart their queue 0".into()
                }
                libc::ENOENT => "the kernel has no netlink family \"netdev\"".into(),
                _ => return None,
            }
        }
        Error::Os { operation, source } if operation.contains("/dev/udmabuf") => {
            match source.raw_os_error()? {
                libc::ENOENT | libc::ENODEV => {
                    "the kernel needs CONFIG_UDMABUF; try: modprobe udmabuf".into()
                }
                libc::EACCES | libc::EPERM => "/dev/udmabuf is root's, or its group's".into(),
                _ => return None,
            }
        }
        Error::Os { operation, source } if operation.contains("UDMABUF_CREATE") => {
            match source.raw_os_error()? {
                libc::EINVAL => {
                    "see /sys/module/udmabuf/parameters: size_limit_mb, list_limit".into()
                }
                _ => return None,
            }
        }
        Error::NoInterface { .. } => "ip link shows what there is; ip netns exec changes \
                                      the namespace"
            .into(),
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn netlink(errno: i32, message: Option<&str>) -> Error {
        Error::Netlink(devmem::netlink::NetlinkError {
            operation: "bind-rx",
            errno: Some(errno),
            message: message.map(Into::into),
            bad_attribute: None,
            missing_attribute: None,
        })
    }

    #[test]
    fn the_kernel_s_words_are_kept_and_a_hint_added() {
        let failure = Failure::new(
            &netlink(libc::EINVAL, Some("tcp-data-split is off")),
            "eth7",
        );
        assert_eq!(failure.errno_name.as_deref(), Some("EINVAL"));
        assert_eq!(failure.message.as_deref(), Some("tcp-data-split is off"));
        assert!(failure.error.contains("tcp-data-split is off"));
        assert!(failure.hint.unwrap().contains("ethtool -G eth7"));
    }

    #[test]
    fn no_hint_where_there_is_nothing_to_say() {
        assert_eq!(
            Failure::new(&netlink(libc::EINVAL, None), "eth0").hint,
            None
        );
        let plain = Error::Io(io::Error::from_raw_os_error(libc::EINVAL));
        assert_eq!(Failure::new(&plain, "eth0").hint, None);
    }
}
