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

Outputs are taken before the last softmax or sigmoid, which hides errors where it is saturated. SQNR is in dB, of
the whole output; `cosine` is the mean over samples; `same` is how often a decision is fp32's
(the class at each place; of a detector, the overlap of the found regions; of an encoder, the nearest other
sentence); `right` is how often it is the label's: the exact text of a rendered line, or which way up it is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pydoc_data.topics import topics

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from calibration import CACHE, METHODS, ROOT, crop, imagenet, prepared
from make_inputs import labelled_line, pieces, safe, signed_bgr

Sample = dict[str, np.ndarray]  # inputs by name, each with a leading dim of 1
EXTRA = {"ActivationSymmetric": True, "WeightSymmetric": True, "CalibPercentile": 99.99}

# Data: each draws one sample and its label.


def photograph(random: np.random.Generator) -> tuple[Sample, None]:
    """BGR less the mean, NHWC."""
    return {"input:0": (crop(random, 224, 224)[None, ..., ::-1] - (104, 117, 123)).astype(np.float32)}, None


def page(random: np.random.Generator) -> tuple[Sample, None]:
    """A photograph, normalised as ImageNet's."""
    return {"x": imagenet(crop(random, 480, 320))[None]}, None


def line(random: np.random.Generator) -> tuple[Sample, str]:
    """A rendered line and its text."""
    image, text = labelled_line(random, 320)
    return {"x": signed_bgr([image])}, text.replace(" ", "")


def turned_line(random: np.random.Generator) -> tuple[Sample, int]:
    """A rendered line, and whether it stands on its head."""
    image, turned = labelled_line(random, 192)[0], int(random.integers(2))
    return {"x": signed_bgr([image[::-1, ::-1] if turned else image])}, turned


class Sentences:
    """Sentences of Python's own manual, as word pieces."""

    def __init__(self) -> None:
        words = (CACHE / "weights/minilm-vocab.txt").read_text("utf-8").split("\n")
        self.index = {word: number for number, word in enumerate(words)}
        text = re.split(r"(?<=[.:])\s+", " ".join(topics[key] for key in sorted(topics)))
        self.sentences = [s for s in text if 30 < len(s) < 160]

    def __call__(self, random: np.random.Generator) -> tuple[Sample, None]:
        words = re.findall(r"\w+|[^\w\s]", self.sentences[random.integers(len(self.sentences))].lower())
        tokens = ["[CLS]", *[t for word in words for t in pieces(word, self.index)][:30], "[SEP]"]
        ids = np.zeros((1, 32), np.int64)
        ids[0, :len(tokens)] = [self.index[token] for token in tokens]
        return {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "token_type_ids": 0 * ids}, None


# Decisions: of all outputs, an array of a row for each sample.


def largest(outputs: np.ndarray) -> np.ndarray:
    """The class at each place."""
    return outputs.argmax(-1)


def regions(outputs: np.ndarray) -> np.ndarray:
    """Where a detector finds text: a probability above 0.3."""
    return outputs > math.log(0.3 / 0.7)


def nearest(outputs: np.ndarray) -> np.ndarray:
    """For each sentence the most similar other one. The embeddings have unit length."""
    similar = outputs @ outputs.T
    np.fill_diagonal(similar, -2)
    return similar.argmax(-1)


def agreement(ours: np.ndarray, wanted: np.ndarray) -> float:
    """How often decisions are the same; of regions, their overlap."""
    if wanted.dtype == bool:
        return float((ours & wanted).sum() / max((ours | wanted).sum(), 1))
    return float((ours == wanted).mean())


def texts(classes: np.ndarray, model: pathlib.Path) -> list[str]:
    """Greedy CTC: repetitions count once, class 0 is the blank. The file holds its characters."""
    stored = next(p.value for p in onnx.load(model).metadata_props if p.key == "character")
    characters = ["", *stored.splitlines(), ""]
    return ["".join(characters[c] for k, c in enumerate(row) if k == 0 or c != row[k - 1]) for row in classes]


def labels(decisions: np.ndarray, model: pathlib.Path) -> list:
    """Decisions as labels are written."""
    return texts(decisions, model) if decisions.ndim > 1 else decisions.tolist()


@dataclass
class Task:
    """A network, its data and what is read off its output."""

    sample: Callable[[np.random.Generator], tuple[Sample, object]]
    decide: Callable[[np.ndarray], np.ndarray]
    output: int = 0
    operators: list[str] | None = None  # that ONNX Runtime quantises; None: all that it can


TASKS = {
    "ppocr-rec": Task(line, largest),
    "ppocr-det": Task(page, regions),
    "ppocr-cls": Task(turned_line, largest),
    "open-nsfw": Task(photograph, largest),
    # In a transformer sums with the attention mask, of -10000, must not be quantised.
    "minilm": Task(Sentences(), nearest, output=1, operators=["MatMul"]),
}


# Networks: each gives its output for every sample, stacked.


def run_onnxruntime(model: pathlib.Path, data: list[Sample], output: int, optimised: bool = True) -> np.ndarray:
    """By ONNX Runtime; without optimisations, QDQ networks are computed in floats."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    return np.concatenate([session.run(None, {k: v for k, v in s.items() if k in names})[output] for s in data])


def without_probabilities(path: pathlib.Path, out: pathlib.Path) -> None:
    """The network with outputs before its last softmax or sigmoid."""
    model = onnx.load(path)
    inputs = {node.output[0]: node.input[0] for node in model.graph.node
              if node.op_type in ("Identity", "Softmax", "Sigmoid")}
    for value in model.graph.output:
        while value.name in inputs:
            value.name = inputs[value.name]
    onnx.save(model, out)


class Reader:
    """Samples one by one, as ONNX Runtime's quantiser wants them."""

    def __init__(self, data: list[Sample]):
        self.data = iter(data)

    def get_next(self) -> Sample | None:
        """The next sample."""
        return next(self.data, None)


def make_onnxruntime(model: pathlib.Path, data: list[Sample], method: str, operators: list[str] | None,
                     out: pathlib.Path) -> None:
    """As ONNX Runtime's documentation tells to: its preprocessing, then static quantisation."""
    ready = out.with_suffix(".ready.onnx")
    onnx.save(prepared(model), ready)
    quant_pre_process(ready, ready, skip_symbolic_shape=True)
    quantize_static(ready, out, Reader(data), quant_format=QuantFormat.QDQ, op_types_to_quantize=operators,
                    per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                    calibrate_method=METHODS[method], extra_options=EXTRA)


def stacked(data: list[Sample]) -> Sample:
    """One batch of samples."""
    return {name: np.concatenate([sample[name] for sample in data]) for name in data[0]}


class Hone:
    """Builds an int8 engine for batches and runs it."""

    def __init__(self, args: argparse.Namespace, model: pathlib.Path, data: list[Sample], calibrator: str,
                 folder: pathlib.Path):
        self.args, self.folder, self.engine = args, folder, folder / "int8.hone"
        self.output = onnx.load(model, load_external_data=False).graph.output
        samples = folder / "samples"
        samples.mkdir(parents=True)
        for k, sample in enumerate(data):
            np.savez(samples / f"{k:06}.npz", **sample)
        shapes = (f"{name}:{'x'.join(map(str, (args.batch, *array.shape[1:])))}" for name, array in data[0].items())
        self.shapes = [part for shape in shapes for part in ("--shape", shape)]
        self.options = [*self.shapes, "--precision", "int8", "--no-tune",
                        "--calibration-cache", folder / "ranges.json", *shlex.split(args.hone_options)]
        self.call("build", model, "--calibrate", samples, "--calibrator", calibrator, "-o", self.engine, *self.options)

    def build_from_cache(self, model: pathlib.Path) -> None:
        """The engine that a user gets who has the ranges and no data: what is corrected on data is not."""
        self.call("build", model, "-o", self.engine, *self.options)

    def export(self, model: pathlib.Path, calibrator: str) -> pathlib.Path:
        """The quantised network as an ONNX model, of the same samples."""
        ready, out = self.folder / "ready.onnx", self.folder / "int8.onnx"
        onnx.save(prepared(model), ready)
        self.call("quantize", ready, "-o", out, *self.shapes, "--calibrate", self.folder / "samples", "--calibrator",
                  calibrator)
        return out

    def call(self, *arguments: object) -> None:
        """A command of Hone."""
        done = subprocess.run([self.args.hone, *map(str, arguments), "--quiet"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"hone {shlex.join(map(str, arguments))}: {done.stderr}")

    def run(self, data: list[Sample], output: int) -> np.ndarray:
        """All samples; the last batch is filled up with the last sample."""
        results = []
        for k in range(0, len(data), self.args.batch):
            part = data[k:k + self.args.batch]
            inputs = []
            for name, array in stacked(part + part[-1:] * (self.args.batch - len(part))).items():
                file = self.folder / f"{safe(name)}.npy"
                np.save(file, array)
                inputs += ["--input", f"{name}={file}"]
            self.call("run", self.engine, *inputs, "--output-dir", self.folder / "out")
            results.append(np.load(self.folder / "out" / f"{safe(self.output[output].name)}.npy")[:len(part)])
        return np.concatenate(results)


# Figures.


def figures(outputs: np.ndarray, wanted: np.ndarray, task: Task, known: list, model: pathlib.Path) -> dict:
    """How good the outputs are beside those of fp32 and beside the labels."""
    got, want = (a.astype(np.float64).reshape(len(a), -1) for a in (outputs, wanted))
    error, power = float(((got - want) ** 2).sum()), float((want ** 2).sum())
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
    decided, decided_fp32 = task.decide(outputs), task.decide(wanted)
    row = {"sqnr_db": 10 * math.log10(power / error) if error else math.inf,
           "cosine": float(((got * want).sum(1) / np.maximum(lengths, 1e-30)).mean()),
           "same": agreement(decided, decided_fp32)}
    if known[0] is not None:
        row["right"] = float(np.mean([a == b for a, b in zip(labels(decided, model), known)]))
    return row


def measure(args: argparse.Namespace, name: str, folder: pathlib.Path) -> Iterator[dict]:
    """A row for each network: fp32, Hone's, and ONNX Runtime's two ways."""
    task, model = TASKS[name], folder / "model.onnx"
    without_probabilities(CACHE / "models" / f"{name}.onnx", model)
    calibration, score = ([task.sample(random) for _ in range(count)]
                          for random, count in ((np.random.default_rng(1), args.samples),
                                                (np.random.default_rng(2), args.score)))
    data, held_out, known = [s for s, _ in calibration], [s for s, _ in score], [label for _, label in score]
    wanted = run_onnxruntime(model, held_out, task.output)

    def row(network: str, outputs: np.ndarray) -> dict:
        return {"model": name, "network": network, **figures(outputs, wanted, task, known, model)}

    yield row("fp32", wanted)
    for calibrator in args.calibrators:
        engine = Hone(args, model, data, calibrator, folder / calibrator)
        yield row(f"hone {calibrator}", engine.run(held_out, task.output))
        engine.build_from_cache(model)
        yield row(f"hone {calibrator}, cache", engine.run(held_out, task.output))
        exported = engine.export(model, calibrator)
        yield row(f"hone {calibrator}, as ONNX", run_onnxruntime(exported, held_out, task.output, optimised=False))
    for method in args.onnxruntime:
        quantised = folder / f"{method}.onnx"
        make_onnxruntime(model, data, method, task.operators, quantised)
        yield row(f"ort {method}, exact", run_onnxruntime(quantised, held_out, task.output, optimised=False))
        yield row(f"ort {method}, fast", run_onnxruntime(quantised, held_out, task.output))


def show(row: dict) -> None:
    """A line of the table."""
    right = f" {row['right']:>7.3f}" if "right" in row else ""
    print(f"{row['model']:<10} {row['network']:<22} {row['sqnr_db']:>8.2f} {row['cosine']:>8.5f} {row['same']:>7.4f}"
          f"{right}", flush=True)


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
    print(f"{'model':<10} {'network':<22} {'SQNR dB':>8} {'cosine':>8} {'same':>7} {'right':>7}")
    rows = []
    for name in args.models or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(args, name, pathlib.Path(folder)):
                show(row)
                rows.append(row)
    if args.output:
        args.output.write_text(json.dumps({
            "date": datetime.date.today().isoformat(), "device": platform.processor() or platform.machine(),
            "cpus": os.cpu_count(), "command": shlex.join(["bench/accuracy/int8.py", *sys.argv[1:]]),
            "onnxruntime": onnxruntime.__version__, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
