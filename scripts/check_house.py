#!/usr/bin/env python3
"""Checks what the house asks of every file and no compiler looks for; CONTRIBUTING.md says what and why.

One line for each finding, exit status 1 when there are any. Room order is checked by CMake, layout by clang-format.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("bench", "cmake", "docs", "examples", "include", "scripts", "src", "tests")
COLUMNS = 120
LINES = 500

# Results are kept as they were printed.
RECORDED = "bench/results/"
# A network is one function there, and the networks share their layers.
LONG = {"scripts/make_models.py"}

MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:work|home|root|Users|mnt|scratch)/")
TERMINAL = re.compile(r"std::(?:cout|cerr|clog|puts|printf)\b|\bstd::fprintf\b|\bfmt::print\b|\bgetenv\(")
# With which the same source were other code on another day; tests/tsan.supp rests on it, too.
CLOCK = re.compile(r"\b__(?:DATE|TIME|TIMESTAMP)__")
# What is read outside the tools: where NVIDIA's libraries are, when the loader cannot find them.
ASKS = {"src/cuda/library.cc"}


def files(root):
    """The text files of the project, with their paths relative to `root`."""
    top = [p for p in root.iterdir() if p.is_file() and p.name not in ("LICENSE", "compile_commands.json")]
    below = [p for folder in FOLDERS for p in (root / folder).rglob("*") if p.is_file()]
    for path in sorted(top + below):
        if "__pycache__" not in path.parts:
            yield path.relative_to(root).as_posix(), path


def findings_in(name, text):
    """What is wrong with one file, a line each."""
    lines = text.split("\n")
    if not name.startswith(RECORDED):
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS and not (name.endswith(".md") and line.startswith("|")):  # tables cannot be wrapped
                yield f"{name}:{number}: {len(line)} columns, at most {COLUMNS}"
    if len(lines) > LINES + 1 and name not in LONG and not name.startswith(RECORDED):
        yield f"{name}: {len(lines) - 1} lines, at most {LINES}"
    for number, line in enumerate(lines, 1):
        if MACHINE_PATH.search(line):
            yield f"{name}:{number}: a path of one machine"
        if name.startswith("src/") and not name.startswith("src/tools/") and name not in ASKS and TERMINAL.search(line):
            yield f"{name}:{number}: only src/tools writes to the terminal or reads the environment"
        if name.startswith(("src/", "include/")) and CLOCK.search(line):
            yield f"{name}:{number}: code that depends on when it is compiled"
    if name.endswith(".h") and "#pragma once" not in text and "#ifndef" not in text:
        yield f"{name}: has no include guard"
    if text and not text.endswith("\n"):
        yield f"{name}: the last line has no end"


def check(root=ROOT):
    """All findings, and how many files were looked at."""
    found, count = [], 0
    for name, path in files(root):
        found += findings_in(name, path.read_text(encoding="utf8"))
        count += 1
    return found, count


def main():
    found, _ = check()
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
