"""A row of figures for each network: as a line of a table, and all as JSON."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import resource
import shlex
import sys

HEADING = f"{'model':<18} {'network':<22} {'SQNR dB':>8} {'cosine':>8} {'same':>7} {'right':>7} {'cpu s':>7}"


def line(row: dict) -> str:
    """A line of the table."""
    right = f"{row['right']:>7.4f}" if "right" in row else ""
    spent = f"{row['cpu_s']:>7.0f}" if "cpu_s" in row else ""
    return (f"{row['model']:<18} {row['network']:<22} {row['sqnr_db']:>8.2f} {row['cosine']:>8.5f} {row['same']:>7.4f}"
            f" {right:>7} {spent}").rstrip()


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    return sum(usage.ru_utime + usage.ru_stime
               for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def report(script: str, rows: list[dict]) -> str:
    """The rows and how they were made, as JSON."""
    try:
        version = importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        version = None
    return json.dumps({
        "date": datetime.date.today().isoformat(), "device": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(), "command": shlex.join([f"bench/accuracy/{script}", *sys.argv[1:]]),
        "onnxruntime": version, "rows": rows}, indent=1) + "\n"
