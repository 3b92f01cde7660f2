// SPDX-License-Identifier: GPL-2.0

/*
 * C inlines that the device memory abstractions in rust/kernel/net/ call.
 *
 * Fields of struct sock, net_device and sk_buff are reached through helpers
 * too. Bindgen leaves out a member that is a struct with a tag but
 * without a name (slock_owned in socket_lock_t), and says nothing: with
 * PROVE_LOCKING all that follows it in struct sock is 64 bytes off.
 */

#ifdef CONFIG_RUST_NETDEV_ABSTRACTIONS

#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/skbuff.h>
#include <linux/sockptr.h>
#include <net/genetlink.h>
#include <net/netdev_lock.h>
#include <net/netdev_queues.h>
#include <net/netdev_rx_queue.h>
#include <net/netmem.h>
#include <net/page_pool/helpers.h>
#include <net/page_pool/memory_provider.h>
#include <net/sock.h>

/* net_device and its RX queues */

__rust_helper void rust_helper_dev_hold(struct net_device *dev)
{
	dev_hold(dev);
}

__rust_helper void rust_helper_dev_put(struct net_device *dev)
{
	dev_put(dev);
}

__rust_helper void rust_helper_netdev_lock(struct net_device *dev)
{
	netdev_lock(dev);
}

__rust_helper void rust_helper_netdev_unlock(struct net_device *dev)
{
	netdev_unlock(dev);
}

__rust_helper bool rust_helper_netdev_need_ops_lock(const struct net_device *dev)
{
	return netdev_need_ops_lock(dev);
}

__rust_helper bool rust_helper_netif_device_present(const struct net_device *dev)
{
	return netif_device_present(dev);
}

__rust_helper bool rust_helper_netif_running(const struct net_device *dev)
{
	return netif_running(dev);
}

__rust_helper struct netdev_rx_queue *
rust_helper___netif_get_rx_queue(struct net_device *dev, unsigned int rxq)
{
	return __netif_get_rx_queue(dev, rxq);
}

__rust_helper unsigned int
rust_helper_netdev_real_num_rx_queues(const struct net_device *dev)
{
	return dev->real_num_rx_queues;
}

__rust_helper bool rust_helper_netdev_is_hardware(const struct net_device *dev)
{
	return dev->dev.parent;
}

__rust_helper int rust_helper_netdev_ifindex(const struct net_device *dev)
{
	return READ_ONCE(dev->ifindex);
}

__rust_helper u32 rust_helper_netdev_netns_inum(const struct net_device *dev)
{
	u32 inum;

	rcu_read_lock();
	inum = dev_net_rcu(dev)->ns.inum;
	rcu_read_unlock();
	return inum;
}

__rust_helper const struct netdev_config *
rust_helper_netdev_cfg(const struct net_device *dev)
{
	return dev->cfg;
}

__rust_helper unsigned int rust_helper_netdev_mtu(const struct net_device *dev)
{
	return READ_ONCE(dev->mtu);
}

/*
 * Asks the driver how many buffers an RX ring has, and of how many bytes each
 * is; 0 for what it does not say. With the instance lock held: no driver can
 * ask for rtnl here, too.
 */
__rust_helper void rust_helper_netdev_rx_ring(struct net_device *dev,
					      u32 *entries, u32 *buf_len)
{
	const struct ethtool_ops *ops = dev->ethtool_ops;
	struct kernel_ethtool_ringparam kernel_ring = {};
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };

	*entries = 0;
	*buf_len = 0;
	if (!ops || !ops->get_ringparam || (ops->begin && ops->begin(dev) < 0))
		return;
	ops->get_ringparam(dev, &ring, &kernel_ring, NULL);
	if (ops->complete)
		ops->complete(dev);
	*entries = ring.rx_pending;
	*buf_len = kernel_ring.rx_buf_len;
}

/*
 * Is this a queue of hardware whose device is being unregistered, and so does
 * not access memory any more? A leased queue is not: it outlives the lease.
 */
__rust_helper bool
rust_helper_rx_queue_is_leaving(const struct netdev_rx_queue *rxq)
{
	return rxq->dev->dev.parent &&
	       READ_ONCE(rxq->dev->reg_state) > NETREG_REGISTERED;
}

/*
 * A queue goes, and its provider is told: nothing must find the provider there
 * any more. The caller holds the instance lock.
 */
__rust_helper void rust_helper_rx_queue_clear_provider(struct netdev_rx_queue *rxq,
						       const void *mp_priv)
{
	if (rxq->mp_params.mp_priv == mp_priv)
		memset(&rxq->mp_params, 0, sizeof(rxq->mp_params));
}

/* page pool */

__rust_helper void *rust_helper_net_mp_pool_priv(const struct page_pool *pool)
{
	return net_mp_pool_priv(pool);
}

__rust_helper unsigned int
rust_helper_net_mp_pool_order(const struct page_pool *pool)
{
	return net_mp_pool_order(pool);
}

__rust_helper void
rust_helper_net_mp_pool_disable_dma_sync(struct page_pool *pool)
{
	net_mp_pool_disable_dma_sync(pool);
}

__rust_helper unsigned int
rust_helper_net_mp_cache_room(const struct page_pool *pool)
{
	return net_mp_cache_room(pool);
}

__rust_helper bool
rust_helper_net_mp_niov_place_in_cache(struct page_pool *pool,
				       struct net_iov *niov)
{
	return net_mp_niov_place_in_cache(pool, niov);
}

__rust_helper netmem_ref
rust_helper_net_mp_netmem_take_from_cache(struct page_pool *pool)
{
	return net_mp_netmem_take_from_cache(pool);
}

__rust_helper bool
rust_helper_net_mp_niov_is_unused(const struct page_pool *pool,
				  struct net_iov *niov)
{
	return net_mp_niov_is_unused(pool, niov);
}

/* skb */

__rust_helper const unsigned char *
rust_helper_skb_data(const struct sk_buff *skb)
{
	return skb->data;
}

__rust_helper struct sk_buff *rust_helper_skb_next(const struct sk_buff *skb)
{
	return skb->next;
}

__rust_helper bool rust_helper_skb_frags_readable(const struct sk_buff *skb)
{
	return skb_frags_readable(skb);
}

__rust_helper unsigned int rust_helper_skb_headlen(const struct sk_buff *skb)
{
	return skb_headlen(skb);
}

__rust_helper struct skb_shared_info *
rust_helper_skb_shinfo(const struct sk_buff *skb)
{
	return skb_shinfo(skb);
}

__rust_helper unsigned int rust_helper_skb_frag_size(const skb_frag_t *frag)
{
	return skb_frag_size(frag);
}

__rust_helper unsigned int rust_helper_skb_frag_off(const skb_frag_t *frag)
{
	return skb_frag_off(frag);
}

__rust_helper struct net_iov *
rust_helper_skb_frag_net_iov(const skb_frag_t *frag)
{
	return skb_frag_net_iov(frag);
}

__rust_helper struct page *rust_helper_skb_frag_page(const skb_frag_t *frag)
{
	return skb_frag_page(frag);
}

/* netmem */

__rust_helper netmem_ref rust_helper_net_iov_to_netmem(struct net_iov *niov)
{
	return net_iov_to_netmem(niov);
}

__rust_helper void rust_helper_page_pool_ref_netmem(netmem_ref netmem)
{
	page_pool_ref_netmem(netmem);
}

/* sockets */

__rust_helper u64 rust_helper_sock_i_ino(const struct sock *sk)
{
	return sock_i_ino(sk);
}

#ifdef CONFIG_NET_DEVMEM_RUST
__rust_helper void **rust_helper_sk_devmem_tokens(struct sock *sk)
{
	return &sk->sk_devmem_tokens;
}
#endif

__rust_helper bool rust_helper_sk_is_tcp(const struct sock *sk)
{
	return sk_is_tcp(sk);
}

__rust_helper int rust_helper_copy_from_sockptr(void *dst, sockptr_t src,
						size_t size)
{
	return copy_from_sockptr(dst, src, size);
}

/* netlink */

__rust_helper struct sock *rust_helper_netlink_skb_sk(struct sk_buff *skb)
{
	return NETLINK_CB(skb).sk;
}

__rust_helper void *rust_helper_genlmsg_iput(struct sk_buff *skb,
					     const struct genl_info *info)
{
	return genlmsg_iput(skb, info);
}

__rust_helper int rust_helper_genlmsg_reply(struct sk_buff *skb,
					    struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}

__rust_helper struct net *rust_helper_genl_info_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

/* The attributes of a request, after the family's own header */
__rust_helper const struct nlattr *
rust_helper_genl_info_attrs(const struct genl_info *info, int *len)
{
	int hdrlen = GENL_HDRLEN + info->family->hdrsize;

	*len = nlmsg_attrlen(info->nlhdr, hdrlen);
	return nlmsg_attrdata(info->nlhdr, hdrlen);
}

__rust_helper int rust_helper_nla_ok(const struct nlattr *nla, int remaining)
{
	return nla_ok(nla, remaining);
}

__rust_helper struct nlattr *rust_helper_nla_next(const struct nlattr *nla,
						  int *remaining)
{
	return nla_next(nla, remaining);
}

__rust_helper int rust_helper_nla_type(const struct nlattr *nla)
{
	return nla_type(nla);
}

__rust_helper int rust_helper_nla_len(const struct nlattr *nla)
{
	return nla_len(nla);
}

__rust_helper u32 rust_helper_nla_get_u32(const struct nlattr *nla)
{
	return nla_get_u32(nla);
}

__rust_helper int rust_helper_nla_parse_nested(struct nlattr **tb, int maxtype,
					       const struct nlattr *nla,
					       const struct nla_policy *policy,
					       struct netlink_ext_ack *extack)
{
	return nla_parse_nested(tb, maxtype, nla, policy, extack);
}

__rust_helper int rust_helper_nla_put_u32(struct sk_buff *skb, int attrtype,
					  u32 value)
{
	return nla_put_u32(skb, attrtype, value);
}

#endif /* CONFIG_RUST_NETDEV_ABSTRACTIONS */
