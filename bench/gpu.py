#!/usr/bin/env python3
"""Times Hone on a GPU beside PyTorch on the same GPU, in one run.

The networks are those of scripts/make_models.py; PyTorch runs torchvision's network of the same name, channels-last, in
the same precision, captured as a CUDA graph. Times are medians in milliseconds of one run with inputs and outputs in
device memory, taken by the GPU.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NETWORKS = {"resnet50": "resnet50", "vit-b16": "vit_b_16", "mobilenetv2": "mobilenet_v2",
            "mobilenetv3": "mobilenet_v3_large", "efficientnet-b0": "efficientnet_b0", "bert-base": None}
PRECISIONS = {"fp32": "fp32", "tf32": "fp32,tf32", "fp16": "fp16", "bf16": "bf16"}


def hone_row(args, model, batch, precision):
    """One row of `hone bench`."""
    env = dict(os.environ, LD_LIBRARY_PATH=str(args.hone / "lib"))
    report = args.out / "bench.json"
    done = subprocess.run([args.hone / "hone", "bench", model, "--target", "cuda", "--precision", PRECISIONS[precision],
                           "--batch", str(batch), "--io", "device", "--duration", "1s", "--timing-cache", "none",
                           "--json", report], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        print(f"hone bench {model} failed: {done.stderr}", file=sys.stderr)
        return None
    return json.load(open(report))["rows"][0]


def torch_ms(name, batch, precision):
    """Median time of one replay of the network's CUDA graph; None when there is no such network."""
    if name is None:
        return None
    import torch
    import torchvision

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    net = getattr(torchvision.models, name)().eval().cuda().to(dtype=dtype, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=dtype).to(memory_format=torch.channels_last)
    with torch.no_grad():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                net(x)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            net(x)
    times = []
    for _ in range(60):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hone", type=pathlib.Path, required=True, help="folder of the program and its lib")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the results")
    parser.add_argument("--networks", default="resnet50,vit-b16,bert-base", help=", ".join(NETWORKS))
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--precisions", default="tf32,fp16", help=", ".join(PRECISIONS))
    args = parser.parse_args()
    cache = args.out / "cache"
    env = dict(os.environ, HONE_CACHE=str(cache))
    networks = args.networks.split(",")
    subprocess.run([sys.executable, ROOT / "scripts/make_models.py", *networks], check=True, env=env,
                   stdout=subprocess.DEVNULL)
    import torch

    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; median ms, inputs and outputs on the GPU")
    print(f"{'network':<16}{'precision':<10}{'batch':>6}{'Hone':>10}{'PyTorch':>10}{'ratio':>8}{'build s':>9}")
    rows = []
    for network in networks:
        for precision in args.precisions.split(","):
            for batch in map(int, args.batch.split(",")):
                ours = hone_row(args, cache / "generated" / f"{network}.onnx", batch, precision)
                peer = torch_ms(NETWORKS[network], batch, precision)
                row = {"network": network, "precision": precision, "batch": batch, "torch_ms": peer,
                       "hone_ms": ours and ours["latency_ms"]["median"], "build_s": ours and ours["build_s"]}
                rows.append(row)
                show = lambda v, width, digits: f"{v:>{width}.{digits}f}" if v is not None else f"{'-':>{width}}"
                print(f"{network:<16}{precision:<10}{batch:>6}{show(row['hone_ms'], 10, 3)}{show(peer, 10, 3)}"
                      f"{show(peer / row['hone_ms'] if peer and ours else None, 8, 2)}{show(row['build_s'], 9, 2)}",
                      flush=True)
    json.dump({"device": torch.cuda.get_device_name(), "rows": rows}, open(args.out / "gpu.json", "w"), indent=1)


if __name__ == "__main__":
    main()
