"""Hone's networks, by its command line, and trials of networks. It needs numpy and Pillow alone."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from tasks import TASKS, Sample, Task, figures


def file_name(tensor: str) -> str:
    """A tensor's name as a file's."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", tensor)


def stacked(data: list[Sample]) -> Sample:
    """One batch of samples."""
    return {name: np.concatenate([sample[name] for sample in data]) for name in data[0]}


class Hone:
    """Builds engines of a network for batches, and runs them."""

    def __init__(self, program: pathlib.Path, model: pathlib.Path, outputs: list[str], data: list[Sample], batch: int,
                 folder: pathlib.Path, options: list[str]):
        self.program, self.model, self.outputs, self.batch = program, model, outputs, batch
        self.folder, self.options = folder, options
        self.engine, self.samples, self.ranges = folder / "engine.hone", folder / "samples", folder / "ranges.json"
        self.samples.mkdir(parents=True)
        for k, sample in enumerate(data):
            np.savez(self.samples / f"{k:06}.npz", **sample)
        shapes = (f"{name}:{'x'.join(map(str, (batch, *array.shape[1:])))}" for name, array in data[0].items())
        self.shapes = [part for shape in shapes for part in ("--shape", shape)]

    def build(self, *options: object) -> None:
        """Makes the engine that `run` runs. Nothing is timed, so that what is allowed is used, however fast."""
        self._call("build", self.model, "-o", self.engine, *self.shapes, "--no-tune", "--timing-cache", "none",
                   *self.options, *options)

    def quantize(self, model: pathlib.Path, calibrator: str) -> pathlib.Path:
        """The quantised network as an ONNX model, of the same samples; of opset 13 or newer."""
        out = self.folder / "int8.onnx"
        self._call("quantize", model, "-o", out, *self.shapes, "--calibrate", self.samples, "--calibrator", calibrator)
        return out

    def run(self, data: list[Sample], output: int) -> np.ndarray:
        """The output for every sample, stacked; the last batch is filled up with the last sample."""
        results = []
        for k in range(0, len(data), self.batch):
            part = data[k:k + self.batch]
            inputs = []
            for name, array in stacked(part + part[-1:] * (self.batch - len(part))).items():
                file = self.folder / f"{file_name(name)}.npy"
                np.save(file, array)
                inputs += ["--input", f"{name}={file}"]
            self._call("run", self.engine, *inputs, "--output-dir", self.folder / "out")
            results.append(np.load(self.folder / "out" / f"{file_name(self.outputs[output])}.npy")[:len(part)])
        return np.concatenate(results)

    def _call(self, *arguments: object) -> None:
        done = subprocess.run([self.program, *map(str, arguments), "--quiet"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"hone {shlex.join(map(str, arguments))}: {done.stderr}")


@dataclass
class Trial:
    """A network, data to calibrate it with, other data that it is judged on, and what fp32 makes of that."""

    name: str
    task: Task
    model: pathlib.Path
    outputs: list[str]
    characters: list[str]
    data: list[Sample]
    held_out: list[Sample]
    known: list
    wanted: np.ndarray | None = None

    @staticmethod
    def of(name: str, folder: pathlib.Path, samples: int, score: int) -> Trial:
        """One without what is wanted. Writes the network to the folder, which needs ONNX, unless it is there."""
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / f"{name}.onnx"
        if not model.exists():
            from networks import write_network
            write_network(name, model)
        about = json.loads(model.with_suffix(".json").read_text())
        task = TASKS[name]
        data, _ = task.draw(samples, seed=1)
        held_out, known = task.draw(score, seed=2, apart_from=data)
        return Trial(name, task, model, about["outputs"], about["characters"], data, held_out, known)

    def hone(self, program: pathlib.Path, batch: int, folder: pathlib.Path, options: list[str]) -> Hone:
        """Builds this network."""
        return Hone(program, self.model, self.outputs, self.data, batch, folder, options)

    def row(self, network: str, outputs: np.ndarray) -> dict:
        """What a network's outputs on the held-out data are worth."""
        return {"model": self.name, "network": network,
                **figures(outputs, self.wanted, self.task, self.known, self.characters)}
