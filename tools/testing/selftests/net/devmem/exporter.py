#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What the exporter of a dma-buf sees of a binding: whatever its runs look like,
and whatever fails, it is attached and mapped once, unmapped once when no niov
is out any more or the device is gone, released once when no token is left,
and never written to after that.
"""

import contextlib
import errno
import itertools
import os
import time

from lib.py import (Binding, KsftNamedVariant, KsftSkipEx, MIB, NetdevFamily,
                    NetdevSimDev, Nic, NlError, Receiver, bind_request,
                    bound_queues, defect, defer, expect_refused, ksft_eq,
                    ksft_exit, ksft_ge, ksft_lt, ksft_ne, ksft_pr, ksft_run,
                    ksft_true, ksft_variants, leaves_nothing, page_pools,
                    run_in_env, send, tries_defects, try_bind, wait_for)
from lib.py.exporter import LONGEST_RUN, PAGE, ExporterBuffer, Run, load

# Payload of a packet with an MTU of 1500: each one takes a niov.
PAYLOAD = 1428
HELD = 20000
# Delayed work of the page pool and of the binding, on a slow machine.
DEADLINE = 20


def _buffer(runs_, seed=1, short=False):
    """A buffer for this test case."""
    buffer = ExporterBuffer(runs_, seed, short)
    defer(buffer.forget)
    return buffer


def _bind(cfg, buffer, queues=None):
    binding = Binding(cfg.ifindex, buffer.fd,
                      cfg.queues[:1] if queues is None else queues)
    defer(binding.close)
    return binding


def _stream(cfg, buffer, binding, ipver="4"):
    """A stream that lands in the buffer: (Receiver, sending socket)."""
    sock, sender = cfg.connect(ipver)
    return Receiver(sock, buffer, binding.id), sender


def _holding(cfg, buffer, binding, ipver="4"):
    """A stream whose receiver holds the tokens of its first bytes."""
    receiver, sender = _stream(cfg, buffer, binding, ipver)
    send(sender, 0, HELD).finish()
    receiver.receive_all(HELD, keep=1 << 30)
    ksft_ne(len(receiver.tokens), 0)
    return receiver, sender


def _check_over(buffer, maps=1):
    """
    Nobody has the buffer any more: it was attached and mapped @maps times, and
    released once with nothing left. What it was made of is untouched since.
    """
    buffer.close()
    wait_for(lambda: buffer.counts().released, DEADLINE)
    counts = buffer.counts()
    ksft_eq((counts.attached, counts.detached), (maps, maps), "attach, detach")
    ksft_eq((counts.mapped, counts.unmapped), (maps, maps), "map, unmap")
    ksft_eq(counts.released, 1, "releases")
    ksft_eq(counts.left_at_release, 0, "attachments, mappings at the release")
    ksft_eq(counts.cpu_begun, counts.cpu_ended, "accesses by the CPU")
    ksft_eq(counts.guard_overwritten, 0, "words written outside of a run")
    ksft_eq(counts.poison_overwritten, 0, "words written after the release")


PATTERNS = {
    "one_run": [LONGEST_RUN],
    "single_pages": [1] * 1024,
    "mixed": [1, 300, 2, 1, 64, 3, 129, 1, 1, 255, 7, 32, 5, 1, 128, 90],
}


@ksft_variants([KsftNamedVariant(name, runs)
                for name, runs in PATTERNS.items()])
@leaves_nothing
def runs(cfg, pattern):
    """Data lands in every run and is found where its cmsg says, in order."""
    buffer = _buffer(pattern)
    binding = _bind(cfg, buffer)
    receiver, sender = _stream(cfg, buffer, binding)
    touched = set()
    niovs = set()
    # Niovs are posted in turn. Holding nine in ten makes the NIC use so many,
    # and the second round begins with the rest.
    batch = buffer.size // PAGE * 9 // 10 * PAYLOAD
    for until in (batch, 2 * batch):
        thread = send(sender, receiver.position, until - receiver.position)
        while receiver.position < until:
            for piece in receiver.receive().pieces:
                if piece.kind == "dmabuf":
                    touched.add(buffer.run_at(piece.offset))
                    niovs.add(piece.offset // PAGE)
        thread.finish()
        receiver.release()
    ksft_pr(f"{receiver.kinds}, {len(touched)} of {len(pattern)} runs, "
            f"{len(niovs)} of {buffer.size // PAGE} niovs")
    ksft_eq(receiver.kinds["dmabuf"], 2 * batch)
    ksft_ge(len(niovs), buffer.size // PAGE * 85 // 100)
    ksft_ge(len(touched), len(pattern) * 85 // 100)
    ksft_eq(buffer.counts().device_runs, len(pattern),
            "the runs must not have been joined on the way")
    receiver.sock.close()
    binding.close()
    _check_over(buffer)


MISALIGNED = {
    "start": (Run(4, skip=512), {}),
    "end": (Run(4, cut=512), {}),
    "both": (Run(4, skip=2048, cut=2048), {}),
    "less_than_a_niov": (Run(1, skip=1024, cut=1024), {}),
    "larger_niovs": (Run(3), {"rx-page-size": 2 * PAGE}),
}


@ksft_variants([KsftNamedVariant(name, *how)
                for name, how in MISALIGNED.items()])
@leaves_nothing
def misaligned(cfg, run, extra):
    """EINVAL for a run that is no multiple of niovs, and all is undone."""
    buffer = _buffer([4, 2, run, 4])
    request = bind_request(cfg.ifindex, buffer.fd, cfg.queues, **extra)
    expect_refused(cfg, try_bind(request), errno.EINVAL, rust_attr=".fd",
                   says=["not a multiple of", str(extra.get("rx-page-size",
                                                            PAGE))])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    _check_over(buffer)


OTHER_SIZES = {
    "first_shorter": ([Run(16, skip=PAGE), 16, 16], False, 47),
    "middle_shorter": ([16, Run(16, cut=PAGE), 16], False, 47),
    "last_shorter": ([16, 16, Run(16, cut=15 * PAGE)], False, 33),
    "all_shorter": ([Run(16, skip=8 * PAGE)] * 64, False, 8 * 64),
    "longer": ([16, 16], True, 32),
    "longer_by_half": ([1, 1], True, 2),
}


@ksft_variants([KsftNamedVariant(name, *how)
                for name, how in OTHER_SIZES.items()])
@leaves_nothing
def other_size(cfg, runs_, short, pages):
    """
    EINVAL for runs that are not as long as the dma-buf: whatever lies after a
    gap would be told of at a wrong offset. C takes it, and tells that.
    """
    buffer = _buffer(runs_, short=short)
    request = bind_request(cfg.ifindex, buffer.fd, cfg.queues)
    if not cfg.is_rust:
        _bind(cfg, buffer, cfg.queues).close()
        defect(True, "bound, and told of at wrong offsets after a gap")
        return
    expect_refused(cfg, try_bind(request), errno.EINVAL, rust_attr=".fd",
                   says=[str(buffer.size), str(pages * PAGE)])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    _check_over(buffer)


# What the message says of it.
REFUSAL = {"attach": "refuses", "map": "cannot map"}


@ksft_variants([KsftNamedVariant(f"{step}_{errno.errorcode[number]}", step,
                                 number)
                for step, number in (("attach", errno.EBUSY),
                                     ("attach", errno.EPERM),
                                     ("map", errno.ENOMEM),
                                     ("map", errno.EREMOTEIO))])
@leaves_nothing
def refused(cfg, step, number):
    """
    The exporter's errno reaches the caller; then it can be tried again. Who is
    refused takes no number from those who are not.
    """
    other = _bind(cfg, _buffer([64]))
    other.close()
    buffer = _buffer([64, 1, 64])
    buffer.fail(step, number)
    request = bind_request(cfg.ifindex, buffer.fd, cfg.queues)
    for _ in range(2):
        expect_refused(cfg, try_bind(request), number, rust_attr=".fd",
                       says=["exporter", "DMA device", REFUSAL[step]])
    counts = buffer.counts()
    attached = 0 if step == "attach" else 2
    ksft_eq(counts.attach_failed + counts.map_failed, 2)
    ksft_eq((counts.attached, counts.detached), (attached, attached))
    ksft_eq((counts.mapped, counts.unmapped), (0, 0))
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: not page_pools(cfg.netdev, cfg.ifindex), DEADLINE)
    ksft_eq(page_pools(cfg.netdev, cfg.ifindex), [])

    buffer.fail(step, 0)
    binding = _bind(cfg, buffer, cfg.queues)
    binding.close()
    ksft_eq(binding.id, other.id + 1)
    wait_for(lambda: buffer.counts().detached == attached + 1, DEADLINE)
    counts = buffer.counts()
    ksft_eq((counts.attached, counts.detached), (attached + 1, attached + 1))
    ksft_eq((counts.mapped, counts.unmapped), (1, 1))


@ksft_variants(["attach", "map"])
@leaves_nothing
def refused_and_closed(cfg, step):
    """A buffer that was refused is released with its last descriptor."""
    buffer = _buffer([16])
    buffer.fail(step, errno.ENODEV)
    request = bind_request(cfg.ifindex, buffer.fd, cfg.queues)
    expect_refused(cfg, try_bind(request), errno.ENODEV)
    buffer.close()
    # nothing is left to some later work: close() has released it
    counts = buffer.counts()
    ksft_eq((counts.released, counts.left_at_release), (1, 0))


@leaves_nothing
def bound_again_and_again(cfg):
    """Each binding maps once and unmaps once; the buffer stays."""
    buffer = _buffer([256, 1, 1, 256])
    for _ in range(10):
        _bind(cfg, buffer, cfg.queues).close()
    _check_over(buffer, maps=10)


@leaves_nothing
def bound_twice(cfg):
    """Two bindings of one buffer have a mapping each."""
    if len(cfg.queues) < 2:
        raise KsftSkipEx("two queues are needed")
    buffer = _buffer([1, 512, 3, 128])
    first = _bind(cfg, buffer, cfg.queues[:1])
    second = _bind(cfg, buffer, cfg.queues[1:2])
    counts = buffer.counts()
    ksft_eq((counts.attached, counts.mapped, counts.unmapped), (2, 2, 0))
    first.close()
    wait_for(lambda: buffer.counts().detached, DEADLINE)
    ksft_eq(buffer.counts().unmapped, 1)
    second.close()
    _check_over(buffer, maps=2)


@ksft_variants(["4", "6"])
@leaves_nothing
def last_token(cfg, ipver):
    """
    Unbound, the dma-buf is unmapped, for nobody writes there any more; C waits
    for the last token with that. Closed by its user, it is released once the
    last token is back, not before. The stream goes on in host memory.
    """
    # mapped, unmapped, detached, released
    want = (1, 1, 1, 0) if cfg.is_rust else (1, 0, 0, 0)
    buffer = _buffer([200, 1, 1, 300, 2])
    binding = _bind(cfg, buffer)
    receiver, sender = _holding(cfg, buffer, binding, ipver)
    buffer.close()
    binding.close()
    while len(receiver.tokens) > 1:
        receiver.release(1)
        ksft_eq(_ends(buffer), want, "with tokens out")
    # the page pool looks for its last niov once a second
    time.sleep(2.5)
    ksft_eq(_ends(buffer), want, "with the last token out")
    receiver.release()
    ksft_true(wait_for(lambda: buffer.counts().released, DEADLINE),
              "the last token must release the buffer")
    thread = send(sender, HELD, MIB)
    receiver.receive_all(HELD + MIB)
    thread.finish()
    ksft_eq(receiver.kinds["plain"], MIB)
    _check_over(buffer)


@leaves_nothing
def socket_closed_first(cfg):
    """A socket that dies with tokens out changes nothing for the exporter."""
    buffer = _buffer([1] * 600)
    binding = _bind(cfg, buffer)
    receiver, _ = _holding(cfg, buffer, binding)
    receiver.sock.close()
    time.sleep(1.5)
    counts = buffer.counts()
    ksft_eq((counts.mapped, counts.unmapped), (1, 0), "while bound")
    binding.close()
    _check_over(buffer)


@ksft_variants(["unbind_driver", "remove"])
@leaves_nothing
def device_gone(cfg, how):
    """
    With a token out, the device may lose its driver, or be pulled. What was
    mapped for it is unmapped at once, for it has no use for the memory, which
    the token keeps. C unmaps with the last token, when the device is no more.
    """
    if how == "remove" and not cfg.is_rust and not tries_defects():
        raise KsftSkipEx("C does not hold the device of an attachment: "
                         "use after free at the unmap")
    # mapped, unmapped, detached, released
    want = (1, 1, 1, 0) if cfg.is_rust else (1, 0, 0, 0)
    nic = Nic(cfg)
    buffer = _buffer([1, 100, 1, 400, 30])
    binding = _bind(cfg, buffer)
    receiver, _ = _holding(cfg, buffer, binding)
    buffer.close()
    receiver.release(len(receiver.tokens) - 1)
    defer(nic.restore)
    getattr(nic, how)()
    ksft_eq(_ends(buffer), want, "the device is gone, the binding is not")
    binding.close()
    time.sleep(1.5)
    ksft_eq(_ends(buffer), want, "the token is still out")
    receiver.release()
    _check_over(buffer)


def _ends(buffer):
    counts = buffer.counts()
    return (counts.mapped, counts.unmapped, counts.detached, counts.released)


STALL = 5


@leaves_nothing
def slow_unmap(cfg):
    """
    An exporter that waits in unmap delays nobody: neither the unbind, nor who
    wants the NIC's lock, nor another bind.
    """
    buffer, another = _buffer([64]), _buffer([64])
    binding = _bind(cfg, buffer)
    buffer.stall(STALL)
    times = [time.monotonic()]
    binding.close()
    times.append(time.monotonic())
    cfg.rings()
    times.append(time.monotonic())
    _bind(cfg, another)
    times.append(time.monotonic())
    took = [f"{end - start:.3f}" for start, end in itertools.pairwise(times)]
    ksft_pr(f"unbound, asked, bound in {', '.join(took)} s")
    ksft_lt(times[-1] - times[0], STALL / 2)
    ksft_eq(buffer.counts().unmapped, 0, "the unmap must take its time")
    ksft_true(wait_for(lambda: buffer.counts().detached, DEADLINE))
    _check_over(buffer)


@leaves_nothing
def slow_unmap_refused(cfg):
    """Nor does it delay who is refused, or who wants the NIC's lock then."""
    buffer = _buffer([4, Run(4, skip=512)])
    request = bind_request(cfg.ifindex, buffer.fd, cfg.queues)
    buffer.stall(STALL)
    begun = time.monotonic()
    expect_refused(cfg, try_bind(request), errno.EINVAL, rust_attr=".fd")
    cfg.rings()
    took = time.monotonic() - begun
    ksft_pr(f"refused, asked in {took:.3f} s")
    if cfg.is_rust:
        ksft_lt(took, STALL / 2)
    else:
        defect(took > STALL / 2, "others wait for the exporter")
    _check_over(buffer)


@leaves_nothing
def slow_unmap_and_others(cfg):
    """Nor does it delay another NIC that goes: the driver of the one stays."""
    if not cfg.is_rust:
        raise KsftSkipEx("C lets the driver go without waiting")
    buffer = _buffer([64])
    binding = _bind(cfg, buffer)
    buffer.stall(STALL)
    binding.close()
    other = NetdevSimDev()
    begun = time.monotonic()
    other.remove()
    took = time.monotonic() - begun
    ksft_pr(f"gone in {took:.3f} s")
    ksft_lt(took, STALL / 2)
    ksft_eq(buffer.counts().unmapped, 0, "the unmap must take its time")
    _check_over(buffer)


@leaves_nothing
def slow_unmap_and_gone(cfg):
    """No mapping outlives the driver: it waits for one that is under way."""
    if not cfg.is_rust:
        raise KsftSkipEx("C unmaps at some time after the driver has gone")
    nic = Nic(cfg)
    buffer = _buffer([64])
    binding = _bind(cfg, buffer)
    buffer.stall(STALL)
    binding.close()
    ksft_eq(buffer.counts().unmapped, 0, "the unmap must take its time")
    defer(nic.restore)
    nic.unbind_driver()
    ksft_eq(buffer.counts().unmapped, 1, "the driver is gone")
    _check_over(buffer)


@ksft_variants(["token", "driver"])
@leaves_nothing
def restart_failed(cfg, holder):
    """
    Unbound when there is no memory to restart the queue with, which goes on
    with what it has until there is. It is unmapped then, though a token is
    out, or before the driver goes.
    """
    if not cfg.is_rust:
        raise KsftSkipEx("C unmaps with the last token")
    nic = Nic(cfg)
    failed = lingered = 0
    with _slab_failures():
        nth = _FailNth()
        defer(nth.close)
        for number in (1, 2, 3, 4, 6) if holder == "token" else (1,):
            buffer = _buffer([200, 1])
            binding = _bind(cfg, buffer)
            receiver, _ = _holding(cfg, buffer, binding)
            receiver.release(len(receiver.tokens) - 1)
            nth.set(number)
            binding.close()
            failed += not nth.left()
            nth.set(0)
            lingered += not buffer.counts().unmapped
            if holder == "driver":
                defer(nic.restore)
                nic.unbind_driver()
                ksft_eq(buffer.counts().unmapped, 1, "the driver is gone")
            ksft_true(wait_for(lambda b=buffer: b.counts().unmapped, DEADLINE),
                      f"still mapped after allocation {number} failed")
            receiver.release()
            receiver.sock.close()
            _check_over(buffer)
    ksft_pr(f"{failed} allocations failed; still mapped then: {lingered}")
    ksft_ge(failed, 1)
    ksft_ge(lingered, 1, "no failure made the queue go on with the memory")


@leaves_nothing
def module_is_held(cfg):
    """A binding holds the exporter's module when user space does not."""
    def users():
        with open("/sys/module/devmem_exporter/refcnt",
                  encoding="utf-8") as refcnt:
            return int(refcnt.read())

    before = users()
    buffer = ExporterBuffer([32])
    binding = _bind(cfg, buffer)
    buffer.forget()
    ksft_ge(users(), before + 1)
    binding.close()
    wait_for(lambda: users() == before, DEADLINE)
    ksft_eq(users(), before)


def _available():
    """Bytes of memory that the kernel could still give out."""
    with open("/proc/meminfo", encoding="ascii") as info:
        for line in info:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    raise KeyError("MemAvailable")


@leaves_nothing
def single_pages_64k(cfg):
    """
    65,536 runs of a page bind, receive and unbind in bounded time: with niovs
    of all runs in one array, not much slower than the same memory in 64 runs.
    """
    took, spent = {}, {}
    for count, length in ((64, LONGEST_RUN), (65536, 1)):
        buffer = _buffer([length] * count, None)
        before = _available()
        started = time.monotonic()
        binding = _bind(cfg, buffer)
        bound = time.monotonic()
        spent[count] = before - _available()
        receiver, sender = _holding(cfg, buffer, binding)
        receiver.release()
        receiver.sock.close()
        sender.close()
        unbinding = time.monotonic()
        binding.close()
        wait_for(lambda b=buffer: b.counts().detached, DEADLINE)
        took[count] = (bound - started, time.monotonic() - unbinding)
        ksft_pr(f"{count} runs of {length} pages: bound in "
                f"{took[count][0]:.3f} s, unmapped {took[count][1]:.3f} s "
                "after the unbind began")
        _check_over(buffer)
        buffer.forget()
    # C allocates twice for each run and frees run by run: no promise there
    limit = 5 if cfg.is_rust else 30
    ksft_lt(took[65536][0], limit)
    ksft_lt(took[65536][1], limit)
    more = (spent[65536] - spent[64]) // MIB
    ksft_pr(f"{more} MiB of kernel memory more for single pages")
    if cfg.is_rust:
        ksft_lt(more, 32)
    else:
        defect(more > 100, f"{more} MiB of kernel memory more for a buffer of "
               "256 MiB in single pages")


@contextlib.contextmanager
def _slab_failures():
    """
    Let fail-nth count allocations with kmalloc; skips where the kernel cannot.
    """
    folder = "/sys/kernel/debug/failslab"
    if not os.path.exists("/proc/self/fail-nth") or not os.path.isdir(folder):
        raise KsftSkipEx("no FAILSLAB in this kernel")
    old = {}
    wanted = {"ignore-gfp-wait": "N", "verbose": "0"}
    try:
        for name, value in wanted.items():
            with open(f"{folder}/{name}", encoding="utf-8") as knob:
                old[name] = knob.read().strip()
            with open(f"{folder}/{name}", "w", encoding="utf-8") as knob:
                knob.write(value)
        yield
    finally:
        for name, value in old.items():
            with open(f"{folder}/{name}", "w", encoding="utf-8") as knob:
                knob.write(value)


class _FailNth:
    """Lets one allocation of this thread fail, counted from when it is set."""

    def __init__(self):
        # kept open: to open it takes allocations
        self._fd = os.open("/proc/thread-self/fail-nth", os.O_RDWR)

    def set(self, number):
        """Let the allocation with this number fail; 0: none."""
        os.pwrite(self._fd, str(number).encode(), 0)

    def left(self):
        """Allocations that are still to go; 0 if it has failed."""
        return int(os.pread(self._fd, 32, 0))

    def close(self):
        """Let none fail."""
        self.set(0)
        os.close(self._fd)


@leaves_nothing
def no_memory(cfg):
    """
    Each allocation of bind-rx fails once. Whatever becomes of the request,
    once its socket is closed nothing is left of it.
    """
    buffer = _buffer([3, 1, 12])
    request = bind_request(cfg.ifindex, buffer.fd, cfg.queues[:1])
    outcomes = {}
    with _slab_failures():
        nth = _FailNth()
        defer(nth.close)
        for number in itertools.count(1):
            netdev = NetdevFamily()
            outcome = "bound"
            nth.set(number)
            try:
                netdev.bind_rx(request)
            except OSError as error:
                outcome = errno.errorcode.get(error.errno, error.errno)
            except NlError as error:
                outcome = f"refused with {errno.errorcode[error.error]}"
            left = nth.left()
            nth.set(0)
            netdev.sock.close()
            if left:
                break
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            wait_for(lambda: _undone(buffer.counts()), DEADLINE)
            ksft_true(_undone(buffer.counts()), f"allocation {number}")
    ksft_pr(f"{number - 1} allocations: {outcomes}")
    ksft_eq(outcome, "bound", "the last one, in which nothing failed")
    ksft_ge(outcomes.get("refused with ENOMEM", 0), 10)


def _undone(counts):
    return counts.attached == counts.detached and \
        counts.mapped == counts.unmapped


def spoiled(_):
    """The exporter finds what is written where nobody may."""
    buffer = _buffer([2, 2])
    counts = buffer.counts()
    ksft_eq((counts.guard_overwritten, counts.poison_overwritten), (0, 0))
    buffer.close()
    counts = buffer.counts()
    ksft_eq((counts.released, counts.guard_overwritten,
             counts.poison_overwritten), (1, 0, 0))
    buffer.spoil()
    counts = buffer.counts()
    ksft_eq((counts.guard_overwritten, counts.poison_overwritten),
            (PAGE // 8, PAGE // 8))


CASES = [
    spoiled,
    runs,
    misaligned,
    other_size,
    refused,
    refused_and_closed,
    bound_again_and_again,
    bound_twice,
    last_token,
    socket_closed_first,
    module_is_held,
    single_pages_64k,
    no_memory,
    slow_unmap,
    slow_unmap_refused,
    slow_unmap_and_others,
    # last: the NIC is set up again after these
    restart_failed,
    slow_unmap_and_gone,
    device_gone,
]


def _run(cfg):
    load()
    ksft_run(CASES, args=(cfg,))


def main():
    """Run the test cases."""
    run_in_env(__file__, _run)
    ksft_exit()


if __name__ == "__main__":
    main()
