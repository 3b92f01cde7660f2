// SPDX-License-Identifier: GPL-2.0
//! Where in a frame which header stands.

use etherparse::{
    IpNumber, Ipv6ExtensionSlice, LaxIpPayloadSlice, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket,
    TransportSlice, ip_number,
};

/// Bytes of an Ethernet header.
pub const ETHERNET_BYTES: usize = 14;
/// Bytes of a VLAN tag.
pub const VLAN_TAG_BYTES: usize = 4;

/// Network layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum L3 {
    /// Neither of the two.
    #[default]
    Other,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What the network layer carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum L4 {
    /// None of the others, or a fragment.
    #[default]
    Other,
    /// TCP, header whole.
    Tcp,
    /// UDP, header whole.
    Udp,
    /// SCTP, ports whole.
    Sctp,
    /// Authentication header, whatever it protects.
    Ah,
    /// Encapsulated, SPI whole.
    Esp,
}

/// Offsets from the first byte of the Ethernet header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Network layer.
    pub l3: L3,
    /// Transport layer.
    pub l4: L4,
    /// Start of the network header.
    pub l3_offset: u16,
    /// Start of the transport header; only if `l4` is not [`L4::Other`].
    pub l4_offset: u16,
    /// End of the deepest header that was understood.
    pub header_end: u16,
    /// End of the network layer's payload; what follows is padding.
    pub packet_end: u32,
    /// Part of a fragmented packet.
    pub fragment: bool,
    /// The IP header claims more bytes than the frame has.
    pub truncated: bool,
    /// An IPv6 header hides the final address: routing or destination options.
    pub ipv6_address_ext: bool,
}

impl Layout {
    /// Finds the headers of a whole frame. Never fails: what is not
    /// understood is [`L3::Other`] or [`L4::Other`].
    pub fn parse(frame: &[u8]) -> Layout {
        let mut layout = Layout {
            header_end: ETHERNET_BYTES.min(frame.len()) as u16,
            packet_end: frame.len() as u32,
            ..Layout::default()
        };
        let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else {
            return layout;
        };
        let mut offset = ETHERNET_BYTES;
        for ext in &packet.link_exts {
            match ext {
                LaxLinkExtSlice::Vlan(vlan) => offset += vlan.header_len(),
                LaxLinkExtSlice::Macsec(_) => return layout,
            }
        }
        layout.l3_offset = offset as u16;
        layout.header_end = offset as u16;
        let (headers, payload) = match &packet.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                layout.l3 = L3::Ipv4;
                let header = ip.header().slice().len();
                let auth = ip.extensions().auth;
                if auth.is_some() {
                    layout.l4 = L4::Ah;
                }
                let bytes = header + auth.map_or(0, |auth| auth.slice().len());
                (if auth.is_some() { header } else { bytes }, ip.payload())
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                layout.l3 = L3::Ipv6;
                let mut bytes = ip.header().slice().len();
                let end = bytes + ip.extensions().slice().len();
                let mut extensions = ip.extensions().clone().into_iter();
                // The iterator of etherparse 0.21 goes by the "next header" of the last one, even
                // where that one is cut off or out of place and so not in the slice: it must not
                // be asked for more than the slice has.
                while bytes < end {
                    let Some(ext) = extensions.next() else {
                        break;
                    };
                    match ext {
                        Ipv6ExtensionSlice::Routing(_)
                        | Ipv6ExtensionSlice::DestinationOptions(_) => {
                            layout.ipv6_address_ext = true;
                        }
                        Ipv6ExtensionSlice::Authentication(_) => {
                            layout.l4 = L4::Ah;
                            break;
                        }
                        Ipv6ExtensionSlice::HopByHop(_) | Ipv6ExtensionSlice::Fragment(_) => {}
                    }
                    bytes += extension_len(&ext);
                }
                (bytes, ip.payload())
            }
            _ => return layout,
        };
        layout.fragment = payload.fragmented;
        layout.truncated = payload.incomplete;
        let l4_offset = offset + headers;
        layout.header_end = l4_offset as u16;
        layout.packet_end = packet_end(frame, payload) as u32;
        if layout.fragment || layout.truncated || packet.stop_err.is_some() {
            layout.l4 = L4::Other;
            return layout;
        }
        let l4_bytes = (layout.packet_end as usize).saturating_sub(l4_offset);
        let (l4, header) = match (layout.l4, &packet.transport) {
            (L4::Ah, _) => (L4::Ah, 0),
            (_, Some(TransportSlice::Tcp(tcp))) => (L4::Tcp, tcp.header_slice().len()),
            (_, Some(TransportSlice::Udp(udp))) => (L4::Udp, udp.header_slice().len()),
            _ => match payload.ip_number {
                ip_number::SCTP if l4_bytes >= 12 => (L4::Sctp, 0),
                ESP if l4_bytes >= 8 => (L4::Esp, 0),
                _ => (L4::Other, 0),
            },
        };
        layout.l4 = l4;
        layout.l4_offset = l4_offset as u16;
        layout.header_end = (l4_offset + header) as u16;
        layout
    }

    /// Whether header split applies: TCP or UDP, whole.
    pub fn splittable(&self) -> bool {
        matches!(self.l4, L4::Tcp | L4::Udp)
    }

    /// Bytes of the transport header and what it carries.
    pub fn l4_len(&self) -> usize {
        (self.packet_end as usize).saturating_sub(usize::from(self.l4_offset))
    }

    /// The same headers in a frame of another length without padding.
    pub fn with_frame_len(self, len: usize) -> Layout {
        Layout {
            packet_end: len as u32,
            ..self
        }
    }
}

const ESP: IpNumber = ip_number::ENCAP_SEC;

fn extension_len(ext: &Ipv6ExtensionSlice<'_>) -> usize {
    match ext {
        Ipv6ExtensionSlice::HopByHop(raw)
        | Ipv6ExtensionSlice::Routing(raw)
        | Ipv6ExtensionSlice::DestinationOptions(raw) => raw.slice().len(),
        Ipv6ExtensionSlice::Fragment(fragment) => fragment.slice().len(),
        Ipv6ExtensionSlice::Authentication(auth) => auth.slice().len(),
    }
}

/// Where the IP payload ends in `frame`, from where it lies in memory.
fn packet_end(frame: &[u8], payload: &LaxIpPayloadSlice<'_>) -> usize {
    let end = payload.payload.as_ptr_range().end as usize;
    end.saturating_sub(frame.as_ptr() as usize).min(frame.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn tcp(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1000, 2000, 7, 1024)
            .options_raw(options)
            .unwrap()
            .write(&mut out, payload)
            .unwrap();
        out
    }

    #[test]
    fn tcp_ipv4_with_options() {
        let frame = tcp(&[1; 12], b"x");
        let layout = Layout::parse(&frame);
        assert_eq!((layout.l3, layout.l4), (L3::Ipv4, L4::Tcp));
        assert_eq!(layout.l3_offset, 14);
        assert_eq!(layout.l4_offset, 34);
        assert_eq!(layout.header_end, 34 + 20 + 12);
        assert_eq!(layout.packet_end as usize, frame.len());
        assert!(layout.splittable());
    }

    /// An IPv6 frame whose first extension header is `next`, followed by `rest`.
    fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((rest.len() as u16).to_be_bytes());
        frame.extend([next, 64]);
        frame.extend([0xfd; 32]);
        frame.extend(rest);
        frame
    }

    #[test]
    fn extension_headers_that_are_cut_off_or_out_of_place() {
        // Hop by hop, routing, fragment, AH, destination options.
        for next in [0, 43, 44, 51, 60] {
            for bytes in 0..9 {
                let layout = Layout::parse(&ipv6(next, &vec![0; bytes]));
                assert_eq!(layout.l3, L3::Ipv6);
                assert!(!layout.splittable(), "{next} in {bytes} bytes");
            }
            // One that is whole, and promises another one that is not there.
            let layout = Layout::parse(&ipv6(60, &[next, 0, 1, 4, 0, 0, 0, 0]));
            assert!(!layout.splittable(), "{next} behind destination options");
        }
    }

    #[test]
    fn padding_is_not_payload() {
        let mut frame = tcp(&[], b"");
        let len = frame.len();
        frame.resize(60, 0);
        let layout = Layout::parse(&frame);
        assert_eq!(layout.packet_end as usize, len);
        assert_eq!(layout.header_end as usize, len);
    }

    #[test]
    fn two_vlan_tags() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .double_vlan(5.try_into().unwrap(), 6.try_into().unwrap())
            .ipv6([1; 16], [2; 16], 64)
            .udp(53, 54)
            .write(&mut frame, b"hello")
            .unwrap();
        let layout = Layout::parse(&frame);
        assert_eq!((layout.l3, layout.l4), (L3::Ipv6, L4::Udp));
        assert_eq!(layout.l3_offset, 22);
        assert_eq!(layout.l4_offset, 62);
        assert_eq!(layout.header_end, 70);
    }

    #[test]
    fn fragments_and_short_frames_have_no_transport() {
        let mut frame = tcp(&[], b"payload");
        frame[20] |= 0x20; // more fragments
        let layout = Layout::parse(&frame);
        assert!(layout.fragment);
        assert!(!layout.splittable());

        let frame = tcp(&[], b"payload");
        let layout = Layout::parse(&frame[..frame.len() - 1]);
        assert!(layout.truncated);
        assert!(!layout.splittable());

        for len in 0..frame.len() {
            assert!(!Layout::parse(&frame[..len]).splittable());
        }
    }

    #[test]
    fn fragments_of_other_protocols_have_no_transport_either() {
        for protocol in [50, 132] {
            let mut frame = tcp(&[], b"payload");
            frame[23] = protocol;
            assert!(matches!(Layout::parse(&frame).l4, L4::Esp | L4::Sctp));
            frame[20] |= 0x20;
            assert_eq!(Layout::parse(&frame).l4, L4::Other);
        }
    }

    #[test]
    fn destination_options_are_noted() {
        let mut frame = vec![0; 14];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        let mut ip = vec![0x60, 0, 0, 0, 0, 16, 60, 64];
        ip.extend([1; 16]);
        ip.extend([2; 16]);
        ip.extend([17, 0, 1, 4, 0, 0, 0, 0]); // destination options, then UDP
        ip.extend([0, 53, 0, 54, 0, 8, 0, 0]);
        frame.extend(ip);
        let layout = Layout::parse(&frame);
        assert!(layout.ipv6_address_ext);
        assert_eq!(layout.l4, L4::Udp);
        assert_eq!(layout.l4_offset, 14 + 40 + 8);
    }

    #[test]
    fn big_tcp_has_no_length_in_the_header() {
        let mut frame = tcp(&[], &[0; 1000]);
        frame[16..18].copy_from_slice(&[0, 0]);
        let layout = Layout::parse(&frame);
        assert_eq!(layout.l4, L4::Tcp);
        assert_eq!(layout.packet_end as usize, frame.len());
    }

    proptest::proptest! {
        /// Whatever comes, offsets are in order and inside of the frame.
        #[test]
        fn offsets_are_in_order(
            options in 0..10usize,
            len in 0..200usize,
            changes in proptest::collection::vec((0..120usize, proptest::num::u8::ANY), 0..6),
            keep in 0..300usize,
        ) {
            let mut frame = tcp(&vec![1; options * 4], &vec![0; len]);
            for (at, value) in changes {
                let length = frame.len();
                frame[at % length] = value;
            }
            frame.truncate(keep);
            let layout = Layout::parse(&frame);
            let end = usize::from(layout.header_end);
            proptest::prop_assert!(end <= frame.len());
            proptest::prop_assert!(layout.packet_end as usize <= frame.len());
            if layout.l4 != L4::Other {
                proptest::prop_assert!(layout.l3 != L3::Other);
                proptest::prop_assert!(layout.l3_offset < layout.l4_offset);
                proptest::prop_assert!(layout.l4_offset <= layout.header_end);
                proptest::prop_assert!(end <= layout.packet_end as usize);
            }
        }
    }
}
