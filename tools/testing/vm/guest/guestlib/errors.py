# SPDX-License-Identifier: GPL-2.0
"""The error that ends a program with one clear sentence."""


class GuestError(Exception):
    """Something that a person has to look at; its text says what to do."""
