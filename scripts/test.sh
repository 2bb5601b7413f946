#!/bin/sh
# Every test that this machine can run; ends with "N passed, N failed, N skipped".
set -e
cd "$(dirname "$0")/.."
python3 scripts/fetch.py --quiet --set conformance || echo "ONNX's test data cannot be had: its tests are skipped"
python3 scripts/fetch.py --quiet --set models || echo "the public models cannot be had: their tests are skipped"
peers=$(scripts/peers.sh --print 2> /dev/null) || peers=
[ -n "$peers" ] && "$peers" scripts/make_inputs.py > /dev/null && "$peers" scripts/make_quantised.py > /dev/null ||
  echo "ONNX Runtime cannot be had: comparisons with it are skipped"
exec python3 scripts/run_tests.py "$@"
