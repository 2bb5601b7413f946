#!/bin/sh
# The GPU's tests and measurements, from a bundle that scripts/gpu_bundle.sh makes. What was measured is in $OUT
# (default: results beside this file).
# usage: run.sh [test] [bench] [sanitize]   (default: test bench)
#   test      kernels and models
#   kernels   the kernels' tests
#   models    ONNX's test suite, in a line "N passed, N failed, N skipped", and public models, as far as the bundle has
#             them, against ONNX Runtime's results: how far outputs are off is in $OUT/PRECISION-MODEL.txt
#   sanitize  a small problem for each kernel, engines, enqueued runs and calibration under compute-sanitizer: each of
#             $TOOLS (default: memcheck, racecheck, synccheck), whose processes, $JOBS at once (default: a core each),
#             may take $LIMIT seconds (default: 1800)
here=$(cd "$(dirname "$0")" && pwd)
export OUT="${OUT:-$here/results}"
mkdir -p "$OUT"
cd "$here"
[ -d program ] || tar -xJf program.tar.xz
export LD_LIBRARY_PATH="$here/program/lib:$LD_LIBRARY_PATH" PATH="$here/program:$PATH"
hone doctor | tee "$OUT/doctor.txt"
status=0

# allowed MODEL PRECISION: the error of its outputs, of their range. In 11 bits some 50 layers, each off by half a unit,
# add up to 7 x 2^-11 when errors are independent, and to 50 x 2^-11 = 0.024 when they are not. Two networks magnify
# them: basic-pitch takes the logarithm of a spectrum, and ppocr-det ends in a steep sigmoid. ONNX Runtime's results of
# them move by 0.2 and 0.09 of the range when the factors of its products are rounded to 11 bits.
allowed() {
  case $2,$1 in
    fp32,verify/*) echo 0.001 ;;
    *,verify/basic-pitch) echo 0.2 ;;
    *,verify/ppocr-det) echo 0.09 ;;
    *) echo 0.025 ;;
  esac
}

# sanitize: the tests in three processes a core, so that few are waited for at the end. The test of peaks is left out:
# no bandwidth is what it is under a tool.
sanitize() (
  failed=0
  export HONE_CUDNN= HONE_CUBLASLT= PATH="$PATH:/usr/local/cuda/bin"
  command -v compute-sanitizer > /dev/null || { echo "compute-sanitizer is missing" && exit 1; }
  mkdir -p "$OUT/sanitize"
  jobs=${JOBS:-$(nproc)}
  export LIMIT=${LIMIT:-1800} GTEST_TOTAL_SHARDS=$((3 * jobs))
  for tool in ${TOOLS:-memcheck racecheck synccheck}; do
    rm -f "$OUT/sanitize/$tool"-*
    seq 0 $((3 * jobs - 1)) | xargs -P "$jobs" -I{} sh -c 'log="$OUT/sanitize/$0-$1.txt"
      GTEST_SHARD_INDEX=$1 timeout "$LIMIT" compute-sanitizer --tool "$0" --error-exitcode 99 gpu_test \
        --gtest_filter="*GpuRows*:*.Small*:GpuEngine*:GpuEnqueue*:GpuCalibrate*-GpuEngine.Peaks*" \
        > "$log" 2>&1 || echo "exit status $?" >> "$log"' "$tool" {}
    cat "$OUT/sanitize/$tool"-* | awk -v tool="$tool" '
      /^\[       OK/ { passed++ }
      /^\[  FAILED  \].*\(/ { failed++ }
      /^exit status/ { bad++ }
      / SUMMARY: / { sub(/.* SUMMARY: /, ""); found += $1 }
      END {
        print tool ": " found + 0 " findings; " passed + 0 " tests passed, " failed + 0 " failed; " bad + 0 \
          " processes ended with an error, or after $LIMIT (sanitize/" tool "-*.txt)"
        exit bad > 0
      }' || failed=1
  done
  exit $failed
)

kernels() { "$here/program/gpu_test" --gtest_brief=1; }  # by its path: some tests start it again

bench() { LD_LIBRARY_PATH= python3 bench/gpu.py --hone "$here/program" --out "$OUT" --peers torch,compiled,jax; }

models() {
  if [ -f conformance.tar.xz ]; then
    mkdir -p conformance
    tar -xJf conformance.tar.xz -C conformance
    # Building an engine for each takes a core most of the time. Each process prints its failures and its counts.
    find conformance -name test_data_set_0 | sed 's,/[^/]*$,,' | sort |
      xargs -P "$(nproc)" -n 40 hone verify --target cuda --timing-cache none --of-range --skip skip.txt \
        > "$OUT/verify.txt" || status=1
    awk '/^[0-9]+ passed, / { p += $1; f += $3; s += $5; next } { print }
         END { print p " passed, " f " failed, " s " skipped" }' "$OUT/verify.txt"
  fi
  for archive in verify/*.tar.xz; do
    [ ! -f "$archive" ] || tar -xJf "$archive" -C verify
  done
  for precision in fp32 fp32,tf32 fp16; do
    for model in verify/*; do [ ! -d "$model" ] || echo "$precision $model $(allowed "$model" $precision)"; done
  done | xargs -r -P "$(nproc)" -L 1 sh -c 'hone verify "$1" --target cuda --precision "$0" --timing-cache none \
    --of-range --rtol "$2" --verbose > "$OUT/$0-${1#verify/}.txt" || exit 1' || status=1
  (cd "$OUT" && grep -H . fp32-*.txt fp32,tf32-*.txt fp16-*.txt 2> /dev/null) || true
}

[ $# -eq 0 ] && set -- test bench
for what in "$@"; do
  case $what in
    test)
      kernels || status=1
      models ;;
    models) models ;;
    kernels | bench | sanitize) $what || status=1 ;;
    *)
      echo "run.sh: there is no '$what'" >&2
      exit 2 ;;
  esac
done
exit $status
