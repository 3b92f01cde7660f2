// SPDX-License-Identifier: GPL-2.0

//! Restarts of the RX queues of a [fake device](fake), as the net core does them.

mod fake;
// The net core tells of page pools where somebody wants to know.
#[cfg(CONFIG_NET_DEVMEM_RUST)]
mod provider;

use crate::{page::PAGE_SIZE, prelude::*, sync::Arc};

#[macros::kunit_tests(net_queue_mgmt)]
mod cases {
    use super::{
        fake::{
            free_empty_slot, FakeDevice,
            Fault::{Lose, Refuse},
            Step::{Alloc, Restart, Start, Stop},
            DMA_QUEUE, WHOLE_PAGES,
        },
        *,
    };

    fn up() -> Result<FakeDevice> {
        let dev = FakeDevice::new()?;
        dev.up()?;
        // Not a test, so `assert!` would stop the kernel.
        match (dev.ring(0), dev.ring(1), dev.alive()) {
            (Some(0), Some(1), 2) => Ok(dev),
            _ => Err(EINVAL),
        }
    }

    #[test]
    fn restart_changes_the_memory_of_one_queue() -> Result {
        let dev = up()?;
        dev.break_at(&[])?;
        dev.restart(1)?;
        assert!(dev.saw(&[Alloc, Stop, Start]));
        assert_eq!(
            (dev.ring(0), dev.ring(1), dev.alive()),
            (Some(0), Some(2), 2)
        );
        dev.restart(1)?;
        dev.restart(0)?;
        assert_eq!(
            (dev.ring(0), dev.ring(1), dev.alive()),
            (Some(4), Some(3), 2)
        );
        Ok(())
    }

    #[test]
    fn all_is_freed_with_the_device() -> Result {
        let dev = up()?;
        dev.restart(0)?;
        let state = dev.state.clone();
        drop(dev);
        // Rings hold on to it as well.
        assert!(Arc::into_unique_or_drop(state).is_some());
        Ok(())
    }

    #[test]
    fn while_down_memory_is_allocated_and_freed() -> Result {
        let dev = FakeDevice::new()?;
        dev.break_at(&[])?;
        dev.restart(1)?;
        assert!(dev.saw(&[Alloc]));
        assert_eq!((dev.ring(1), dev.alive()), (None, 0));
        Ok(())
    }

    #[test]
    fn no_memory_changes_nothing() -> Result {
        let dev = up()?;
        dev.break_at(&[(Alloc, Refuse)])?;
        assert_eq!(dev.restart(1), Err(ENOMEM));
        assert!(dev.saw(&[Alloc]));
        assert_eq!((dev.ring(1), dev.alive()), (Some(1), 2));
        Ok(())
    }

    #[test]
    fn queue_that_cannot_be_stopped_goes_on() -> Result {
        let dev = up()?;
        dev.break_at(&[(Stop, Refuse)])?;
        assert_eq!(dev.restart(1), Err(EIO));
        assert!(dev.saw(&[Alloc, Stop]));
        assert_eq!((dev.ring(1), dev.alive()), (Some(1), 2));
        dev.break_at(&[])?;
        dev.restart(1)
    }

    #[test]
    fn queue_that_cannot_be_started_gets_its_old_memory() -> Result {
        let dev = up()?;
        dev.break_at(&[(Start, Refuse)])?;
        assert_eq!(dev.restart(1), Err(EIO));
        assert!(dev.saw(&[Alloc, Stop, Start, Restart]));
        assert_eq!((dev.ring(1), dev.alive()), (Some(1), 2));
        dev.break_at(&[])?;
        dev.restart(1)
    }

    #[test]
    fn queue_that_cannot_be_started_at_all_has_no_memory() -> Result {
        let dev = up()?;
        dev.break_at(&[(Start, Refuse), (Restart, Refuse)])?;
        assert_eq!(dev.restart(1), Err(EIO));
        assert_eq!((dev.ring(0), dev.ring(1), dev.alive()), (Some(0), None, 1));
        // There is nothing to stop: what was allocated for it is freed.
        dev.break_at(&[])?;
        assert_eq!(dev.restart(1), Err(ENODATA));
        assert_eq!(dev.alive(), 1);
        Ok(())
    }

    #[test]
    fn lost_memory_stays_with_the_driver() -> Result {
        let dev = up()?;
        dev.break_at(&[(Start, Lose)])?;
        assert_eq!(dev.restart(1), Err(ETIME));
        assert!(dev.saw(&[Alloc, Stop, Start, Restart]));
        assert_eq!((dev.ring(1), dev.alive()), (Some(2), 2));
        Ok(())
    }

    #[test]
    fn each_queue_has_its_own_dma_device() -> Result {
        let dev = FakeDevice::new()?;
        assert_eq!(dev.dma_device(DMA_QUEUE), Some(true));
        assert_eq!(dev.dma_device(0), None);
        // The net core asks for queues that there are; another number does no harm.
        assert_eq!(dev.dma_device(u32::MAX), None);
        Ok(())
    }

    #[test]
    fn a_configuration_that_is_refused_says_why() -> Result {
        let dev = FakeDevice::new()?;
        dev.break_at(&[])?;
        let page = PAGE_SIZE as u32;
        assert_eq!(dev.validate(page), (Ok(()), None));
        assert_eq!(dev.validate(2 * page), (Err(EINVAL), Some(WHOLE_PAGES)));
        assert!(dev.saw(&[]));
        Ok(())
    }

    #[test]
    fn a_slot_of_zeroes_is_empty() -> Result {
        let dev = FakeDevice::new()?;
        free_empty_slot(&dev);
        assert_eq!(dev.alive(), 0);
        Ok(())
    }
}
