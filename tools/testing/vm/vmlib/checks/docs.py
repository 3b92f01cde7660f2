# SPDX-License-Identifier: GPL-2.0
"""The documentation: it parses, and what it names exists."""

import re

from .. import sandbox
from ..errors import HarnessError

FOLDER = "Documentation/networking"
USER, DRIVER = f"{FOLDER}/devmem-rust.rst", f"{FOLDER}/devmem-rust-drivers.rst"
SELFTESTS = "tools/testing/selftests/net/devmem"
KEYS_IN = ("net/core/devmem/debugfs.rs", "net/core/devmem/place.rs")
CHECK_IN = "tools/net/devmem/devmem-tool/src/check/mod.rs"
TRACEPOINTS_IN = "include/trace/events/net_devmem.h"

_PATH = re.compile(r"(?<![\w/.])((?:Documentation|tools|net|drivers|include|rust|scripts)/"
                   r"[\w./-]*[\w/])")
_WRITTEN_KEY = re.compile(r"(?:\"|\\n)(\w+):")
_TRACE_EVENT = re.compile(r"TRACE_EVENT\((\w+),")
_ROW = re.compile(r"^\s*``([a-z_]+)``\s{2,}\S", re.M)
_CHECK_ROW = re.compile(r"^``([a-z-]+)``\s{2,}\S", re.M)
_PROGRAM = re.compile(r"^\t(\w+\.py) \\$", re.M)
_TEST_ROW = re.compile(r"^(\w+\.py)\s{2,}\S", re.M)


def check(report, kernel):
    """Every page of ours, and the names that go both ways."""
    with report.stage("documentation") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        pages = sorted(str(page.relative_to(kernel.tree.repo))
                       for page in (kernel.tree.repo / FOLDER).glob("*.rst"))
        for page in pages:
            _parses(report, stage, kernel, page)
            text = (kernel.tree.repo / page).read_text()
            lost = missing_paths(text, kernel.tree.where)
            _add(report, f"{page}: paths", lost, "not in the tree")
        _names(report, kernel)


def _parses(report, stage, kernel, page):
    try:
        stage.run(sandbox.command(
            ["python3", "-m", "docutils", "--strict", "--writer=null", kernel.tree.where / page],
            cwd=kernel.tree.where, writable=(kernel.home,)),
            log="docutils", env=sandbox.environment())
        report.add("documentation", page, "pass")
    except HarnessError as error:
        report.add("documentation", page, "fail", str(error))


def _names(report, kernel):
    read = lambda name: (kernel.tree.repo / name).read_text()    # noqa: E731
    user = read(USER)
    files = {path.name for path in (kernel.tree.repo / SELFTESTS).glob("*.py")}
    _both(report, "kselftests", files, set(_TEST_ROW.findall(user)))
    programs = set(_PROGRAM.findall(read(f"{SELFTESTS}/Makefile")))
    _add(report, "kselftests in TEST_PROGS", files - programs, f"not in {SELFTESTS}/Makefile")
    rows = set(_ROW.findall(user))
    _both(report, "debugfs keys", set().union(*(written_keys(read(name)) for name in KEYS_IN)),
          {row for row in rows if not row.startswith("net_devmem_")})
    _both(report, "tracepoints", set(_TRACE_EVENT.findall(read(TRACEPOINTS_IN))),
          {row for row in rows if row.startswith("net_devmem_")})
    items = set(_CHECK_ROW.findall(read(DRIVER)))
    _add(report, f"{DRIVER}: items of devmem check", items - check_names(read(CHECK_IN)),
         f"not in {CHECK_IN}")


def _both(report, what, there, told):
    _add(report, f"{what} documented", there - told, f"not in {USER}")
    _add(report, f"documented {what} exist", told - there, f"only in {USER}")


def _add(report, what, wrong, why):
    report.add("documentation", what, "fail" if wrong else "pass",
               "\n".join(f"{why}: {name}" for name in sorted(wrong)))


def missing_paths(text, tree):
    """Paths in a page that are not in the tree."""
    return {path for path in _PATH.findall(text) if not (tree / path).exists()}


def written_keys(source):
    """Keys of `key: value` lines in the format strings of a Rust file."""
    strings = re.findall(r"\"(?:[^\"\\]|\\.)*\"", source)
    return {key for string in strings for key in _WRITTEN_KEY.findall(string)}


def check_names(source):
    """The items of `devmem check`, from its source."""
    names = re.search(r"NAMES: \[&str; \d+\] = \[(.*?)\]", source, re.S)
    return set(re.findall(r'"([a-z-]+)"', names.group(1))) if names else set()
