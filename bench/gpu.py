#!/usr/bin/env python3
"""Times Hone on a GPU beside PyTorch on the same GPU, in one run.

The networks are those of scripts/make_models.py; PyTorch runs torchvision's network of the same name, channels-last, in
the same precision, captured as a CUDA graph. Times are medians in milliseconds, with the input and output in host
memory for Hone (as `hone bench` measures them: the copies count) and in device memory for PyTorch.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

NETWORKS = {"resnet50": "resnet50", "mobilenetv2": "mobilenet_v2"}


def hone_row(args, model, batch, precision):
    """One row of `hone bench`."""
    env = dict(os.environ, LD_LIBRARY_PATH=str(args.hone / "lib"))
    report = args.out / "bench.json"
    done = subprocess.run([args.hone / "hone", "bench", model, "--target", "cuda", "--precision", precision,
                           "--batch", str(batch), "--duration", "2s", "--timing-cache", "none", "--json", report],
                          capture_output=True, text=True, env=env)
    if done.returncode != 0:
        sys.exit(f"hone bench {model} failed: {done.stderr}")
    return json.load(open(report))["rows"][0]


def torch_ms(name, batch, tf32):
    """Median time of one replay of the network's CUDA graph."""
    import torch
    import torchvision

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    net = getattr(torchvision.models, name)().eval().cuda().to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
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
    parser.add_argument("--batch", default="1,8,32")
    args = parser.parse_args()
    cache = args.out / "cache"
    env = dict(os.environ, HONE_CACHE=str(cache))
    subprocess.run([sys.executable, args.hone / "scripts/make_models.py", *NETWORKS], check=True, env=env,
                   stdout=subprocess.DEVNULL)
    import torch

    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; median ms")
    print(f"{'network':<14}{'batch':>6}{'Hone fp32':>12}{'PyTorch fp32':>14}{'Hone tf32':>12}{'PyTorch tf32':>14}"
          f"{'build s':>9}")
    rows = []
    for network, torch_name in NETWORKS.items():
        for batch in map(int, args.batch.split(",")):
            model = cache / "generated" / f"{network}.onnx"
            row = {"network": network, "batch": batch}
            for precision in ("fp32", "tf32"):
                ours = hone_row(args, model, batch, precision)
                row |= {f"hone_{precision}_ms": ours["latency_ms"]["median"],
                        f"torch_{precision}_ms": torch_ms(torch_name, batch, precision == "tf32"),
                        "build_s": ours["build_s"]}
            rows.append(row)
            print(f"{network:<14}{batch:>6}{row['hone_fp32_ms']:>12.3f}{row['torch_fp32_ms']:>14.3f}"
                  f"{row['hone_tf32_ms']:>12.3f}{row['torch_tf32_ms']:>14.3f}{row['build_s']:>9.2f}", flush=True)
    json.dump({"device": torch.cuda.get_device_name(), "rows": rows}, open(args.out / "gpu.json", "w"), indent=1)


if __name__ == "__main__":
    main()
