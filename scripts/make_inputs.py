#!/usr/bin/env python3
"""Makes inputs and expected outputs for every public model, in the cache.

Run it in the environment of scripts/peers.sh, after scripts/fetch.py --set models:

    $(scripts/peers.sh --print) scripts/make_inputs.py

For each model it writes data/MODEL/{inputs,outputs}/NAME.npy with case.json, and the
same in the ONNX test layout: verify/MODEL/{model.onnx,test_data_set_0/*.pb}. The
expected outputs are ONNX Runtime's in fp32. It also writes images/NAME.npy (uint8, RGB,
[H, W, 3]) for each photograph, and builds models/minilm.onnx from its weights.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import re
import struct
import sys
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from PIL import Image

from draw import (CACHE, labelled_line, magika_features, notes, photograph, pieces, planes, signed_bgr, text_line,
                  voice)
from make_models import NETWORKS, Net, seeded_inputs

Inputs = dict[str, np.ndarray]

# Photographs of things, people and texture; the first six have natural colours.
PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png", "china.jpg", "flower.jpg",
               "rocket.jpg", "camera.png", "motorcycle_left.png")
SENTENCES = ("a man is eating food .", "someone is having a meal .",
             "the engine compiles the network before it runs .",
             "two women walk along the river in the rain while a dog watches them .")


# Inputs, one function a family of models.


def open_nsfw() -> Inputs:
    """Four photographs, BGR less the mean, NHWC."""
    mean = np.array([104, 117, 123], np.float32)
    images = [photograph(name, 224, 224)[..., ::-1] - mean for name in PHOTOGRAPHS[:4]]
    return {"input:0": np.stack(images)}


def ppocr_rec() -> Inputs:
    """Four lines of text."""
    random = np.random.default_rng(1)
    return {"x": signed_bgr([text_line(random, 320) for _ in range(4)])}


def ppocr_cls() -> Inputs:
    """Two lines of text, the second upside down."""
    random = np.random.default_rng(2)
    first, second = (text_line(random, 192) for _ in range(2))
    return {"x": signed_bgr([first, second[::-1, ::-1]])}


def ppocr_det() -> Inputs:
    """A photographed page."""
    return {"x": signed_bgr([photograph("page.png", 480, 320)])}


def centerface() -> Inputs:
    """Ten small crops around a face: the static shape of the published file."""
    image = photograph("astronaut.png", 256, 256)
    crops = [image[y:y + 32, x:x + 32] for y in (10, 40) for x in range(80, 155, 15)]
    return {"input.1": planes(crops)}


def centerface_dynamic() -> Inputs:
    """One photograph with a face, in the size that users give it."""
    return {"input.1": planes([photograph("astronaut.png", 320, 256)])}


def basic_pitch() -> Inputs:
    """Two seconds of notes at 22,050 Hz."""
    return {"serving_default_input_2:0": notes(22050, 43844).reshape(1, -1, 1)}


def magika() -> Inputs:
    """Three files."""
    files = ("images/coffee.png", "images/china.jpg", "weights/minilm-vocab.txt")
    return {"bytes": np.stack([magika_features(CACHE / file) for file in files])}


def silero(batch: int = 2, rate: bool = True) -> Inputs:
    """One frame of 32 ms (and its context) for each of a batch of speakers, 16,000 Hz."""
    sound = voice(16000, 16000)
    starts = [2000 + 3000 * index for index in range(batch)]
    inputs = {"input": np.stack([sound[start:start + 576] for start in starts]),
              "state": np.random.default_rng(3).normal(0, 0.3, (2, batch, 128)).astype(np.float32)}
    return inputs | ({"sr": np.array(16000, np.int64)} if rate else {})


def silero_sequence() -> Inputs:
    """Twenty frames in one call."""
    sound = voice(16000, 16000)
    frames = [sound[512 * index:512 * index + 576] for index in range(20)]
    zero = np.zeros((1, 1, 128), np.float32)
    return {"input": np.stack(frames), "h": zero, "c": zero}


def minilm() -> Inputs:
    """Four sentences, padded to 32 tokens."""
    vocabulary = (CACHE / "weights/minilm-vocab.txt").read_text("utf-8").split("\n")
    index = {word: number for number, word in enumerate(vocabulary)}
    ids = np.zeros((len(SENTENCES), 32), np.int64)
    for row, sentence in zip(ids, SENTENCES):
        tokens = ["[CLS]", *(t for word in sentence.split() for t in pieces(word, index)), "[SEP]"]
        row[:len(tokens)] = [index[token] for token in tokens]
    return {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64),
            "token_type_ids": np.zeros_like(ids)}


CASES: dict[str, Callable[[], Inputs]] = {
    "open-nsfw": open_nsfw,
    "ppocr-rec": ppocr_rec,
    "ppocr-det": ppocr_det,
    "ppocr-cls": ppocr_cls,
    "basic-pitch": basic_pitch,
    "magika": magika,
    "centerface": centerface,
    "centerface-dynamic": centerface_dynamic,
    "minilm": minilm,
    "silero_vad": silero,
    "silero_vad_16k_op15": silero,
    "silero_vad_op18_ifless": silero,
    "silero_vad_half": lambda: silero(rate=False),
    "silero_vad_openvino_16k": lambda: silero(batch=1, rate=False),
    "silero_vad_16k_sequence": silero_sequence,
}


# Models that are made here.


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file; only its fp32 ones."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            data = np.frombuffer(content[8 + size + begin:8 + size + end], np.float32)
            tensors[name] = data.reshape(entry["shape"])
    return tensors


def build_minilm(weights: dict[str, np.ndarray], layers: int = 6,
                 width: int = 384) -> onnx.ModelProto:
    """The sentence encoder as exporters write it: all of BERT decomposed, N and S dynamic."""
    net = Net("minilm")

    def linear(x: str, name: str) -> str:
        y = net.op("MatMul", x, net.weight(weights[name + ".weight"].T, name))
        return net.op("Add", net.weight(weights[name + ".bias"], name), y)

    def norm(x: str, name: str) -> str:
        return net.layer_norm_by(x, weights[name + ".weight"], weights[name + ".bias"], 1e-12)

    def table(name: str) -> np.ndarray:
        return weights[f"embeddings.{name}_embeddings.weight"]

    ids, mask, kinds = (net.input(name, ["N", "S"], TensorProto.INT64)
                        for name in ("input_ids", "attention_mask", "token_type_ids"))
    length = net.op("Gather", net.op("Shape", ids), net.ints(1), axis=0)
    places = net.op("Slice", net.weight(table("position")[None]), net.ints(0), length, net.ints(1))
    x = net.op("Add", net.op("Gather", net.weight(table("word")), ids),
               net.op("Gather", net.weight(table("token_type")), kinds))
    x = norm(net.op("Add", x, places), "embeddings.LayerNorm")

    kept = net.op("Cast", net.op("Unsqueeze", mask, net.ints(1, 2)), to=TensorProto.FLOAT)
    bias = net.op("Mul", net.op("Sub", net.constant(1.0), kept), net.constant(-10000.0))
    for layer in range(layers):
        base = f"encoder.layer.{layer}."
        q, k, v = (linear(x, f"{base}attention.self.{part}") for part in ("query", "key", "value"))
        y = linear(net.attention_by(q, k, v, width, 12, bias), base + "attention.output.dense")
        x = norm(net.op("Add", y, x), base + "attention.output.LayerNorm")
        y = linear(net.gelu(linear(x, base + "intermediate.dense")), base + "output.dense")
        x = norm(net.op("Add", y, x), base + "output.LayerNorm")
    net.output(x, "last_hidden_state", ["N", "S", width])

    kept = net.op("Cast", net.op("Unsqueeze", mask, net.ints(2)), to=TensorProto.FLOAT)
    total = net.op("ReduceSum", net.op("Mul", x, kept), net.ints(1), keepdims=0)
    mean = net.op("Div", total, net.op("ReduceSum", kept, net.ints(1), keepdims=0))
    size = net.op("ReduceL2", mean, axes=[1], keepdims=1)
    net.output(net.op("Div", mean, size), "sentence_embedding", ["N", width])
    return net.model()


def minilm_in_numpy(weights: dict[str, np.ndarray], inputs: Inputs, layers: int = 6) -> np.ndarray:
    """The last hidden state of the encoder in double precision: the check of build_minilm."""
    w = {name: tensor.astype(np.float64) for name, tensor in weights.items()}
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return centred / deviation * w[name + ".weight"] + w[name + ".bias"]

    def heads(x):
        return x.reshape(*x.shape[:2], 12, 32).transpose(0, 2, 1, 3)

    ids, mask, kinds = inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"]
    x = (w["embeddings.word_embeddings.weight"][ids]
         + w["embeddings.token_type_embeddings.weight"][kinds]
         + w["embeddings.position_embeddings.weight"][:ids.shape[1]])
    x = norm(x, "embeddings.LayerNorm")
    bias = (1.0 - mask[:, None, None, :]) * -10000.0
    for layer in range(layers):
        base = f"encoder.layer.{layer}."
        q, k, v = (heads(linear(x, f"{base}attention.self.{part}"))
                   for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(32) + bias
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        y = (scores / scores.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x += linear(y, base + "attention.output.dense")
        x = norm(x, base + "attention.output.LayerNorm")
        y = linear(x, base + "intermediate.dense")
        y = 0.5 * y * (1 + erf(y / math.sqrt(2)))
        x = norm(x + linear(y, base + "output.dense"), base + "output.LayerNorm")
    return x


def make_minilm() -> None:
    """Writes models/minilm.onnx after checking it against numpy."""
    weights = read_safetensors(CACHE / "weights/minilm.safetensors")
    model = build_minilm(weights)
    onnx.checker.check_model(model, full_check=True)
    inputs = minilm()
    found = run(model.SerializeToString(), inputs)["last_hidden_state"]
    error = abs(found - minilm_in_numpy(weights, inputs)).max()
    print(f"minilm: largest difference to numpy in double precision {error:.1e}")
    if not error < 1e-4:
        raise SystemExit("make_inputs: minilm: the graph differs from the numpy forward")
    save_model(model, CACHE / "models/minilm.onnx")


def make_dynamic_centerface() -> None:
    """Writes models/centerface-dynamic.onnx: the published file with N, H and W free."""
    model = onnx.load(CACHE / "models/centerface.onnx")
    for value, dims in [(model.graph.input[0], "NHW"), *((v, "Nhw") for v in model.graph.output)]:
        shape = value.type.tensor_type.shape
        for axis, name in zip((0, 2, 3), dims):
            shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    save_model(model, CACHE / "models/centerface-dynamic.onnx")


def save_model(model: onnx.ModelProto, path: pathlib.Path) -> None:
    """Writes a model whole or not at all."""
    part = path.with_suffix(".part")
    onnx.save(model, part)
    os.replace(part, path)


# Cases.


def run(model: str | bytes, inputs: Inputs) -> Inputs:
    """The outputs of ONNX Runtime, by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def graph_inputs(path: pathlib.Path) -> list[str]:
    """The inputs of a model in its order, without those that are weights."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in weights]


def safe(name: str) -> str:
    """A tensor's name as a file's."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def write_arrays(folder: pathlib.Path, arrays: Inputs) -> dict[str, str]:
    """Writes each array as .npy; gives the files by name of tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, array in arrays.items():
        np.save(folder / f"{safe(name)}.npy", array)
        files[name] = f"{folder.name}/{safe(name)}.npy"
    return files


def write_protos(folder: pathlib.Path, kind: str, arrays: Inputs) -> None:
    """Writes each array as KIND_K.pb, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, array) in enumerate(arrays.items()):
        content = numpy_helper.from_array(np.asarray(array), name).SerializeToString()
        (folder / f"{kind}_{index}.pb").write_bytes(content)


def write_case(name: str, model: pathlib.Path, inputs: Inputs, outputs: Inputs) -> None:
    """Writes a case in both layouts."""
    folder = CACHE / "data" / name
    case = {
        "model": os.path.relpath(model, folder),
        "inputs": write_arrays(folder / "inputs", inputs),
        "outputs": write_arrays(folder / "outputs", outputs),
        "shapes": {key: list(value.shape) for key, value in inputs.items()},
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")
    test = CACHE / "verify" / name
    write_protos(test / "test_data_set_0", "input", inputs)
    write_protos(test / "test_data_set_0", "output", outputs)
    (test / "model.onnx").unlink(missing_ok=True)
    (test / "model.onnx").symlink_to(os.path.relpath(model, test))


def make_case(name: str, model: pathlib.Path, inputs: Inputs) -> None:
    """Runs ONNX Runtime on a model and writes the case."""
    ordered = {key: inputs[key] for key in graph_inputs(model)}
    outputs = run(str(model), ordered)
    for key, array in outputs.items():
        if not np.isfinite(array).all():
            raise SystemExit(f"make_inputs: {name}: output {key} is not finite")
    write_case(name, model, ordered, outputs)
    shapes = [f"{key} {list(array.shape)}" for key, array in (ordered | outputs).items()]
    print(f"{name}: {', '.join(shapes)}", flush=True)


def write_photographs() -> None:
    """Writes every photograph as images/NAME.npy."""
    for path in sorted((CACHE / "images").iterdir()):
        if path.suffix in (".png", ".jpg"):
            np.save(path.with_suffix(".npy"), np.asarray(Image.open(path).convert("RGB")))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; default all public ones")
    parser.add_argument("--generated", action="store_true",
                        help="also the networks of make_models.py that have been written")
    return parser.parse_args()


def main() -> int:
    """Makes what the cases need, then the cases."""
    args = arguments()
    if not (CACHE / "models/open-nsfw.onnx").exists():
        print("make_inputs: no models: run scripts/fetch.py --set models", file=sys.stderr)
        return 2
    if unknown := set(args.names) - set(CASES) - set(NETWORKS):
        print(f"make_inputs: no model called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    write_photographs()
    if not (CACHE / "models/minilm.onnx").exists():
        make_minilm()
    make_dynamic_centerface()
    for name, make in CASES.items():
        if not args.names or name in args.names:
            make_case(name, CACHE / f"models/{name}.onnx", make())
    for path in sorted((CACHE / "generated").glob("*.onnx")):
        if args.generated or path.stem in args.names:
            make_case(path.stem, path, seeded_inputs(onnx.load(path), 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
