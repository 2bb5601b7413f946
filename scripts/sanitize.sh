#!/bin/sh
# sanitize.sh [asan|tsan] [SUITE...]: tests under sanitizers, in a build of its own for each. asan: ASan and UBSan over
# the unit tests and a tenth of ONNX's. tsan: TSan over what threads share, and a few of ONNX's, with overflow of
# integers, also in vectors. Suites (folders of tests/, or `onnx`) narrow it. A program may take 30 minutes and 8 GiB.
# All run, whatever some find; the last line says whether there was anything.
set -e
cd "$(dirname "$0")/.."

# A status that no program has of its own, so that a finding is never taken for an error that a test expects. What
# malloc() cannot give is null here too: Hone's error for it has a test.
export ASAN_OPTIONS=exitcode=99:detect_stack_use_after_return=1:hard_rss_limit_mb=8192:allocator_may_return_null=1
export UBSAN_OPTIONS=exitcode=99:print_stacktrace=1
export TSAN_OPTIONS=exitcode=99:hard_rss_limit_mb=8192:suppressions=$PWD/tests/tsan.supp

# check PRESET N SUITE...: of ONNX's tests every Nth.
check() {
  preset=$1 sample=$2
  shift 2
  targets=hone
  for suite; do [ "$suite" = onnx ] || targets="$targets ${suite}_test"; done
  cmake --preset "$preset" > /dev/null &&
    cmake --build --preset "$preset" --target $targets &&
    python3 scripts/run_tests.py --build "build-$preset" --sample "$sample" --limit 1800 --suites "$@" ||
    found="$found $preset"
}

only=$1
[ $# -eq 0 ] || shift
case $only in
  "" | asan | tsan) ;;
  *)
    echo "sanitize: '$only' is neither asan nor tsan" >&2
    exit 2
    ;;
esac
all=$(cd tests && for file in */*_test.cc; do dirname "$file"; done | sort -u)
python3 scripts/fetch.py --quiet --set conformance || echo "ONNX's test data cannot be had: its tests are skipped"
found=
[ "$only" = tsan ] || check asan 10 ${@:-$all onnx}
[ "$only" = asan ] || check tsan 50 ${@:-base kernels tune engine runtime compile api enqueue onnx}
if [ -n "$found" ]; then
  echo "sanitizers: failures above, under$found"
  exit 1
fi
echo "sanitizers: nothing found"
