#!/bin/sh
# The tests under sanitizers, each in a build of its own: ASan and UBSan over the unit tests and a tenth of ONNX's
# tests, TSan over what threads share. Stops at the first build whose tests find something.
set -e
cd "$(dirname "$0")/.."
python3 scripts/fetch.py --quiet --set conformance || echo "ONNX's test data cannot be had: its tests are skipped"

cmake --preset asan > /dev/null
cmake --build --preset asan --target hone tests
ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
  python3 scripts/run_tests.py --build build-asan --sample 10

cmake --preset tsan > /dev/null
cmake --build --preset tsan --target base_test engine_test runtime_test api_test
ctest --preset tsan -R '^(base|engine|runtime|api)$'
