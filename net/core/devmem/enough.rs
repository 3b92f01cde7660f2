// SPDX-License-Identifier: GPL-2.0

//! Whether a dma-buf has enough niovs for the queues that it is bound to.
//!
//! | niovs | what becomes of the request |
//! | --- | --- |
//! | fewer than a frame takes, times the queues | refused: some queue could never receive one |
//! | a queue finds fewer than that left | bound, with a warning: it stalls |
//! | fewer than the rings have room for | bound, with a warning: it may stall |
//!
//! A frame is one of the device's MTU. How many buffers a driver posts at a time nobody knows but
//! the driver, which has to make do with what there is.

use crate::request::BindRx;
use kernel::{
    net::netdevice::{NetDeviceGuard, RxRing},
    prelude::*,
};

/// Bytes of a frame that never land in a niov: the shortest headers of IP and TCP.
const HEADERS: u32 = 20 + 20;

/// Niovs that have room for so many bytes. (No division, which 32-bit machines lack.)
fn niovs_of(bytes: u64, niov_shift: u32) -> u64 {
    let rest = bytes & ((1 << niov_shift) - 1);

    (bytes >> niov_shift) + u64::from(rest != 0)
}

/// Niovs that a frame takes, at most, on a device of this MTU.
fn niovs_of_frame(mtu: u32, niov_shift: u32) -> u64 {
    niovs_of(mtu.saturating_sub(HEADERS).into(), niov_shift).max(1)
}

/// Niovs that fill a ring. 0 if the driver does not say how long it is.
fn niovs_of_ring(ring: RxRing, niov_shift: u32) -> u64 {
    let entries = u64::from(ring.entries);

    // A buffer may be a part of a niov, but never more than one.
    match ring.buf_len {
        0 => entries,
        len => niovs_of(entries * u64::from(len), niov_shift).min(entries),
    }
}

/// What the queues of a request want, in niovs.
pub(crate) struct Demand {
    niov_shift: u32,
    /// The MTU of the queue with the largest frames.
    mtu: u32,
    /// What one of these takes.
    frame: u64,
    /// What a frame on each queue takes.
    frames: u64,
    /// What the rings have room for.
    rings: u64,
    /// A queue that could get less than a frame takes, and what there was for it.
    stalled: Option<(u32, usize)>,
}

impl Demand {
    /// What the queues of `wanted` want, which are of `dev` or leased by it.
    ///
    /// Context: process; takes the instance locks of devices that queues are leased from.
    pub(crate) fn of(dev: &NetDeviceGuard<'_>, wanted: &BindRx<'_>) -> Self {
        let mut this = Self {
            niov_shift: wanted.niov_shift(),
            mtu: 0,
            frame: 0,
            frames: 0,
            rings: 0,
            stalled: None,
        };
        for queue in wanted.queues() {
            match dev.leased_from(queue.index) {
                Some((real, _)) => this.add_queue(&real.lock()),
                None => this.add_queue(dev),
            }
        }
        this
    }

    fn add_queue(&mut self, dev: &NetDeviceGuard<'_>) {
        let mtu = dev.mtu();
        let frame = niovs_of_frame(mtu, self.niov_shift);

        if frame > self.frame {
            (self.mtu, self.frame) = (mtu, frame);
        }
        self.frames += frame;
        self.rings += niovs_of_ring(dev.rx_ring(), self.niov_shift);
    }

    /// Refuses what can never work.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `niovs` can't hold a frame on each queue.
    pub(crate) fn refuse_too_few(&self, niovs: usize, wanted: &BindRx<'_>) -> Result {
        if niovs as u64 >= self.frames {
            return Ok(());
        }
        wanted.blame_buffer(fmt!(
            "{} niovs are too few: with MTU {} a frame takes {}, so the queues need {}",
            niovs,
            self.mtu,
            self.frame,
            self.frames
        ));
        Err(EINVAL)
    }

    /// Queue `index` is about to fill its ring, and `left` niovs are free.
    pub(crate) fn before_queue(&mut self, index: u32, left: usize) {
        if self.stalled.is_none() && (left as u64) < self.frame {
            self.stalled = Some((index, left));
        }
    }

    /// Says what is going to stall, with `niovs` bound.
    pub(crate) fn warn(&self, niovs: usize, wanted: &BindRx<'_>) {
        let kib = (self.rings.max(self.frames) << self.niov_shift) >> 10;

        if let Some((index, left)) = self.stalled {
            wanted.extack().message_fmt(fmt!(
                "RX queue {} finds {} of {} niovs left and stalls: bind {} KiB",
                index,
                left,
                niovs,
                kib
            ));
        } else if (niovs as u64) < self.rings {
            wanted.extack().message_fmt(fmt!(
                "{} niovs do not fill the rings and may stall: bind {} KiB or more",
                niovs,
                kib
            ));
        }
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_enough)]
mod tests {
    use super::*;

    const PAGE: u32 = 12;

    fn ring(entries: u32, buf_len: u32) -> u64 {
        niovs_of_ring(RxRing { entries, buf_len }, PAGE)
    }

    #[test]
    fn a_frame_takes_what_its_payload_does() {
        for (mtu, niovs) in [
            (0, 1),
            (68, 1),
            (1500, 1),
            (4136, 1),
            (4137, 2),
            (9000, 3),
            (u32::MAX, 1 << 20),
        ] {
            assert_eq!(niovs_of_frame(mtu, PAGE), niovs);
        }
        assert_eq!(niovs_of_frame(9000, 16), 1);
    }

    #[test]
    fn a_ring_takes_a_niov_for_each_buffer() {
        assert_eq!(ring(1024, 4096), 1024);
        assert_eq!(ring(1024, 2048), 512);
        assert_eq!(ring(1023, 2048), 512);
        assert_eq!(ring(1024, 9000), 1024);
    }

    #[test]
    fn what_a_driver_does_not_say_is_a_niov_or_nothing() {
        assert_eq!(ring(1024, 0), 1024);
        assert_eq!(ring(0, 4096), 0);
        assert_eq!(ring(u32::MAX, u32::MAX), u32::MAX.into());
    }
}
