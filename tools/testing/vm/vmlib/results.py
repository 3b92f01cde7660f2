# SPDX-License-Identifier: GPL-2.0
"""What a run reports, when it counts as good, and how it is shown."""

import json

from rich.table import Table

from . import ui
from .errors import HarnessError

# Key, what the table calls it. The guest writes all but dmesg_clean.
FIELDS = {
    "impl": "implementation",
    "kernel": "kernel",
    "families": "families",
    "queues": "bound queues",
    "flows": "flows",
    "bytes_total": "payload",
    "bytes_devmem": "as SCM_DEVMEM_DMABUF",
    "bytes_linear": "as SCM_DEVMEM_LINEAR",
    "frags": "frags",
    "tokens_released": "tokens given back",
    "verified": "every byte verified",
    "niovs_leaked": "niovs leaked",
    "dmesg_clean": "kernel log clean",
    "seconds": "time",
    "mib_per_s": "rate",
}
DEVMEM_SHARE = 0.99


def read(path):
    """The guest's run.json, complete but for dmesg_clean."""
    try:
        run = json.loads(path.read_text())
    except FileNotFoundError:
        raise HarnessError(f"the guest wrote no {path}") from None
    except ValueError as error:
        raise HarnessError(f"{path}: {error}") from None
    lacking = [key for key in FIELDS if key not in run and key != "dmesg_clean"]
    if lacking:
        raise HarnessError(f"{path} lacks {', '.join(lacking)}")
    return run


def faults(run, wanted_bytes):
    """Why a run is not good, as sentences; empty if it is."""
    found = []
    if run["verified"] is not True:
        found.append("not every byte was verified")
    if run["bytes_total"] < wanted_bytes:
        found.append(f"{run['bytes_total']} bytes came, {wanted_bytes} were asked for")
    if run["bytes_devmem"] + run["bytes_linear"] != run["bytes_total"]:
        found.append("dmabuf and linear pieces do not add up to the payload")
    if run["bytes_devmem"] < DEVMEM_SHARE * max(run["bytes_total"], 1):
        found.append(f"less than {DEVMEM_SHARE:.0%} of the payload came as SCM_DEVMEM_DMABUF")
    if run["niovs_leaked"] != 0:
        found.append(f"{run['niovs_leaked']} niovs did not come back, "
                     "or the dma-buf was not released")
    if run["dmesg_clean"] is not True:
        found.append("the kernel log reports a defect")
    return found


def table(run):
    """The table for people."""
    shown = Table(show_header=False, title="device memory TCP: result")
    for key, label in FIELDS.items():
        shown.add_row(label, _text(key, run[key]))
    return shown


def _text(key, value):
    if key.startswith("bytes_"):
        return f"{value:,} bytes ({value / 2**20:.1f} MiB)"
    if key == "seconds":
        return f"{value:.2f} s"
    if key == "mib_per_s":
        return f"{value:.1f} MiB/s"
    if isinstance(value, bool):
        return "[green]yes[/]" if value else "[red]no[/]"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def show(run, problems):
    """Print the table and the verdict."""
    ui.console.print(table(run))
    for problem in problems:
        ui.console.print(f"[red]not good:[/] {problem}")
    if not problems:
        ui.console.print("[green]good:[/] all payload verified in device memory, "
                         "nothing left behind")
