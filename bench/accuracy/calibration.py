#!/usr/bin/env python3
"""Measures `hone calibrate` beside ONNX Runtime's calibrators on the same data.

Run it in the environment of scripts/peers.sh, after scripts/fetch.py --set models:

    $(scripts/peers.sh --print) bench/accuracy/calibration.py open-nsfw ppocr-rec --samples 64

Data are crops of the fetched photographs and rendered lines of text. For each model and calibrator it
reports the time and peak memory of `hone calibrate`; how its thresholds compare with those of ONNX
Runtime's calibrator (the median and the extremes of the ratio, over the tensors that both name); and what
the ranges are worth: ONNX Runtime quantises the model by either's cache (QDQ, int8, symmetric, weights per
channel) and runs it on other data. The error is in dB below the fp32 output; `same` is how often the
largest output is in the same place. --time-only skips ONNX Runtime.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

from paths import ROOT  # before what is in its folder of scripts
from draw import CACHE, crop, imagenet, signed_bgr, text_line

QUANTISED = ["Conv", "MatMul", "Gemm", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"]
METHODS = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile,
           "entropy": CalibrationMethod.Entropy}
PERCENTILE = 99.999  # ONNX Runtime's default; given to both


# Runs a command and prints what it took. A child's peak counts from its parent's size on: the parent must be small.
WATCH = """
import json, os, sys, time
start = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(json.dumps({"status": status, "wall_s": time.perf_counter() - start, "peak_mib": usage.ru_maxrss / 1024,
                  "cpu_s": usage.ru_utime + usage.ru_stime}))
"""

# Input and one sample of each model.
MODELS = {
    "open-nsfw": ("models", "input:0", lambda r: (crop(r, 224, 224)[..., ::-1] - (104, 117, 123)).astype(np.float32)),
    "ppocr-rec": ("models", "x", lambda r: signed_bgr([text_line(r, 320)])[0]),
    "ppocr-det": ("models", "x", lambda r: imagenet(crop(r, 480, 320))),
    "resnet50": ("generated", "x", lambda r: imagenet(crop(r, 224, 224))),
}


def samples(name: str, count: int, seed: int) -> np.ndarray:
    """As many samples, stacked."""
    random = np.random.default_rng(seed)
    return np.stack([np.ascontiguousarray(MODELS[name][2](random), np.float32) for _ in range(count)])


class Reader:
    """Samples one by one, as ONNX Runtime wants them."""

    def __init__(self, name: str, data: np.ndarray):
        self.batches: Iterator = iter([{name: data[i:i + 1]} for i in range(len(data))])

    def get_next(self) -> dict | None:
        """The next sample."""
        return next(self.batches, None)


# Calibration.


def hone(args: argparse.Namespace, model: pathlib.Path, data: pathlib.Path, calibrator: str,
         cache: pathlib.Path, batch: int = 1) -> dict:
    """Runs `hone calibrate`; its report with the time and the peak memory of the process."""
    report = cache.with_suffix(".report")
    command = [str(args.hone), "calibrate", str(model), "--data", str(data), "-o", str(cache), "--quiet",
               "--calibrator", calibrator, "--percentile", str(PERCENTILE), "--threads", str(args.threads),
               "--batch", str(batch), "--json", str(report)]
    watched = subprocess.run([sys.executable, "-S", "-c", WATCH, *command], capture_output=True, text=True, check=True)
    usage = json.loads(watched.stdout)
    if usage.pop("status"):
        sys.exit(f"failed: {shlex.join(command)}: {watched.stderr}")
    result = json.loads(report.read_text())
    return {**result, **usage}


def onnxruntime_ranges(model: pathlib.Path, name: str, data: np.ndarray, calibrator: str,
                       cache: pathlib.Path) -> tuple[dict, float]:
    """Thresholds by ONNX Runtime's own calibrator, and how long it took. It keeps every tensor of every sample."""
    extra = {"symmetric": True, "percentile": PERCENTILE} if calibrator == "percentile" else {}
    start = time.perf_counter()
    own = create_calibrator(model, QUANTISED, augmented_model_path=str(cache.with_suffix(".onnx")),
                            calibrate_method=METHODS[calibrator], extra_options=extra)
    own.collect_data(Reader(name, data))
    ranges = own.compute_data()
    seconds = time.perf_counter() - start
    save_tensors_data(ranges, cache)
    thresholds = {k: float(max(np.abs(end).max() for end in v.range_value)) for k, v in ranges.items()}
    return thresholds, seconds


def compare(ours: dict, theirs: dict) -> dict:
    """Ratio of thresholds over the tensors that both know."""
    ratios = {k: ours[k] / theirs[k] for k in ours if theirs.get(k, 0) > 0}
    order = sorted(ratios, key=ratios.get)
    return {"tensors": len(ratios), "median": ratios[order[len(order) // 2]],
            "least": [ratios[order[0]], order[0]], "most": [ratios[order[-1]], order[-1]]}


# What ranges are worth.


def quantised_error(model: pathlib.Path, name: str, cache: pathlib.Path, calibrator: str, data: np.ndarray,
                    wanted: np.ndarray) -> dict:
    """How far the int8 network that ONNX Runtime makes with these ranges is from fp32."""
    out = cache.with_suffix(".int8.onnx")
    quantize_static(model, out, None, quant_format=QuantFormat.QDQ, op_types_to_quantize=QUANTISED, per_channel=True,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, calibration_cache_path=cache,
                    calibrate_method=METHODS.get(calibrator, CalibrationMethod.MinMax),
                    extra_options={"ActivationSymmetric": True, "WeightSymmetric": True})
    got = run(out, name, data)
    error, power = float(((got - wanted) ** 2).sum()), float((wanted ** 2).sum())
    return {"error_db": 10 * math.log10(error / power) if error else -math.inf,
            "same": float((got.argmax(-1) == wanted.argmax(-1)).mean())}


def run(model: pathlib.Path, name: str, data: np.ndarray) -> np.ndarray:
    """The first output, sample by sample."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {name: data[i:i + 1]})[0] for i in range(len(data))]).astype(np.float64)


def prepared(path: pathlib.Path) -> onnx.ModelProto:
    """A model as ONNX Runtime's tools need it: opset 13 for weights per channel, weights that are
    initialisers, and the types of its tensors."""
    model = onnx.load(path)
    if model.opset_import[0].version < 13:
        model = onnx.version_converter.convert_version(model, 13)
    for node in [n for n in model.graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"]:
        model.graph.initializer.add().CopyFrom(node.attribute[0].t)
        model.graph.initializer[-1].name = node.output[0]
        model.graph.node.remove(node)
    return onnx.shape_inference.infer_shapes(model)


def measure(args: argparse.Namespace, name: str, folder: pathlib.Path) -> Iterator[dict]:
    """One row a calibrator."""
    kind, tensor, _ = MODELS[name]
    model = CACHE / kind / f"{name}.onnx"
    data = samples(name, args.samples, 1)
    arrays = folder / "data"
    arrays.mkdir()
    for k in range(0, args.samples, 8):
        np.save(arrays / f"{k:06}.npy", data[k:k + 8])
    prepared_model = model if args.time_only else folder / "prepared.onnx"
    if not args.time_only:
        onnx.save(prepared(model), prepared_model)
        held_out = samples(name, args.score, 2)
        wanted = run(prepared_model, tensor, held_out)
    for calibrator in args.calibrators:
        cache = folder / f"{calibrator}.json"
        own = hone(args, prepared_model, arrays, calibrator, cache)
        row = {"model": name, "calibrator": calibrator, "samples": args.samples, "tensors": len(own["tensors"]),
               "seconds": own["wall_s"], "cpu_s": own["cpu_s"], "peak_mib": own["peak_mib"]}
        if not args.time_only:
            row |= quantised_error(prepared_model, tensor, cache, calibrator, held_out, wanted)
        if not args.time_only and calibrator in METHODS:
            other = folder / f"{calibrator}-onnxruntime.json"
            theirs, seconds = onnxruntime_ranges(prepared_model, tensor, data, calibrator, other)
            row["ratio"] = compare({t["name"]: t["threshold"] for t in own["tensors"] if "threshold" in t}, theirs)
            row["onnxruntime"] = {"seconds": seconds,
                                  **quantised_error(prepared_model, tensor, other, calibrator, held_out, wanted)}
        yield row


def show(row: dict) -> None:
    """A line of the table."""
    line = (f"{row['model']:<10} {row['calibrator']:<10} {row['samples']:>7} {row['tensors']:>7} {row['seconds']:>8.2f}"
            f" {row['cpu_s']:>8.2f} {row['peak_mib']:>8.0f}")
    if "error_db" in row:
        line += f" {row['error_db']:>8.2f} {row['same']:>6.3f}"
    if "ratio" in row:
        ratio, other = row["ratio"], row["onnxruntime"]
        line += (f" | {other['seconds']:>8.2f} {other['error_db']:>8.2f} {other['same']:>6.3f} | {ratio['tensors']:>4}"
                 f" {ratio['median']:>7.4f} {ratio['least'][0]:>7.3f} {ratio['most'][0]:>7.3f}")
    print(line, flush=True)


def main() -> int:
    """Measures and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=sorted(MODELS))
    parser.add_argument("--calibrators", type=lambda s: s.split(","), 
                        default=["minmax", "percentile", "entropy", "mse", "legacy", "auto"])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--score", type=int, default=64, help="other samples that quantised networks run on")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--time-only", action="store_true")
    parser.add_argument("--hone", type=pathlib.Path, default=ROOT / "build/bin/hone")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file for the rows")
    args = parser.parse_args()
    print(f"{'model':<10} {'calibrator':<10} samples tensors        s    cpu s      MiB error dB   same"
          f" | ORT's  s error dB   same | tensors, thresholds Hone / ORT: median, least, most")
    rows = []
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(args, name, pathlib.Path(folder)):
                show(row)
                rows.append(row)
    if args.output:
        args.output.write_text(json.dumps({
            "date": datetime.date.today().isoformat(), "device": platform.processor() or platform.machine(),
            "threads": args.threads, "command": shlex.join(["bench/accuracy/calibration.py", *sys.argv[1:]]),
            "onnxruntime": onnxruntime.__version__, "load": os.getloadavg()[0], "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
