"""Networks of low precision: Hone's, by its command line, and those that ONNX Runtime's quantisers make."""

from __future__ import annotations

import contextlib
import pathlib
import shlex
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from calibration import METHODS, prepared
from make_inputs import safe
from tasks import TASKS, Sample, Task, figures, without_probabilities

EXTRA = {"ActivationSymmetric": True, "WeightSymmetric": True, "CalibPercentile": 99.99}


def run_onnxruntime(model: pathlib.Path, data: list[Sample], output: int, optimised: bool = True) -> np.ndarray:
    """The output for every sample, stacked; without optimisations, QDQ networks are computed in floats."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    return np.concatenate([session.run(None, {k: v for k, v in s.items() if k in names})[output] for s in data])


class Reader:
    """Samples one by one, as ONNX Runtime's quantiser wants them."""

    def __init__(self, data: list[Sample]):
        self.data = iter(data)

    def get_next(self) -> Sample | None:
        """The next sample."""
        return next(self.data, None)


def quantise_by_onnxruntime(model: pathlib.Path, data: list[Sample], method: str, task: Task,
                            out: pathlib.Path) -> None:
    """As ONNX Runtime's documentation tells to: its preprocessing, then static quantisation."""
    ready = out.with_suffix(".ready.onnx")
    onnx.save(prepared(model), ready)
    with contextlib.redirect_stdout(sys.stderr):
        quant_pre_process(ready, ready, skip_symbolic_shape=True)
        quantize_static(ready, out, Reader(data), quant_format=QuantFormat.QDQ, op_types_to_quantize=task.operators,
                        per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                        calibrate_method=METHODS[method], extra_options=EXTRA | task.extra)


def quantise_weights_by_onnxruntime(model: pathlib.Path, bits: int, out: pathlib.Path) -> None:
    """Weights of matrix products alone, symmetrically, in blocks of 32 as Hone's."""
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, bits=bits)
    quantiser = MatMulNBitsQuantizer(prepared(model), algo_config=config)  # it passes over Constant nodes
    quantiser.process()
    quantiser.model.save_model_to_file(str(out), False)


def stacked(data: list[Sample]) -> Sample:
    """One batch of samples."""
    return {name: np.concatenate([sample[name] for sample in data]) for name in data[0]}


class Hone:
    """Builds engines of a network for batches, and runs them."""

    def __init__(self, program: pathlib.Path, model: pathlib.Path, data: list[Sample], batch: int, folder: pathlib.Path,
                 options: list[str]):
        self.program, self.model, self.batch, self.folder, self.options = program, model, batch, folder, options
        self.engine, self.samples, self.ranges = folder / "engine.hone", folder / "samples", folder / "ranges.json"
        self.outputs = [value.name for value in onnx.load(model, load_external_data=False).graph.output]
        self.samples.mkdir(parents=True)
        for k, sample in enumerate(data):
            np.savez(self.samples / f"{k:06}.npz", **sample)
        shapes = (f"{name}:{'x'.join(map(str, (batch, *array.shape[1:])))}" for name, array in data[0].items())
        self.shapes = [part for shape in shapes for part in ("--shape", shape)]

    def build(self, *options: object) -> None:
        """Makes the engine that `run` runs. Nothing is timed, so that what is allowed is used, however fast."""
        self._call("build", self.model, "-o", self.engine, *self.shapes, "--no-tune", *self.options, *options)

    def quantize(self, calibrator: str) -> pathlib.Path:
        """The quantised network as an ONNX model, of the same samples."""
        ready, out = self.folder / "ready.onnx", self.folder / "int8.onnx"
        onnx.save(prepared(self.model), ready)
        self._call("quantize", ready, "-o", out, *self.shapes, "--calibrate", self.samples, "--calibrator", calibrator)
        return out

    def run(self, data: list[Sample], output: int) -> np.ndarray:
        """The output for every sample, stacked; the last batch is filled up with the last sample."""
        results = []
        for k in range(0, len(data), self.batch):
            part = data[k:k + self.batch]
            inputs = []
            for name, array in stacked(part + part[-1:] * (self.batch - len(part))).items():
                file = self.folder / f"{safe(name)}.npy"
                np.save(file, array)
                inputs += ["--input", f"{name}={file}"]
            self._call("run", self.engine, *inputs, "--output-dir", self.folder / "out")
            results.append(np.load(self.folder / "out" / f"{safe(self.outputs[output])}.npy")[:len(part)])
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
    data: list[Sample]
    held_out: list[Sample]
    known: list
    wanted: np.ndarray

    @staticmethod
    def of(name: str, folder: pathlib.Path, samples: int, score: int) -> Trial:
        """Writes the model to the folder; fp32 is ONNX Runtime's."""
        task, model = TASKS[name], folder / "model.onnx"
        without_probabilities(name, model)
        data, _ = task.draw(samples, seed=1)
        held_out, known = task.draw(score, seed=2)
        return Trial(name, task, model, data, held_out, known, run_onnxruntime(model, held_out, task.output))

    def row(self, network: str, outputs: np.ndarray) -> dict:
        """What a network's outputs on the held-out data are worth."""
        return {"model": self.name, "network": network,
                **figures(outputs, self.wanted, self.task, self.known, self.model)}
