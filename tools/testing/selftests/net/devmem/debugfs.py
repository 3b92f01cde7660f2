#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What debugfs and the tracepoints say of bindings, niovs and tokens is so. The
implementation in C has neither.
"""

import errno
import os
import threading
import time

from lib.py import (Binding, MIB, Receiver, Udmabuf, bind_request,
                    bound_queues, defer, ksft_eq, ksft_exit, ksft_ge, ksft_gt,
                    ksft_in, ksft_lt, ksft_not_none, ksft_run, ksft_true,
                    KsftSkipEx, leaves_nothing, run_in_env, send, try_bind,
                    wait_for)
from lib.py.tracing import EventTrace

DEBUGFS = "/sys/kernel/debug/net_devmem"
SENT = 40000


def info(binding_id):
    """The info file of a binding as a dict; None if there is no binding."""
    try:
        with open(f"{DEBUGFS}/{binding_id}/info", encoding="ascii") as lines:
            pairs = dict(line.rstrip("\n").split(":", 1) for line in lines)
    except OSError as error:
        # EIO: it went after it was opened.
        if error.errno not in (errno.ENOENT, errno.EIO):
            raise
        return None
    return {key: int(value) if value.strip().isdigit() else value.strip()
            for key, value in pairs.items()}


def holders(binding_id):
    """Socket inode to (tokens, age of the oldest) of a binding."""
    with open(f"{DEBUGFS}/{binding_id}/sockets", encoding="ascii") as lines:
        head, *rest = lines.read().splitlines()
    ksft_eq(head, "inode tokens oldest_s")
    rows = [tuple(int(word) for word in line.split()) for line in rest]
    return {inode: (tokens, age) for inode, tokens, age in rows}


def inode_of(sock):
    """Inode number of a socket."""
    return os.fstat(sock.fileno()).st_ino


def adds_up(seen):
    """Free, idle and out are all there is."""
    ksft_eq(seen["niovs_free"] + seen["niovs_idle"] + seen["niovs_out"],
            seen["niovs"])


@leaves_nothing
def binding(cfg):
    """What a fresh binding says of itself."""
    dmabuf, bound = cfg.bind(4 * MIB)
    seen = info(bound.id)
    ksft_eq(seen["id"], bound.id)
    ksft_eq(seen["state"], "bound")
    ksft_eq(seen["netns"], os.stat("/proc/self/ns/net").st_ino)
    ksft_eq(seen["ifindex"], cfg.ifindex)
    ksft_eq(seen["device"], cfg.ifname)
    ksft_eq(str(seen["queues"]), " ".join(str(q) for q in cfg.queues))
    ksft_eq(seen["exporter"], "udmabuf")
    ksft_eq(seen["dmabuf_inode"], dmabuf.inode)
    ksft_eq(seen["size"], 4 * MIB)
    ksft_ge(seen["chunks"], 1)
    ksft_eq(seen["niovs"] * seen["niov_size"], 4 * MIB)
    ksft_eq(seen["page_pools"], len(cfg.queues))
    ksft_eq(seen["bytes_received"], 0)
    ksft_eq(seen["frags_received"], 0)
    adds_up(seen)
    ksft_gt(seen["niovs_out"], 0, "the NIC has buffers")
    ksft_eq(holders(bound.id), {})
    bound.close()
    ksft_true(wait_for(lambda: info(bound.id) is None, 20),
              "the folder goes with the binding")


@leaves_nothing
def received(cfg):
    """Bytes, frags and tokens are counted; tokens by socket, with their age."""
    receiver, sender, bound = cfg.stream("4")
    inode = inode_of(receiver.sock)
    send(sender, 0, SENT).finish()
    receiver.receive_all(SENT, keep=1 << 30)
    seen = info(bound.id)
    ksft_eq(seen["bytes_received"], receiver.kinds["dmabuf"])
    ksft_eq(seen["frags_received"], receiver.frags)
    adds_up(seen)
    held = holders(bound.id)
    ksft_eq(list(held), [inode])
    ksft_eq(held[inode][0], len(receiver.tokens))
    time.sleep(2.2)
    ksft_in(holders(bound.id)[inode][1] - held[inode][1], (2, 3, 4, 5))
    # another packet does not make the oldest younger
    send(sender, SENT, SENT).finish()
    receiver.receive_all(2 * SENT, keep=1 << 30)
    tokens, age = holders(bound.id)[inode]
    ksft_eq(tokens, len(receiver.tokens))
    ksft_ge(age, 2)
    receiver.release()
    ksft_eq(holders(bound.id), {})
    ksft_eq(info(bound.id)["bytes_received"], 2 * SENT)


@leaves_nothing
def sockets(cfg):
    """Each socket has its own line, under the binding whose memory it holds."""
    queue_a, queue_b = cfg.queues[:2]
    ends = {}
    for queue in (queue_a, queue_b):
        dmabuf, bound = cfg.bind(2 * MIB, [queue])
        for ipver in ("4", "6"):
            sock, sender = cfg.connect(ipver, queue)
            receiver = Receiver(sock, dmabuf, bound.id)
            send(sender, 0, SENT).finish()
            receiver.receive_all(SENT, keep=1 << 30)
            ends.setdefault(bound.id, []).append(receiver)
    for binding_id, receivers in ends.items():
        want = {inode_of(r.sock): len(r.tokens) for r in receivers}
        ksft_eq({i: held[0] for i, held in holders(binding_id).items()}, want)


@leaves_nothing
def unbound(cfg):
    """After unbind the folder says who still holds the memory, until nobody."""
    receiver, sender, bound = cfg.stream("6")
    send(sender, 0, SENT).finish()
    receiver.receive_all(SENT, keep=1 << 30)
    bound.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    seen = info(bound.id)
    ksft_eq(seen["state"], "unbound")
    ksft_eq(seen["queues"], "")
    ksft_eq(seen["device"], cfg.ifname)
    ksft_true(wait_for(lambda: info(bound.id)["niovs_out"]
                       == len(receiver.tokens), 20),
              f"only the tokens are out: {info(bound.id)}")
    ksft_eq(list(holders(bound.id)), [inode_of(receiver.sock)])
    receiver.release()
    ksft_true(wait_for(lambda: info(bound.id) is None, 20),
              "the last token ends the binding")


@leaves_nothing
def exhausted(cfg):
    """A dma-buf that has no niov left shows in the count of failures."""
    # the NIC's ring alone takes more than there are
    _, bound = cfg.bind(MIB)
    seen = info(bound.id)
    ksft_gt(seen["alloc_failures"], 0)
    ksft_eq(seen["niovs_free"], 0)
    adds_up(seen)


@leaves_nothing
def races(cfg):
    """Reading while bindings, sockets and page pools come and go."""
    stop = threading.Event()
    reads = [0]
    defer(stop.set)

    def look():
        while not stop.is_set():
            for folder in os.listdir(DEBUGFS):
                for name in ("info", "sockets"):
                    try:
                        with open(f"{DEBUGFS}/{folder}/{name}", "rb") as file:
                            file.read()
                        reads[0] += 1
                    except OSError:     # its folder is gone
                        pass

    _, keep = cfg.bind(MIB, [cfg.queues[0]])    # so that the folder exists
    threads = [threading.Thread(target=look, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        dmabuf = Udmabuf(MIB)
        bound = Binding(cfg.ifindex, dmabuf.fd, [cfg.queues[1]])
        sock, sender = cfg.connect("4", cfg.queues[1])
        receiver = Receiver(sock, dmabuf, bound.id)
        send(sender, 0, 4000).finish()
        receiver.receive_all(4000, keep=1 << 30)
        bound.close()
        sock.close()
        dmabuf.close()
    stop.set()
    for thread in threads:
        thread.join()
    ksft_gt(reads[0], 100)
    keep.close()


class Trace(EventTrace):
    """The events of net_devmem until the end of the test case."""

    def __init__(self):
        super().__init__("net_devmem")
        defer(self.close)

    def events(self, name):
        """The events of a kind so far, each as a dict of its fields."""
        found = [line.split(f" {name}: ", 1)[1]
                 for line in self.text().splitlines() if f" {name}: " in line]
        return [{key: int(value) for key, value in
                 (word.split("=") for word in event.split())}
                for event in found]


@leaves_nothing
def tracepoints(cfg):
    """One event for each bind, token, release, failure and unbind."""
    trace = Trace()
    receiver, sender, bound = cfg.stream("4", MIB)
    inode = inode_of(receiver.sock)
    send(sender, 0, SENT).finish()
    issued = []
    while receiver.position < SENT:
        message = receiver.receive()
        issued += [(p.token, p.offset, p.size) for p in message.pieces
                   if p.kind == "dmabuf"]
    tokens = list(receiver.tokens)
    receiver.release()
    bound.close()

    ksft_eq(trace.events("net_devmem_bind"),
            [{"id": bound.id, "ifindex": cfg.ifindex,
              "queues": len(cfg.queues), "niovs": MIB // 4096,
              "niov_size": 4096}])
    ksft_eq([(e["token"], e["offset"], e["len"])
             for e in trace.events("net_devmem_token_issue")], issued)
    ksft_eq({(e["socket"], e["id"])
             for e in trace.events("net_devmem_token_issue")},
            {(inode, bound.id)})
    ksft_eq(sorted(e["token"]
                   for e in trace.events("net_devmem_token_release")),
            sorted(tokens))
    failures = trace.events("net_devmem_alloc_fail")
    ksft_gt(len(failures), 0, "1 MiB is less than the rings take")
    ksft_eq([e["failures"] for e in failures],
            list(range(1, len(failures) + 1)))
    unbinds = trace.events("net_devmem_unbind")
    ksft_eq([e["id"] for e in unbinds], [bound.id])
    ksft_lt(unbinds[0]["away"], MIB // 4096)


@leaves_nothing
def refused(cfg):
    """A refused bind-rx leaves no folder."""
    dmabuf, bound = cfg.bind(MIB)
    bound.close()
    before = set(os.listdir(DEBUGFS))
    cfg.set_split(False)
    defer(cfg.set_split, True)
    error = try_bind(bind_request(cfg.ifindex, dmabuf.fd, cfg.queues))
    ksft_not_none(error, "header split is off")
    ksft_true(wait_for(lambda: set(os.listdir(DEBUGFS)) <= before, 10))


def run(cfg):
    """Run the cases."""
    if not cfg.is_rust:
        raise KsftSkipEx("the implementation in C has no debugfs folder and "
                         "no tracepoints")
    ksft_run([binding, received, sockets, unbound, exhausted, races,
              tracepoints, refused], args=(cfg,))


def main():
    """Run them in the environment of the selftests."""
    run_in_env(__file__, run)
    ksft_exit()


if __name__ == "__main__":
    main()
