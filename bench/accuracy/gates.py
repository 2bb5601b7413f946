#!/usr/bin/env python3
"""The accuracy that low precision must keep, on trained networks: exit status 1 where a gate does not hold.

Run it in the environment of scripts/peers.sh, after scripts/fetch.py --set models and scripts/make_inputs.py:

    $(scripts/peers.sh --print) bench/accuracy/gates.py
    $(scripts/peers.sh --print) bench/accuracy/gates.py --target cuda ppocr-rec

Two kinds of gates:

- A recogniser reads rendered lines, whose texts are known: of 1,000 lines at most so many points fewer may be right
  than in fp32 (0.1 point is one line): 0.1 in fp16, bf16 and with weights in int8, 0.5 in int8 and fp8 as they come,
  0.1 in int8 within an accuracy budget.
- Each network in int8 and with weights alone quantised is as close to fp32 as what ONNX Runtime's quantisers make of
  it with the same data, or closer: in SQNR, in cosine and in decisions. Theirs are run without graph optimisations, so
  that nothing saturates; of several calibrators the best counts. Weights alone are quantised without data, as theirs,
  and for the data. Of decisions a standard error fewer may be the same: so many more or fewer does chance alone make
  of two networks that are equally good.

Beside bf16 on a CPU stands OpenVINO's, for comparison: bf16 has no gate but that of the lines.

A machine without ONNX and ONNX Runtime does with numpy and Pillow: write the networks to a folder elsewhere, and run
with --models FOLDER --alone there.

Data, columns and networks are those of int8.py. Nothing is timed (--no-tune): int8 is used wherever there is a kernel.
Of a CPU's engines fp16 is not asked for: it computes them in fp32.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from paths import ROOT
from rows import HEADING, cpu_seconds, line, report
from trial import Trial

FIGURES = ("sqnr_db", "cosine", "same")


@dataclass
class Variant:
    """A network as Hone builds it."""

    options: list[str]
    lost: float | None = None  # how many points fewer lines than in fp32 may be right
    rivals: str = ""           # of ONNX Runtime's networks: those whose names begin so
    calibrated: bool = False


INT8 = Variant(["--precision", "int8"], lost=0.5, rivals="ort int8", calibrated=True)
BUDGET = Variant(["--precision", "int8", "--accuracy-budget", "0.1%"], lost=0.1, calibrated=True)
WEIGHTS = {"weights-int8": Variant(["--weights", "int8"], lost=0.1, rivals="ort weights int8"),
           "weights-int8-data": Variant(["--weights", "int8"], lost=0.1, rivals="ort weights int8", calibrated=True),
           "weights-int4": Variant(["--weights", "int4"], rivals="ort weights int4"),
           "weights-int4-data": Variant(["--weights", "int4"], rivals="ort weights int4", calibrated=True)}
FLOATS = {"cpu": {"bf16": Variant(["--precision", "bf16"], lost=0.1)},
          "cuda": {"bf16": Variant(["--precision", "bf16"], lost=0.1),
                   "fp16": Variant(["--precision", "fp16"], lost=0.1, calibrated=True),
                   "fp8": Variant(["--precision", "fp16,fp8"], lost=0.5, calibrated=True)}}
NETWORKS = ["bf16", "fp16", "fp8", "int8", "int8-budget", *WEIGHTS]


@dataclass
class Plan:
    """How a network is measured."""

    score: int = 200
    calibrators: tuple[str, ...] = ("minmax",)  # of ONNX Runtime; all others keep every tensor of every sample
    weights: bool = False  # it has matrix products that are worth it


PLANS = {
    "ppocr-rec": Plan(score=1000, calibrators=("minmax", "percentile"), weights=True),
    "ppocr-det": Plan(score=96),
    "ppocr-cls": Plan(calibrators=("minmax", "percentile")),
    "open-nsfw": Plan(),
    "centerface-dynamic": Plan(score=96),
    "basic-pitch": Plan(score=96, calibrators=()),  # ONNX Runtime does not load what its quantiser makes of it
    "magika": Plan(score=1000, calibrators=("minmax", "percentile"), weights=True),
    "minilm": Plan(calibrators=("minmax", "percentile"), weights=True),
}


def variants(args: argparse.Namespace, name: str) -> dict[str, Variant]:
    """What Hone makes of a network, by name of the row: all that is asked for."""
    labelled = {"int8-budget": BUDGET} if name == "ppocr-rec" else {}
    found = FLOATS[args.target] | {"int8": INT8} | (WEIGHTS if PLANS[name].weights else {}) | labelled
    return {network: found[network] for network in found if network in args.networks or not args.networks}


def measure(args: argparse.Namespace, name: str, folder: pathlib.Path) -> Iterator[dict]:
    """A row for each network: fp32, Hone's, and those of ONNX Runtime's quantisers."""
    plan, trial = PLANS[name], Trial.of(name, args.models or folder, args.samples, PLANS[name].score)
    task, held_out = trial.task, trial.held_out
    if args.alone:
        yardstick = trial.hone(args.hone, args.batch, folder / "fp32", ["--precision", "fp32"])
        yardstick.build()
        trial.wanted = yardstick.run(held_out, task.output)
    else:
        from networks import run_onnxruntime
        trial.wanted = run_onnxruntime(trial.model, held_out, task.output)
    yield trial.row("fp32", trial.wanted)
    hone = trial.hone(args.hone, args.batch, folder / "hone", ["--target", args.target])
    for network, variant in variants(args, name).items():
        hone.build(*variant.options, *(["--calibrate", hone.samples] if variant.calibrated else []))
        yield trial.row(network, hone.run(held_out, task.output))
    if args.alone:
        return
    if args.target == "cpu" and "bf16" in variants(args, name):
        from networks import run_openvino
        yield trial.row("openvino bf16", run_openvino(trial.model, held_out, task.output, "bf16"))
    yield from measure_rivals(trial, plan, folder)


def measure_rivals(trial: Trial, plan: Plan, folder: pathlib.Path) -> Iterator[dict]:
    """A row for each network of ONNX Runtime's quantisers."""
    from networks import quantise_by_onnxruntime, quantise_weights_by_onnxruntime, run_onnxruntime
    for method in plan.calibrators:
        quantised = folder / f"{method}.onnx"
        quantise_by_onnxruntime(trial.model, trial.data, method, trial.task, quantised)
        outputs = run_onnxruntime(quantised, trial.held_out, trial.task.output, optimised=False)
        yield trial.row(f"ort int8, {method}", outputs)
    for bits in (8, 4) if plan.weights else ():
        quantised = folder / f"weights{bits}.onnx"
        quantise_weights_by_onnxruntime(trial.model, bits, quantised)
        yield trial.row(f"ort weights int{bits}", run_onnxruntime(quantised, trial.held_out, trial.task.output))


@dataclass
class Gate:
    """A figure of a network, and the least that it may be."""

    model: str
    network: str
    figure: str
    value: float
    least: float
    reason: str

    def holds(self) -> bool:
        """Equal is enough; the shares differ by a sample or not at all."""
        return self.value >= self.least - 1e-9

    def __str__(self) -> str:
        return (f"{'holds ' if self.holds() else 'FAILED'} {self.model:<18} {self.network:<18} {self.figure:<7}"
                f" {self.value:>9.5f}, at least {self.least:.5f}: {self.reason}")


def standard_error(share: float, decisions: int) -> float:
    """Of the difference of two such shares of as many decisions; 0 where they are not counted."""
    return math.sqrt(2 * share * (1 - share) / decisions) if decisions else 0


def gates(args: argparse.Namespace, name: str, rows: dict[str, dict]) -> Iterator[Gate]:
    """Those of one model, of its rows by network."""
    for network, variant in variants(args, name).items():
        row = rows[network]
        if variant.lost is not None and "right" in row:
            least = rows["fp32"]["right"] - variant.lost / 100
            yield Gate(name, network, "right", row["right"], least, f"fp32 less {variant.lost} points")
        rivals = [rival for rival in rows if variant.rivals and rival.startswith(variant.rivals)]
        for figure in FIGURES if rivals else ():
            least, rival = max((rows[rival][figure], rival) for rival in rivals)
            chance = standard_error(least, row["decisions"]) if figure == "same" else 0
            reason = f"{rival}, less a standard error" if chance else rival
            yield Gate(name, network, figure, row[figure], least - chance, reason)


def main() -> int:
    """Measures, judges and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *PLANS], metavar="MODEL", help="default: all")
    parser.add_argument("--target", choices=sorted(FLOATS), default="cpu")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[], metavar="NAME",
                        help=f"of Hone's, among {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--alone", action="store_true",
                        help="without ONNX Runtime: no rivals, and fp32 is Hone's on the CPU")
    parser.add_argument("--models", type=pathlib.Path, metavar="FOLDER",
                        help="where the networks are as they are judged, or are written, which needs ONNX")
    parser.add_argument("--samples", type=int, default=96, help="to calibrate with")
    parser.add_argument("--batch", type=int, default=8, help="of Hone's runs")
    parser.add_argument("--hone", type=pathlib.Path, default=ROOT / "build/bin/hone")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file for the rows")
    args = parser.parse_args()
    print(HEADING)
    rows, judged, spent = [], [], cpu_seconds()
    for name in args.names or PLANS:
        with tempfile.TemporaryDirectory() as folder:
            measured = {}
            for row in measure(args, name, pathlib.Path(folder)):
                row["cpu_s"], spent = cpu_seconds() - spent, cpu_seconds()
                print(line(row), flush=True)
                measured[row["network"]] = row
        rows += measured.values()
        judged += gates(args, name, measured)
    print("\n" + "\n".join(map(str, judged)))
    if args.output:
        args.output.write_text(report("gates.py", rows))
    return 0 if all(gate.holds() for gate in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
