#!/bin/sh
# fuzz.sh [SECONDS]: runs every fuzz program that long, from the seeds that tests/fuzz makes. Stops at the first finding
# and says where the input lies. Inputs that reach new code are kept in build-asan/fuzz/corpus for the next time.
set -e
cd "$(dirname "$0")/.."
seconds=${1:-600}
for target in onnx text engine manifest ranges tactics npy npz image; do
  corpus=build-asan/fuzz/corpus/$target
  build-asan/bin/write_seeds "$target" "build-asan/fuzz/seeds/$target"
  mkdir -p "$corpus"
  echo "fuzzing $target for $seconds s"
  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 build-asan/bin/fuzz_"$target" \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="build-asan/fuzz/$target-" \
    "$corpus" "build-asan/fuzz/seeds/$target"
done
