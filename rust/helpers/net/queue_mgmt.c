// SPDX-License-Identifier: GPL-2.0

/*
 * C inlines that queue management and page pools of drivers need, see
 * rust/kernel/net/queue_mgmt.rs and page_pool/pool.rs.
 */

#ifdef CONFIG_RUST_NETDEV_ABSTRACTIONS

#include <linux/ethtool_netlink.h>
#include <linux/netdevice.h>
#include <net/netdev_queues.h>
#include <net/page_pool/helpers.h>

__rust_helper void *rust_helper_netdev_priv(const struct net_device *dev)
{
	return netdev_priv(dev);
}

__rust_helper void
rust_helper_netdev_set_queue_mgmt_ops(struct net_device *dev,
				      const struct netdev_queue_mgmt_ops *ops)
{
	dev->queue_mgmt_ops = ops;
}

/* @unreadable: the RX queue whose memory provider to use, -1 for none */
__rust_helper struct page_pool *
rust_helper_page_pool_create_for_rxq(struct net_device *netdev,
				     struct device *dev, unsigned int pool_size,
				     unsigned int order, int nid,
				     enum dma_data_direction dma_dir,
				     int unreadable)
{
	struct page_pool_params params = {
		.order = order,
		.pool_size = pool_size,
		.nid = nid,
		.dev = dev,
		.dma_dir = dma_dir,
		.netdev = netdev,
	};

	if (dev) {
		params.flags |= PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV;
		params.max_len = PAGE_SIZE << order;
	}
	if (unreadable >= 0) {
		params.flags |= PP_FLAG_ALLOW_UNREADABLE_NETMEM;
		params.queue_idx = unreadable;
	}
	return page_pool_create(&params);
}

__rust_helper bool rust_helper_page_pool_is_unreadable(struct page_pool *pool)
{
	return page_pool_is_unreadable(pool);
}

#ifdef CONFIG_RUST_NETDEV_KUNIT_TEST
/* A device that nobody sends through needs no operations, but a table. */
__rust_helper void rust_helper_netdev_set_no_netdev_ops(struct net_device *dev)
{
	static const struct net_device_ops none;

	dev->netdev_ops = &none;
}

__rust_helper void rust_helper_netdev_set_header_split(struct net_device *dev)
{
	dev->cfg->hds_config = ETHTOOL_TCP_DATA_SPLIT_ENABLED;
	dev->cfg->hds_thresh = 0;
}

__rust_helper void rust_helper_netdev_queue_mem_free(struct net_device *dev,
						     void *per_queue_mem)
{
	dev->queue_mgmt_ops->ndo_queue_mem_free(dev, per_queue_mem);
}

__rust_helper int
rust_helper_netdev_queue_validate(struct net_device *dev, u32 rx_page_size,
				  struct netlink_ext_ack *extack)
{
	struct netdev_queue_config config = { .rx_page_size = rx_page_size };

	return dev->queue_mgmt_ops->ndo_validate_qcfg(dev, &config, extack);
}

/* netdev_queue_get_dma_dev() wants a device that has a DMA mask */
__rust_helper struct device *
rust_helper_netdev_queue_dma_dev(struct net_device *dev, int index)
{
	return dev->queue_mgmt_ops->ndo_queue_get_dma_dev(dev, index);
}
#endif

#endif /* CONFIG_RUST_NETDEV_ABSTRACTIONS */
