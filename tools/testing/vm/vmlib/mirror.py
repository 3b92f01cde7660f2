# SPDX-License-Identifier: GPL-2.0
"""Which Debian mirror to use: DEBIAN_MIRROR, or the one the host's apt uses."""

import os
import subprocess

from .errors import HarnessError


def mirror():
    """The URI of a Debian archive, without a trailing slash."""
    if os.environ.get("DEBIAN_MIRROR"):
        return os.environ["DEBIAN_MIRROR"].rstrip("/")
    try:
        listing = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)",
             "Created-By: Packages"],
            check=True, capture_output=True, text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        listing = ""
    found = pick(listing)
    if not found:
        raise HarnessError(
            "the host's apt names no Debian archive: run `apt-get update`, "
            "or set DEBIAN_MIRROR to the URI of a mirror that has trixie and trixie-backports")
    return found


def pick(listing):
    """The first plain Debian archive in `origin|label|uri` lines, or None.

    The security archive carries the label Debian-Security and has no
    backports.
    """
    for line in listing.splitlines():
        origin, label, uri = line.split("|", 2)
        if origin == label == "Debian":
            return uri.rstrip("/")
    return None
