/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Device memory TCP in Rust: the contract between the C net core and
 * net/core/devmem/. Everything declared here is defined by the Rust crate
 * (#[export] compares each signature with this header), and no C code reads a
 * field of the opaque types.
 */
#ifndef _NET_DEVMEM_RUST_H
#define _NET_DEVMEM_RUST_H

#include <linux/sockptr.h>
#include <linux/types.h>
#include <net/netdev_netlink.h>
#include <net/netmem.h>
#include <uapi/linux/netdev.h>

struct genl_family;
struct genl_info;
struct msghdr;
struct net_device;
struct net_devmem_dmabuf_binding;
struct sk_buff;
struct sock;

/* The family that carries bind-rx and bind-tx (net/core/netdev-genl-gen.c). */
extern struct genl_family netdev_nl_family;
extern const struct nla_policy
netdev_queue_id_nl_policy[NETDEV_A_QUEUE_TYPE + 1];

/* Netlink: process context, genetlink's cb_lock held for reading. */
int netdev_nl_bind_rx_doit(struct sk_buff *skb, struct genl_info *info);
int netdev_nl_bind_tx_doit(struct sk_buff *skb, struct genl_info *info);
void netdev_nl_sock_priv_init(struct netdev_nl_sock *priv);
void netdev_nl_sock_priv_destroy(struct netdev_nl_sock *priv);

/* A device is being unregistered, and is down: process context, rtnl held. */
void net_devmem_netdev_leaves(struct net_device *dev);

/* Receive: process context, socket lock held. */
int tcp_recvmsg_dmabuf(struct sock *sk, const struct sk_buff *skb,
		       unsigned int offset, struct msghdr *msg,
		       int remaining_len);

/* SO_DEVMEM_DONTNEED: process context, no lock. */
int net_devmem_dontneed(struct sock *sk, sockptr_t optval, unsigned int optlen);

/* End of a TCP socket: any context that may not sleep included. */
void net_devmem_sock_release(struct sock *sk);

/* References of skb frags: any context but hardirq. */
void net_devmem_get_net_iov(struct net_iov *niov);
void net_devmem_put_net_iov(struct net_iov *niov);

/* Transmit. May this frag leave through @dev? Softirq or process. */
bool net_devmem_may_xmit(const struct net_iov *niov,
			 const struct net_device *dev);
struct net_devmem_dmabuf_binding *
net_devmem_get_binding(struct sock *sk, unsigned int dmabuf_id);
void net_devmem_dmabuf_binding_put(struct net_devmem_dmabuf_binding *binding);
struct net_iov *
net_devmem_get_niov_at(struct net_devmem_dmabuf_binding *binding, size_t addr,
		       size_t *off, size_t *size);

#endif /* _NET_DEVMEM_RUST_H */
