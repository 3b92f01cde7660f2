# SPDX-License-Identifier: GPL-2.0
"""The one exception that the command line turns into a message."""


class HarnessError(Exception):
    """Something failed in a way that the user can act on.

    The message says what failed and what to do about it; no traceback is
    shown for it.
    """
