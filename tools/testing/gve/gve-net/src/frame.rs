// SPDX-License-Identifier: GPL-2.0
//! A frame on its way from one port to another.

use crate::layout::Layout;
use bytes::Bytes;

/// An Ethernet frame without its check sequence. Headers and body stand in
/// two shared buffers, so that the segments of one big packet share its
/// payload and cloning a frame copies nothing.
#[derive(Clone, Debug)]
pub struct Frame {
    head: Bytes,
    body: Bytes,
    layout: Layout,
    checksum_finished: bool,
}

impl Frame {
    /// A frame of one buffer. Its checksums are not known to be right.
    pub fn new(mut whole: Bytes) -> Frame {
        let layout = Layout::parse(&whole);
        let head = whole.split_to(usize::from(layout.header_end).min(whole.len()));
        Frame {
            head,
            body: whole,
            layout,
            checksum_finished: false,
        }
    }

    /// A frame whose headers, up to `layout.header_end`, and body are known,
    /// and whose transport checksum we have just computed.
    pub fn finished(head: Bytes, body: Bytes, layout: Layout) -> Frame {
        Frame {
            head,
            body,
            layout,
            checksum_finished: true,
        }
    }

    /// The headers that were understood, up to `layout().header_end`.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// What follows the headers.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Where which header stands.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the transport checksum is right because we computed it.
    pub fn checksum_finished(&self) -> bool {
        self.checksum_finished
    }

    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Destination and source address, if the frame is long enough.
    pub fn addresses(&self) -> Option<(MacAddress, MacAddress)> {
        let (destination, rest) = self.head.split_first_chunk::<6>()?;
        let (source, _) = rest.split_first_chunk::<6>()?;
        Some((*destination, *source))
    }

    /// The frame in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        [self.head.as_ref(), self.body.as_ref()].concat()
    }
}

/// An Ethernet address.
pub type MacAddress = [u8; 6];

/// Whether an address means more than one station.
pub fn is_multicast(address: &MacAddress) -> bool {
    let [first, ..] = address;
    first & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_frames() {
        for len in 0..20 {
            let frame = Frame::new(Bytes::from(vec![3u8; len]));
            assert_eq!(frame.len(), len);
            assert_eq!(frame.addresses().is_some(), len >= 12);
            assert_eq!(frame.to_vec(), vec![3u8; len]);
        }
    }
}
