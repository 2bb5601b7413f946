"""What bench/compare.py measures: models, their shapes and inputs, and what they are quantised to."""

from __future__ import annotations

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))

from fetch import cache_folder  # noqa: E402

# Sizes for free dims other than the batch, by model and input; the batch is -1.
SHAPES = {
    "ppocr-rec": {"x": [-1, 3, 48, 320]},
    "ppocr-det": {"x": [-1, 3, 320, 480]},
    "ppocr-cls": {"x": [-1, 3, 48, 192]},
    "centerface-dynamic": {"input.1": [-1, 3, 256, 320]},
    "minilm": {name: [-1, 128] for name in ("input_ids", "attention_mask", "token_type_ids")},
    "silero_vad": {"input": [-1, 576], "state": [2, -1, 128], "sr": []},
    "silero_vad_16k_op15": {"input": [-1, 576], "state": [2, -1, 128], "sr": []},
    "silero_vad_op18_ifless": {"input": [-1, 576], "state": [2, -1, 128], "sr": []},
    "silero_vad_half": {"input": [-1, 576], "state": [2, -1, 128]},
}


class BenchError(Exception):
    """What failed, in one line."""


def find_model(name: str) -> pathlib.Path:
    """A model by file, or by name in the cache."""
    cache = cache_folder()
    for path in (pathlib.Path(name), cache / f"models/{name}.onnx",
                 cache / f"generated/{name}.onnx"):
        if path.is_file():
            return path.resolve()
    raise BenchError(f"no model called {name}: see scripts/fetch.py and scripts/make_models.py")


def parse_shape(text: str) -> tuple[str, list[int]]:
    """NAME:1x3x224x224 as (name, dims)."""
    name, _, dims = text.rpartition(":")
    try:
        return name, [int(dim) for dim in dims.split("x") if dim]
    except ValueError:
        raise BenchError(f"bad --shape {text}: expected NAME:1x3x224x224") from None


def resolve_shapes(path: pathlib.Path, batch: int, given: dict[str, list[int]]) -> dict:
    """The shape of every input: given, known by name, or the model's with batch for free dims."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    known = SHAPES.get(path.stem, {}) | given
    shapes = {}
    for value in graph.input:
        if value.name in weights:
            continue
        dims = [dim.dim_value if dim.dim_value > 0 else -1
                for dim in value.type.tensor_type.shape.dim]
        dims = known.get(value.name, dims)
        shapes[value.name] = [batch if dim < 0 else dim for dim in dims]
    return shapes


def has_batch(path: pathlib.Path) -> bool:
    """Whether the batch of a model can be chosen."""
    first = resolve_shapes(path, 3, {})
    return first != resolve_shapes(path, 5, {})


def make_inputs(path: str, shapes: dict[str, list[int]], seed: int = 0) -> dict:
    """Seeded inputs: normal numbers, or small integers that are ids, bytes, masks or a rate."""
    import numpy as np
    import onnx

    random = np.random.default_rng(seed)
    inputs = {}
    for value in onnx.load(path, load_external_data=False).graph.input:
        if value.name not in shapes:
            continue
        shape = shapes[value.name]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if value.name == "sr":
            array = np.full(shape, 16000)
        elif value.name == "attention_mask":
            array = np.ones(shape)
        elif np.issubdtype(dtype, np.integer):
            array = random.integers(0, 2 if value.name == "token_type_ids" else 257, shape)
        else:
            array = random.standard_normal(shape)
        inputs[value.name] = np.asarray(array, dtype)
    return inputs


class Samples:
    """A few seeded inputs, as onnxruntime.quantization reads them."""

    def __init__(self, path: pathlib.Path, shapes: dict) -> None:
        self.samples = iter([make_inputs(path, shapes, seed) for seed in range(4)])

    def get_next(self) -> dict | None:
        """The next sample, or None."""
        return next(self.samples, None)


def quantised_model(path: pathlib.Path, shapes: dict, folder: pathlib.Path) -> pathlib.Path:
    """The model as ONNX Runtime quantises it for CPUs with VNNI."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready, made = folder / "ready.onnx", folder / f"{path.stem}.onnx"
    quant_pre_process(path, ready, skip_symbolic_shape=True)
    quantize_static(ready, made, Samples(path, shapes), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    return made


def calibration_cache(path: pathlib.Path, shapes: dict, folder: pathlib.Path, hone: pathlib.Path) -> pathlib.Path:
    """Hone's ranges of the same samples."""
    import numpy as np

    cache = folder / "ranges.json"
    for seed in range(4):
        np.savez(folder / f"{seed}.npz", **make_inputs(path, shapes, seed))
    done = subprocess.run([hone, "calibrate", path, "--data", folder, "-o", cache, "--quiet"],
                          capture_output=True, text=True)
    if done.returncode:
        raise BenchError(done.stderr.strip() or "hone calibrate failed")
    return cache
