# SPDX-License-Identifier: GPL-2.0
"""The checks of `make test`; each module adds its cases to a Report."""
