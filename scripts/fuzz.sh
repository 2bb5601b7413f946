#!/bin/sh
# fuzz.sh [SECONDS [TARGET...]]: runs the fuzz programs, each that long, from the seeds that tests/fuzz makes. All run,
# whatever some find; the last line says whether there was anything. The input of a finding lies in build-asan/fuzz,
# inputs that reach new code in build-asan/fuzz/corpus, for the next time.
set -e
cd "$(dirname "$0")/.."
seconds=${1:-600}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- onnx text engine manifest ranges tactics npy npz image
found=
for target; do
  corpus=build-asan/fuzz/corpus/$target
  build-asan/bin/write_seeds "$target" "build-asan/fuzz/seeds/$target"
  mkdir -p "$corpus"
  echo "fuzzing $target for $seconds s"
  UBSAN_OPTIONS=print_stacktrace=1 build-asan/bin/fuzz_"$target" \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="build-asan/fuzz/$target-" \
    "$corpus" "build-asan/fuzz/seeds/$target" || found="$found $target"
done
if [ -n "$found" ]; then
  echo "fuzzing: findings above, by$found"
  exit 1
fi
echo "fuzzing: nothing found"
