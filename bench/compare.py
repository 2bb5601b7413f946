#!/usr/bin/env python3
"""Measures Hone beside ONNX Runtime and OpenVINO on one machine, interleaved.

Run it in the environment of scripts/peers.sh:

    $(scripts/peers.sh --print) bench/compare.py resnet50 mobilenetv2 --batch 1,8 --threads 1,2
    $(scripts/peers.sh --print) bench/compare.py my.onnx --shape x:1x3x224x224 --precision bf16

MODEL is a file, or a name in the cache (models/, generated/). Every runtime computes
strict fp32; with --precision bf16, Hone and OpenVINO may use bf16, which ONNX Runtime has
not on a CPU. With --precision int8 the peers run what ONNX Runtime's quantize_static makes of
the model (QDQ, u8 activations, i8 weights by channel), and Hone its own int8, both calibrated
on the same random inputs: for speed, not for accuracy.

Each case (model, batch, threads) runs --rounds rounds; in a round each runtime in turn
measures for --duration seconds after a warm-up, so that a change of the machine's speed hits
all of them. Each peer lives in a process of its own, which sleeps
while another measures, and the median of all its runs counts. Its peak memory is that
process's. The table is printed, and all numbers go to bench/results/ as JSON.

Exit status: 0 measured, 1 Hone is missing or failed, 2 bad usage.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from cases import (BenchError, calibration_cache, find_model, has_batch, make_inputs, parse_shape, quantised_model,
                   resolve_shapes)

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ("onnxruntime", "openvino")
NOT_BUILT = "not built"


def peak_memory(pid: int | str = "self") -> float:
    """The most memory that a process has had so far, in MiB; 0 when it is gone.

    Not ru_maxrss: a process inherits that from the one that started it.
    """
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else 0.0


# Workers: one process a peer and case, told on its standard input when to measure.


def open_onnxruntime(path: str, inputs: dict, threads: int, _: str) -> Callable[[], object]:
    """A call that runs the model once in ONNX Runtime, in fp32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spins within a run, as by default, but not after it, when another runtime measures.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def open_openvino(path: str, inputs: dict, threads: int, precision: str) -> Callable[[], object]:
    """A call that runs the model once in OpenVINO."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({name: list(array.shape) for name, array in inputs.items()})
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return request.infer


def measure(call: Callable[[], object], seconds: float) -> list[float]:
    """Runs for so long, at least three times; gives each run in ms."""
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def worker(peer: str, path: str, shapes: str, threads: int, precision: str) -> None:
    """Answers each number of seconds on standard input with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints does not get among the answers
    try:
        begin = time.perf_counter()
        inputs = make_inputs(path, json.loads(shapes))
        opened = {"onnxruntime": open_onnxruntime, "openvino": open_openvino}[peer]
        call = opened(path, inputs, threads, precision)
        call()
        ready = {"load_ms": (time.perf_counter() - begin) * 1e3}
    except Exception as error:  # a peer that cannot run a model is a result, not a crash
        ready = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
    print(json.dumps(ready), file=answers, flush=True)
    if "error" in ready:
        return
    for line in sys.stdin:
        seconds = float(line)
        measure(call, seconds / 5)  # warm-up: caches, clocks and sleeping threads
        times = measure(call, seconds)
        print(json.dumps({"times_ms": times, "peak_rss_mib": peak_memory()}), file=answers,
              flush=True)


class Peer:
    """A worker process, seen from outside."""

    def __init__(self, name: str, path: pathlib.Path, shapes: dict, threads: int, precision: str) -> None:
        self.name = name
        self.times: list[float] = []
        self.peak_rss_mib = 0.0
        self.error = ""
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name, str(path), json.dumps(shapes),
             str(threads), precision],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.answer()

    def answer(self) -> dict:
        """The worker's next line."""
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the process died"}
        self.error = reply.get("error", "")
        return reply

    def round(self, seconds: float) -> None:
        """Measures once more."""
        if self.error:
            return
        print(seconds, file=self.process.stdin, flush=True)
        reply = self.answer()
        self.times += reply.get("times_ms", [])
        self.peak_rss_mib = reply.get("peak_rss_mib", self.peak_rss_mib)

    def close(self) -> None:
        """Ends the worker."""
        self.process.stdin.close()
        self.process.wait()

    def result(self) -> dict:
        """Median, minimum and count of the runs, in ms, and peak memory in MiB."""
        if self.error or not self.times:
            return {"error": self.error or "no run"}
        return {"median_ms": statistics.median(self.times), "min_ms": min(self.times),
                "runs": len(self.times), "peak_rss_mib": round(self.peak_rss_mib, 1)}


class Hone:
    """Hone's command line, with the same verbs as Peer: a cold build first, then only the engine is run."""

    name = "hone"

    def __init__(self, binary: pathlib.Path, path: pathlib.Path, shapes: dict, threads: int,
                 extra: list[str]) -> None:
        dims = [f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items()
                if shape]
        self.folder = tempfile.TemporaryDirectory()
        engine = pathlib.Path(self.folder.name) / "model.hone"
        self.error = "" if binary.exists() else NOT_BUILT
        self.build_s = math.nan
        if not self.error:
            command = [str(binary), "build", str(path), "-o", str(engine), "--json", "-",
                       "--timing-cache", "none", "--threads", str(threads),
                       *(part for dim in dims for part in ("--shape", dim)), *extra]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                self.error = done.stderr.strip().splitlines()[0][:200]
            else:
                self.build_s = json.loads(done.stdout)["build"]["seconds"]
        self.command = [str(binary), "bench", str(engine), "--json", "-"]
        self.medians: list[float] = []
        self.minimum = math.inf
        self.peak_rss_mib = 0.0

    def round(self, seconds: float) -> None:
        """Measures once more, in a fresh process."""
        if self.error:
            return
        command = [*self.command, "--duration", str(seconds), "--warm-up", str(seconds / 5)]
        output, errors, status, peak = run_with_peak(command)
        try:
            row = json.loads(output)["rows"][0]
            self.medians.append(row["latency_ms"]["median"])
            self.minimum = min(self.minimum, row["latency_ms"]["min"])
            self.peak_rss_mib = max(self.peak_rss_mib, peak)
        except (ValueError, KeyError, IndexError, TypeError):
            lines = errors.strip().splitlines() or [f"exit status {status}, no JSON"]
            self.error = lines[0][:200]

    def close(self) -> None:
        """Nothing runs between rounds; the engine goes."""
        self.folder.cleanup()

    def result(self) -> dict:
        """Median of the rounds' medians, in ms; peak memory of the engine's run in MiB; cold build in s."""
        if self.error or not self.medians:
            return {"error": self.error or "no run"}
        return {"median_ms": statistics.median(self.medians), "min_ms": self.minimum,
                "rounds": len(self.medians), "peak_rss_mib": round(self.peak_rss_mib, 1),
                "cold_build_s": round(self.build_s, 2)}


def run_with_peak(command: list[str]) -> tuple[str, str, int, float]:
    """Runs a command; gives its output, errors, exit status and peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.05)
        output.seek(0)
        errors.seek(0)
        return output.read(), errors.read(), process.returncode, peak


# The comparison.


def compare(path: pathlib.Path, batch: int, threads: int, args: argparse.Namespace) -> dict:
    """One row: every runtime on one model, batch and thread count."""
    shapes = resolve_shapes(path, batch, dict(map(parse_shape, args.shape)))
    options = ["--precision", args.precision, *shlex.split(args.hone_options)]
    theirs = path
    with tempfile.TemporaryDirectory() as folder:
        if args.precision == "int8":
            theirs = quantised_model(path, shapes, pathlib.Path(folder))
            options += ["--calibration-cache",
                        str(calibration_cache(path, shapes, pathlib.Path(folder), args.hone))]
        results = take_turns(path, theirs, shapes, threads, options, args)
    return {"model": path.stem, "batch": batch, "threads": threads, "shapes": shapes,
            "results": results} | ratios(results)


def take_turns(path: pathlib.Path, theirs: pathlib.Path, shapes: dict, threads: int, options: list[str],
               args: argparse.Namespace) -> dict[str, dict]:
    """The result of every runtime; the peers run `theirs`."""
    runtimes = [Peer(name, theirs, shapes, threads, args.precision) for name in args.peers]
    runtimes.append(Hone(args.hone, path, shapes, threads, options))
    try:
        for number in range(args.rounds):
            turn = number % len(runtimes)  # nobody is always first
            for runtime in runtimes[turn:] + runtimes[:turn]:
                runtime.round(args.duration)
                time.sleep(0.05)
    finally:
        for runtime in runtimes:
            runtime.close()
    return {runtime.name: runtime.result() for runtime in runtimes}


def ratios(results: dict[str, dict]) -> dict:
    """How many times as fast Hone is as the fastest peer, and as ONNX Runtime."""
    medians = {name: result["median_ms"] for name, result in results.items()
               if "median_ms" in result}
    hone = medians.pop("hone", None)
    if hone is None or not medians:
        return {}
    found = {"vs_fastest": min(medians.values()) / hone}
    if "onnxruntime" in medians:
        found["vs_onnxruntime"] = medians["onnxruntime"] / hone
    return found


def print_row(row: dict) -> None:
    """One line of the table, and a line for each failure."""
    cells = [f"{row['model']:<24}{row['batch']:>4}{row['threads']:>4}"]
    for name in (*PEERS, "hone"):
        median = row["results"].get(name, {}).get("median_ms")
        cells.append(f"{median:>12.3f}" if median else f"{'-':>12}")
    for key in ("vs_fastest", "vs_onnxruntime"):
        cells.append(f"{row[key]:>11.2f}x" if key in row else f"{'-':>12}")
    peaks = (row["results"].get(name, {}).get("peak_rss_mib") for name in (*PEERS, "hone"))
    cells.append("  " + "/".join("-" if peak is None else f"{peak:.0f}" for peak in peaks))
    print("".join(cells))
    for name, result in row["results"].items():
        if result.get("error", NOT_BUILT) != NOT_BUILT:
            print(f"    {name}: {result['error'][:120]}")
    sys.stdout.flush()


def print_means(rows: list[dict]) -> dict:
    """Prints and gives the geometric means of the ratios."""
    means = {}
    for key, words in (("vs_fastest", "the fastest peer"), ("vs_onnxruntime", "ONNX Runtime")):
        found = [row[key] for row in rows if key in row]
        if found:
            means[key] = math.exp(statistics.fmean(map(math.log, found)))
            print(f"Hone is {means[key]:.2f} times as fast as {words}"
                  f" (geometric mean of {len(found)})")
    return means


def cpu_name() -> str:
    """The processor, with what tells it from others of its family."""
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    found = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
             if flag in flags]
    name = fields.get("model name", platform.machine())
    return (f"{name} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')};"
            f" {' '.join(found)})")


def versions(hone: pathlib.Path) -> dict[str, str]:
    """The version of each runtime."""
    found = {name: importlib.metadata.version(name) for name in PEERS}
    if hone.exists():
        done = subprocess.run([hone, "--version"], capture_output=True, text=True)
        found["hone"] = done.stdout.strip()
    return found


def write_results(rows: list[dict], means: dict, load: float,
                  args: argparse.Namespace) -> pathlib.Path:
    """Writes everything measured to bench/results/."""
    now = datetime.datetime.now(datetime.timezone.utc)
    report = {
        "date": now.isoformat(timespec="seconds"), "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)), "load_at_start": round(load, 2),
        "system": platform.platform(),
        "versions": versions(args.hone),
        "command": shlex.join(["bench/compare.py", *(pathlib.Path(a).name if a.endswith(".onnx") else a
                                                     for a in sys.argv[1:])]),
        "precision": args.precision, "rows": rows, "geometric_means": means,
    }
    path = args.output or ROOT / "bench/results" / f"compare-{now:%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path


def numbers(text: str) -> list[int]:
    """1,2,8 as a list."""
    return [int(part) for part in text.split(",")]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--batch", type=numbers, default=[1, 8], metavar="N,N", help="default 1,8")
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,N", help="default 1,2")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME:DIMS",
                        help="an input's shape; -1 is the batch")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="fp32", help="default fp32")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument("--duration", type=float, default=1.0, metavar="S",
                        help="seconds a runtime and round; default 1")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS),
                        metavar="NAME,NAME", help="default onnxruntime,openvino")
    parser.add_argument("--hone", type=pathlib.Path, default=ROOT / "build/bin/hone",
                        metavar="FILE", help="default build/bin/hone")
    parser.add_argument("--hone-options", default="", metavar="OPTIONS", help="more options for hone bench")
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE", help="default bench/results/compare-TIME.json")
    args = parser.parse_args()
    if unknown := set(args.peers) - set(PEERS):
        parser.error(f"no peer called {', '.join(sorted(unknown))}")
    return args


def main() -> int:
    """Measures every case."""
    args = arguments()
    try:
        paths = [find_model(name) for name in args.models]
        for text in args.shape:
            parse_shape(text)
    except BenchError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    if not args.hone.exists():
        print(f"compare: {args.hone} is not built: only the peers are measured", file=sys.stderr)
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"compare: the machine is busy (load {load:.1f}): do not trust absolute times",
              file=sys.stderr)
    print(f"{cpu_name()}; median latency in ms, {args.precision}; peak memory in MiB")
    print(f"{'model':<24}{'N':>4}{'thr':>4}{'ORT':>12}{'OpenVINO':>12}{'Hone':>12}"
          f"{'vs fastest':>12}{'vs ORT':>12}  memory")
    rows = []
    for path in paths:
        for batch in args.batch if has_batch(path) else [1]:
            for threads in args.threads:
                rows.append(compare(path, batch, threads, args))
                print_row(rows[-1])
    means = print_means(rows)
    print(f"written to {write_results(rows, means, load, args)}")
    return 1 if any("error" in row["results"]["hone"] for row in rows) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:5], int(sys.argv[5]), sys.argv[6])
    else:
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            sys.exit(130)
