# SPDX-License-Identifier: GPL-2.0

"""
The orders in which things can come to an end.

Three ends belong to a binding, the others to the NIC:

  N  the netlink socket that made the binding is closed
  T  the last token is given back
  S  the TCP socket is closed
  D  the link is taken down
  U  the link is brought up again
  V  the driver is unbound, or R, the PCI function is removed

Orders that cannot occur, and so are left out:

- U before D: it is up already. D or U after V or R: there is no netdev then.
- T after S on one socket: tokens belong to the socket, and there is no socket
  to give them back through. Two kinds of order stand for what can happen
  instead: "two", in which another socket of the same binding has the tokens,
  and "close", in which the close gives back what was never given back (then
  there is no T).

All of the NIC's bindings see its ends at the same moments, so a number of
orders with the same timeline of D, U and V runs at once, one on each queue.
"""

import itertools
from collections import namedtuple

# kind: "one", "two" or "close"; slots: for each stretch of time between ends
# of the NIC, the ends of the binding in it
Order = namedtuple("Order", ["kind", "timeline", "slots"])

# What is to come before what; None: nothing.
_KINDS = {
    "one": ("NTS", "TS"),
    "two": ("NTS", "ST"),
    "close": ("NS", None),
}


def _keeps(order, before):
    """Whether letters come in the given order, as far as they occur."""
    places = [order.index(letter) for letter in before]
    return places == sorted(places)


def orders(timeline):
    """
    All orders of the ends of one binding and the NIC's @timeline.

    When the NIC goes for good, something has to be left for after that: the
    orders in which nothing is are those of a shorter timeline.

    >>> [describe(o) for o in orders("") if o.kind == "one"]
    ['NTS', 'TNS', 'TSN']
    >>> [describe(o) for o in orders("V") if o.kind == "close"]
    ['NVS', 'SVN', 'VNS', 'VSN']
    >>> [len(orders(t)) for t in ("DU", "V", "DV", "DUV")]
    [72, 22, 42, 68]
    """
    found = []
    for kind, (letters, before) in _KINDS.items():
        for order in itertools.permutations(letters + timeline):
            if not _keeps(order, timeline) or \
               (before and not _keeps(order, before)):
                continue
            slots = [""]
            for letter in order:
                if letter in timeline:
                    slots.append("")
                else:
                    slots[-1] += letter
            if slots[-1] or timeline[-1:] not in ("V", "R"):
                found.append(Order(kind, timeline, tuple(slots)))
    return found


def describe(order):
    """
    An order in letters.

    >>> describe(Order("two", "DV", ("N", "", "TS")))
    'NDVTS'
    """
    text = order.slots[0]
    for letter, slot in zip(order.timeline, order.slots[1:]):
        text += letter + slot
    return text


def batches(items, size):
    """
    Items in groups of nearly equal size, not above @size.

    >>> batches(list(range(7)), 3)
    [[0, 3, 6], [1, 4], [2, 5]]
    """
    count = -(-len(items) // size)
    return [items[first::count] for first in range(count)]
