// SPDX-License-Identifier: GPL-2.0
//! From facts to verdicts: the kernel, the driver, the memory. What concerns
//! the NIC's settings is in [`super::nic`].
//!
//! The order is one in which the commands work: the link first, since drivers
//! refuse much while it is down; XDP and queue counts before header split;
//! RSS after the queue count.

use std::io::ErrorKind;

use super::Item;
use super::facts::{Facts, Udmabuf};
use super::nic;
use super::probe::Probe;

/// Judges everything.
pub fn diagnose(facts: &Facts) -> Vec<Item> {
    let mut items = vec![kernel(facts), permission(facts), driver(facts)];
    items.extend(nic::diagnose(facts));
    items.push(udmabuf(&facts.udmabuf, facts.size));
    items.push(size(facts));
    items
}

fn kernel(facts: &Facts) -> Item {
    const NAME: &str = "kernel";
    match &facts.probe {
        Probe::NoKernelSupport => Item::missing(NAME, "no device memory TCP")
            .hint("it takes Linux 6.12 or later with CONFIG_NET_DEVMEM"),
        Probe::NotPermitted => Item::unknown(NAME, "bind-rx may not be asked for"),
        Probe::Other(text) => Item::unknown(NAME, text.clone()),
        // lo, veth and the like are refused before the option matters.
        Probe::NoQueueManagement => Item::unknown(NAME, "the driver is refused before"),
        _ => Item::ok(NAME, "has device memory TCP"),
    }
}

fn permission(facts: &Facts) -> Item {
    const NAME: &str = "permission";
    match facts.probe {
        Probe::NotPermitted => Item::missing(NAME, "no CAP_NET_ADMIN over the network namespace")
            .hint(format!(
                "run it as root: sudo devmem check --dev {}",
                facts.dev
            )),
        Probe::NoKernelSupport | Probe::Other(_) => Item::unknown(NAME, "could not be tried"),
        _ => Item::ok(NAME, "CAP_NET_ADMIN over the network namespace"),
    }
}

fn driver(facts: &Facts) -> Item {
    const NAME: &str = "queue-management";
    let driver = facts.driver.as_deref().unwrap_or("this interface's driver");
    match &facts.probe {
        Probe::Capable => Item::ok(NAME, format!("{driver} has queue management, and does DMA")),
        Probe::NoQueueManagement => {
            Item::missing(NAME, format!("{driver} has no queue management"))
                .hint("it takes another NIC, or a later driver (netdev_queue_mgmt_ops)")
        }
        Probe::NoDma(text) => Item::missing(NAME, format!("no DMA device: {text}"))
            .hint("it takes a NIC, or queues, with one DMA device"),
        Probe::NoDevice => Item::missing(NAME, "the interface is detached")
            .hint("the NIC is being reset, or is gone"),
        Probe::NotPermitted => Item::unknown(NAME, "to find out takes CAP_NET_ADMIN"),
        Probe::NoKernelSupport => Item::unknown(NAME, "to find out takes a kernel that asks it"),
        Probe::Other(text) => Item::unknown(NAME, text.clone()),
    }
}

/// Where a device exports memory of its own, udmabuf is not needed.
fn udmabuf(udmabuf: &Udmabuf, size: u64) -> Item {
    const NAME: &str = "udmabuf";
    const WITHOUT: &str = "without it, memory has to come from a device";
    if let Err(err) = &udmabuf.open {
        let item = Item::warning(NAME, format!("/dev/udmabuf: {err}"));
        return match err.kind() {
            ErrorKind::NotFound => item
                .command("modprobe udmabuf")
                .hint(format!("the kernel needs CONFIG_UDMABUF; {WITHOUT}")),
            _ => item.hint(format!("it is root's, or its group's; {WITHOUT}")),
        };
    }
    let mib = size.div_ceil(1 << 20);
    match udmabuf.size_limit_mb {
        Some(limit) if mib > limit => Item::warning(
            NAME,
            format!("{mib} MiB are to be bound, it makes {limit} at most"),
        )
        .command(format!(
            "echo {mib} > /sys/module/udmabuf/parameters/size_limit_mb"
        )),
        limit => {
            let number = |limit: Option<u64>| limit.map_or("?".into(), |limit| limit.to_string());
            Item::ok(
                NAME,
                format!(
                    "up to {} MiB in {} pieces",
                    number(limit),
                    number(udmabuf.list_limit)
                ),
            )
        }
    }
}

/// A queue's ring is filled before anything is received.
fn size(facts: &Facts) -> Item {
    const NAME: &str = "size";
    let ring = match &facts.rings {
        Ok(rings) => rings.rx,
        Err(_) => None,
    };
    let Some(ring) = ring else {
        return Item::unknown(NAME, "the length of the rings is not known");
    };
    let niovs = facts.size / facts.page;
    let rings = u64::from(ring) * facts.queues.len() as u64;
    if niovs > rings {
        return Item::ok(NAME, format!("{niovs} niovs, {rings} of them in the rings"));
    }
    Item::warning(
        NAME,
        format!("{niovs} niovs are not more than the {rings} that wait in the rings"),
    )
    .hint(format!(
        "bind more than {} MiB, or make the rings shorter: ethtool -G {} rx N",
        (rings * facts.page).div_ceil(1 << 20),
        facts.dev
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;

    use devmem::netlink::{
        Channels, Feature, Link, NetlinkError, Queue, QueueType, Rings, RssTable,
    };

    use super::*;
    use crate::check::{Verdict, is_ready};

    /// A NIC on which all is right.
    pub fn good() -> Facts {
        Facts {
            dev: "gve0".into(),
            ifindex: 2,
            driver: Some("gve".into()),
            queues: vec![2, 3],
            size: 64 << 20,
            page: 4096,
            probe: Probe::Capable,
            link: Ok(Link {
                name: "gve0".into(),
                up: true,
                carrier: true,
                xdp: None,
            }),
            channels: Ok(Channels {
                rx: 4,
                rx_max: 16,
                ..Default::default()
            }),
            users: Ok((0..4).map(queue).collect()),
            rings: Ok(Rings {
                rx: Some(1024),
                tcp_data_split: Some(true),
                hds_thresh: Some(0),
                hds_thresh_max: Some(0),
            }),
            ntuple: Ok(Feature {
                changeable: true,
                active: true,
            }),
            rss: Ok(RssTable {
                context: 0,
                queues: vec![0, 1, 0, 1],
            }),
            udmabuf: Udmabuf {
                open: Ok(()),
                list_limit: Some(1024),
                size_limit_mb: Some(1 << 30),
            },
        }
    }

    pub fn queue(id: u32) -> Queue {
        Queue {
            id,
            ifindex: 2,
            kind: QueueType::Rx,
            napi_id: Some(id),
            dmabuf: None,
            io_uring: false,
            xsk: false,
            leased: false,
        }
    }

    /// An error as a driver's that cannot tell.
    pub fn cannot_tell<T>() -> devmem::Result<T> {
        Err(NetlinkError {
            operation: "x-get",
            errno: Some(nix::errno::Errno::EOPNOTSUPP as i32),
            message: None,
            bad_attribute: None,
            missing_attribute: None,
        }
        .into())
    }

    /// The item of this name, and all others are ok.
    pub fn only(facts: &Facts, name: &str) -> Item {
        let items = diagnose(facts);
        for item in &items {
            let good = item.verdict == Verdict::Ok;
            assert_eq!(good, item.name != name, "{item:?}");
        }
        items.into_iter().find(|item| item.name == name).unwrap()
    }

    #[test]
    fn a_good_nic_is_ready() {
        let items = diagnose(&good());
        assert!(
            items.iter().all(|item| item.verdict == Verdict::Ok),
            "{items:?}"
        );
        assert!(items.iter().all(|item| item.commands.is_empty()));
    }

    #[test]
    fn the_probe_tells_kernel_permission_and_driver_apart() {
        let verdicts = |probe| {
            let facts = Facts { probe, ..good() };
            let items = diagnose(&facts);
            assert!(!is_ready(&items) || facts.probe == Probe::Other("?".into()));
            [items[0].verdict, items[1].verdict, items[2].verdict]
        };
        use Verdict::{Missing, Ok, Unknown};
        assert_eq!(
            verdicts(Probe::NoKernelSupport),
            [Missing, Unknown, Unknown]
        );
        assert_eq!(verdicts(Probe::NotPermitted), [Unknown, Missing, Unknown]);
        assert_eq!(verdicts(Probe::NoQueueManagement), [Unknown, Ok, Missing]);
        assert_eq!(verdicts(Probe::NoDma("x".into())), [Ok, Ok, Missing]);
        assert_eq!(verdicts(Probe::NoDevice), [Ok, Ok, Missing]);
        assert_eq!(verdicts(Probe::Other("?".into())), [Unknown; 3]);
    }

    #[test]
    fn udmabuf_is_not_needed_but_its_limits_are_told() {
        let mut facts = good();
        facts.udmabuf.open = Err(io::ErrorKind::NotFound.into());
        let item = only(&facts, "udmabuf");
        assert_eq!(item.verdict, Verdict::Warning);
        assert_eq!(item.commands, ["modprobe udmabuf"]);
        let mut facts = good();
        facts.udmabuf.size_limit_mb = Some(63);
        let item = only(&facts, "udmabuf");
        assert_eq!(
            item.commands,
            ["echo 64 > /sys/module/udmabuf/parameters/size_limit_mb"]
        );
    }

    #[test]
    fn a_dmabuf_that_only_fills_the_rings_is_warned_of() {
        let mut facts = good();
        facts.size = 8 << 20;
        assert_eq!(only(&facts, "size").verdict, Verdict::Warning);
        facts.size += 4096;
        assert!(is_ready(&diagnose(&facts)));
    }
}
