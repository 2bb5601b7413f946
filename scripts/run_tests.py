#!/usr/bin/env python3
"""Checks the sources, runs the unit tests and the model tests; ends with one line "N passed, N failed, N skipped"."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import check_house

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("HONE_CACHE", pathlib.Path.home() / ".cache/hone/assets"))
CONFORMANCE = ("node", "simple", "pytorch-operator", "pytorch-converted")
# Models made from seeded weights that take long on small machines; the public ones are all tested.
GENERATED = ("mobilenetv2", "lstm-tagger", "resnet50")


class Totals:
    """Counts over everything that ran."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, title, passed, failed, skipped=0):
        """Adds one group and prints its line."""
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        print(f"{title:<44} {passed:>5} passed {failed:>4} failed {skipped:>4} skipped", flush=True)


def check_sources(totals):
    """Limits of the house, see check_house.py; each finding is a failure."""
    found, count = check_house.check()
    print(*found, sep="\n", end="\n" if found else "")
    totals.add("sources", count - len({f.split(":")[0] for f in found}), len(found))


def run(command, limit):
    """The finished process; status 124 says that it, or what it started, took longer than `limit` seconds."""
    bounded = ["timeout", "--kill-after=10", str(limit)] if limit else []
    return subprocess.run([*bounded, *command], capture_output=True, text=True)


def run_unit_tests(programs, limit, totals):
    """GoogleTest programs."""
    for program in programs:
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            done = run([program, "--gtest_brief=1", f"--gtest_output=json:{report.name}"], limit)
            try:
                result = json.load(open(report.name))
            except ValueError:
                result = {"tests": 0, "failures": 0}
        failed = result["failures"] if done.returncode in (0, 1) else result["failures"] + 1
        if failed or done.returncode:
            print(f"{program.name} ended with status {done.returncode}",
                  done.stdout[-4000:], done.stderr[-8000:], sep="\n")
            failed = max(failed, 1)
        skipped = sum(t.get("result") == "SKIPPED" for s in result.get("testsuites", []) for t in s["testsuite"])
        totals.add(program.name, result["tests"] - result["failures"] - skipped, failed, skipped)


def verify(build, title, folders, options, totals, limit=None):
    """`hone verify` over folders; a crash counts as a failure of everything that it was to check."""
    if not folders:
        return
    command = [build / "bin/hone", "verify", "--timing-cache", "none", "--json", "-", *options, *folders]
    done = run(command, limit)
    if done.returncode not in (0, 1):
        print(f"hone verify ended with status {done.returncode}: {done.stderr[-8000:]}")
        return totals.add(title, 0, len(folders))
    result = json.loads(done.stdout)
    for failure in result["failures"]:
        print(f"failed {failure['path']}: {failure['output']} {failure['reason']}")
    totals.add(title, result["passed"], result["failed"], result["skipped"])


def find_nvrtc():
    """Lets the tests of GPU code use the run-time compiler of the private Python environment, if there is one."""
    libraries = sorted((CACHE / "peers").glob("lib/python*/site-packages/nvidia/*/lib/libnvrtc.so.*"))
    if libraries and "HONE_NVRTC" not in os.environ:
        os.environ["HONE_NVRTC"] = str(libraries[0])


def folders_in(path, names=None):
    """The test folders below `path`, all or those named."""
    if not path.is_dir():
        return []
    return [p for p in sorted(path.iterdir())
            if (p / "test_data_set_0").is_dir() and (names is None or p.name in names)]


def public_models():
    """Names of the public models that were fetched."""
    return {p.stem for p in (CACHE / "models").glob("*.onnx")}


def verify_models(build, totals):
    """`hone verify` over whole networks."""
    models = folders_in(CACHE / "verify", public_models())
    for target in ("reference", "cpu"):
        verify(build, f"public models, {target}", models, ["--target", target, "--no-tune", "--of-range"], totals)
    for isa in ("scalar", "avx2"):
        verify(build, f"public models, cpu at {isa}", models, ["--isa", isa, "--no-tune", "--of-range"], totals)
    verify(build, "public models, tuned", models, ["--of-range"], totals)
    generated = folders_in(CACHE / "verify", GENERATED)
    verify(build, "generated networks, cpu", generated, ["--no-tune", "--of-range"], totals)


# What scripts/make_quantised.py wrote, and how near ONNX Runtime's results are to be: see there.
QUANTISED = {"bytes": ["--rtol", "0", "--atol", "1"], "floats": [], "networks": ["--of-range", "--rtol", "0.1"]}


def verify_quantised(build, totals):
    """`hone verify` over ONNX Runtime's quantised operators, and networks of them."""
    for kind, options in QUANTISED.items():
        folders = folders_in(CACHE / "quantised" / kind)
        for target in ("reference", "cpu") if kind != "networks" else ("cpu",):
            verify(build, f"quantised {kind}, {target}", folders, ["--target", target, "--no-tune", *options], totals)


def run_demo(totals):
    """What `make demo` shows, where there is ONNX Runtime to hold it against."""
    if "open-nsfw" not in public_models() or run([ROOT / "scripts/peers.sh", "--print"], None).returncode:
        return totals.add("demo", 0, 0, 1)
    done = run([ROOT / "scripts/demo.sh"], None)
    if done.returncode:
        print(f"scripts/demo.sh ended with status {done.returncode}", done.stdout, done.stderr, sep="\n")
    totals.add("demo", int(done.returncode == 0), int(done.returncode != 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="build folder")
    parser.add_argument("--sample", type=int, metavar="N", help="for slow builds: every Nth of ONNX's tests, no models")
    parser.add_argument("--limit", type=int, metavar="SECONDS", help="what takes longer has failed")
    parser.add_argument("--suites", nargs="+", metavar="SUITE",
                        help="folders of tests/, or 'onnx'; left out, all and the models")
    args = parser.parse_args()
    build = args.build
    totals = Totals()
    find_nvrtc()
    check_sources(totals)
    programs = sorted((build / "bin").glob("*_test"))
    if args.suites:
        programs = [build / f"bin/{suite}_test" for suite in args.suites if suite != "onnx"]
    run_unit_tests(programs, args.limit, totals)
    skip = str(ROOT / "tests/conformance/skip.txt")
    for target in ("reference", "cpu") if not args.suites or "onnx" in args.suites else ():
        for name in CONFORMANCE:
            verify(build, f"ONNX {name} tests, {target}", folders_in(CACHE / "conformance" / name)[::args.sample],
                   ["--target", target, "--no-tune", "--skip", skip], totals, args.limit)
    if not args.sample and not args.suites:
        verify_models(build, totals)
        verify_quantised(build, totals)
        run_demo(totals)
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
