#!/usr/bin/env python3
"""Measures what int8 costs trained networks: Hone's, and ONNX Runtime's of the same calibration data.

Run it in the environment of scripts/peers.sh, after scripts/fetch.py --set models and scripts/make_inputs.py:

    $(scripts/peers.sh --print) bench/accuracy/int8.py ppocr-rec minilm --samples 64 --score 200

Each network runs on other data than it was calibrated with: in fp32 by ONNX Runtime, which is the yardstick; in
int8 by Hone (--no-tune: always in int8, however fast), with biases corrected on the calibration data, from its
`cache` alone, and as the ONNX model that `hone quantize` writes, by ONNX Runtime without optimisations; and as ONNX
Runtime's quantize_static makes it (QDQ, int8, symmetric, weights per channel), run by ONNX Runtime twice: `exact`,
without graph optimisations, which computes the quantised network in floats, and `fast`, as a user gets it. (On a CPU
without VNNI the latter may saturate.)

SQNR is in dB, of the whole output; `cosine` is the mean over samples; `same` is how often a decision is fp32's
(the class at each place; of a detector, the overlap of the found regions; of an encoder, the nearest other
sentence); `right` is how often it is the label's: the exact text of a rendered line, or which way up it is.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Iterator

import onnx

from calibration import METHODS, prepared
from networks import quantise_by_onnxruntime, run_onnxruntime
from paths import ROOT
from rows import HEADING, line, report
from tasks import TASKS
from trial import Trial


def measure(args: argparse.Namespace, name: str, folder: pathlib.Path) -> Iterator[dict]:
    """A row for each network: fp32, Hone's, and ONNX Runtime's two ways."""
    trial = Trial.of(name, folder, args.samples, args.score)
    task, model, held_out, row = trial.task, trial.model, trial.held_out, trial.row
    trial.wanted = run_onnxruntime(model, held_out, task.output)
    yield row("fp32", trial.wanted)
    ready = folder / "ready.onnx"
    onnx.save(prepared(model), ready)
    for calibrator in args.calibrators:
        hone = trial.hone(args.hone, args.batch, folder / calibrator, shlex.split(args.hone_options))
        int8 = ["--precision", "int8", "--calibration-cache", hone.ranges]
        hone.build(*int8, "--calibrate", hone.samples, "--calibrator", calibrator)
        yield row(f"hone {calibrator}", hone.run(held_out, task.output))
        hone.build(*int8)
        yield row(f"hone {calibrator}, cache", hone.run(held_out, task.output))
        exported = hone.quantize(ready, calibrator)
        yield row(f"hone {calibrator}, as ONNX", run_onnxruntime(exported, held_out, task.output, optimised=False))
    for method in args.onnxruntime:
        quantised = folder / f"{method}.onnx"
        quantise_by_onnxruntime(model, trial.data, method, task, quantised)
        yield row(f"ort {method}, exact", run_onnxruntime(quantised, held_out, task.output, optimised=False))
        yield row(f"ort {method}, fast", run_onnxruntime(quantised, held_out, task.output))


def names(text: str) -> list[str]:
    """Words between commas."""
    return [word for word in text.split(",") if word]


def main() -> int:
    """Measures and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[[], *TASKS], metavar="MODEL", help="default: all")
    parser.add_argument("--calibrators", type=names, default=["mse"], help="of Hone, with commas")
    parser.add_argument("--onnxruntime", type=names, default=["minmax"],
                        help=f"calibrators of ONNX Runtime among {', '.join(METHODS)}, with commas; '' for none")
    parser.add_argument("--samples", type=int, default=64, help="to calibrate with")
    parser.add_argument("--score", type=int, default=200, help="other samples that the networks run on")
    parser.add_argument("--batch", type=int, default=8, help="of Hone's runs")
    parser.add_argument("--hone", type=pathlib.Path, default=ROOT / "build/bin/hone")
    parser.add_argument("--hone-options", default="", help="more options for hone build")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file for the rows")
    args = parser.parse_args()
    print(HEADING)
    rows = []
    for name in args.models or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(args, name, pathlib.Path(folder)):
                print(line(row), flush=True)
                rows.append(row)
    if args.output:
        args.output.write_text(report("int8.py", rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
