# SPDX-License-Identifier: GPL-2.0
"""Unit tests of the harness; none needs a build root or a guest."""
