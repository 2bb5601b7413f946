#!/usr/bin/env python3
"""Times Hone on a GPU beside its peers on the same GPU, in one run.

The networks are those of scripts/make_models.py. PyTorch runs torchvision's or transformers' network of the same name,
channels-last, in the same precision, captured as a CUDA graph, or compiled (`compiled`: torch.compile, which captures
graphs itself); JAX runs a ResNet-50 of the same convolutions, compiled by XLA. Times are medians in milliseconds of one
run with inputs and outputs in device memory, taken by the GPU (JAX: of many runs behind each other, by the clock). The
floor is the sum of that of all layers of Hone's engine: bytes over the measured bandwidth, for fp32 and TF32 operations
over the measured peak of fp32's as well, where that is longer.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NETWORKS = {"resnet50": "resnet50", "vit-b16": "vit_b_16", "mobilenetv2": "mobilenet_v2",
            "mobilenetv3": "mobilenet_v3_large", "efficientnet-b0": "efficientnet_b0", "bert-base": "bert-base"}
PRECISIONS = {"fp32": "fp32", "tf32": "fp32,tf32", "fp16": "fp16", "bf16": "bf16"}
LENGTH = 128  # of BERT's texts


def hone_row(args, network, batch, precision):
    """Milliseconds, seconds of the build and the floor; empty where something failed."""
    env = dict(os.environ)
    env["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(args.hone / "lib"), env.get("LD_LIBRARY_PATH", "")]))
    engine, report = args.out / "bench.hone", args.out / "bench.json"
    shapes = ([f"{name}:{batch}x{LENGTH}" for name in ("input_ids", "attention_mask", "token_type_ids")]
              if network == "bert-base" else [f"x:{batch}x3x224x224"])

    def hone(*command):
        done = subprocess.run([args.hone / "hone", *command, "--json", report], capture_output=True, text=True, env=env)
        if done.returncode != 0:
            raise RuntimeError(f"hone {command[0]} {network} failed: {done.stderr}")
        return json.load(open(report))

    try:
        model = args.out / "cache" / "generated" / f"{network}.onnx"
        built = hone("build", model, "--target", "cuda", "--precision", PRECISIONS[precision], "--timing-cache", "none",
                     "-o", engine, "--shape", *shapes)
        row = hone("bench", engine, "--io", "device", "--duration", "0.7s")["rows"][0]
        floors = [layer["floor_us"] for layer in hone("inspect", engine)["layers"]]
    except RuntimeError as failed:
        print(failed, file=sys.stderr)
        return {}
    return {"hone_ms": row["latency_ms"]["median"], "build_s": built["build"]["seconds"],
            "floor_ms": sum(floor or 0 for floor in floors) / 1000}


def torch_network(name, batch, dtype):
    """A network on the GPU and its inputs."""
    import torch

    if name == "bert-base":
        from transformers import BertConfig, BertModel

        net = BertModel(BertConfig()).eval().cuda().to(dtype)
        ids = torch.randint(0, 30000, (batch, LENGTH), device="cuda")
        return net, (ids, torch.ones_like(ids))
    import torchvision

    net = getattr(torchvision.models, name)().eval().cuda().to(dtype=dtype, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=dtype).to(memory_format=torch.channels_last)
    return net, (x,)


def torch_ms(name, batch, precision, compiled=False):
    """Median time of one run of the network: a replay of its CUDA graph, or of what torch.compile made."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    net, inputs = torch_network(NETWORKS[name], batch, dtype)
    run = torch.compile(net, mode="reduce-overhead") if compiled else net
    with torch.no_grad():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                run(*inputs)
        torch.cuda.synchronize()
        if not compiled:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                net(*inputs)
        times = []
        for _ in range(60):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run(*inputs) if compiled else graph.replay()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def jax_resnet50(batch, dtype):
    """ResNet-50's forward pass, its weights, and an image."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    keys = iter(jax.random.split(jax.random.key(0), 100))

    def layer(cin, cout, size):
        return (jax.random.normal(next(keys), (size, size, cin, cout), dtype) * (2 / (cin * size * size)) ** 0.5,
                jnp.ones((cout,), dtype), jnp.zeros((cout,), dtype))

    def conv(x, weights, stride=1):
        w, scale, bias = weights
        pad = w.shape[0] // 2
        y = lax.conv_general_dilated(x, w, (stride, stride), ((pad, pad), (pad, pad)),
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y * scale + bias

    blocks, cin = [], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            blocks.append(([layer(cin, width, 1), layer(width, width, 3), layer(width, 4 * width, 1)]
                           + ([layer(cin, 4 * width, 1)] if i == 0 else []), stride if i == 0 else 1))
            cin = 4 * width
    weights = [layer(3, 64, 7), [b for b, _ in blocks], jax.random.normal(next(keys), (2048, 1000), dtype) * 0.02]
    strides = [s for _, s in blocks]

    def forward(weights, x):
        y = jax.nn.relu(conv(x, weights[0], 2))
        y = lax.reduce_window(y, jnp.array(-jnp.inf, dtype), lax.max, (1, 3, 3, 1), (1, 2, 2, 1),
                              ((0, 0), (1, 1), (1, 1), (0, 0)))
        for layers, stride in zip(weights[1], strides):
            z = jax.nn.relu(conv(jax.nn.relu(conv(y, layers[0])), layers[1], stride))
            shortcut = conv(y, layers[3], stride) if len(layers) > 3 else y
            y = jax.nn.relu(conv(z, layers[2]) + shortcut)
        return y.mean((1, 2)) @ weights[2]

    return forward, weights, jax.random.normal(next(keys), (batch, 224, 224, 3), dtype)


def jax_ms(network, batch, precision):
    """Time of a run when many follow each other; None for other networks than ResNet-50."""
    if network != "resnet50" or precision not in ("fp16", "bf16"):
        return None
    import jax
    import jax.numpy as jnp

    forward, weights, x = jax_resnet50(batch, jnp.float16 if precision == "fp16" else jnp.bfloat16)
    run = jax.jit(forward).lower(weights, x).compile()
    for _ in range(5):
        run(weights, x).block_until_ready()
    count, start = 100, time.perf_counter()
    for _ in range(count):
        y = run(weights, x)
    y.block_until_ready()
    return (time.perf_counter() - start) / count * 1000


PEERS = {"torch": torch_ms, "compiled": lambda *row: torch_ms(*row, compiled=True), "jax": jax_ms}


def peer_ms(peer, *row):
    """Of a peer that may not be there, or may fail."""
    try:
        return PEERS[peer](*row)
    except Exception as failed:  # whatever it is, the other rows are measured
        print(f"{peer} {row}: {failed}", file=sys.stderr)
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hone", type=pathlib.Path, required=True, help="folder of the program and its lib")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the results")
    parser.add_argument("--networks", default="resnet50,vit-b16,bert-base", help=", ".join(NETWORKS))
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--precisions", default="tf32,fp16", help=", ".join(PRECISIONS))
    parser.add_argument("--peers", default="torch", help=", ".join(PEERS))
    args = parser.parse_args()
    args.hone, args.out = args.hone.resolve(), args.out.resolve()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # others want memory too
    env = dict(os.environ, HONE_CACHE=str(args.out / "cache"))
    networks, peers = args.networks.split(","), args.peers.split(",")
    subprocess.run([sys.executable, ROOT / "scripts/make_models.py", *networks], check=True, env=env,
                   stdout=subprocess.DEVNULL)
    import torch

    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; median ms, inputs and outputs on the GPU")
    print(f"{'network':<16}{'precision':<10}{'batch':>6}{'Hone':>9}{'floor':>9}"
          + "".join(f"{peer:>10}" for peer in peers) + f"{'ratio':>8}{'build s':>9}")
    rows = []
    for network in networks:
        for precision in args.precisions.split(","):
            for batch in map(int, args.batch.split(",")):
                row = {"network": network, "precision": precision, "batch": batch, "hone_ms": None, "build_s": None,
                       "floor_ms": None} | hone_row(args, network, batch, precision)
                row |= {f"{peer}_ms": peer_ms(peer, network, batch, precision) for peer in peers}
                rows.append(row)
                show = lambda v, width, digits: f"{v:>{width}.{digits}f}" if v is not None else f"{'-':>{width}}"
                times = [row[f"{peer}_ms"] for peer in peers if row[f"{peer}_ms"]]
                ratio = min(times) / row["hone_ms"] if times and row["hone_ms"] else None
                print(f"{network:<16}{precision:<10}{batch:>6}{show(row['hone_ms'], 9, 3)}{show(row['floor_ms'], 9, 3)}"
                      + "".join(show(row[f"{peer}_ms"], 10, 3) for peer in peers)
                      + f"{show(ratio, 8, 2)}{show(row['build_s'], 9, 2)}", flush=True)
    json.dump({"device": torch.cuda.get_device_name(), "rows": rows}, open(args.out / "gpu.json", "w"), indent=1)


if __name__ == "__main__":
    main()
