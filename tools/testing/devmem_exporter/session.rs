// SPDX-License-Identifier: GPL-2.0

//! An open file of the device.

use crate::{
    abi::{self, RunSpec},
    buffer::Buffer,
    memory::Memory,
    record::Record,
};
use kernel::{
    dma_buf::DmaBuf,
    fs::File,
    ioctl::_IOC_SIZE,
    miscdevice::{MiscDevice, MiscDeviceRegistration},
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex},
    uaccess::{UserSlice, UserSliceReader},
};

/// An open file of the device, which makes one buffer and knows what became of it.
#[pin_data]
pub(crate) struct Session {
    #[pin]
    record: Mutex<Option<Arc<Record>>>,
}

impl Session {
    /// Makes the buffer. Returns its file descriptor.
    fn create(&self, reader: &mut UserSliceReader) -> Result<isize> {
        let runs = usize::try_from(reader.read::<u64>()?)?;
        let count = reader.read::<u32>()?;
        let flags = reader.read::<u32>()?;
        if flags & !(abi::FLAG_GUARD | abi::FLAG_SHORT) != 0 {
            return Err(EINVAL);
        }
        let guards = usize::from(flags & abi::FLAG_GUARD != 0);
        let missing = match flags & abi::FLAG_SHORT {
            0 => 0,
            _ => PAGE_SIZE,
        };
        if count == 0 || count > abi::MAX_RUNS {
            return Err(EINVAL);
        }
        let specs = read_runs(UserPtr::from_addr(runs), count as usize)?;

        let mut place = self.record.lock();
        if place.is_some() {
            return Err(EBUSY);
        }
        let record = Record::new(Memory::new(&specs, guards)?)?;
        let size = record.memory.size().saturating_sub(missing);
        let buf = DmaBuf::export(size, Buffer::new(record.clone()))?;
        let fd = buf.into_fd()?;

        *place = Some(record);
        Ok(fd as isize)
    }

    /// Lets a step fail, or not any more.
    fn fail(&self, reader: &mut UserSliceReader) -> Result<isize> {
        let step = reader.read::<u32>()?.try_into()?;
        let errno = abi::errno(reader.read()?)?;

        self.record()?.fail(step, errno);
        Ok(0)
    }

    /// Lets unmaps take their time.
    fn stall(&self, reader: &mut UserSliceReader) -> Result<isize> {
        let ms = reader.read::<u32>()?;
        if reader.read::<u32>()? != 0 || ms > abi::MAX_STALL {
            return Err(EINVAL);
        }
        self.record()?.set_stall(ms);
        Ok(0)
    }

    /// The record of the buffer that was made here.
    fn record(&self) -> Result<Arc<Record>> {
        self.record.lock().clone().ok_or(ENODATA)
    }
}

/// Reads `count` runs from user space.
fn read_runs(at: UserPtr, count: usize) -> Result<KVVec<RunSpec>> {
    let size = count.checked_mul(size_of::<[u32; 4]>()).ok_or(EINVAL)?;
    let mut reader = UserSlice::new(at, size).reader();
    let mut specs = KVVec::with_capacity(count, GFP_KERNEL)?;

    for _ in 0..count {
        specs.push(RunSpec::read(&mut reader)?, GFP_KERNEL)?;
    }
    Ok(specs)
}

#[vtable]
impl MiscDevice for Session {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        KBox::pin_init(
            pin_init!(Self {
                record <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }

    fn ioctl(session: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let slice = UserSlice::new(UserPtr::from_addr(arg), _IOC_SIZE(cmd));

        match cmd {
            abi::CREATE => session.create(&mut slice.reader()),
            abi::FAIL => session.fail(&mut slice.reader()),
            abi::STALL => session.stall(&mut slice.reader()),
            abi::STATUS => {
                session.record()?.status().write(&mut slice.writer())?;
                Ok(0)
            }
            abi::SPOIL => {
                session.record()?.memory.spoil();
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }
}
