// SPDX-License-Identifier: GPL-2.0
//! What a NIC is set to, as far as device memory needs it: the `ethtool`
//! generic netlink family and `RTM_GETLINK`.

use std::result::Result as StdResult;

use netlink_bindings::ethtool::{
    IterableBitset, IterableChannels, IterableFeatures, IterableRings, IterableRss,
    OpChannelsGetDo, OpFeaturesGetDo, OpRingsGetDo, OpRssGetDo, PushHeader, Request,
};
use netlink_bindings::rt_link::{self, Ifinfomsg, IterableLinkAttrs};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils::ErrorContext;
use netlink_socket2::NetlinkSocket;

use super::request::ask;
use crate::error::Result;

/// Looks at one interface's settings. It sees the network namespace it was
/// made in.
pub struct Nic {
    socket: NetlinkSocket,
    ifindex: u32,
}

/// Ring parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rings {
    /// Descriptors in each RX ring.
    pub rx: Option<u32>,
    /// Header split; nothing if the driver does not know it, or does not say.
    pub tcp_data_split: Option<bool>,
    /// Packets of up to so many bytes are not split.
    pub hds_thresh: Option<u32>,
    /// The most that `hds_thresh` can be; 0 or nothing if it is fixed.
    pub hds_thresh_max: Option<u32>,
}

/// Queue counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Channels {
    /// Queues that only receive.
    pub rx: u32,
    /// Queues that receive and send.
    pub combined: u32,
    /// The most of the first.
    pub rx_max: u32,
    /// The most of the second.
    pub combined_max: u32,
}

impl Channels {
    /// RX queues in use.
    pub fn rx_queues(&self) -> u32 {
        self.rx + self.combined
    }

    /// RX queues that there could be.
    pub fn rx_queues_max(&self) -> u32 {
        self.rx_max.max(self.combined_max)
    }
}

/// A feature of `ethtool -k`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Feature {
    /// It can be turned on and off.
    pub changeable: bool,
    /// It is on.
    pub active: bool,
}

/// Where received packets go that no rule steers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RssTable {
    /// The RSS context; 0 is the one for packets that no rule assigns.
    pub context: u32,
    /// The queue of each slot.
    pub queues: Vec<u32>,
}

/// How an XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// By the driver.
    Driver,
    /// By the stack, for any driver.
    Generic,
    /// On the device.
    Hardware,
    /// Several at once, or a way of a later kernel.
    Other,
}

/// State of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The interface's name.
    pub name: String,
    /// It was set up by the administrator (`IFF_UP`).
    pub up: bool,
    /// It can carry packets (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The XDP program's place, if there is one.
    pub xdp: Option<XdpMode>,
}

/// `ETHTOOL_MSG_*_GET` in `linux/ethtool_netlink_generated.h`. Requests and
/// replies of this family are numbered apart (the specification says
/// `enum-model: directional`); the bindings (0.3.5) number them in one row, so
/// that what they send as rings-get is another command.
mod command {
    pub const FEATURES: u8 = 11;
    pub const RINGS: u8 = 15;
    pub const CHANNELS: u8 = 17;
    pub const RSS: u8 = 38;
}

/// `IFF_UP`.
const IFF_UP: u32 = 1 << 0;
/// `IFF_LOWER_UP`.
const IFF_LOWER_UP: u32 = 1 << 16;
/// `ETHTOOL_TCP_DATA_SPLIT_ENABLED` and `_DISABLED`; 0 is unknown.
const SPLIT_DISABLED: u8 = 1;
const SPLIT_ENABLED: u8 = 2;

impl Nic {
    /// Looks at the interface with this index.
    pub fn new(ifindex: u32) -> Self {
        Self {
            socket: NetlinkSocket::new(),
            ifindex,
        }
    }

    /// `ethtool -g`.
    ///
    /// # Errors
    /// [`NetlinkError`](super::NetlinkError); `EOPNOTSUPP` if the driver has
    /// no ring parameters.
    pub fn rings(&mut self) -> Result<Rings> {
        let request = rings_request(self.ifindex);
        let answers = ask(&mut self.socket, "rings-get", &request, |rings| {
            Ok(Some(decode_rings(rings)))
        })?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// `ethtool -l`.
    ///
    /// # Errors
    /// As [`rings`](Self::rings).
    pub fn channels(&mut self) -> Result<Channels> {
        let request = channels_request(self.ifindex);
        let answers = ask(&mut self.socket, "channels-get", &request, |channels| {
            Ok(Some(decode_channels(channels)))
        })?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// A feature by the kernel's name for it, as in `rx-ntuple-filter`.
    ///
    /// # Errors
    /// As [`rings`](Self::rings).
    pub fn feature(&mut self, name: &str) -> Result<Feature> {
        let request = features_request(self.ifindex);
        let answers = ask(&mut self.socket, "features-get", &request, |features| {
            decode_feature(features, name).map(Some)
        })?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// `ethtool -x`, of the default context.
    ///
    /// # Errors
    /// As [`rings`](Self::rings).
    pub fn rss(&mut self) -> Result<RssTable> {
        let request = rss_request(self.ifindex);
        let answers = ask(&mut self.socket, "rss-get", &request, |rss| {
            Ok(Some(decode_rss(rss)))
        })?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// `ip link show`.
    ///
    /// # Errors
    /// As [`rings`](Self::rings); `ENODEV` if it is gone.
    pub fn link(&mut self) -> Result<Link> {
        let mut header = Ifinfomsg::new();
        header.ifi_index = i32::try_from(self.ifindex).unwrap_or(i32::MAX);
        let request = rt_link::Request::new().op_getlink_do(&header);
        let answers = ask(&mut self.socket, "getlink", &request, |(header, link)| {
            decode_link(header, link).map(Some)
        })?;
        let missing = || std::io::Error::from_raw_os_error(libc::ENODEV).into();
        answers.into_iter().next().ok_or_else(missing)
    }
}

fn header<Prev: Pusher>(header: PushHeader<Prev>, ifindex: u32) -> Prev {
    header.push_dev_index(ifindex).end_nested()
}

fn rings_request(ifindex: u32) -> OpRingsGetDo<'static> {
    let mut request = Request::new().op_rings_get_do();
    request.header_mut().cmd = command::RINGS;
    header(request.encode().nested_header(), ifindex);
    request
}

fn channels_request(ifindex: u32) -> OpChannelsGetDo<'static> {
    let mut request = Request::new().op_channels_get_do();
    request.header_mut().cmd = command::CHANNELS;
    header(request.encode().nested_header(), ifindex);
    request
}

fn features_request(ifindex: u32) -> OpFeaturesGetDo<'static> {
    let mut request = Request::new().op_features_get_do();
    request.header_mut().cmd = command::FEATURES;
    header(request.encode().nested_header(), ifindex);
    request
}

fn rss_request(ifindex: u32) -> OpRssGetDo<'static> {
    let mut request = Request::new().op_rss_get_do();
    request.header_mut().cmd = command::RSS;
    header(request.encode().nested_header(), ifindex);
    request
}

fn decode_rings(rings: &IterableRings<'_>) -> Rings {
    Rings {
        rx: rings.get_rx().ok(),
        tcp_data_split: match rings.get_tcp_data_split() {
            Ok(SPLIT_ENABLED) => Some(true),
            Ok(SPLIT_DISABLED) => Some(false),
            _ => None,
        },
        hds_thresh: rings.get_hds_thresh().ok(),
        hds_thresh_max: rings.get_hds_thresh_max().ok(),
    }
}

fn decode_channels(channels: &IterableChannels<'_>) -> Channels {
    Channels {
        rx: channels.get_rx_count().unwrap_or(0),
        combined: channels.get_combined_count().unwrap_or(0),
        rx_max: channels.get_rx_max().unwrap_or(0),
        combined_max: channels.get_combined_max().unwrap_or(0),
    }
}

fn decode_feature(features: &IterableFeatures<'_>, name: &str) -> StdResult<Feature, ErrorContext> {
    Ok(Feature {
        changeable: has_bit(&features.get_hw()?, name)?,
        active: has_bit(&features.get_active()?, name)?,
    })
}

/// Whether a set in long form has a bit. Without a mask its bits are those that
/// are set; with one, those that can be, each with or without a value.
fn has_bit(set: &IterableBitset<'_>, name: &str) -> StdResult<bool, ErrorContext> {
    let list = set.get_nomask().is_ok();
    for bit in set.get_bits()?.get_bit() {
        if bit.get_name()?.to_bytes() == name.as_bytes() {
            return Ok(list || bit.get_value().is_ok());
        }
    }
    Ok(false)
}

fn decode_rss(rss: &IterableRss<'_>) -> RssTable {
    let slots = rss.get_indir().unwrap_or_default();
    let queue = |slot: &[u8]| slot.try_into().map(u32::from_ne_bytes).ok();
    RssTable {
        context: rss.get_context().unwrap_or(0),
        queues: slots.chunks_exact(4).filter_map(queue).collect(),
    }
}

fn decode_link(header: &Ifinfomsg, link: &IterableLinkAttrs<'_>) -> StdResult<Link, ErrorContext> {
    // A program on an interface without any is told by an empty nest, or none.
    let attached = link
        .get_xdp()
        .ok()
        .and_then(|xdp| xdp.get_attached().ok())
        .unwrap_or(0);
    Ok(Link {
        name: link.get_ifname()?.to_string_lossy().into_owned(),
        up: header.ifi_flags & IFF_UP != 0,
        carrier: header.ifi_flags & IFF_LOWER_UP != 0,
        xdp: match attached {
            0 => None,
            1 => Some(XdpMode::Driver),
            2 => Some(XdpMode::Generic),
            3 => Some(XdpMode::Hardware),
            _ => Some(XdpMode::Other),
        },
    })
}

#[cfg(test)]
mod tests {
    use netlink_bindings::rt_link::OpGetlinkDo;
    use netlink_bindings::traits::NetlinkRequest;

    use super::*;

    /// An attribute, padded.
    fn attr(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len() + 4).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A message of a generic family: its header and attributes.
    fn message(attributes: &[Vec<u8>]) -> Vec<u8> {
        [vec![0, 1, 0, 0], attributes.concat()].concat()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn requests_have_the_kernel_s_numbers() {
        // genlmsghdr, then ETHTOOL_A_*_HEADER (1), nested, with
        // ETHTOOL_A_HEADER_DEV_INDEX (1).
        let expected = |command| {
            let header = [12, 0, 1, 0x80, 8, 0, 1, 0, 7, 0, 0, 0];
            [&[command, 1, 0, 0][..], &header].concat()
        };
        assert_eq!(features_request(7).payload(), expected(11));
        assert_eq!(rings_request(7).payload(), expected(15));
        assert_eq!(channels_request(7).payload(), expected(17));
        assert_eq!(rss_request(7).payload(), expected(38));
    }

    #[test]
    fn rings_with_and_without_header_split() {
        // ETHTOOL_A_RINGS_RX 6, _TCP_DATA_SPLIT 11, _HDS_THRESH 17, _MAX 18.
        let decode = |attributes: &[Vec<u8>]| {
            decode_rings(&OpRingsGetDo::decode_reply(&message(attributes)))
        };
        assert_eq!(
            decode(&[
                attr(6, &1024u32.to_ne_bytes()),
                attr(11, &[2]),
                attr(17, &64u32.to_ne_bytes()),
                attr(18, &1023u32.to_ne_bytes()),
            ]),
            Rings {
                rx: Some(1024),
                tcp_data_split: Some(true),
                hds_thresh: Some(64),
                hds_thresh_max: Some(1023),
            }
        );
        assert_eq!(decode(&[attr(11, &[1])]).tcp_data_split, Some(false));
        assert_eq!(decode(&[attr(11, &[0])]).tcp_data_split, None);
        assert_eq!(decode(&[]), Rings::default());
    }

    #[test]
    fn channels_of_both_kinds_count() {
        // ETHTOOL_A_CHANNELS_RX_MAX 2, _COMBINED_MAX 5, _RX_COUNT 6, _COMBINED_COUNT 9.
        let bytes = message(&[
            attr(2, &16u32.to_ne_bytes()),
            attr(6, &3u32.to_ne_bytes()),
            attr(9, &1u32.to_ne_bytes()),
        ]);
        let channels = decode_channels(&OpChannelsGetDo::decode_reply(&bytes));
        assert_eq!((channels.rx_queues(), channels.rx_queues_max()), (4, 16));
    }

    /// A long set without a mask (`nomask` 1), with bits (3) of names (2).
    fn set(kind: u16, names: &[&str]) -> Vec<u8> {
        let bits: Vec<u8> = names
            .iter()
            .flat_map(|name| attr(1, &attr(2, &[name.as_bytes(), &[0]].concat())))
            .collect();
        attr(kind, &[attr(1, &[]), attr(3, &bits)].concat())
    }

    #[test]
    fn a_feature_is_found_by_its_name() {
        // ETHTOOL_A_FEATURES_HW 2, _ACTIVE 4.
        let decode = |hw: &[&str], active: &[&str]| {
            let bytes = message(&[set(2, hw), set(4, active)]);
            decode_feature(&OpFeaturesGetDo::decode_reply(&bytes), "rx-ntuple-filter").unwrap()
        };
        let feature = decode(&["rx-gro", "rx-ntuple-filter"], &["rx-ntuple-filter"]);
        assert!(feature.changeable && feature.active);
        let feature = decode(&["rx-gro", "rx-ntuple-filter"], &["rx-gro"]);
        assert!(feature.changeable && !feature.active);
        assert_eq!(decode(&["rx-gro"], &[]), Feature::default());
    }

    #[test]
    fn rss_names_the_queue_of_each_slot() {
        // ETHTOOL_A_RSS_INDIR 4.
        let slots: Vec<u8> = [0u32, 1, 0, 1]
            .iter()
            .flat_map(|q| q.to_ne_bytes())
            .collect();
        let table = decode_rss(&OpRssGetDo::decode_reply(&message(&[attr(4, &slots)])));
        assert_eq!((table.context, table.queues), (0, vec![0, 1, 0, 1]));
    }

    #[test]
    fn a_link_with_a_program() {
        let mut header = Ifinfomsg::new();
        header.ifi_flags = IFF_UP;
        // IFLA_IFNAME 3; IFLA_XDP 43 with IFLA_XDP_ATTACHED 2.
        let decode = |mode: u8| {
            let mut bytes = header.as_slice().to_vec();
            bytes.extend(attr(3, b"eth0\0"));
            bytes.extend(attr(43, &attr(2, &[mode])));
            let (header, link) = OpGetlinkDo::decode_reply(&bytes);
            decode_link(&header, &link).unwrap()
        };
        let link = decode(2);
        assert_eq!(
            (link.name.as_str(), link.up, link.carrier),
            ("eth0", true, false)
        );
        assert_eq!(link.xdp, Some(XdpMode::Generic));
        assert_eq!(decode(0).xdp, None);
        assert_eq!(decode(4).xdp, Some(XdpMode::Other));
    }
}
