# SPDX-License-Identifier: GPL-2.0

"""
A byte stream in which every aligned 8 bytes are different, so that a piece
that is lost, doubled or put in the wrong place cannot go unseen.
"""

import sys
from array import array

# Added to each word's index, so that no byte of the stream is zero for long:
# memory that was never written must not look right.
_BASE = 0xD5C3A59B87690000


def pattern(start, length):
    """
    Bytes [start, start + length) of the stream.

    >>> pattern(3, 20) == pattern(0, 64)[3:23]
    True
    >>> len({pattern(8 * i, 8) for i in range(1000)})
    1000
    """
    first = start // 8
    last = (start + length + 7) // 8
    words = array("Q", range(_BASE + first, _BASE + last))
    if sys.byteorder != "little":
        words.byteswap()
    skip = start - 8 * first
    return words.tobytes()[skip:skip + length]


def locate(data):
    """
    Position in the stream of a piece of it, of 15 bytes or more, found by its
    content; None if it is no piece of the stream.

    >>> locate(pattern(12345, 100))
    12345
    >>> locate(b"x" * 100) is None
    True
    """
    for skip in range(8):
        word = int.from_bytes(data[skip:skip + 8], "little")
        start = 8 * (word - _BASE) - skip
        if 0 <= word - _BASE < 1 << 32 and start >= 0 and \
           pattern(start, len(data)) == data:
            return start
    return None
