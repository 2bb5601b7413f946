#!/bin/sh
# The GPU's tests and measurements, from the bundle that scripts/gpu_bundle.sh makes. Ends with
# "N passed, N failed, N skipped"; what was measured is in $OUT (default: results beside this file).
# usage: run.sh [test] [bench]   (default: both)
here=$(cd "$(dirname "$0")" && pwd)
OUT=${OUT:-$here/results}
mkdir -p "$OUT"
[ -d "$here/program" ] || tar -xJf "$here/program.tar.xz" -C "$here"
export LD_LIBRARY_PATH="$here/program/lib" PATH="$here/program:$PATH"
[ $# -eq 0 ] && set -- test bench
hone doctor | tee "$OUT/doctor.txt"
status=0
for what in "$@"; do
  case $what in
    bench)
      LD_LIBRARY_PATH= python3 "$here/bench/gpu.py" --hone "$here/program" --out "$OUT" \
        --peers torch,compiled,jax || status=1 ;;
    test)
      [ -d "$here/conformance" ] ||
        { mkdir "$here/conformance" && tar -xJf "$here/conformance.tar.xz" -C "$here/conformance"; }
      "$here/program/gpu_test" --gtest_brief=1 || status=1  # by its path: some tests start it again
      cd "$here"
      # Building an engine for each takes a core most of the time. Each process prints its failures and its counts.
      find conformance verify -name test_data_set_0 | sed 's,/[^/]*$,,' | sort |
        xargs -P "$(nproc)" -n 40 hone verify --target cuda --timing-cache none --of-range --skip skip.txt \
          > "$OUT/verify.txt" || status=1
      awk '/^[0-9]+ passed, / { p += $1; f += $3; s += $5; next } { print }
           END { print p " passed, " f " failed, " s " skipped" }' "$OUT/verify.txt"
      # Some 50 layers, each off by half a unit of 11 bits, add up to 7 x 2^-11 of the range when errors are
      # independent, and to 50 x 2^-11 = 0.024 when they are not. Two networks magnify them: basic-pitch takes the
      # logarithm of a spectrum, and ppocr-det ends in a steep sigmoid. ONNX Runtime's results of them move by 0.2 and
      # 0.09 of the range when the factors of its products are rounded to 11 bits.
      for precision in fp16 fp32,tf32; do
        for model in verify/*; do
          case $model in
            */basic-pitch) rtol=0.2 ;;
            */ppocr-det) rtol=0.09 ;;
            *) rtol=0.025 ;;
          esac
          hone verify "$model" --target cuda --precision $precision --timing-cache none --of-range --rtol $rtol ||
            status=1
        done > "$OUT/verify_$precision.txt"
        grep -v '^[0-9]* passed, 0 failed' "$OUT/verify_$precision.txt"
      done ;;
  esac
done
exit $status
