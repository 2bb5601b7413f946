#!/usr/bin/env python3
"""Makes models with ONNX Runtime's quantised operators, and what ONNX Runtime computes.

Run it in the environment of scripts/peers.sh, after scripts/make_inputs.py:

    $(scripts/peers.sh --print) scripts/make_quantised.py
    hone verify --rtol 0 --atol 1 CACHE/quantised/bytes/*     a step of the result
    hone verify CACHE/quantised/floats/*
    hone verify --of-range --rtol 0.1 CACHE/quantised/networks/*

Each is written in the ONNX test layout. Results of 8 bits come as floats, so that they
may be a step off: what lies halfway is rounded to either side. In networks such steps
grow: ONNX Runtime's own results with and without its fusions differ by up to 0.044 of the
range (minilm in i8), and so another order of roundings by some twice of that.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType,
                                      quantize_dynamic, quantize_static)

from fetch import cache_folder
from make_models import Net, mobilenetv2, seeded_inputs

DOMAIN = "com.microsoft"
RANDOM = np.random.default_rng(5)


def u8(*shape: int) -> np.ndarray:
    """Random bytes."""
    return RANDOM.integers(0, 256, shape, np.uint8)


def i8(*shape: int) -> np.ndarray:
    """Random signed bytes."""
    return RANDOM.integers(-128, 128, shape, np.int8)


def real(*shape: int) -> np.ndarray:
    """Random floats."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def scale(value: float) -> np.ndarray:
    """A scale."""
    return np.array(value, np.float32)


def zero(value: int) -> np.ndarray:
    """A zero point of u8."""
    return np.array(value, np.uint8)


A, B = [u8(2, 8, 9, 9), scale(0.021), zero(117)], [u8(2, 8, 9, 9), scale(0.013), zero(3)]
TO = [scale(0.03), zero(99)]
IMAGE = [u8(1, 8, 9, 9), scale(0.021), zero(117)]
ROWS = [u8(5, 24), scale(0.021), zero(117)]
WEIGHTS = [i8(24, 7), RANDOM.uniform(0.01, 0.02, 7).astype(np.float32), np.zeros(7, np.int8)]
NORM = [real(24), real(24)]

# Name: operator, inputs and attributes.
BYTES = {
    "add": ("QLinearAdd", A + B + TO, {}),
    "mul": ("QLinearMul", A + B + TO, {}),
    "leaky_relu": ("QLinearLeakyRelu", A + TO, {"alpha": 0.2}),
    "sigmoid": ("QLinearSigmoid", A + [scale(1 / 256), zero(0)], {}),
    "softmax": ("QLinearSoftmax", ROWS + [scale(1 / 256), zero(0)], {"axis": -1, "opset": 13}),
    "global_average_pool": ("QLinearGlobalAveragePool", A + TO, {"channels_last": 0}),
    "global_average_pool_last": ("QLinearGlobalAveragePool", A + TO, {"channels_last": 1}),
    "average_pool": ("QLinearAveragePool", IMAGE + TO,
                     {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "average_pool_padded": ("QLinearAveragePool", IMAGE + TO,
                            {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1,
                             "count_include_pad": 1}),
    "concat": ("QLinearConcat", TO + A + B, {"axis": 1}),
    "where": ("QLinearWhere", [real(9, 9) > 0] + A + B + TO, {}),
    "gemm": ("QGemm", ROWS + WEIGHTS + [RANDOM.integers(-9999, 9999, 7, np.int32)] + TO,
             {"alpha": 0.7}),
    "gemm_transposed": ("QGemm", ROWS + [i8(7, 24), scale(0.01), np.array(0, np.int8), None] + TO,
                        {"transB": 1}),
}
FLOATS = {
    "gemm_to_float": ("QGemm", ROWS + WEIGHTS, {}),
    "dynamic_matmul": ("DynamicQuantizeMatMul", [real(3, 5, 24)] + WEIGHTS + [real(7)], {}),
    "dynamic_matmul_u8": ("DynamicQuantizeMatMul", [real(3, 5, 24), u8(24, 7), scale(0.02), zero(91)], {}),
    "integer_to_float": ("MatMulIntegerToFloat",
                         [u8(5, 24), i8(24, 7), scale(0.021), WEIGHTS[1], zero(117), WEIGHTS[2], real(7)], {}),
    "gelu": ("Gelu", [real(5, 24)], {}),
    "fast_gelu": ("FastGelu", [real(5, 24), real(24)], {}),
    "bias_gelu": ("BiasGelu", [real(5, 24), real(24)], {}),
    "quick_gelu": ("QuickGelu", [real(5, 24)], {"alpha": 1.3}),
    "fused_matmul": ("FusedMatMul", [real(2, 24, 5), real(2, 24, 7)], {"transA": 1, "alpha": 0.3}),
    "skip_norm": ("SkipLayerNormalization", [real(2, 5, 24), real(2, 5, 24)] + NORM + [real(24)],
                  {"epsilon": 1e-5}),
    "simple_skip_norm": ("SkipSimplifiedLayerNormalization", [real(2, 5, 24), real(2, 5, 24), real(24)],
                         {"epsilon": 1e-5}),
    "embed_norm": ("EmbedLayerNormalization",
                   [RANDOM.integers(0, 9, (2, 5), np.int32), RANDOM.integers(0, 2, (2, 5), np.int32),
                    real(9, 24), real(6, 24), real(2, 24)] + NORM, {"epsilon": 1e-5}),
}
# Outputs of an operator that has several.
OUTPUTS = {"embed_norm": ["y", "counts"]}


def operator(name: str, op: str, inputs: list, attributes: dict, as_float: bool):
    """A model of one operator and its inputs: what is large and no weight is fed, the rest constant."""
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(inputs)]
    fed = {names[0]: inputs[0]}
    if op in ("QLinearAdd", "QLinearMul", "FusedMatMul"):
        fed[names[3 if op.startswith("Q") else 1]] = inputs[3 if op.startswith("Q") else 1]
    constants = [numpy_helper.from_array(value, key) for key, value in zip(names, inputs)
                 if value is not None and key not in fed]
    outputs = OUTPUTS.get(name, ["y"])
    nodes = [helper.make_node(op, names, outputs, domain=DOMAIN, **attributes)]
    if as_float:
        nodes.append(helper.make_node("Cast", ["y"], ["f"], to=TensorProto.FLOAT))
    last = "f" if as_float else "y"
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
         for key, value in fed.items()],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)], constants)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9), fed


def write(folder: pathlib.Path, model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    """Runs ONNX Runtime and writes the model, its inputs and outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    for k, value in enumerate(session.get_inputs()):
        tensor = numpy_helper.from_array(inputs[value.name], value.name)
        (data / f"input_{k}.pb").write_bytes(tensor.SerializeToString())
    for k, (value, array) in enumerate(zip(session.get_outputs(), session.run(None, inputs))):
        (data / f"output_{k}.pb").write_bytes(numpy_helper.from_array(array, value.name).SerializeToString())


class Samples(CalibrationDataReader):
    """Three inputs to find ranges on."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Draws them."""
        self.rest = [seeded_inputs(model, 1, seed) for seed in (1, 2, 3)]

    def get_next(self):
        """The next one, or nothing."""
        return self.rest.pop() if self.rest else None


def networks(output: pathlib.Path, scratch: pathlib.Path) -> None:
    """A convolution network and a transformer, quantised in each way."""
    net = Net("mobilenetv2", fold_bn=True)
    mobilenetv2(net)
    plain, path = net.model(), scratch / "mobilenetv2.onnx"
    onnx.save(plain, path)
    image = seeded_inputs(plain, 1)
    made = scratch / "made.onnx"
    for weights in (QuantType.QInt8, QuantType.QUInt8):
        quantize_dynamic(path, made, weight_type=weights)
        write(output / f"mobilenetv2-dynamic-{weights}", onnx.load(made), image)
    for form in (QuantFormat.QOperator, QuantFormat.QDQ):
        quantize_static(path, made, Samples(plain), quant_format=form, weight_type=QuantType.QInt8)
        write(output / f"mobilenetv2-static-{form}", onnx.load(made), image)
    minilm = cache_folder() / "models" / "minilm.onnx"
    tokens = {path.stem: np.load(path) for path in (cache_folder() / "data/minilm/inputs").glob("*.npy")}
    for weights, by_channel in ((QuantType.QInt8, False), (QuantType.QInt8, True), (QuantType.QUInt8, False)):
        quantize_dynamic(minilm, made, weight_type=weights, per_channel=by_channel)
        write(output / f"minilm-dynamic-{weights}{'-channels' if by_channel else ''}", onnx.load(made), tokens)


def main() -> None:
    """Writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=cache_folder() / "quantised",
                        metavar="DIR", help="default CACHE/quantised")
    output = parser.parse_args().output
    for kind, table in (("bytes", BYTES), ("floats", FLOATS)):
        for name, (op, inputs, attributes) in table.items():
            model, fed = operator(name, op, inputs, attributes, kind == "bytes")
            write(output / kind / name, model, fed)
    with tempfile.TemporaryDirectory() as scratch:
        networks(output / "networks", pathlib.Path(scratch))
    print(output)


if __name__ == "__main__":
    main()
