// SPDX-License-Identifier: GPL-2.0
//! The NIC's settings: link, XDP, queues, header split, n-tuple rules, RSS.

use devmem::netlink::{Channels, Queue, XdpMode};

use super::Item;
use super::facts::Facts;
use crate::text::list;

/// Judges the settings.
pub fn diagnose(facts: &Facts) -> Vec<Item> {
    vec![
        link(facts),
        xdp(facts),
        queues(facts),
        users(facts),
        split(facts),
        threshold(facts),
        ntuple(facts),
        rss(facts),
    ]
}

fn link(facts: &Facts) -> Item {
    const NAME: &str = "link";
    match &facts.link {
        Ok(link) if !link.up => {
            Item::missing(NAME, "down").command(format!("ip link set dev {} up", facts.dev))
        }
        Ok(link) if !link.carrier => {
            Item::warning(NAME, "up, without a carrier").hint("nothing will be received")
        }
        Ok(_) => Item::ok(NAME, "up"),
        Err(err) => Item::unknown(NAME, err.to_string()),
    }
}

fn xdp(facts: &Facts) -> Item {
    const NAME: &str = "xdp";
    let dev = &facts.dev;
    let link = match &facts.link {
        Ok(link) => link,
        Err(err) => return Item::unknown(NAME, err.to_string()),
    };
    let off: &[&str] = match link.xdp {
        None => return Item::ok(NAME, "no program is attached"),
        Some(XdpMode::Driver) => &["xdpdrv"],
        Some(XdpMode::Generic) => &["xdpgeneric"],
        Some(XdpMode::Hardware) => &["xdpoffload"],
        Some(XdpMode::Other) => &["xdpdrv", "xdpgeneric"],
    };
    let mut item = Item::missing(NAME, "a program is attached, which has to see all bytes")
        .hint("one that is attached by a bpf_link goes when its owner does");
    for way in off {
        item = item.command(format!("ip link set dev {dev} {way} off"));
    }
    item
}

/// Whether the queues are there, and one is left for other traffic.
fn queues(facts: &Facts) -> Item {
    const NAME: &str = "queues";
    let Some(count) = facts.count() else {
        return Item::unknown(NAME, "the driver does not tell how many there are");
    };
    let dev = &facts.dev;
    let wanted = &facts.queues;
    let needed = wanted.iter().max().map_or(2, |last| last + 1).max(2);
    if needed > count {
        let found = format!("{count} RX queues, {needed} are needed");
        let item = Item::missing(NAME, found);
        return match &facts.channels {
            Ok(channels) if channels.rx_queues_max() >= needed => {
                item.command(set_channels(dev, channels, needed))
            }
            _ => item.hint("the NIC does not have so many"),
        };
    }
    if wanted.contains(&0) && facts.driver.as_deref() == Some("gve") {
        return Item::missing(NAME, "gve cannot restart its queue 0")
            .hint(format!("bind others: --queues {}", list(&others(count))));
    }
    if (0..count).all(|queue| wanted.contains(&queue)) {
        return Item::missing(
            NAME,
            "all queues are to be bound: none is left for other traffic",
        )
        .hint(format!("bind fewer: --queues {}", list(&others(count))));
    }
    let item = format!("{count} RX queues, {} to be bound", list(wanted));
    if wanted.contains(&0) {
        return Item::warning(NAME, item).hint("some drivers cannot restart their queue 0");
    }
    Item::ok(NAME, item)
}

fn others(count: u32) -> Vec<u32> {
    ((count / 2).max(1)..count).collect()
}

fn set_channels(dev: &str, channels: &Channels, count: u32) -> String {
    let kind = if channels.combined_max >= count {
        "combined"
    } else {
        "rx"
    };
    format!("ethtool -L {dev} {kind} {count}")
}

/// Whether somebody else has the queues.
fn users(facts: &Facts) -> Item {
    const NAME: &str = "queue-users";
    let users = match &facts.users {
        Ok(users) => users,
        Err(err) => return Item::unknown(NAME, err.to_string()),
    };
    let taken: Vec<(u32, String)> = users
        .iter()
        .filter(|queue| facts.queues.contains(&queue.id))
        .filter_map(|queue| Some((queue.id, user(queue)?)))
        .collect();
    if taken.is_empty() {
        return Item::ok(NAME, "nobody uses these queues");
    }
    let found: Vec<String> = taken
        .iter()
        .map(|(queue, user)| format!("queue {queue} {user}"))
        .collect();
    Item::missing(NAME, found.join(", "))
        .hint("end the program that uses it; devmem show ID names holders of a binding's memory")
}

fn user(queue: &Queue) -> Option<String> {
    match queue {
        Queue {
            dmabuf: Some(id), ..
        } => Some(format!("is bound already (binding {id})")),
        Queue { io_uring: true, .. } => Some("is used by io_uring".into()),
        Queue { xsk: true, .. } => Some("is used by AF_XDP".into()),
        Queue { leased: true, .. } => Some("is leased".into()),
        _ => None,
    }
}

fn split(facts: &Facts) -> Item {
    const NAME: &str = "header-split";
    match &facts.rings {
        Ok(rings) => match rings.tcp_data_split {
            Some(true) => Item::ok(NAME, "header split is on"),
            Some(false) => Item::missing(NAME, "header split is off")
                .command(format!("ethtool -G {} tcp-data-split on", facts.dev)),
            None => Item::missing(NAME, "the driver does not tell of header split")
                .hint("it has none, or decides by itself; it has to be turned on by request")
                .command(format!("ethtool -G {} tcp-data-split on", facts.dev)),
        },
        Err(err) => Item::missing(NAME, format!("no header split: {err}"))
            .hint("it takes a NIC, or a driver, that splits headers off"),
    }
}

fn threshold(facts: &Facts) -> Item {
    const NAME: &str = "hds-thresh";
    match facts.rings.as_ref().map(|rings| rings.hds_thresh) {
        Ok(Some(0)) => Item::ok(NAME, "packets of all sizes are split"),
        Ok(None) => Item::ok(NAME, "the driver has none"),
        Ok(Some(bytes)) => Item::missing(NAME, format!("packets of up to {bytes} bytes are whole"))
            .command(format!("ethtool -G {} hds-thresh 0", facts.dev)),
        Err(err) => Item::unknown(NAME, err.to_string()),
    }
}

fn ntuple(facts: &Facts) -> Item {
    const NAME: &str = "ntuple";
    match &facts.ntuple {
        Ok(feature) if feature.active => Item::ok(NAME, "flows can be steered to queues"),
        Ok(feature) if feature.changeable => Item::missing(NAME, "n-tuple rules are off")
            .command(format!("ethtool -K {} ntuple on", facts.dev)),
        Ok(_) => Item::missing(NAME, "the driver has no n-tuple rules")
            .hint("it takes a NIC that steers flows"),
        Err(err) => Item::unknown(NAME, err.to_string()),
    }
}

/// Whether traffic that no rule steers stays off the queues.
fn rss(facts: &Facts) -> Item {
    const NAME: &str = "rss";
    let table = match &facts.rss {
        Ok(table) if !table.queues.is_empty() => table,
        Ok(_) => return Item::unknown(NAME, "the driver does not show its table"),
        Err(err) => return Item::unknown(NAME, err.to_string()),
    };
    let mut hit: Vec<u32> = facts.queues.clone();
    hit.retain(|queue| table.queues.contains(queue));
    hit.sort_unstable();
    hit.dedup();
    if hit.is_empty() {
        return Item::ok(NAME, "other traffic stays off these queues");
    }
    let item = Item::missing(NAME, format!("other traffic goes to queue {}", list(&hit)));
    match spread(facts) {
        Some(spread) => item.command(format!("ethtool -X {} {spread}", facts.dev)),
        None => item.hint("no queue would be left for it: bind fewer"),
    }
}

/// How to spread other traffic over the other queues.
fn spread(facts: &Facts) -> Option<String> {
    let wanted = &facts.queues;
    // The queues may have to be made first.
    let last = wanted.iter().max().map_or(0, |last| last + 1);
    let count = facts.count()?.max(last);
    let first = *wanted.iter().min()?;
    let others = (0..count).filter(|queue| !wanted.contains(queue)).count();
    if others == 0 {
        return None;
    }
    if (first..count).all(|queue| wanted.contains(&queue)) {
        return Some(format!("equal {first}"));
    }
    let weights: Vec<&str> = (0..count)
        .map(|queue| if wanted.contains(&queue) { "0" } else { "1" })
        .collect();
    Some(format!("weight {}", weights.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::tests::{cannot_tell, good, only, queue};
    use super::*;
    use crate::check::Verdict;

    fn mended_by(facts: &Facts, name: &str) -> Vec<String> {
        let item = only(facts, name);
        assert_eq!(item.verdict, Verdict::Missing);
        item.commands
    }

    #[test]
    fn a_link_that_is_down() {
        let mut facts = good();
        facts.link.as_mut().unwrap().up = false;
        assert_eq!(mended_by(&facts, "link"), ["ip link set dev gve0 up"]);
        let mut facts = good();
        facts.link.as_mut().unwrap().carrier = false;
        assert_eq!(only(&facts, "link").verdict, Verdict::Warning);
    }

    #[test]
    fn a_program_comes_off_the_way_it_is_on() {
        for (mode, way) in [
            (XdpMode::Driver, "xdpdrv"),
            (XdpMode::Generic, "xdpgeneric"),
            (XdpMode::Hardware, "xdpoffload"),
        ] {
            let mut facts = good();
            facts.link.as_mut().unwrap().xdp = Some(mode);
            let expected = format!("ip link set dev gve0 {way} off");
            assert_eq!(mended_by(&facts, "xdp"), [expected]);
        }
    }

    #[test]
    fn too_few_queues() {
        let mut facts = good();
        facts.queues = vec![4, 5];
        assert_eq!(mended_by(&facts, "queues"), ["ethtool -L gve0 rx 6"]);
        let channels = facts.channels.as_mut().unwrap();
        (channels.rx, channels.rx_max) = (0, 0);
        (channels.combined, channels.combined_max) = (4, 8);
        assert_eq!(mended_by(&facts, "queues"), ["ethtool -L gve0 combined 6"]);
        facts.queues = vec![8];
        assert!(only(&facts, "queues").commands.is_empty());
        // One queue, and none proposed.
        let mut facts = good();
        facts.channels.as_mut().unwrap().rx = 1;
        facts.queues = vec![];
        assert_eq!(mended_by(&facts, "queues"), ["ethtool -L gve0 rx 2"]);
    }

    #[test]
    fn queue_0_depends_on_the_driver() {
        let mut facts = good();
        facts.queues = vec![0];
        facts.rss.as_mut().unwrap().queues = vec![1, 2, 3];
        let item = only(&facts, "queues");
        assert_eq!(item.verdict, Verdict::Missing);
        assert!(item.hint.unwrap().contains("--queues 2,3"));
        facts.driver = Some("other".into());
        assert_eq!(only(&facts, "queues").verdict, Verdict::Warning);
    }

    #[test]
    fn a_queue_has_to_be_left() {
        let mut facts = good();
        facts.driver = Some("other".into());
        facts.queues = vec![0, 1, 2, 3];
        facts.rss.as_mut().unwrap().queues = vec![];
        let items = diagnose(&facts);
        assert_eq!(items[2].verdict, Verdict::Missing);
        assert!(items[2].found.contains("none is left"));
    }

    #[test]
    fn taken_queues_are_named_with_who_has_them() {
        type Change = fn(&mut Queue);
        let changes: [(Change, &str); 4] = [
            (
                |queue| queue.dmabuf = Some(9),
                "queue 3 is bound already (binding 9)",
            ),
            (|queue| queue.io_uring = true, "queue 3 is used by io_uring"),
            (|queue| queue.xsk = true, "queue 3 is used by AF_XDP"),
            (|queue| queue.leased = true, "queue 3 is leased"),
        ];
        for (change, says) in changes {
            let mut facts = good();
            change(&mut facts.users.as_mut().unwrap()[3]);
            assert_eq!(only(&facts, "queue-users").found, says);
        }
        // A queue that is not to be bound may be anybody's.
        let mut facts = good();
        facts.users.as_mut().unwrap()[1].dmabuf = Some(9);
        assert!(
            diagnose(&facts)
                .iter()
                .all(|item| item.verdict == Verdict::Ok)
        );
        facts.users = Ok(vec![queue(0)]);
        assert!(
            diagnose(&facts)
                .iter()
                .all(|item| item.verdict == Verdict::Ok)
        );
    }

    #[test]
    fn header_split_and_its_threshold() {
        let mut facts = good();
        facts.rings.as_mut().unwrap().tcp_data_split = Some(false);
        assert_eq!(
            mended_by(&facts, "header-split"),
            ["ethtool -G gve0 tcp-data-split on"]
        );
        let mut facts = good();
        facts.rings.as_mut().unwrap().hds_thresh = Some(64);
        assert_eq!(
            mended_by(&facts, "hds-thresh"),
            ["ethtool -G gve0 hds-thresh 0"]
        );
        facts.rings.as_mut().unwrap().hds_thresh = None;
        assert!(
            diagnose(&facts)
                .iter()
                .all(|item| item.verdict == Verdict::Ok)
        );
        facts.rings = cannot_tell();
        let items = diagnose(&facts);
        assert_eq!(items[4].verdict, Verdict::Missing);
        assert_eq!(items[5].verdict, Verdict::Unknown);
    }

    #[test]
    fn rules_that_are_off_or_not_there() {
        let mut facts = good();
        facts.ntuple.as_mut().unwrap().active = false;
        assert_eq!(mended_by(&facts, "ntuple"), ["ethtool -K gve0 ntuple on"]);
        facts.ntuple.as_mut().unwrap().changeable = false;
        assert_eq!(mended_by(&facts, "ntuple"), [""; 0]);
        facts.ntuple = cannot_tell();
        assert_eq!(only(&facts, "ntuple").verdict, Verdict::Unknown);
    }

    #[test]
    fn other_traffic_is_led_around_the_queues() {
        let mut facts = good();
        facts.rss.as_mut().unwrap().queues = vec![0, 1, 2, 3];
        assert_eq!(mended_by(&facts, "rss"), ["ethtool -X gve0 equal 2"]);
        facts.queues = vec![1, 2];
        assert_eq!(mended_by(&facts, "rss"), ["ethtool -X gve0 weight 1 0 0 1"]);
        facts.rss = cannot_tell();
        assert_eq!(only(&facts, "rss").verdict, Verdict::Unknown);
    }
}
