# SPDX-License-Identifier: GPL-2.0
"""Boot a kernel with virtme-ng and run commands in the guest.

The guest's root is the sandbox's root, read-only, so the repo and the cache
are there under their own paths, as they were when the guest first looked: it
keeps what it has read. One folder is writable: the results. What counts is
what the guest writes there; virtme-ng's exit status does not.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape

from . import kernel, model, monitor, paths, sandbox, ui, userspace
from .errors import HarnessError

# Root of the guest's `ip netns` and the like; the rest of / is read-only.
GUEST = """\
cd {repo}
echo booted > {results}/booted
export HOME=/root LANG=C.UTF-8 PYTHONPYCACHEPREFIX=/run/pycache RESULTS={results}
export DEVMEM_CACHE={cache}
export PATH={path}
{exports}
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing
mkdir -p /run/netns
ip link set lo up
{drivers}
run() {{
	name=$1; shift
	"$@" </dev/null 2>&1 | tee {results}/$name.log
	echo "${{PIPESTATUS[0]}}" > {results}/$name.status
}}
{commands}
if [ -e /sys/kernel/debug/kmemleak ]; then
	# It waits until an allocation is 5 s old, and then for a scan that finds it as before.
	sleep 6
	for _ in 1 2; do echo scan > /sys/kernel/debug/kmemleak; done
	cat /sys/kernel/debug/kmemleak > {results}/kmemleak.txt
fi
dmesg > {results}/dmesg.txt
echo done > {results}/finished
sync
# Not left to virtme-init, which takes seconds over it.
busybox poweroff -f
sleep 60
"""

# Seconds within which a guest has to come as far as the script above. Of some
# hundreds one hangs before, under TCG, and would use a processor until its time is over.
BOOT = 300
# Where the processors were when a guest was ended, in its results.
WHERE = "where.log"


@dataclass
class Guest:
    """What to boot and what to run in it."""

    image: Path
    results: Path
    commands: list = field(default_factory=list)  # (name, argv) pairs
    nics: model.Options | None = None
    memory: int = 3072  # MiB
    cpus: int = 2
    timeout: int = 900  # seconds, for the boot and all commands together


@dataclass
class Outcome:
    """What came of it; a command that did not end has no status."""

    status: dict
    log: str  # the kernel's log, from dmesg and the console
    console: str
    finished: bool
    timed_out: bool
    seconds: float


def kvm():
    """Whether to use KVM; /dev/kvm alone does not mean that guests run."""
    with open("/proc/cpuinfo") as info:
        flags = next((line.split() for line in info if line.startswith("flags")), [])
    return ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def accelerator():
    return "KVM" if kvm() else "TCG (no virtualization in this CPU's flags)"


def tsc_khz(cpuinfo="/proc/cpuinfo"):
    """The host's TSC frequency, which TCG passes on; None if it is not known.

    Only a virtual machine's "cpu MHz" is that frequency at all times.
    """
    with open(cpuinfo) as info:
        fields = dict(map(str.strip, line.split(":", 1)) for line in info if ":" in line)
    if not {"hypervisor", "constant_tsc"} <= set(fields.get("flags", "").split()):
        return None
    return round(float(fields["cpu MHz"]) * 1000) if "cpu MHz" in fields else None


def run(guest, tick=lambda line: None):
    """Boot, run all commands, and return the Outcome.

    `tick` gets each line that the guest's commands print. A guest that does not boot is given
    a second chance, which the screen tells of.
    """
    outcome = _run(guest, tick)
    if guest.timeout > BOOT and outcome.timed_out and not _booted(guest):
        hung = guest.results.with_name(f"{guest.results.name}-hung")
        shutil.rmtree(hung, ignore_errors=True)
        guest.results.rename(hung)
        last = (outcome.console.splitlines() or ["nothing"])[-1]
        ui.console.print(f"  {guest.results.name}: no boot after {BOOT} s, so once more; console "
                         f"and {WHERE} are in {hung}; last line: {escape(last)}")
        outcome = _run(guest, tick)
    return outcome


def _run(guest, tick):
    _prepare(guest)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="devmem-") as sockets, contextlib.ExitStack() as stack:
        if guest.nics:
            stack.enter_context(model.running(guest.nics, sockets, guest.results / "gvnic.log"))
        with _vng(_command(guest, sockets), guest, sockets, tick) as ended:
            if not ended:
                (guest.results / WHERE).write_text(monitor.where(f"{sockets}/qmp"))
    return _outcome(guest, not ended, time.monotonic() - started)


def shell(guest):
    """Boot to a shell on this terminal; returns when it ends."""
    _prepare(guest)
    with tempfile.TemporaryDirectory(prefix="devmem-") as sockets, contextlib.ExitStack() as stack:
        if guest.nics:
            stack.enter_context(model.running(guest.nics, sockets, guest.results / "gvnic.log"))
        argv = _command(guest, sockets)[:-2]
        subprocess.run(sandbox.command(argv, writable=(sockets, guest.results), cwd="/"),
                       env=sandbox.environment(), check=False)


def _prepare(guest):
    shutil.rmtree(guest.results, ignore_errors=True)
    guest.results.mkdir(parents=True)
    script = GUEST.format(
        repo=shlex.quote(str(paths.REPO)), cache=shlex.quote(str(paths.CACHE)),
        results=shlex.quote(str(guest.results)),
        path=sandbox.PATH, exports=_exports(guest), drivers=_drivers(guest),
        commands="\n".join(f"run {name} {shlex.join(map(str, argv))}"
                           for name, argv in guest.commands))
    (guest.results / "guest.sh").write_text(script)


def _exports(guest):
    """What tests may want to know of this guest, as lines of shell."""
    known = {"DEVMEM_EXPORTER": kernel.exporter(guest.image),
             "DEVMEM_TOOLS": userspace.TARGET / "release"}
    if guest.nics:
        known["DEVMEM_FAULT_FILE"] = guest.results / model.FAULTS
    return "\n".join(f"export {name}={shlex.quote(str(value))}"
                     for name, value in known.items() if value)


def _drivers(guest):
    """Loads the NICs' driver, if the kernel has it as a module."""
    driver = kernel.driver(guest.image)
    return f"busybox insmod {shlex.quote(str(driver))}" if driver and guest.nics else ""


def _command(guest, sockets):
    argv = ["vng", "--run", str(guest.image), "--user", "root", "--force-9p",
            "--disable-microvm", "--disable-monitor", "--verbose",
            "--cpus", str(guest.cpus), "--memory", f"{guest.memory}M",
            "--rwdir", str(guest.results),
            # Without CONFIG_BLOCK the kernel does not guess the 9p tag.
            "--append", "root=/dev/root",
            # virtme-ng's flags, and a page cache: without one each start of a program reads it
            # from the host again, by interrupts that two virtual processors fight over.
            "--append", "rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose"]
    if not kvm():
        argv.append("--disable-kvm")
        # Calibrated beside a busy host it may come out ten times too slow,
        # and the guest's clock ten times too fast.
        if khz := tsc_khz():
            argv += ["--append", f"tsc_early_khz={khz}"]
    options = monitor.option(f"{sockets}/qmp")
    if guest.nics:
        options += f" {_devices(guest, sockets)}"
    argv.append(f"--qemu-opts={options}")
    return argv + ["--exec", f"bash {shlex.quote(str(guest.results / 'guest.sh'))}"]


def _devices(guest, sockets):
    # The model maps the guest's memory, so that has to be a shared file.
    words = ["-machine q35,memory-backend=m",
             f"-object memory-backend-memfd,id=m,size={guest.memory}M,share=on"]
    for port, socket in enumerate(guest.nics.sockets(sockets)):
        words.append(f"-device pcie-root-port,id=port{port},chassis={port + 1},slot={port + 1}")
        # QEMU refuses the dotted form of the socket option.
        words.append('-device \'{"driver":"vfio-user-pci","bus":"port%d",'
                     '"socket":{"type":"unix","path":"%s"}}\'' % (port, socket))
    return " ".join(words)


@contextlib.contextmanager
def _vng(argv, guest, sockets, tick):
    """Run virtme-ng until it ends, which it has if this yields True, or is to be ended."""
    line = sandbox.command(argv, writable=(sockets, guest.results), cwd="/")
    # Pipes: QEMU opens a file behind stdout twice and overwrites itself.
    started = time.monotonic()
    child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=sandbox.environment())
    readers = [
        threading.Thread(target=_copy, args=(child.stdout, guest.results / "stdout.log", tick)),
        threading.Thread(target=_copy, args=(child.stderr, guest.results / "console.log", None)),
    ]
    for reader in readers:
        reader.start()
    try:
        yield _ended(child, guest, started)
    finally:
        child.kill()
        child.wait()
        for reader in readers:
            reader.join()


def _ended(child, guest, started):
    """Wait; whether the child ended before it had to boot or to be done."""
    limits = [guest.timeout]
    if guest.timeout > BOOT:
        limits.insert(0, BOOT)
    for limit in limits:
        try:
            child.wait(max(started + limit - time.monotonic(), 0))
            return True
        except subprocess.TimeoutExpired:
            if not _booted(guest):
                return False
    return False


def _booted(guest):
    return (guest.results / "booted").exists()


def _copy(pipe, where, tick):
    with open(where, "w") as sink:
        for raw in pipe:
            line = raw.decode(errors="replace").replace("\r", "")
            sink.write(line)
            sink.flush()
            if tick:
                tick(line.rstrip())


def _outcome(guest, timed_out, seconds):
    def read(name):
        path = guest.results / name
        return path.read_text(errors="replace") if path.is_file() else ""

    status = {}
    for name, _argv in guest.commands:
        text = read(f"{name}.status").strip()
        status[name] = int(text) if text.isdigit() else None
    console = read("console.log")
    return Outcome(status, read("dmesg.txt") + console, console, bool(read("finished")),
                   timed_out, seconds)


def require(outcome, guest):
    """Fail with the console's end unless the guest ran to the end of its script."""
    if outcome.finished:
        return
    what = "end" if _booted(guest) else "boot"
    why = f"no {what} after {outcome.seconds:.0f} s" if outcome.timed_out else "it ended early"
    last = "\n".join("  | " + line for line in outcome.console.splitlines()[-30:])
    raise HarnessError(f"the guest did not finish ({why}); its console ends with\n{last}\n"
                       f"  whole console: {guest.results / 'console.log'}")
