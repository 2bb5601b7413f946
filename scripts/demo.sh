#!/bin/sh
# A trained network, optimised for this machine, checked against ONNX Runtime and timed beside its peers.
set -e
cd "$(dirname "$0")/.."
python3 scripts/fetch.py --set demo
peers=$(scripts/peers.sh --print)
"$peers" scripts/make_inputs.py open-nsfw > /dev/null
exec "$peers" bench/demo.py
