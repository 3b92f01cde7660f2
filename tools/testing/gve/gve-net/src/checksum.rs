// SPDX-License-Identifier: GPL-2.0
//! Finishing and verifying Internet checksums.

use crate::layout::{L3, L4, Layout};
use etherparse::checksum::Sum16BitWords;

/// Offset of the checksum in an IPv4 header.
const IPV4_CHECKSUM: usize = 10;
/// Offset of the source address in an IPv4 header.
const IPV4_SOURCE: usize = 12;
/// Offset of the source address in an IPv6 header.
const IPV6_SOURCE: usize = 8;
/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
const UDP_CHECKSUM: usize = 6;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// Where the transport checksum stands, if the frame has one that we know.
pub fn l4_checksum_offset(layout: &Layout) -> Option<usize> {
    let field = match layout.l4 {
        L4::Tcp => TCP_CHECKSUM,
        L4::Udp => UDP_CHECKSUM,
        _ => return None,
    };
    Some(usize::from(layout.l4_offset) + field)
}

/// Sum over the pseudo header for a transport length of `l4_len` bytes.
/// `head` holds at least the network header.
fn pseudo_header(head: &[u8], layout: &Layout, l4_len: usize) -> Option<Sum16BitWords> {
    let l3 = usize::from(layout.l3_offset);
    let (offset, len) = match layout.l3 {
        L3::Ipv4 => (IPV4_SOURCE, 8),
        L3::Ipv6 => (IPV6_SOURCE, 32),
        L3::Other => return None,
    };
    let addresses = head.get(l3 + offset..l3 + offset + len)?;
    let protocol = match layout.l4 {
        L4::Tcp => PROTOCOL_TCP,
        L4::Udp => PROTOCOL_UDP,
        _ => return None,
    };
    let length = u32::try_from(l4_len).ok()?;
    Some(
        Sum16BitWords::new()
            .add_slice(addresses)
            .add_4bytes(length.to_be_bytes())
            .add_2bytes([0, protocol]),
    )
}

/// Writes the transport checksum of a frame whose headers are `head`, which
/// ends at `layout.header_end`, and whose payload is `body`. Padding is left
/// out. Returns false if the frame has no such checksum.
pub fn finish_l4(head: &mut [u8], body: &[u8], layout: &Layout) -> bool {
    let Some(at) = l4_checksum_offset(layout) else {
        return false;
    };
    let Some(field) = head.get_mut(at..at + 2) else {
        return false;
    };
    field.copy_from_slice(&[0, 0]);
    let Some(sum) = l4_sum(head, body, layout) else {
        return false;
    };
    let value = match layout.l4 {
        L4::Udp => sum.to_ones_complement_with_no_zero(),
        _ => sum.ones_complement(),
    };
    if let Some(field) = head.get_mut(at..at + 2) {
        // The sum is over native words, so its native bytes are in order.
        field.copy_from_slice(&value.to_ne_bytes());
    }
    true
}

/// Whether the transport checksum is right; `None` if there is none to check.
pub fn verify_l4(head: &[u8], body: &[u8], layout: &Layout) -> Option<bool> {
    let at = l4_checksum_offset(layout)?;
    let field = head.get(at..at + 2)?;
    if layout.l4 == L4::Udp && field == [0, 0] {
        // "No checksum" is allowed over IPv4 only.
        return Some(layout.l3 == L3::Ipv4);
    }
    Some(l4_sum(head, body, layout)?.ones_complement() == 0)
}

fn l4_sum(head: &[u8], body: &[u8], layout: &Layout) -> Option<Sum16BitWords> {
    let header = head.get(usize::from(layout.l4_offset)..usize::from(layout.header_end))?;
    let len = layout.l4_len();
    let payload = body.get(..len.checked_sub(header.len())?)?;
    // Transport headers have an even length, so the halves may be summed
    // one after the other.
    Some(
        pseudo_header(head, layout, len)?
            .add_slice(header)
            .add_slice(payload),
    )
}

/// Writes the checksum of the IPv4 header in `head`, if there is one.
pub fn finish_ipv4(head: &mut [u8], layout: &Layout) {
    let Some((start, end)) = ipv4_header(head, layout) else {
        return;
    };
    let Some(header) = head.get_mut(start..end) else {
        return;
    };
    if let Some(field) = header.get_mut(IPV4_CHECKSUM..IPV4_CHECKSUM + 2) {
        field.copy_from_slice(&[0, 0]);
    }
    let value = Sum16BitWords::new().add_slice(header).ones_complement();
    if let Some(field) = header.get_mut(IPV4_CHECKSUM..IPV4_CHECKSUM + 2) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
}

/// Whether the network header's checksum is right; IPv6 has none and is.
pub fn verify_l3(head: &[u8], layout: &Layout) -> bool {
    let Some((start, end)) = ipv4_header(head, layout) else {
        return true;
    };
    head.get(start..end)
        .is_some_and(|header| Sum16BitWords::new().add_slice(header).ones_complement() == 0)
}

fn ipv4_header(head: &[u8], layout: &Layout) -> Option<(usize, usize)> {
    if layout.l3 != L3::Ipv4 {
        return None;
    }
    let start = usize::from(layout.l3_offset);
    let words = usize::from(head.get(start)? & 0x0f);
    Some((start, start + words * 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    /// A packet whose checksums an independent implementation has filled in.
    fn packets() -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for len in [0usize, 1, 2, 3, 7, 8, 100, 1447, 1448] {
            let payload: Vec<u8> = (0..len).map(|i| (i * 7 + 3) as u8).collect();
            let mut out = Vec::new();
            PacketBuilder::ethernet2([1; 6], [2; 6])
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .tcp(1000, 2000, 7, 1024)
                .options_raw(&[1; 12])
                .unwrap()
                .write(&mut out, &payload)
                .unwrap();
            all.push(out);
            let mut out = Vec::new();
            PacketBuilder::ethernet2([1; 6], [2; 6])
                .ipv6([0x20; 16], [0x30; 16], 64)
                .udp(1000, 2000)
                .write(&mut out, &payload)
                .unwrap();
            all.push(out);
        }
        all
    }

    #[test]
    fn finished_and_verified() {
        for packet in packets() {
            let layout = Layout::parse(&packet);
            let (head, body) = packet.split_at(usize::from(layout.header_end));
            assert_eq!(verify_l4(head, body, &layout), Some(true));
            assert!(verify_l3(head, &layout));

            let mut again = head.to_vec();
            let at = l4_checksum_offset(&layout).unwrap();
            again[at] ^= 0x5a;
            assert_eq!(verify_l4(&again, body, &layout), Some(false));
            assert!(finish_l4(&mut again, body, &layout));
            assert_eq!(again, head);

            if layout.l3 == L3::Ipv4 {
                again[24] ^= 0xff;
                assert!(!verify_l3(&again, &layout));
                finish_ipv4(&mut again, &layout);
                assert_eq!(again, head);
            }
        }
    }

    #[test]
    fn padding_is_left_out() {
        let packet = packets().remove(0);
        let mut padded = packet.clone();
        padded.extend([0xff; 9]);
        let layout = Layout::parse(&padded);
        let (head, body) = padded.split_at(usize::from(layout.header_end));
        assert_eq!(verify_l4(head, body, &layout), Some(true));
    }

    #[test]
    fn udp_without_checksum() {
        let mut out = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(1000, 2000)
            .write(&mut out, b"abc")
            .unwrap();
        let layout = Layout::parse(&out);
        let at = l4_checksum_offset(&layout).unwrap();
        out[at..at + 2].copy_from_slice(&[0, 0]);
        let (head, body) = out.split_at(usize::from(layout.header_end));
        assert_eq!(verify_l4(head, body, &layout), Some(true));
    }
}
