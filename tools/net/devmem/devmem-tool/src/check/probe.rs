// SPDX-License-Identifier: GPL-2.0
//! Asking the kernel without binding: a `bind-rx` whose descriptor is not open
//! is refused after the capability, the driver's queue management and the DMA
//! device were looked at, and before any queue is touched.

use devmem::{BindRx, Error};
use nix::errno::Errno;

/// What the kernel's refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It got as far as the descriptor.
    Capable,
    /// No `CAP_NET_ADMIN` over the network namespace.
    NotPermitted,
    /// The kernel knows no device memory TCP.
    NoKernelSupport,
    /// The driver has no queue management.
    NoQueueManagement,
    /// There is no device that could do DMA, or there are several.
    NoDma(String),
    /// The interface is gone or detached.
    NoDevice,
    /// Something else.
    Other(String),
}

/// Asks.
pub fn probe(ifindex: u32, queues: &[u32]) -> Probe {
    let request = BindRx::to_ifindex(ifindex).rx_queues(queues.iter().copied());
    match request.bind_descriptor(-1) {
        Ok(_) => Probe::Other("the kernel bound a descriptor that is not open".into()),
        Err(err) => understand(&err),
    }
}

fn understand(err: &Error) -> Probe {
    let Error::Netlink(refusal) = err else {
        return Probe::Other(err.to_string());
    };
    let attribute = refusal
        .bad_attribute
        .as_ref()
        .and_then(|bad| bad.name.as_deref());
    let Some(errno) = refusal.errno.map(Errno::from_raw) else {
        return Probe::Other(err.to_string());
    };
    match (errno, attribute, &refusal.message) {
        (Errno::EBADF, ..) => Probe::Capable,
        (Errno::EPERM | Errno::EACCES, ..) => Probe::NotPermitted,
        (Errno::ENODEV, ..) => Probe::NoDevice,
        (Errno::EOPNOTSUPP, Some("ifindex"), None) => Probe::NoQueueManagement,
        (Errno::EOPNOTSUPP, _, Some(message)) if message.contains("DMA") => {
            Probe::NoDma(message.clone())
        }
        (Errno::EOPNOTSUPP, Some("ifindex"), Some(_)) => Probe::NoQueueManagement,
        (Errno::EOPNOTSUPP, Some(_), message) => {
            let text = message.as_deref().unwrap_or("the queues differ");
            Probe::NoDma(text.into())
        }
        // With the option off the request ends here, with no more to say.
        (Errno::EOPNOTSUPP | Errno::ENOENT, None, None) => Probe::NoKernelSupport,
        _ => Probe::Other(err.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use devmem::netlink::{BadAttribute, NetlinkError};

    use super::*;

    fn refused(errno: Errno, attribute: Option<&str>, message: Option<&str>) -> Probe {
        understand(&Error::Netlink(NetlinkError {
            operation: "bind-rx",
            errno: Some(errno as i32),
            message: message.map(Into::into),
            bad_attribute: attribute.map(|name| BadAttribute {
                offset: 20,
                name: Some(name.into()),
            }),
            missing_attribute: None,
        }))
    }

    #[test]
    fn each_refusal_has_its_meaning_on_either_implementation() {
        use Errno::*;
        for message in [None, Some("fd 4294967295 is not open")] {
            assert_eq!(refused(EBADF, Some("fd"), message), Probe::Capable);
        }
        assert_eq!(refused(EBADF, None, None), Probe::Capable);
        assert_eq!(refused(EPERM, None, None), Probe::NotPermitted);
        assert_eq!(refused(ENODEV, Some("ifindex"), None), Probe::NoDevice);
        for message in [None, Some("lo has no queue management")] {
            let probe = refused(EOPNOTSUPP, Some("ifindex"), message);
            assert_eq!(probe, Probe::NoQueueManagement);
        }
        for attribute in [None, Some("ifindex"), Some("queues/id")] {
            let probe = refused(EOPNOTSUPP, attribute, Some("Device doesn't support DMA"));
            assert!(matches!(probe, Probe::NoDma(_)));
        }
        assert!(matches!(
            refused(EOPNOTSUPP, Some("queues"), None),
            Probe::NoDma(_)
        ));
        assert_eq!(refused(EOPNOTSUPP, None, None), Probe::NoKernelSupport);
        assert_eq!(refused(ENOENT, None, None), Probe::NoKernelSupport);
        assert!(matches!(refused(EIO, None, None), Probe::Other(_)));
    }
}
