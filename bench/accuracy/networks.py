"""Networks by ONNX and ONNX Runtime: as they are judged, and those that ONNX Runtime's quantisers make."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from calibration import METHODS, prepared
from draw import CACHE
from tasks import Sample, Task

EXTRA = {"ActivationSymmetric": True, "WeightSymmetric": True, "CalibPercentile": 99.99}


def before_probabilities(producers: dict[str, onnx.NodeProto], name: str) -> str | None:
    """What a softmax or sigmoid, or a name for one, is computed of; None where there is none. A softmax may stand there
    as exp(x - max) / sum."""
    node = producers[name]
    if node.op_type in ("Identity", "Softmax", "Sigmoid"):
        return node.input[0]
    if node.op_type != "Div" or node.input[0] not in producers:
        return None
    powers = producers[node.input[0]]
    if powers.op_type != "Exp":
        return None
    return producers[powers.input[0]].input[0] if producers[powers.input[0]].op_type == "Sub" else powers.input[0]


def write_network(name: str, out: pathlib.Path) -> None:
    """Writes a network as it is judged: its outputs before its last softmax or sigmoid, which hides errors where it is
    saturated; and beside it, as .json, what else is asked of the file."""
    model = onnx.load(CACHE / "models" / f"{name}.onnx")
    producers = {output: node for node in model.graph.node for output in node.output}
    for value in model.graph.output:
        while (logits := before_probabilities(producers, value.name)) is not None:
            value.name = logits
    onnx.save(model, out)
    characters = [c for p in model.metadata_props if p.key == "character" for c in p.value.splitlines()]
    about = {"outputs": [value.name for value in model.graph.output], "characters": characters}
    out.with_suffix(".json").write_text(json.dumps(about))


def run_onnxruntime(model: pathlib.Path, data: list[Sample], output: int, optimised: bool = True) -> np.ndarray:
    """The output for every sample, stacked; without optimisations, QDQ networks are computed in floats."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    return np.concatenate([session.run(None, {k: v for k, v in s.items() if k in names})[output] for s in data])


def run_openvino(model: pathlib.Path, data: list[Sample], output: int, precision: str) -> np.ndarray:
    """The output for every sample, stacked, as OpenVINO computes it in f32 or bf16 on a CPU."""
    import openvino
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    names = {name for value in compiled.inputs for name in value.names}
    return np.concatenate([compiled({k: v for k, v in s.items() if k in names})[compiled.outputs[output]]
                           for s in data])


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
