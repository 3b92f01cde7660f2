# SPDX-License-Identifier: GPL-2.0
"""What the programs that run inside the guest share."""
