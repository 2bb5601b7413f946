#!/bin/sh
# Hone beside its peers, measured in one run; results go to bench/results/.
set -e
cd "$(dirname "$0")/.."
python3 scripts/fetch.py --quiet --set models
peers=$(scripts/peers.sh --print)
"$peers" scripts/make_models.py resnet50 mobilenetv2 bert-base > /dev/null
cache=${HONE_CACHE:-$HOME/.cache/hone/assets}
exec "$peers" bench/compare.py "$cache"/generated/resnet50.onnx "$cache"/generated/mobilenetv2.onnx \
  "$cache"/generated/bert-base.onnx "$@"
