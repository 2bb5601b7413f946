#!/usr/bin/env python3
"""Writes the standard networks that Hone is measured on, with seeded random weights.

Only the shape of the computation is real: use them for speed, memory and fusion, never
for accuracy. The batch is the symbolic dim N. Run it in the environment of
scripts/peers.sh:

    $(scripts/peers.sh --print) scripts/make_models.py resnet50 mobilenetv2
    $(scripts/peers.sh --print) scripts/make_models.py --fold-bn --fused --check

Networks go to CACHE/generated/NAME.onnx; -folded and -fused are added to the name for
the other spellings.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fetch import cache_folder

BN_EPSILON = 1e-5
NORM_EPSILON = 1e-12


class Net:
    """A graph under construction. Tensors are named by strings.

    For every tensor it tracks the channels and the power (an estimate of the mean
    square), from which the weights take a scale that keeps activations near one.
    """

    def __init__(self, name: str, fold_bn: bool = False, fused: bool = False) -> None:
        """Starts an empty graph; its name seeds the weights."""
        self.name = name
        self.fold_bn = fold_bn
        self.fused = fused
        self.opset = 23 if fused else 17
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.channels: dict[str, int] = {}
        self.power: dict[str, float] = {}
        self.constants: dict[bytes, str] = {}

    # Pieces of a graph.

    def input(self, name: str, shape: list, dtype: int = TensorProto.FLOAT) -> str:
        """Declares an input; channels are the second dim of an image."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        if len(shape) == 4:
            self.channels[name] = shape[1]
        return name

    def output(self, tensor: str, name: str, shape: list, dtype: int = TensorProto.FLOAT) -> None:
        """Declares tensor to be an output called name."""
        self.op("Identity", tensor, name=name)
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def weight(self, array: np.ndarray, hint: str = "w") -> str:
        """Adds an initialiser."""
        name = f"{hint}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def constant(self, value, dtype=np.float32) -> str:
        """A small constant; equal ones are shared."""
        array = np.asarray(value, dtype)
        key = array.tobytes() + repr((array.dtype, array.shape)).encode()
        if key not in self.constants:
            self.constants[key] = self.weight(array, "c")
        return self.constants[key]

    def ints(self, *values: int) -> str:
        """A constant 1-D int64 tensor: a shape, axes, indices."""
        return self.constant(values, np.int64)

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, power: float = 0.0,
           **attributes):
        """Adds a node; gives its output, or a list of them when there are several.

        Channels and power are those of the first input unless told.
        """
        base = name or f"{kind.lower()}_{len(self.nodes)}"
        names = [base] if outputs == 1 else [f"{base}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=base, **attributes))
        for output in names:
            self.channels[output] = self.channels.get(inputs[0], 0)
            self.power[output] = power or self.power.get(inputs[0], 1.0)
        return names[0] if outputs == 1 else names

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        """Seeded normal numbers in fp32."""
        return self.random.standard_normal(shape, np.float32) * np.float32(scale)

    def uniform(self, low: float, high: float, count: int) -> np.ndarray:
        """Seeded uniform numbers in fp32."""
        return self.random.uniform(low, high, count).astype(np.float32)

    # Convolution networks.

    def conv(self, x: str, out: int, kernel=1, stride: int = 1, group: int = 1, act: str = "",
             bn: bool = True, pad=None) -> str:
        """A convolution ('same' padding unless told), batch norm, and an activation."""
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        ph, pw = (kh // 2, kw // 2) if pad is None else (pad, pad)
        fan_in = self.channels[x] // group * kh * kw
        weight = self.normal(out, self.channels[x] // group, kh, kw,
                             scale=1 / math.sqrt(fan_in * self.power.get(x, 1.0)))
        attributes = dict(kernel_shape=[kh, kw], strides=[stride, stride],
                          pads=[ph, pw, ph, pw], group=group)
        if bn:
            y = self.conv_bn(x, weight, attributes)
        else:
            y = self.op("Conv", x, self.weight(weight), self.weight(self.normal(out, scale=0.1)),
                        power=1.0, **attributes)
        self.channels[y] = out
        return self.activate(y, act)

    def conv_bn(self, x: str, weight: np.ndarray, attributes: dict) -> str:
        """A convolution and its batch norm, separate or folded into one node."""
        out = len(weight)
        gamma, beta = self.uniform(0.6, 1.4, out), self.normal(out, scale=0.2)
        mean, variance = self.normal(out, scale=0.2), self.uniform(0.7, 1.5, out)
        if self.fold_bn:
            factor = gamma / np.sqrt(variance + np.float32(BN_EPSILON))
            return self.op("Conv", x, self.weight(weight * factor[:, None, None, None]),
                           self.weight(beta - mean * factor), power=1.1, **attributes)
        y = self.op("Conv", x, self.weight(weight), power=1.0, **attributes)
        statistics = [self.weight(array, "bn") for array in (gamma, beta, mean, variance)]
        return self.op("BatchNormalization", y, *statistics, epsilon=BN_EPSILON, power=1.1)

    def activate(self, x: str, act: str) -> str:
        """Applies an activation by name; an empty name does nothing."""
        power = self.power[x]
        if act == "relu":
            return self.op("Relu", x, power=power * 0.5)
        if act == "relu6":
            return self.op("Clip", x, self.constant(0.0), self.constant(6.0), power=power * 0.5)
        if act == "silu":
            return self.mul(x, self.op("Sigmoid", x), power=power * 0.36)
        if act == "hardswish":
            if self.fused:
                return self.op("HardSwish", x, power=power * 0.38)
            gate = self.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
            return self.mul(x, gate, power=power * 0.38)
        assert not act, act
        return x

    def add(self, a: str, b: str) -> str:
        """A residual connection."""
        return self.op("Add", a, b, power=self.power.get(a, 1.0) + self.power.get(b, 1.0))

    def mul(self, a: str, b: str, power: float) -> str:
        """A product, with the power it has."""
        return self.op("Mul", a, b, power=power)

    def concat(self, *tensors: str) -> str:
        """Joins images along the channels."""
        y = self.op("Concat", *tensors, axis=1)
        self.channels[y] = sum(self.channels[t] for t in tensors)
        self.power[y] = float(np.mean([self.power[t] for t in tensors]))
        return y

    def pool(self, kind: str, x: str, kernel: int, stride: int = 1, pad: int = 0) -> str:
        """MaxPool or AveragePool."""
        extra = {"count_include_pad": 1} if kind == "AveragePool" else {}
        return self.op(kind, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
                       **extra)

    def squeeze_excite(self, x: str, hidden: int, act: str, gate: str) -> str:
        """Scales channels by what a small network says of their means."""
        y = self.op("GlobalAveragePool", x, power=0.3)
        y = self.conv(y, hidden, act=act, bn=False)
        y = self.conv(y, self.channels[x], bn=False)
        y = (self.op("HardSigmoid", y, alpha=1 / 6, beta=0.5) if gate == "HardSigmoid"
             else self.op(gate, y))
        return self.mul(x, y, power=self.power[x] * 0.3)

    def classify(self, x: str, classes: int = 1000) -> None:
        """Global mean, a dense layer, and the output 'logits'."""
        y = self.op("Flatten", self.op("GlobalAveragePool", x, power=0.3), axis=1)
        self.output(self.gemm(y, classes), "logits", ["N", classes])

    def gemm(self, x: str, out: int) -> str:
        """A dense layer on [N, C], as exporters write it after a Flatten."""
        fan_in = self.channels[x]
        scale = 1 / math.sqrt(fan_in * self.power[x])
        y = self.op("Gemm", x, self.weight(self.normal(out, fan_in, scale=scale)),
                    self.weight(self.normal(out, scale=0.1)), transB=1, power=1.0)
        self.channels[y] = out
        return y

    # Transformers. Tensors are [N, S, C].

    def linear(self, x: str, width: int, out: int) -> str:
        """A dense layer on the last dim."""
        scale = 1 / math.sqrt(width * self.power.get(x, 1.0))
        y = self.op("MatMul", x, self.weight(self.normal(width, out, scale=scale)), power=1.0)
        return self.op("Add", y, self.weight(self.normal(out, scale=0.1)))

    def layer_norm(self, x: str, width: int, epsilon: float = NORM_EPSILON) -> str:
        """Layer normalisation over the last dim, with seeded weights."""
        gamma, beta = self.uniform(0.8, 1.2, width), self.normal(width, scale=0.1)
        return self.layer_norm_by(x, gamma, beta, epsilon)

    def layer_norm_by(self, x: str, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> str:
        """Layer normalisation over the last dim, as one node or as the nine of exporters."""
        scale, shift = self.weight(gamma, "ln"), self.weight(beta, "ln")
        if self.fused:
            return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon,
                           power=1.0)
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        square = self.op("Pow", centred, self.constant(2.0))
        variance = self.op("ReduceMean", square, axes=[-1])
        deviation = self.op("Sqrt", self.op("Add", variance, self.constant(epsilon)))
        scaled = self.op("Mul", self.op("Div", centred, deviation, power=1.0), scale)
        return self.op("Add", scaled, shift)

    def gelu(self, x: str) -> str:
        """The exact GELU, as one node or through Erf."""
        if self.fused:
            return self.op("Gelu", x, power=self.power[x] * 0.42)
        erf = self.op("Erf", self.op("Div", x, self.constant(math.sqrt(2))))
        gate = self.op("Add", erf, self.constant(1.0))
        return self.op("Mul", self.op("Mul", x, gate), self.constant(0.5),
                       power=self.power[x] * 0.42)

    def heads(self, x: str, count: int, size: int, order: list[int]) -> str:
        """[N, S, C] to the heads apart, in the order given."""
        y = self.op("Reshape", x, self.ints(0, -1, count, size))
        return self.op("Transpose", y, perm=order)

    def attention(self, x: str, width: int, count: int, mask: str = "") -> str:
        """Self-attention with an additive mask and seeded weights."""
        q, k, v = (self.linear(x, width, width) for _ in range(3))
        return self.linear(self.attention_by(q, k, v, width, count, mask), width, width)

    def attention_by(self, q: str, k: str, v: str, width: int, count: int, mask: str = "") -> str:
        """Attention of given projections, as one node or decomposed."""
        size = width // count
        if self.fused:
            inputs = [q, k, v] + ([mask] if mask else [])
            return self.op("Attention", *inputs, q_num_heads=count, kv_num_heads=count, power=0.1)
        q = self.heads(q, count, size, [0, 2, 1, 3])
        k = self.heads(k, count, size, [0, 2, 3, 1])
        v = self.heads(v, count, size, [0, 2, 1, 3])
        scores = self.op("Div", self.op("MatMul", q, k), self.constant(math.sqrt(size)))
        if mask:
            scores = self.op("Add", scores, mask)
        y = self.op("MatMul", self.op("Softmax", scores, axis=-1), v, power=0.1)
        y = self.op("Transpose", y, perm=[0, 2, 1, 3])
        return self.op("Reshape", y, self.ints(0, -1, width))

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                  producer_name="hone make_models")
        model.ir_version = 10 if self.fused else 8
        return model


# The networks.


def resnet50(net: Net) -> None:
    """ResNet-50 v1.5 (the stride is in the 3x3): 4.1 GMAC an image."""
    def block(x: str, width: int, stride: int) -> str:
        out = width * 4
        y = net.conv(x, width, act="relu")
        y = net.conv(y, width, 3, stride, act="relu")
        y = net.conv(y, out)
        if net.channels[x] != out or stride != 1:
            x = net.conv(x, out, stride=stride)
        kept = 0.9 if x.startswith("relu") else 0.5  # the identity path is positive
        return net.op("Relu", net.add(y, x), power=kept * (net.power[y] + net.power[x]))

    x = net.conv(net.input("x", ["N", 3, 224, 224]), 64, 7, 2, act="relu")
    x = net.pool("MaxPool", x, 3, 2, 1)
    for stage, count in enumerate((3, 4, 6, 3)):
        for index in range(count):
            x = block(x, 64 << stage, 2 if stage and not index else 1)
    net.classify(x)


def inverted_residual(net: Net, x: str, expanded: int, out: int, kernel: int, stride: int,
                      act: str, excite: Callable[[str], str] | None = None) -> str:
    """Expand, depthwise, squeeze-excite, project: the block of the mobile networks."""
    y = net.conv(x, expanded, act=act) if expanded != net.channels[x] else x
    y = net.conv(y, expanded, kernel, stride, group=expanded, act=act)
    if excite:
        y = excite(y)
    y = net.conv(y, out)
    return net.add(x, y) if stride == 1 and net.channels[x] == out else y


def mobilenetv2(net: Net) -> None:
    """MobileNetV2 1.0: 0.3 GMAC an image."""
    x = net.conv(net.input("x", ["N", 3, 224, 224]), 32, 3, 2, act="relu6")
    for expand, out, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                       (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for index in range(count):
            x = inverted_residual(net, x, net.channels[x] * expand, out, 3,
                                  1 if index else stride, "relu6")
    net.classify(net.conv(x, 1280, act="relu6"))


def mobilenetv3(net: Net) -> None:
    """MobileNetV3-large: 0.22 GMAC an image."""
    def excite(x: str) -> str:
        hidden = (net.channels[x] // 4 + 4) // 8 * 8
        return net.squeeze_excite(x, hidden, "relu", "HardSigmoid")

    x = net.conv(net.input("x", ["N", 3, 224, 224]), 16, 3, 2, act="hardswish")
    for kernel, expanded, out, squeeze, act, stride in (
        (3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1),
        (5, 72, 40, 1, "relu", 2), (5, 120, 40, 1, "relu", 1), (5, 120, 40, 1, "relu", 1),
        (3, 240, 80, 0, "hardswish", 2), (3, 200, 80, 0, "hardswish", 1),
        (3, 184, 80, 0, "hardswish", 1), (3, 184, 80, 0, "hardswish", 1),
        (3, 480, 112, 1, "hardswish", 1), (3, 672, 112, 1, "hardswish", 1),
        (5, 672, 160, 1, "hardswish", 2), (5, 960, 160, 1, "hardswish", 1),
        (5, 960, 160, 1, "hardswish", 1),
    ):
        x = inverted_residual(net, x, expanded, out, kernel, stride, act,
                              excite if squeeze else None)
    x = net.conv(x, 960, act="hardswish")
    x = net.op("Flatten", net.op("GlobalAveragePool", x, power=0.3), axis=1)
    x = net.activate(net.gemm(x, 1280), "hardswish")
    net.output(net.gemm(x, 1000), "logits", ["N", 1000])


def efficientnet_b0(net: Net) -> None:
    """EfficientNet-B0: 0.39 GMAC an image."""
    x = net.conv(net.input("x", ["N", 3, 224, 224]), 32, 3, 2, act="silu")
    for expand, out, count, stride, kernel in (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    ):
        for index in range(count):
            hidden = max(1, net.channels[x] // 4)
            x = inverted_residual(net, x, net.channels[x] * expand, out, kernel,
                                  1 if index else stride, "silu",
                                  lambda y, h=hidden: net.squeeze_excite(y, h, "silu", "Sigmoid"))
    net.classify(net.conv(x, 1280, act="silu"))


def inceptionv3(net: Net) -> None:
    """Inception-v3 without the auxiliary head: 5.7 GMAC an image, 299x299."""
    def conv(x: str, out: int, kernel=1, stride: int = 1, pad=None) -> str:
        return net.conv(x, out, kernel, stride, act="relu", pad=pad)

    def chain(x: str, *layers) -> str:
        for layer in layers:
            x = conv(x, *layer)
        return x

    def mean(x: str, out: int) -> str:
        return conv(net.pool("AveragePool", x, 3, 1, 1), out)

    def block_a(x: str, pooled: int) -> str:
        return net.concat(conv(x, 64), chain(x, (48,), (64, 5)),
                          chain(x, (64,), (96, 3), (96, 3)), mean(x, pooled))

    def block_b(x: str) -> str:
        return net.concat(conv(x, 384, 3, 2, 0), chain(x, (64,), (96, 3), (96, 3, 2, 0)),
                          net.pool("MaxPool", x, 3, 2))

    def block_c(x: str, width: int) -> str:
        wide, tall = (1, 7), (7, 1)
        return net.concat(
            conv(x, 192), chain(x, (width,), (width, wide), (192, tall)),
            chain(x, (width,), (width, tall), (width, wide), (width, tall), (192, wide)),
            mean(x, 192))

    def block_d(x: str) -> str:
        return net.concat(chain(x, (192,), (320, 3, 2, 0)),
                          chain(x, (192,), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, 0)),
                          net.pool("MaxPool", x, 3, 2))

    def block_e(x: str) -> str:
        a, b = conv(x, 384), chain(x, (448,), (384, 3))
        return net.concat(conv(x, 320), conv(a, 384, (1, 3)), conv(a, 384, (3, 1)),
                          conv(b, 384, (1, 3)), conv(b, 384, (3, 1)), mean(x, 192))

    x = chain(net.input("x", ["N", 3, 299, 299]), (32, 3, 2, 0), (32, 3, 1, 0), (64, 3))
    x = chain(net.pool("MaxPool", x, 3, 2), (80,), (192, 3, 1, 0))
    x = net.pool("MaxPool", x, 3, 2)
    for pooled in (32, 64, 64):
        x = block_a(x, pooled)
    x = block_b(x)
    for width in (128, 160, 160, 192):
        x = block_c(x, width)
    x = block_e(block_e(block_d(x)))
    net.classify(x)


def unet(net: Net) -> None:
    """A U-Net of four levels, 32 to 512 channels: 13 GMAC an image, 256x256."""
    def double(x: str, out: int) -> str:
        return net.conv(net.conv(x, out, 3, act="relu"), out, 3, act="relu")

    def up(x: str, out: int) -> str:
        width = net.channels[x]
        weight = net.normal(width, out, 2, 2, scale=1 / math.sqrt(width * net.power[x]))
        y = net.op("ConvTranspose", x, net.weight(weight), net.weight(net.normal(out, scale=0.1)),
                   kernel_shape=[2, 2], strides=[2, 2], power=1.0)
        net.channels[y] = out
        return y

    x = net.input("x", ["N", 3, 256, 256])
    skips = []
    for width in (32, 64, 128, 256):
        skips.append(double(x, width))
        x = net.pool("MaxPool", skips[-1], 2, 2)
    x = double(x, 512)
    for width, skip in zip((256, 128, 64, 32), reversed(skips)):
        x = double(net.concat(skip, up(x, width)), width)
    net.output(net.op("Sigmoid", net.conv(x, 1, bn=False)), "mask", ["N", 1, 256, 256])


def yolo(net: Net, size: int = 320, classes: int = 80) -> None:
    """A detector like YOLOv8n (CSP blocks, SPPF, three scales, DFL), with NMS in the graph.

    Outputs: indices [K, 3] (image, class, box), boxes [N, M, 4], scores [N, classes, M].
    """
    def conv(x: str, out: int, kernel: int = 1, stride: int = 1) -> str:
        return net.conv(x, out, kernel, stride, act="silu")

    def split(x: str) -> list[str]:
        half = net.channels[x] // 2
        parts = net.op("Split", x, net.ints(half, half), outputs=2, axis=1)
        net.channels.update({part: half for part in parts})
        return parts

    def csp(x: str, out: int, count: int, shortcut: bool = True) -> str:
        parts = split(conv(x, out))
        for _ in range(count):
            y = conv(conv(parts[-1], out // 2, 3), out // 2, 3)
            parts.append(net.add(parts[-1], y) if shortcut else y)
        return conv(net.concat(*parts), out)

    def pyramid_pool(x: str, out: int) -> str:
        parts = [conv(x, out // 2)]
        for _ in range(3):
            parts.append(net.pool("MaxPool", parts[-1], 5, 1, 2))
        return conv(net.concat(*parts), out)

    def upsample(x: str) -> str:
        return net.op("Resize", x, "", net.constant([1, 1, 2, 2]), mode="nearest",
                      coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def head(x: str, width: int, out: int) -> str:
        return net.conv(conv(conv(x, width, 3), width, 3), out, bn=False)

    def flat(x: str) -> str:
        return net.op("Reshape", x, net.ints(0, net.channels[x], -1))

    x = conv(conv(net.input("x", ["N", 3, size, size]), 16, 3, 2), 32, 3, 2)
    x = csp(x, 32, 1)
    p3 = csp(conv(x, 64, 3, 2), 64, 2)
    p4 = csp(conv(p3, 128, 3, 2), 128, 2)
    p5 = pyramid_pool(csp(conv(p4, 256, 3, 2), 256, 1), 256)
    m4 = csp(net.concat(upsample(p5), p4), 128, 1, False)
    n3 = csp(net.concat(upsample(m4), p3), 64, 1, False)
    n4 = csp(net.concat(conv(n3, 64, 3, 2), m4), 128, 1, False)
    n5 = csp(net.concat(conv(n4, 128, 3, 2), p5), 256, 1, False)

    levels = (n3, n4, n5)
    sides = net.op("Concat", *(flat(head(x, 64, 64)) for x in levels), axis=2)
    logits = net.op("Concat", *(flat(head(x, 80, classes)) for x in levels), axis=2)
    scores = net.op("Sigmoid", net.op("Sub", net.op("Mul", logits, net.constant(0.8)),
                                      net.constant(2.0)))
    boxes = decode_boxes(net, sides, size)
    indices = net.op("NonMaxSuppression", boxes, scores, net.ints(20), net.constant([0.5]),
                     net.constant([0.35]), center_point_box=0)
    count = sum((size // stride) ** 2 for stride in (8, 16, 32))
    net.output(indices, "indices", ["K", 3], TensorProto.INT64)
    net.output(boxes, "boxes", ["N", count, 4])
    net.output(scores, "scores", ["N", classes, count])


def decode_boxes(net: Net, sides: str, size: int, bins: int = 16) -> str:
    """Distributions over the four distances [N, 4 * bins, M] to corners [N, M, 4], in pixels."""
    anchors, strides = [], []
    for stride in (8, 16, 32):
        row = (np.arange(size // stride, dtype=np.float32) + 0.5) * stride
        y, x = np.meshgrid(row, row, indexing="ij")
        anchors.append(np.stack([x.ravel(), y.ravel()]))
        strides.append(np.full(x.size, stride, np.float32))
    y = net.op("Reshape", sides, net.ints(0, 4, bins, -1))
    y = net.op("Softmax", net.op("Transpose", y, perm=[0, 2, 1, 3]), axis=1)
    expected = net.weight(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1), "bins")
    y = net.op("Reshape", net.op("Conv", y, expected), net.ints(0, 4, -1))
    y = net.op("Mul", y, net.weight(np.concatenate(strides), "strides"))
    near, far = net.op("Split", y, net.ints(2, 2), outputs=2, axis=1)
    centre = net.weight(np.concatenate(anchors, axis=1), "anchors")
    corners = net.op("Concat", net.op("Sub", centre, near), net.op("Add", centre, far), axis=1)
    return net.op("Transpose", corners, perm=[0, 2, 1])


def bert_base(net: Net, length: int = 128, width: int = 768, layers: int = 12) -> None:
    """BERT-base on 128 tokens: 11 GMAC a sequence."""
    def embed(ids: str, count: int) -> str:
        return net.op("Gather", net.weight(net.normal(count, width), "table"), ids, power=1.0)

    shape = ["N", length]
    ids, mask, kinds = (net.input(name, shape, TensorProto.INT64)
                        for name in ("input_ids", "attention_mask", "token_type_ids"))
    x = net.add(embed(ids, 30522), embed(kinds, 2))
    x = net.op("Add", x, net.weight(net.normal(1, length, width), "positions"))
    x = net.layer_norm(x, width)

    bias = net.op("Cast", net.op("Unsqueeze", mask, net.ints(1, 2)), to=TensorProto.FLOAT)
    bias = net.op("Mul", net.op("Sub", net.constant(1.0), bias), net.constant(-10000.0))
    if net.fused:  # Attention wants the mask's query dim whole
        bias = net.op("Expand", bias, net.ints(1, 1, length, length))

    for _ in range(layers):
        x = net.layer_norm(net.add(net.attention(x, width, width // 64, bias), x), width)
        y = net.linear(net.gelu(net.linear(x, width, 4 * width)), 4 * width, width)
        x = net.layer_norm(net.add(y, x), width)
    first = net.op("Gather", x, net.constant(0, np.int64), axis=1)
    net.output(x, "last_hidden_state", ["N", length, width])
    net.output(net.op("Tanh", net.linear(first, width, width)), "pooler_output", ["N", width])


def vit_b16(net: Net, width: int = 768, layers: int = 12) -> None:
    """ViT-B/16 on 224x224: 17 GMAC an image."""
    x = net.input("x", ["N", 3, 224, 224])
    batch = net.op("Gather", net.op("Shape", x), net.ints(0), axis=0)
    x = net.conv(x, width, 16, 16, bn=False, pad=0)
    x = net.op("Reshape", x, net.ints(0, width, -1))
    x = net.op("Transpose", x, perm=[0, 2, 1])
    shape = net.op("Concat", batch, net.ints(1, width), axis=0)
    token = net.op("Expand", net.weight(net.normal(1, 1, width), "token"), shape)
    x = net.op("Concat", token, x, axis=1, power=1.0)
    x = net.op("Add", x, net.weight(net.normal(1, 197, width, scale=0.5), "positions"))
    for _ in range(layers):
        x = net.add(x, net.attention(net.layer_norm(x, width, 1e-6), width, width // 64))
        y = net.linear(net.layer_norm(x, width, 1e-6), width, 4 * width)
        x = net.add(x, net.linear(net.gelu(y), 4 * width, width))
    x = net.op("Gather", net.layer_norm(x, width, 1e-6), net.constant(0, np.int64), axis=1)
    net.channels[x] = width
    net.output(net.gemm(x, 1000), "logits", ["N", 1000])


def lstm_tagger(net: Net, length: int = 64, embedded: int = 128, hidden: int = 256,
                tags: int = 20) -> None:
    """Two bidirectional LSTM layers over 64 tokens, and tag probabilities for each."""
    def lstm(x: str, width: int) -> str:
        scale = 1 / math.sqrt(width)
        y = net.op("LSTM", x, net.weight(net.normal(2, 4 * hidden, width, scale=scale)),
                   net.weight(net.normal(2, 4 * hidden, hidden, scale=1 / math.sqrt(hidden))),
                   net.weight(net.normal(2, 8 * hidden, scale=0.1)),
                   hidden_size=hidden, direction="bidirectional", power=0.2)
        y = net.op("Transpose", y, perm=[0, 2, 1, 3])
        return net.op("Reshape", y, net.ints(0, 0, 2 * hidden))

    ids = net.input("tokens", ["N", length], TensorProto.INT64)
    table = net.weight(net.normal(10000, embedded), "table")
    x = net.op("Transpose", net.op("Gather", table, ids), perm=[1, 0, 2])
    x = lstm(lstm(x, embedded), 2 * hidden)
    x = net.op("Transpose", x, perm=[1, 0, 2])
    x = net.op("Softmax", net.linear(x, 2 * hidden, tags), axis=-1)
    net.output(x, "tags", ["N", length, tags])


NETWORKS: dict[str, Callable[[Net], None]] = {
    "resnet50": resnet50,
    "mobilenetv2": mobilenetv2,
    "bert-base": bert_base,
    "mobilenetv3": mobilenetv3,
    "efficientnet-b0": efficientnet_b0,
    "vit-b16": vit_b16,
    "unet": unet,
    "yolo": yolo,
    "lstm-tagger": lstm_tagger,
    "inceptionv3": inceptionv3,
}
WITH_BN = {"resnet50", "mobilenetv2", "mobilenetv3", "efficientnet-b0", "unet", "yolo",
           "inceptionv3"}
WITH_FUSED = {"bert-base", "vit-b16", "mobilenetv3"}


def blobs(random: np.random.Generator, shape: list[int]) -> np.ndarray:
    """Images [N, C, H, W] near unit power that differ: coarse blocks, an offset, noise."""
    n, c, h, w = shape
    coarse = random.standard_normal((n, c, 8, 8), np.float32)
    coarse = coarse.repeat(-(-h // 8), axis=2).repeat(-(-w // 8), axis=3)[:, :, :h, :w]
    offset = random.standard_normal((n, c, 1, 1), np.float32)
    noise = random.standard_normal(shape, np.float32)
    return (coarse * 0.7 + offset * 0.6 + noise * 0.3).astype(np.float32)


def seeded_inputs(model: onnx.ModelProto, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of the right shapes: images of blobs and noise, token ids, a mask with padding."""
    random = np.random.default_rng(seed)
    inputs = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [batch if dim.dim_param else dim.dim_value for dim in tensor.shape.dim]
        if tensor.elem_type == TensorProto.FLOAT:
            inputs[value.name] = blobs(random, shape)
        elif value.name == "attention_mask":
            lengths = random.integers(shape[1] // 2, shape[1] + 1, (batch, 1))
            inputs[value.name] = (np.arange(shape[1]) < lengths).astype(np.int64)
        else:
            limit = 2 if value.name == "token_type_ids" else 10000
            inputs[value.name] = random.integers(0, limit, shape)
    return inputs


def check(path: pathlib.Path) -> str:
    """Runs the checker and ONNX Runtime; says in one line what the outputs look like."""
    import onnxruntime

    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path, load_external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    start = time.perf_counter()
    outputs = session.run(None, seeded_inputs(model, 2))
    seconds = time.perf_counter() - start
    parts = []
    for value, array in zip(session.get_outputs(), outputs):
        if not np.isfinite(array).all():
            raise SystemExit(f"make_models: {path.name}: {value.name} is not finite")
        parts.append(f"{value.name} {list(array.shape)} std {array.std():.3g}"
                     f" between images {abs(array[0] - array[-1]).mean():.3g}")
    return f"  {len(model.graph.node)} nodes, batch 2 in {seconds * 1e3:.0f} ms: {'; '.join(parts)}"


def save(name: str, folder: pathlib.Path, fold_bn: bool, fused: bool) -> pathlib.Path:
    """Builds one network and writes it whole or not at all."""
    net = Net(name, fold_bn, fused)
    NETWORKS[name](net)
    path = folder / f"{name}{'-folded' if fold_bn else ''}{'-fused' if fused else ''}.onnx"
    part = path.with_suffix(".part")
    onnx.save(net.model(), part)
    os.replace(part, path)
    return path


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"which, of {', '.join(NETWORKS)}; default all")
    parser.add_argument("--output", type=pathlib.Path, default=cache_folder() / "generated",
                        metavar="DIR", help="default CACHE/generated")
    parser.add_argument("--fold-bn", action="store_true",
                        help="batch norm folded into the convolutions")
    parser.add_argument("--fused", action="store_true",
                        help="LayerNormalization, Gelu, Attention, HardSwish as one node each")
    parser.add_argument("--check", action="store_true",
                        help="run the ONNX checker and ONNX Runtime on each")
    parser.add_argument("--force", action="store_true", help="write even what is there")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NETWORKS):
        parser.error(f"no network called {', '.join(sorted(unknown))}")
    return args


def main() -> int:
    """Writes the networks asked for, in the spelling asked for where they have it."""
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.names or NETWORKS:
        fold_bn = args.fold_bn and name in WITH_BN
        fused = args.fused and name in WITH_FUSED
        suffix = ("-folded" if fold_bn else "") + ("-fused" if fused else "")
        path = args.output / f"{name}{suffix}.onnx"
        if args.force or not path.exists():
            save(name, args.output, fold_bn, fused)
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)", flush=True)
        if args.check:
            print(check(path), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
