// SPDX-License-Identifier: GPL-2.0

//! Memory providers on RX queues.
//!
//! C headers: [`include/net/netdev_rx_queue.h`](srctree/include/net/netdev_rx_queue.h),
//! [`include/net/page_pool/memory_provider.h`](srctree/include/net/page_pool/memory_provider.h)

use super::{
    genetlink::ExtAck,
    netdevice::NetDeviceGuard,
    page_pool::{MemoryProvider, ProviderOps},
};
use crate::{bindings, error::to_result, prelude::*, sync::Arc};

/// Names an RX queue. Only good for comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RxQueueId(usize);

impl RxQueueId {
    pub(super) fn new(rxq: *const bindings::netdev_rx_queue) -> Self {
        Self(rxq as usize)
    }
}

/// A provider that is installed on an RX queue.
///
/// The queue holds a counted reference on the provider. Ends with [`close`](Self::close), which
/// restarts the queue on ordinary memory; just dropping it is for a queue whose device is gone
/// ([`MemoryProvider::uninstall`]).
#[must_use = "a provider stays installed until `close`"]
pub struct InstalledProvider<P: MemoryProvider> {
    ops: &'static ProviderOps<P>,
    provider: Arc<P>,
    index: u32,
    rxq: RxQueueId,
}

impl<P: MemoryProvider> InstalledProvider<P> {
    /// Installs `provider` on queue `index` of `dev` and restarts the queue on its memory.
    ///
    /// `rx_page_size` asks for niovs of another size than a page, in bytes; 0 for a page.
    ///
    /// # Errors
    ///
    /// `ERANGE` no such queue, `EINVAL` header split is off or has a threshold, `EEXIST` XDP is
    /// attached or the queue has a provider, `EBUSY` AF_XDP or a lease has the queue, `EOPNOTSUPP`
    /// no queue management or another page size; and what the driver says.
    pub fn open(
        dev: &NetDeviceGuard<'_>,
        index: u32,
        ops: &'static ProviderOps<P>,
        provider: Arc<P>,
        rx_page_size: u32,
        extack: ExtAck<'_>,
    ) -> Result<Self> {
        let params = Self::params(ops, &provider, rx_page_size);
        // SAFETY: The device is locked, `ops` is static and `mp_priv` an `Arc<P>` as the callbacks
        // in `ops` want it; on success the result owns that `Arc`.
        to_result(unsafe {
            bindings::netif_mp_open_rxq(dev.as_raw(), index, &params, extack.as_raw())
        })?;
        // SAFETY: The call above checked that the queue exists.
        let rxq = unsafe { bindings::__netif_get_rx_queue(dev.as_raw(), index) };
        Ok(Self {
            ops,
            provider,
            index,
            rxq: RxQueueId::new(rxq),
        })
    }

    /// Takes the provider off the queue and restarts it on ordinary memory.
    ///
    /// `dev` has to be the device that it was installed on.
    pub fn close(self, dev: &NetDeviceGuard<'_>) {
        let params = Self::params(self.ops, &self.provider, 0);
        // SAFETY: The device is locked; C compares the parameters with what is installed and does
        // nothing else if they differ.
        unsafe { bindings::netif_mp_close_rxq(dev.as_raw(), self.index, &params) };
    }

    /// Which queue it is on.
    pub fn rxq(&self) -> RxQueueId {
        self.rxq
    }

    /// Index of the queue in its device.
    pub fn index(&self) -> u32 {
        self.index
    }

    fn params(
        ops: &'static ProviderOps<P>,
        provider: &Arc<P>,
        rx_page_size: u32,
    ) -> bindings::pp_memory_provider_params {
        bindings::pp_memory_provider_params {
            mp_priv: Arc::as_ptr(provider).cast_mut().cast(),
            mp_ops: ops.as_raw(),
            rx_page_size,
        }
    }
}
