#!/usr/bin/env python3
"""The main job end to end: a trained ResNet-50 in, a tuned engine out, loaded in another process, checked and timed."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
HONE = ROOT / "build/bin/hone"
CACHE = pathlib.Path(os.environ.get("HONE_CACHE", pathlib.Path.home() / ".cache/hone/assets"))


def hone(*arguments):
    """Runs the command line; its standard output."""
    done = subprocess.run([HONE, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def time_calls(call, seconds=2.0):
    """Median milliseconds of `call` after a warm-up."""
    for _ in range(3):
        call()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def time_onnxruntime(model, inputs, threads):
    """Median ms, and the outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs)))
    return time_calls(lambda: session.run(None, inputs)), outputs


def time_openvino(model, inputs, threads):
    """Median ms in strict fp32, or None where OpenVINO is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    net = core.read_model(str(model))
    net.reshape({k: list(v.shape) for k, v in inputs.items()})
    request = core.compile_model(net, "CPU", config).create_infer_request()
    return time_calls(lambda: request.infer(inputs))


def main():
    case_dir = CACHE / "data/open-nsfw"
    case = json.loads((case_dir / "case.json").read_text())
    model = CACHE / "models/open-nsfw.onnx"
    files = {name: case_dir / file for name, file in case["inputs"].items()}
    inputs = {name: np.load(file) for name, file in files.items()}
    shapes = [a for name, x in inputs.items() for a in ("--shape", f"{name}:{'x'.join(map(str, x.shape))}")]
    threads = len(os.sched_getaffinity(0))
    described = ", ".join(f"{k} {list(v.shape)}" for k, v in inputs.items())
    print(f"model    {model.name}: a trained ResNet-50; inputs: {described}")
    with tempfile.TemporaryDirectory() as folder:
        engine = pathlib.Path(folder) / "open-nsfw.hone"
        print("build   ", hone("build", model, "-o", engine, *shapes).strip().removeprefix(f"{folder}/"))
        hone("run", engine, *[a for k, f in files.items() for a in ("--input", f"{k}={f}")], "--output-dir", folder)
        ort_ms, expected = time_onnxruntime(model, inputs, threads)
        for name, want in expected.items():
            got = np.load(pathlib.Path(folder) / (name.replace(":", "_").replace("/", "_") + ".npy"))
            difference = np.abs(got - want).max()
            print(f"check    {name}: largest difference to ONNX Runtime {difference:.2e} of {np.abs(want).max():.3g}")
        rows = [("ONNX Runtime", ort_ms), ("OpenVINO, f32", time_openvino(model, inputs, threads))]
        bench = json.loads(hone("bench", engine, "--json", "-"))["rows"][0]
        rows.append(("Hone, fp32", bench["latency_ms"]["median"]))
        print(f"\n{'':<16} {'ms a step':>10} {'speed-up':>10}   ({threads} threads)")
        for title, ms in rows:
            print(f"{title:<16} {ms:>10.2f} {ort_ms / ms:>9.2f}x" if ms else f"{title:<16} {'not there':>10}")
        memory = json.loads(hone("inspect", engine, "--json", "-"))["memory"]
        print("\nmemory   " + ", ".join(f"{k.removesuffix('_bytes').replace('_', ' ')} {v / 1e6:.2f} MB"
                                         for k, v in memory.items()))


if __name__ == "__main__":
    main()
