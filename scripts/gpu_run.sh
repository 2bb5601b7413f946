#!/bin/sh
# The GPU's tests and measurements, from the bundle that scripts/gpu_bundle.sh makes. Ends with
# "N passed, N failed, N skipped"; what was measured is in $OUT (default: results beside this file).
# usage: run.sh [test] [bench]   (default: both)
here=$(cd "$(dirname "$0")" && pwd)
OUT=${OUT:-$here/results}
mkdir -p "$OUT"
export LD_LIBRARY_PATH="$here/lib" PATH="$here:$PATH"
[ $# -eq 0 ] && set -- test bench
hone doctor | tee "$OUT/doctor.txt"
status=0
for what in "$@"; do
  case $what in
    bench) LD_LIBRARY_PATH= python3 "$here/bench/gpu.py" --hone "$here" --out "$OUT" || status=1 ;;
    test)
      [ -d "$here/conformance" ] ||
        { mkdir "$here/conformance" && tar -xJf "$here/conformance.tar.xz" -C "$here/conformance"; }
      gpu_test --gtest_brief=1 || status=1
      cd "$here"
      find conformance verify -name test_data_set_0 | sed 's,/[^/]*$,,' | sort |
        xargs -x -s 500000 hone verify --target cuda --timing-cache none --of-range --skip skip.txt \
          --json "$OUT/verify.json" > "$OUT/verify.txt" || status=1
      tail -n 20 "$OUT/verify.txt" ;;
  esac
done
exit $status
