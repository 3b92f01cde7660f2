# SPDX-License-Identifier: GPL-2.0
"""Kernel config fragments: read, merge, and check that they took."""

import re

_SET = re.compile(r"(CONFIG_\w+)=(.*)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")


def parse(text):
    """{option: value}; an option that is off has the value "n"."""
    values = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line.strip()):
            values[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.strip()):
            values[match[1]] = "n"
    return values


def merge(texts):
    """One fragment from several; where two name an option, the later one wins."""
    merged = {}
    for text in texts:
        merged.update(parse(text))
    return "".join(f"{name}={value}\n" for name, value in merged.items())


def missed(fragment, config):
    """Options of `fragment` whose value in `config` differs: (name, wanted, got).

    An option that `config` does not know counts as off.
    """
    got = parse(config)
    return [(name, wanted, got.get(name, "n"))
            for name, wanted in parse(fragment).items() if got.get(name, "n") != wanted]
