#!/usr/bin/env bash
# Makes the private Python environment of the peers (ONNX Runtime, OpenVINO) that
# make_inputs.py, make_models.py and bench/compare.py run in; NVRTC is there for the tests
# of GPU code. Idempotent.
# Usage: scripts/peers.sh [--print]    --print: only say where its python is.
set -euo pipefail

cache=${HONE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hone/assets}
venv=$cache/peers
if [[ ${1:-} == --print ]]; then
  echo "$venv/bin/python"
  exit 0
fi

# Python 3.10 (Ubuntu 22.04) gets the last versions that still support it.
requirements=$(cat <<'PINS'
numpy==2.4.6; python_version >= "3.11"
numpy==2.2.6; python_version < "3.11"
onnx==1.22.0
onnxruntime==1.32.0; python_version >= "3.11"
onnxruntime==1.23.2; python_version < "3.11"
onnx-ir==1.1.0
openvino==2026.4.1
Pillow==12.3.0
nvidia-cuda-nvrtc==13.0.88
PINS
)

stamp=$venv/requirements.txt
if [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$requirements" ]]; then
  exit 0
fi

echo "peers: installing into $venv"
mkdir -p "$cache"
python3 -m venv --clear "$venv"
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
printf '%s\n' "$requirements" >"$pins"
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --only-binary=:all: -r "$pins"; then
  echo "peers: cannot install the peers: no network, or no wheel for this machine" >&2
  exit 3
fi
cp "$pins" "$stamp"
