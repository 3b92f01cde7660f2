// SPDX-License-Identifier: GPL-2.0

/*
 * What queue management in Rust needs of the C driver: single steps, without
 * any decision. See queue.rs for the order in which they are taken.
 */

#include <linux/slab.h>
#include <net/netdev_queues.h>
#include <net/page_pool/helpers.h>

#include "../ethernet/google/gve/gve.h"
#include "../ethernet/google/gve/gve_adminq.h"
#include "../ethernet/google/gve/gve_dqo.h"
#include "../ethernet/google/gve/gve_utils.h"
#include "gve_rust.h"

/* Are there rings, with NAPI on? Not while down, nor after a failed reset. */
bool gve_glue_is_running(struct net_device *dev)
{
	struct gve_priv *priv = netdev_priv(dev);

	return priv->rx && gve_get_napi_enabled(priv);
}

/* An XDP program is attached: the rings are registered with XDP. */
bool gve_glue_has_xdp(struct net_device *dev)
{
	struct gve_priv *priv = netdev_priv(dev);

	return priv->tx_cfg.num_xdp_queues;
}

bool gve_glue_reset_pending(struct net_device *dev)
{
	return gve_get_do_reset(netdev_priv(dev));
}

void gve_glue_schedule_reset(struct net_device *dev)
{
	gve_schedule_reset(netdev_priv(dev));
}

/* A ring without memory, to take one's memory out into */
struct gve_rx_ring *gve_glue_shell(void)
{
	return kvzalloc_obj(struct gve_rx_ring);
}

/* A ring with all that it needs, of which the device knows nothing */
struct gve_rx_ring *gve_glue_alloc(struct net_device *dev, u32 index)
{
	struct gve_tx_alloc_rings_cfg tx_cfg = {};
	struct gve_rx_alloc_rings_cfg rx_cfg = {};
	struct gve_priv *priv = netdev_priv(dev);
	struct gve_rx_ring *ring;
	int err;

	ring = gve_glue_shell();
	if (!ring)
		return ERR_PTR(-ENOMEM);
	gve_get_curr_alloc_cfgs(priv, &tx_cfg, &rx_cfg);
	err = gve_rx_alloc_ring_dqo(priv, &rx_cfg, ring, index);
	if (err) {
		kvfree(ring);
		return ERR_PTR(err);
	}
	return ring;
}

void gve_glue_free(struct gve_rx_ring *ring)
{
	struct gve_tx_alloc_rings_cfg tx_cfg = {};
	struct gve_rx_alloc_rings_cfg rx_cfg = {};

	/* Not a shell */
	if (ring->gve) {
		gve_get_curr_alloc_cfgs(ring->gve, &tx_cfg, &rx_cfg);
		gve_rx_free_ring_dqo(ring->gve, ring, &rx_cfg);
	}
	kvfree(ring);
}

/* Is there memory in the driver's ring? */
bool gve_glue_has_ring(struct net_device *dev, u32 index)
{
	struct gve_priv *priv = netdev_priv(dev);

	return priv->rx && priv->rx[index].dqo.buf_states;
}

/* Does the queue draw from a provider that is not installed any more? */
bool gve_glue_overstays(struct net_device *dev, u32 index)
{
	struct gve_priv *priv = netdev_priv(dev);
	struct page_pool *pool = priv->rx[index].dqo.page_pool;

	return pool && page_pool_is_unreadable(pool) &&
	       !netif_rxq_has_unreadable_mp(dev, index);
}

/* Calls @step for the notification block of each TX and RX ring, but one's. */
static void gve_glue_each_block(struct gve_priv *priv, u32 but,
				void (*step)(struct gve_priv *priv,
					     struct gve_notify_block *block,
					     u32 coalesce_usecs))
{
	u32 i;

	for (i = 0; i < gve_num_tx_queues(priv); i++)
		if (gve_tx_was_added_to_block(priv, i))
			step(priv, &priv->ntfy_blocks[gve_tx_idx_to_ntfy(priv, i)],
			     priv->tx_coalesce_usecs);
	for (i = 0; i < priv->rx_cfg.num_queues; i++)
		if (i != but && gve_rx_was_added_to_block(priv, i))
			step(priv, &priv->ntfy_blocks[gve_rx_idx_to_ntfy(priv, i)],
			     priv->rx_coalesce_usecs);
}

static void gve_glue_disable(struct gve_priv *priv,
			     struct gve_notify_block *block, u32 coalesce_usecs)
{
	napi_disable_locked(&block->napi);
}

static void gve_glue_enable(struct gve_priv *priv,
			    struct gve_notify_block *block, u32 coalesce_usecs)
{
	napi_enable_locked(&block->napi);
}

static void gve_glue_kick(struct gve_priv *priv,
			  struct gve_notify_block *block, u32 coalesce_usecs)
{
	gve_set_itr_coalesce_usecs_dqo(priv, block, coalesce_usecs);
	/*
	 * Events from before this have no interrupt, and are found by polling;
	 * those from after it have one.
	 */
	mb();
	napi_schedule(&block->napi);
}

/*
 * What the device wants for a command on a single queue: nobody touches any
 * queue. The stack's packets wait in their qdiscs, and received ones in the
 * device or the rings. RX queue @but is left out, for it is off already.
 */
void gve_glue_quiesce(struct net_device *dev, u32 but)
{
	gve_glue_each_block(netdev_priv(dev), but, gve_glue_disable);
	/* After NAPI, since completions wake queues. */
	netif_tx_disable(dev);
}

void gve_glue_resume(struct net_device *dev, u32 but)
{
	struct gve_priv *priv = netdev_priv(dev);

	gve_glue_each_block(priv, but, gve_glue_enable);
	/* To poll at once, not with the next interrupt of this processor */
	local_bh_disable();
	gve_glue_each_block(priv, but, gve_glue_kick);
	netif_tx_wake_all_queues(dev);
	local_bh_enable();
}

/* Puts a queue's NAPI instance on, which was off. */
void gve_glue_run(struct net_device *dev, u32 index)
{
	struct gve_priv *priv = netdev_priv(dev);
	struct gve_notify_block *block =
		&priv->ntfy_blocks[gve_rx_idx_to_ntfy(priv, index)];

	gve_glue_enable(priv, block, priv->rx_coalesce_usecs);
	local_bh_disable();
	gve_glue_kick(priv, block, priv->rx_coalesce_usecs);
	local_bh_enable();
}

/* Moves what a ring owns, and nothing that describes or counts. */
static void gve_glue_move(struct gve_rx_ring *to, struct gve_rx_ring *from)
{
	to->gve = from->gve;
	to->q_num = from->q_num;
	to->packet_buffer_size = from->packet_buffer_size;
	to->packet_buffer_truesize = from->packet_buffer_truesize;
	to->rx_headroom = from->rx_headroom;
	to->dqo = from->dqo;
	to->q_resources = from->q_resources;
	to->q_resources_bus = from->q_resources_bus;
	memset(&from->dqo, 0, sizeof(from->dqo));
	from->q_resources = NULL;
}

/*
 * The driver's ring stays where it is, so its counters go on, and whoever
 * reads them meanwhile reads what is there. The queue has a NAPI instance
 * after this, which is off.
 */
void gve_glue_install(struct net_device *dev, u32 index,
		      struct gve_rx_ring *ring)
{
	struct gve_priv *priv = netdev_priv(dev);
	struct gve_rx_ring *rx = &priv->rx[index];

	gve_glue_move(rx, ring);
	memset(&rx->ctx, 0, sizeof(rx->ctx));
	gve_rx_start_ring_dqo(priv, index);
	netif_queue_set_napi(dev, index, NETDEV_QUEUE_TYPE_RX,
			     &priv->ntfy_blocks[rx->ntfy_id].napi);
	kvfree(ring);
}

/* @ring is a shell. Waits for a grace period, as the end of NAPI does. */
void gve_glue_remove(struct net_device *dev, u32 index,
		     struct gve_rx_ring *ring)
{
	struct gve_priv *priv = netdev_priv(dev);

	netif_queue_set_napi(dev, index, NETDEV_QUEUE_TYPE_RX, NULL);
	gve_rx_stop_ring_dqo(priv, index);
	gve_glue_move(ring, &priv->rx[index]);
}

int gve_glue_create(struct net_device *dev, u32 index)
{
	return gve_adminq_create_single_rx_queue(netdev_priv(dev), index);
}

int gve_glue_destroy(struct net_device *dev, u32 index)
{
	return gve_adminq_destroy_single_rx_queue(netdev_priv(dev), index);
}

void gve_glue_post(struct net_device *dev, u32 index)
{
	struct gve_priv *priv = netdev_priv(dev);

	gve_rx_post_buffers_dqo(&priv->rx[index]);
}
