#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The `devmem` tool against live bindings: list, show, watch and bind; and the
library's example for async runtimes, which receives a stream.

The implementation in C has no debugfs: there the tool says so, and shows what
netlink knows.
"""

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import time
import zlib

from lib.py import (KsftSkipEx, MIB, NetNSEnter, Sender, bound_queues, defer,
                    holding, ksft_eq, ksft_ge, ksft_gt, ksft_in, ksft_not_none,
                    ksft_true, leaves_nothing, pattern, send, wait_for)
from lib.py.tool import (DEVMEM, PATIENCE, TOOLS, Program, check_item, fits,
                         run, run_json, run_tool_test, source)

NOBODY = 65534
EXAMPLE = TOOLS / "examples/async_receive"


def listed(binding_id, **kwargs):
    """The entry of a binding in `devmem list`, or None."""
    bindings = run_json("list", **kwargs)["bindings"]
    return next((b for b in bindings if b["id"] == binding_id), None)


def _address(sock):
    """This end of an IPv4 socket, as the tool writes it."""
    return "%s:%s" % sock.getsockname()


@leaves_nothing
def list_bindings(cfg):
    """Every binding with its queues; sizes and niovs where debugfs tells."""
    ksft_eq(run_json("list")["bindings"], [])
    ksft_in("no bindings", run("list"))
    _, first = cfg.bind(4 * MIB, cfg.queues[:1])
    _, second = cfg.bind(6 * MIB, cfg.queues[1:2])
    found = run_json("list", "--dev", cfg.ifname)
    ksft_eq([b["id"] for b in found["bindings"]],
            sorted([first.id, second.id]))
    seen = listed(second.id)
    ksft_eq((seen["state"], seen["device"], seen["ifindex"], seen["queues"]),
            ("bound", cfg.ifname, cfg.ifindex, cfg.queues[1:2]))
    ksft_true(seen["netns_is_ours"])
    ksft_gt(seen["niovs"]["used"], 0, "the ring is filled")
    ksft_eq(source(found, "netlink")["complete"], True)
    ksft_eq(source(found, "debugfs")["complete"], cfg.is_rust)
    if cfg.is_rust:
        ksft_eq((seen["size"], seen["exporter"]), (6 * MIB, "udmabuf"))
        niovs = seen["niovs"]
        ksft_eq(niovs["total"] * niovs["size"], 6 * MIB)
        ksft_eq(niovs["free"] + niovs["used"], niovs["total"])
    else:
        ksft_eq((seen["size"], seen["exporter"], seen["niovs"]["total"]),
                (None, None, None))
        ksft_in("CONFIG_NET_DEVMEM_RUST", source(found, "debugfs")["hint"])
    table = run("list")
    for word in (str(first.id), str(second.id), cfg.ifname):
        ksft_in(word, table)
    ksft_eq(run_json("list", "--dev", "lo")["bindings"], [])


@leaves_nothing
def list_without_rights(cfg):
    """Anybody sees what netlink knows, and is told what root would see."""
    _, binding = cfg.bind(4 * MIB)
    folder = tempfile.mkdtemp()
    defer(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    program = shutil.copy(DEVMEM, folder)
    done = subprocess.run([program, "list", "--json"], user=NOBODY,
                          group=NOBODY, extra_groups=[], text=True,
                          capture_output=True, check=False, cwd="/")
    ksft_eq(done.returncode, 0, done.stderr)
    found = json.loads(done.stdout)
    fits(found, "list")
    ksft_eq([(b["id"], b["queues"], b["size"]) for b in found["bindings"]],
            [(binding.id, cfg.queues, None)])
    debugfs = source(found, "debugfs")
    ksft_eq(debugfs["complete"], False)
    ksft_in("not ours to read", debugfs["missing"])
    done = subprocess.run([program, "check", "--dev", cfg.ifname, "--json"],
                          user=NOBODY, group=NOBODY, extra_groups=[],
                          text=True, capture_output=True, check=False, cwd="/")
    ksft_eq(done.returncode, 1, done.stderr)
    item = check_item(json.loads(done.stdout), "permission")
    ksft_eq(item["verdict"], "missing")
    ksft_in("CAP_NET_ADMIN", item["found"])


@leaves_nothing
def show_holder(cfg):
    """The socket that holds memory, its addresses, and its process."""
    receiver, sender, binding = holding(cfg)
    found = run_json("show", binding.id)
    seen = found["binding"]
    ksft_eq((seen["id"], seen["queues"]), (binding.id, cfg.queues))
    ksft_eq(len(seen["page_pools"]), len(cfg.queues))
    ksft_eq(seen["page_pool_count"], len(cfg.queues))
    text = run("show", binding.id)
    if not cfg.is_rust:
        ksft_eq(seen["sockets"], None)
        return
    ksft_eq(seen["received"]["bytes"], receiver.kinds["dmabuf"])
    ksft_eq(seen["received"]["frags"], receiver.frags)
    ksft_eq(len(seen["sockets"]), 1)
    holder = seen["sockets"][0]
    ksft_eq(holder["inode"], os.fstat(receiver.sock.fileno()).st_ino)
    ksft_eq(holder["tokens"], len(receiver.tokens))
    ksft_eq([(p["pid"], p["fd"]) for p in holder["processes"]],
            [(os.getpid(), receiver.sock.fileno())])
    ksft_eq(holder["local"], _address(receiver.sock))
    ksft_eq(holder["remote"], _address(sender))
    ksft_eq(holder["tcp_state"], "ESTABLISHED")
    ksft_eq(source(found, "proc")["complete"], True)
    ksft_in(f"[{os.getpid()}]", text)
    receiver.release()
    ksft_eq(run_json("show", binding.id)["binding"]["sockets"], [])
    ksft_in("no socket holds", run("show", binding.id))


@leaves_nothing
def show_nothing(cfg):
    """A binding that is not there: status 1, and an object that says so."""
    _, binding = cfg.bind(4 * MIB)
    wrong = binding.id + 1000
    found = run_json("show", wrong, status=1, schema="error")
    ksft_in(f"no binding {wrong}", found["error"]["message"])
    ksft_in(str(binding.id), found["error"]["message"])


@leaves_nothing
def unbound(cfg):
    """Off its queues, a binding is listed until its memory is back."""
    receiver, _, binding = holding(cfg)
    binding.close()
    seen = listed(binding.id)
    ksft_not_none(seen, "memory is held, but the binding is not listed")
    ksft_eq((seen["state"], seen["queues"]), ("unbound", []))
    ksft_gt(seen["niovs"]["used"], 0)
    ksft_in("unbound", run("list"))
    receiver.release()
    ksft_true(wait_for(lambda: listed(binding.id) is None, 20),
              "it is still listed when all memory is back")


@leaves_nothing
def watch_json(cfg):
    """Throughput of a stream: of the payload, or of the queues with C."""
    receiver, sender, binding = cfg.stream("4")
    size = 2 * MIB
    child = Program(DEVMEM, "watch", "--interval", "0.5", "--json",
                    "--dev", cfg.ifname)
    looks = [child.json()]
    thread = send(sender, 0, size)
    receiver.receive_all(size)
    thread.finish()
    done = time.monotonic()
    while time.monotonic() < done + 1.5:
        looks.append(child.json())
    child.signal(signal.SIGTERM)
    fits(looks[-1], "watch")
    ksft_eq({b["id"] for look in looks for b in look["bindings"]},
            {binding.id})
    seen = [look["bindings"][0]["rates"] for look in looks]
    ksft_eq(seen[0]["bytes"], None, "the first look has no look before")
    counted = "payload" if cfg.is_rust else "queues"
    ksft_eq({rate["counted"] for rate in seen}, {counted})
    times = [look["seconds"] for look in looks]
    total = sum(rate["bytes"] * (now - before) for rate, before, now
                in zip(seen[1:], times, times[1:]))
    # the times are those of the loop, not of each look
    ksft_ge(total, size * 0.8)
    ksft_true(total < size * 1.4, f"{total} of {size} bytes")


@leaves_nothing
def watch_lines(cfg):
    """Elsewhere than on a terminal, a line for each look."""
    receiver, _, binding = holding(cfg)
    lines = run("watch", "-n", "0.2", "-c", "3").splitlines()
    ksft_eq(len(lines), 3)
    for line in lines:
        ksft_in(f"id {binding.id}  {cfg.ifname}", line)
    if cfg.is_rust:
        ksft_in(f"{len(receiver.tokens)} ", lines[-1])
        ksft_in(f"[{os.getpid()}] for ", lines[-1])


@leaves_nothing
def watch_terminal(cfg):
    """On a terminal a table, which goes away again."""
    _, binding = cfg.bind(4 * MIB)
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.environ["TERM"] = "xterm"
            termios.tcsetwinsize(0, (24, 160))
            os.execv(DEVMEM, [str(DEVMEM), "watch", "-n", "0.2"])
        finally:
            os._exit(127)
    defer(os.close, terminal)
    text = ""

    def saw(word):
        nonlocal text
        limit = time.monotonic() + PATIENCE
        while word not in text and time.monotonic() < limit:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    text += os.read(terminal, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        return word in text

    ksft_true(saw("\x1b[?1049h"), "the other screen is taken")
    ksft_true(saw(cfg.ifname), f"no table: {text!r}")
    ksft_in(str(binding.id), text)
    os.write(terminal, b"q")
    ksft_true(saw("\x1b[?1049l"), "the screen is given back")
    ksft_eq(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


def _bind(cfg, *command, queues=None, size="4M", options=()):
    """The words of `devmem bind … -- COMMAND`."""
    queues = ",".join(map(str, cfg.queues if queues is None else queues))
    return ["bind", "--dev", cfg.ifname, "--queues", queues, "--size", size,
            *options, "--", *command]


@leaves_nothing
def bind_command(cfg):
    """The command gets the memory and all numbers, and its status comes back."""
    script = """
        echo $DEVMEM_ID $DEVMEM_SIZE $DEVMEM_DEV $DEVMEM_IFINDEX $DEVMEM_QUEUES
        echo $DEVMEM_DMABUF_FD $MINE
        readlink /proc/self/fd/$DEVMEM_DMABUF_FD
        readlink /proc/self/fd/$DEVMEM_MEMFD_FD
        read line
        exit 7"""
    child = Program(DEVMEM, *_bind(cfg, "sh", "-c", script,
                                   options=("--fd-env", "MINE", "--json")))
    told = child.json()
    fits(told, "bind")
    if cfg.is_rust:
        # less than the rings take
        ksft_in("bind 8192 KiB", told["warning"] or "")
    queues = ",".join(map(str, cfg.queues))
    ksft_eq(child.line().split(), [str(told["id"]), str(4 * MIB), cfg.ifname,
                                   str(cfg.ifindex), queues])
    ksft_eq(child.line().split(), [str(told["dmabuf_fd"])] * 2)
    ksft_in("dmabuf", child.line())
    ksft_in("memfd", child.line())
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {queue: told["id"] for queue in cfg.queues})
    child.say("go")
    ksft_eq(child.status(), 7)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})


@leaves_nothing
def bind_signal(cfg):
    """Signals reach the command; devmem ends as it does."""
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    child = Program(DEVMEM, *_bind(cfg, "sh", "-c", script))
    ksft_eq(child.line(), "ready")
    child.signal(signal.SIGTERM)
    ksft_eq(child.status(), 9)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    run(*_bind(cfg, "sh", "-c", "kill -KILL $$"), status=128 + signal.SIGKILL)


@leaves_nothing
def bind_killed(cfg):
    """Killed with no chance to clean up, devmem leaves no queue bound."""
    child = Program(DEVMEM, *_bind(cfg, "sh", "-c", "echo $$; exec sleep 600"))
    sleeper = int(child.line())
    ksft_true(bound_queues(cfg.netdev, cfg.ifindex))
    child.signal(signal.SIGKILL)
    child.status()
    defer(os.kill, sleeper, signal.SIGKILL)
    ksft_true(wait_for(lambda: not bound_queues(cfg.netdev, cfg.ifindex), 20))


@leaves_nothing
def bind_refused(cfg):
    """Its own failures have a status of their own, and the kernel's words."""
    command = _bind(cfg, "true", queues=[cfg.num_queues], options=["--json"])
    found = json.loads(run(*command, status=125))
    fits(found, "error")
    ksft_eq(found["error"]["errno_name"], "EINVAL")
    ksft_eq(found["error"]["attribute"], "queues/id")
    if cfg.is_rust:
        ksft_in(str(cfg.num_queues), found["error"]["kernel_message"])
    run(*_bind(cfg, "/no/such/program"), status=127)
    run(*_bind(cfg, "/etc/hosts"), status=126)
    run(*_bind(cfg, "true"))


def _async(cfg, size, delay, connections):
    """
    The example receives @connections streams of @size bytes at once, into 8 MiB
    that `devmem bind` hands to it. Returns what it says of each.
    """
    if not EXAMPLE.exists():
        raise KsftSkipEx(f"{EXAMPLE} is not built")
    child = Program(DEVMEM, *_bind(cfg, EXAMPLE, f"{cfg.addr_v['4']}:0",
                                   connections, delay,
                                   queues=cfg.queues[:1], size="8M"))
    ready = child.json()
    senders = {}
    for number in range(connections):
        with NetNSEnter(cfg.remote_ns):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        defer(sock.close)
        sock.settimeout(PATIENCE)
        if number == 0:
            cfg.steer("4", ready["port"], cfg.queues[0])
        sock.connect((cfg.addr_v["4"], ready["port"]))
        # each stream is another part of the pattern
        start = number * (64 << 20)
        senders[_address(sock)] = (sock, start, Sender(sock, start, size))
    for sock, _, thread in senders.values():
        thread.finish(PATIENCE)
        sock.shutdown(socket.SHUT_WR)
    results = [child.json() for _ in senders]
    ksft_eq(child.status(), 0)
    ksft_eq({result["peer"] for result in results}, set(senders))
    for result in results:
        start = senders[result["peer"]][1]
        ksft_eq(result["crc32"], zlib.crc32(pattern(start, size)),
                "the bytes are not those that were sent")
        ksft_eq((result["bytes_devmem"], result["bytes_host"]), (size, 0))
        ksft_eq((result["tokens_released"], result["tokens_unknown"]),
                (result["frags"], 0))
        ksft_eq(result["foreign"], 0)
    return results


@leaves_nothing
def async_streams(cfg):
    """Three streams on one thread, more than the dma-buf holds."""
    results = _async(cfg, 4 * MIB, 0, 3)
    # tokens go back in batches, not one by one
    ksft_gt(sum(r["frags"] for r in results),
            2 * sum(r["release_calls"] for r in results))


@leaves_nothing
def async_slow_reader(cfg):
    """A reader that dawdles holds frags while the other task sleeps."""
    results = _async(cfg, MIB // 2, 2, 1)
    ksft_gt(results[0]["release_calls"], 1)


CASES = [
    list_bindings,
    list_without_rights,
    show_holder,
    show_nothing,
    unbound,
    watch_json,
    watch_lines,
    watch_terminal,
    bind_command,
    bind_signal,
    bind_killed,
    bind_refused,
    async_streams,
    async_slow_reader,
]


if __name__ == "__main__":
    run_tool_test(__file__, CASES)
