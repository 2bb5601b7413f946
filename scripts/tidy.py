#!/usr/bin/env python3
"""Runs .clang-tidy over the sources whose path below src/ begins with one of the words given, or over all.

Sources with the same flags are read several at once: most of the time goes into the standard library's headers. Where
names of two of them clash, or one declares what another defines, each is read alone. The last line says whether
anything was found; exit status 1 if so.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
AT_ONCE = 8
# What g++ knows and clang does not: its precompiled header, which the sources do not need, and a flag.
GNU_ONLY = re.compile(r"-Winvalid-pch -include \S+|-fvect-cost-model=\S+")
LENIENT = ["-Wno-unknown-warning-option", "-Wno-unknown-pragmas"]
INCLUDE = re.compile(r'#include "(.*\.cc)"')
# What may come of reading several sources as one.
TOGETHER = re.compile(r"\[clang-diagnostic-error|\[readability-redundant-declaration")
# Names at global scope are findings in headers, for which it takes all that is included.
FINDING = re.compile(r"^/(?!.*\.cc:.*\[google-global-names-in-headers).*: error: .*\]$", re.M)


def commands():
    """Pairs of a source below src/ and the flags that it is compiled with."""
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        sources = INCLUDE.findall(path.read_text()) if "Unity" in path.parts else [path]
        flags = tuple(shlex.split(GNU_ONLY.sub("", entry["command"]).split(" -o ")[0])[1:])
        for source in map(pathlib.Path, sources):
            if ROOT / "src" in source.parents:
                yield source.relative_to(ROOT / "src").as_posix(), flags


def bundles(words):
    """Lists of sources to be read at once, with their flags: of one room, no more than AT_ONCE."""
    alike = {}
    for source, flags in sorted(set(commands())):
        if not words or any(source.startswith(word.removeprefix("src/")) for word in words):
            alike.setdefault((source.split("/")[0], flags), []).append(source)
    for (_, flags), sources in alike.items():
        for i in range(0, len(sources), AT_ONCE):
            yield sources[i:i + AT_ONCE], flags


def tidy(sources, flags):
    """What clang-tidy says about `sources`, or nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".cc", dir=BUILD, prefix="tidy-") as unit:
        unit.write("".join(f'#include "{ROOT}/src/{source}"\n' for source in sources))
        unit.flush()
        done = subprocess.run(["clang-tidy", "-quiet", f"--config-file={ROOT}/.clang-tidy", unit.name, "--", *flags,
                               *LENIENT], capture_output=True, text=True)
    if TOGETHER.search(done.stdout) and len(sources) > 1:
        return "".join(tidy([source], flags) for source in sources)
    if done.returncode == 0 or "error: " in done.stdout and not FINDING.search(done.stdout):
        return ""
    return done.stdout or done.stderr


def main():
    work = list(bundles(sys.argv[1:]))
    if not work:
        print(f"tidy: no source below src/ begins with {' or '.join(sys.argv[1:])}", file=sys.stderr)
        return 2
    found = set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for text in pool.map(lambda bundle: tidy(*bundle), work):
            new = set(FINDING.findall(text) or [text]) - found - {""}
            if new:
                print(text, flush=True)
            found |= new
    count = sum(len(sources) for sources, _ in work)
    if found:
        print(f"tidy: {len(found)} findings above, in {count} sources")
        return 1
    print(f"tidy: nothing found in {count} sources")
    return 0


if __name__ == "__main__":
    sys.exit(main())
