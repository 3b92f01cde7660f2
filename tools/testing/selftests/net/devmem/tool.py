#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The `devmem` tool against live bindings: list, show, watch, bind and check;
and the library's example for async runtimes, which receives a stream.

DEVMEM_TOOLS is the folder of the built programs. The implementation in C has
no debugfs: there the tool says so, and shows what netlink knows.
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
from pathlib import Path

from lib.py import (KsftNamedVariant, KsftSkipEx, MIB, NetNSEnter, Sender,
                    bound_queues, cmd, defer, ethtool, holding, ksft_eq,
                    ksft_exit, ksft_ge, ksft_gt, ksft_in, ksft_not_in,
                    ksft_not_none, ksft_run, ksft_true, ksft_variants,
                    leaves_nothing, pattern, run_in_env, send, wait_for)
from lib.py.bpf import XDP_GENERIC, xdp_attach, xdp_pass

NOBODY = 65534
# Programs are slow under full emulation.
PATIENCE = 60


def _tools():
    """Folder of the built programs."""
    if "DEVMEM_TOOLS" in os.environ:
        return Path(os.environ["DEVMEM_TOOLS"])
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("DEVMEM_CACHE") or home / "devmem-rust")
    return cache / "target-devmem/release"


TOOLS = _tools()
DEVMEM = TOOLS / "devmem"
EXAMPLE = TOOLS / "examples/async_receive"


def run(*arguments, status=0, **kwargs):
    """Run devmem; returns its standard output once its exit status is right."""
    done = subprocess.run([DEVMEM, *map(str, arguments)], text=True,
                          capture_output=True, timeout=PATIENCE, check=False,
                          **kwargs)
    ksft_eq(done.returncode, status,
            f"devmem {arguments}: {done.stdout}{done.stderr}")
    return done.stdout


def run_json(command, *arguments, status=0, schema=None, **kwargs):
    """Run devmem with --json; returns the object, which fits its schema."""
    found = json.loads(run(command, *arguments, "--json", status=status,
                           **kwargs))
    fits(found, schema or command)
    return found


_SCHEMAS = {}


def fits(found, name):
    """Compare an object with the schema that the tool prints."""
    try:
        import jsonschema                     # pylint: disable=C0415
    except ModuleNotFoundError:
        return
    if name not in _SCHEMAS:
        _SCHEMAS[name] = json.loads(run("schema", name))
    jsonschema.validate(found, _SCHEMAS[name])


def listed(binding_id, **kwargs):
    """The entry of a binding in `devmem list`, or None."""
    bindings = run_json("list", **kwargs)["bindings"]
    return next((b for b in bindings if b["id"] == binding_id), None)


def source(found, name):
    """What an object says of one of its sources."""
    return next(s for s in found["sources"] if s["name"] == name)


def _address(sock):
    """This end of an IPv4 socket, as the tool writes it."""
    return "%s:%s" % sock.getsockname()


class Program:
    """A program that runs beside the test case, and is gone after it."""

    def __init__(self, *argv):
        self._child = subprocess.Popen([str(word) for word in argv], bufsize=0,
                                       stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
        self._text = b""
        defer(self._end)

    def line(self):
        """The next line that it prints."""
        limit = time.monotonic() + PATIENCE
        while b"\n" not in self._text:
            left = max(0, limit - time.monotonic())
            if not select.select([self._child.stdout], [], [], left)[0]:
                raise TimeoutError(f"{self._child.args} says nothing")
            piece = os.read(self._child.stdout.fileno(), 65536)
            if not piece:
                raise EOFError(f"{self._child.args} has ended")
            self._text += piece
        line, self._text = self._text.split(b"\n", 1)
        return line.decode().strip()

    def json(self):
        """The next object that it prints, on one line or several."""
        text = self.line()
        while True:
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                text += self.line()

    def say(self, line):
        """Give it a line to read."""
        self._child.stdin.write(line.encode() + b"\n")

    def signal(self, number):
        """Send it a signal."""
        self._child.send_signal(number)

    def status(self):
        """Its exit status, once it has one."""
        return self._child.wait(PATIENCE)

    def _end(self):
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()


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
    item = _item(json.loads(done.stdout), "permission")
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


def _item(found, name):
    """An item of `devmem check`."""
    return next(item for item in found["items"] if item["name"] == name)


def _missing(found):
    """Names of the items that are missing."""
    return [item["name"] for item in found["items"]
            if item["verdict"] == "missing"]


def _check(cfg, *arguments, ready=True):
    """`devmem check` of the NIC, with the verdict that is expected."""
    if "--queues" not in arguments:
        arguments += ("--queues", ",".join(map(str, cfg.queues)))
    found = run_json("check", "--dev", cfg.ifname, *arguments,
                     status=0 if ready else 1)
    ksft_eq(found["ready"], ready)
    return found


@leaves_nothing
def check_ready(cfg):
    """A NIC that is set up is ready, and a trial binding proves it."""
    found = _check(cfg, "--try")
    ksft_eq(_item(found, "bind")["verdict"], "ok")
    ksft_eq(found["commands"], [])
    verdicts = {item["name"]: item["verdict"] for item in found["items"]}
    ksft_eq(set(verdicts.values()), {"ok"}, str(verdicts))
    ksft_eq(found["driver"], "gve")
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    text = run("check", "--dev", cfg.ifname)
    ksft_in("ready; steer flows", text)


def _split(cfg):
    cfg.set_split(False)
    defer(cfg.set_split, True)


def _ntuple(cfg):
    ethtool(f"-K {cfg.ifname} ntuple off")
    defer(ethtool, f"-K {cfg.ifname} ntuple on")


def _rss(cfg):
    ethtool(f"-X {cfg.ifname} default")
    defer(ethtool, f"-X {cfg.ifname} equal {cfg.queues[0]}")


def _link(cfg):
    defer(cfg.link_up)
    cfg.link_down()


def _xdp(cfg):
    # the driver's own mode excludes header split on gve
    prog = xdp_pass()
    defer(os.close, prog)
    xdp_attach(cfg.ifindex, prog, XDP_GENERIC)
    defer(xdp_attach, cfg.ifindex, -1, XDP_GENERIC)


def _everything(cfg):
    _ntuple(cfg)
    _rss(cfg)
    _split(cfg)
    # what the driver has to be up for comes before
    _link(cfg)


@ksft_variants([
    KsftNamedVariant("split", ["header-split"], _split),
    KsftNamedVariant("ntuple", ["ntuple"], _ntuple),
    KsftNamedVariant("rss", ["rss"], _rss),
    KsftNamedVariant("link", ["link"], _link),
    KsftNamedVariant("xdp", ["xdp"], _xdp),
    KsftNamedVariant("everything", ["link", "header-split", "ntuple", "rss"],
                     _everything),
])
@leaves_nothing
def check_mends(cfg, names, spoil):
    """What is missing is named, and the printed commands mend it."""
    queues = ",".join(map(str, cfg.queues))
    spoil(cfg)
    found = _check(cfg, ready=False)
    ksft_eq(_missing(found), names)
    for name in names:
        ksft_true(_item(found, name)["commands"], f"no command for {name}")
        ksft_in(f"MISSING  {name}", run("check", "--dev", cfg.ifname,
                                        "--queues", queues, status=1))
    script = run("check", "--dev", cfg.ifname, "--queues", queues,
                 "--commands", status=1)
    ksft_eq(script.splitlines(), found["commands"])
    done = subprocess.run(["sh", "-ex"], input=script, text=True, check=False,
                          capture_output=True)
    ksft_eq(done.returncode, 0, done.stderr)
    cfg.wait_carrier()
    _check(cfg, "--try")


@leaves_nothing
def check_mends_queue_count(cfg):
    """Too few queues, with other traffic kept off those that are to come."""
    count = cfg.num_queues + 2
    channels = cfg.channels()
    if channels.get("rx-max", channels.get("combined-max", 0)) < count:
        raise KsftSkipEx(f"{cfg.ifname} has no more queues")
    wanted = f"{count - 2}-{count - 1}"
    found = _check(cfg, "--queues", wanted, ready=False)
    ksft_eq(_missing(found), ["queues"])
    defer(cmd, f"ethtool -L {cfg.ifname} rx {cfg.num_queues}")
    for command in found["commands"]:
        cmd(command)
    cfg.wait_carrier()
    found = _check(cfg, "--queues", wanted, "--try")
    ksft_eq(found["queues"], [count - 2, count - 1])


@leaves_nothing
def check_taken(cfg):
    """A queue that is bound already is named with its binding."""
    _, binding = cfg.bind(4 * MIB, cfg.queues[:1])
    found = _check(cfg, ready=False)
    ksft_eq(_missing(found), ["queue-users"])
    said = _item(found, "queue-users")["found"]
    ksft_in(f"queue {cfg.queues[0]}", said)
    ksft_in(f"binding {binding.id}", said)
    ksft_not_in(f"queue {cfg.queues[1]}", said)


@leaves_nothing
def check_queue_zero(cfg):
    """Queue 0, which gve cannot restart, is told before the kernel is asked."""
    if "driver: gve" not in ethtool(f"-i {cfg.ifname}").stdout:
        raise KsftSkipEx("only gve refuses queue 0")
    found = _check(cfg, "--queues", "0", ready=False)
    ksft_in("queues", _missing(found))
    ksft_in("queue 0", _item(found, "queues")["found"])


@leaves_nothing
def check_hopeless(cfg):
    """A driver without queue management; an interface that is not there."""
    found = run_json("check", "--dev", "lo", status=1)
    ksft_in("queue-management", _missing(found))
    ksft_eq(_item(found, "permission")["verdict"], "ok")
    found = run_json("check", "--dev", "no-such-if", status=3, schema="error")
    ksft_eq(found["error"]["errno_name"], "ENODEV")
    # the question changes nothing
    _check(cfg)


@leaves_nothing
def check_udmabuf(cfg):
    """udmabuf's limit is told, with the command that raises it."""
    path = "/sys/module/udmabuf/parameters/size_limit_mb"
    with open(path, encoding="ascii") as limit:
        before = limit.read().strip()
    defer(cmd, f"echo {before} > {path}", shell=True)
    cmd(f"echo 63 > {path}", shell=True)
    item = _item(_check(cfg, "--size", "64M"), "udmabuf")
    ksft_eq(item["verdict"], "warning")
    for command in item["commands"]:
        cmd(command, shell=True)
    ksft_eq(_item(_check(cfg, "--size", "64M"), "udmabuf")["verdict"], "ok")


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
    check_ready,
    check_mends,
    check_mends_queue_count,
    check_taken,
    check_queue_zero,
    check_hopeless,
    check_udmabuf,
    async_streams,
    async_slow_reader,
]


def main():
    """Run the test cases."""
    if not DEVMEM.exists():
        print("TAP version 13")
        print(f"1..0 # SKIP {DEVMEM} is not built")
        raise SystemExit(4)
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
