#!/usr/bin/env python3
"""Measures whether calibrating again gives the same ranges, in what memory: exit status 1 where it does not.

Run it in the environment of scripts/peers.sh, after scripts/make_inputs.py:

    $(scripts/peers.sh --print) bench/accuracy/repeat.py resnet50 --samples 512

The same samples are calibrated on three times: as they come, again, and in another order and other batches. The second
cache must have the bytes of the first; the third's thresholds must be within one bin of the histograms (2048 bins for
each tensor); and `hone calibrate` must stay below 2 GB of memory each time.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import sys
import tempfile

import numpy as np

from calibration import MODELS, hone, samples
from paths import ROOT
from draw import CACHE

BINS = 2048
MOST_MIB = 2e9 / 2**20


def bin_width(tensor: dict) -> float:
    """The smallest power of two for which the largest magnitude is in one of the bins."""
    return 2.0 ** math.frexp(max(abs(tensor["min"]), abs(tensor["max"])))[1] / BINS


def apart(first: dict, other: dict) -> tuple[float, str]:
    """By how many bins two reports' thresholds differ at most, and of which tensor."""
    found = {t["name"]: t["threshold"] for t in other["tensors"] if "threshold" in t}
    known = [t for t in first["tensors"] if "threshold" in t]
    if found.keys() != {t["name"] for t in known}:
        return math.inf, "other tensors have ranges"
    return max((abs(t["threshold"] - found[t["name"]]) / bin_width(t), t["name"]) for t in known)


def write(data: np.ndarray, folder: pathlib.Path, rows: int) -> pathlib.Path:
    """The samples as files of so many rows."""
    folder.mkdir()
    for k in range(0, len(data), rows):
        np.save(folder / f"{k:06}.npy", data[k:k + rows])
    return folder


def measure(args: argparse.Namespace, name: str, folder: pathlib.Path) -> bool:
    """Prints a row for each way; whether all is as it must be."""
    data = samples(name, args.samples, 1)
    shuffled = data[np.random.default_rng(2).permutation(len(data))]
    in_order, in_disorder = write(data, folder / "order", args.batch), write(shuffled, folder / "disorder", args.batch)
    del data, shuffled  # what this process holds counts for its children
    ways = {"as they come": (in_order, 1), "again": (in_order, 1),
            f"shuffled, by {args.batch}": (in_disorder, args.batch)}
    model, first, good = CACHE / MODELS[name][0] / f"{name}.onnx", None, True
    for number, (way, (arrays, batch)) in enumerate(ways.items()):
        cache = folder / f"{number}.cache"
        report = hone(args, model, arrays, args.calibrator, cache, batch)
        bins, tensor = apart(first or report, report)
        first = first or report
        same = cache.read_bytes() == (folder / "0.cache").read_bytes()
        good &= bins <= 1 and (batch > 1 or same) and report["peak_mib"] < MOST_MIB
        print(f"{name:<10} {way:<16} {report['samples']:>7} {report['wall_s']:>7.1f} {report['cpu_s']:>7.1f}"
              f" {report['peak_mib']:>8.0f}  {'the same' if same else 'others':<8} {bins:>7.4f}"
              f"  {tensor if bins else ''}", flush=True)
    return good


def main() -> int:
    """Measures all models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=sorted(MODELS))
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32, help="of the third run")
    parser.add_argument("--calibrator", default="mse")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--hone", type=pathlib.Path, default=ROOT / "build/bin/hone")
    args = parser.parse_args()
    print(f"{'model':<10} {'data':<16} samples       s   cpu s      MiB  bytes    bins apart, at most")
    good = True
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            good &= measure(args, name, pathlib.Path(folder))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
