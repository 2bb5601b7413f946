#!/bin/sh
# gpu_bundle.sh [MIB]: collects into build/gpu-bundle all that the GPU's tests and measurements need, for a machine with
# a driver but without this checkout: the program with its libraries, test data, models, the scripts. There, run
# gpu-bundle/run.sh. With MIB no part is larger: what does not fit lies in build/gpu-bundle-2 and so on, each of which
# has a program and a run.sh of its own, and models that fit into no part are named.
set -e
cd "$(dirname "$0")/.."
cache=${HONE_CACHE:-$HOME/.cache/hone/assets}
limit=$((${1:-1000000} * 1024))  # KiB

# An archive a line, the largest first: models of the same weights share one.
models='minilm
open-nsfw
ppocr-rec
centerface centerface-dynamic
ppocr-det
silero_vad silero_vad_16k_op15 silero_vad_16k_sequence silero_vad_half silero_vad_op18_ifless silero_vad_openvino_16k
magika
ppocr-cls
basic-pitch'

part_of() { [ "$1" = 1 ] && echo build/gpu-bundle || echo "build/gpu-bundle-$1"; }
size_of() { du -sk --apparent-size "$1" | cut -f1; }

rm -rf build/gpu-bundle build/gpu-bundle-* build/gpu-models
base=$(part_of 1)
mkdir -p $base/program/lib $base/scripts $base/bench build/gpu-models
strip -o $base/program/hone build/bin/hone
strip -o $base/program/gpu_test build/bin/gpu_test
ldd build/bin/hone build/bin/gpu_test | awk '/=> \// {print $3}' | grep -v -E '/(libc|libm|ld-linux[^/]*)\.so' |
  sort -u | xargs -I{} cp -L {} $base/program/lib/
tar -C $base -c program | xz -T0 > $base/program.tar.xz
rm -r $base/program
cp scripts/make_models.py scripts/fetch.py $base/scripts/
cp bench/gpu.py $base/bench/
cp scripts/gpu_run.sh $base/run.sh
cp tests/conformance/skip.txt $base/
cp -r $base build/gpu-models/base
tar -C "$cache/conformance" -c node simple pytorch-operator pytorch-converted | xz -T0 > $base/conformance.tar.xz

echo "$models" | while read -r names; do
  there=$(for name in $names; do [ ! -d "$cache/verify/$name" ] || echo "$name"; done)
  [ -n "$there" ] || continue
  archive=build/gpu-models/${names%% *}.tar.xz
  tar -C "$cache/verify" -ch $there | xz --lzma2=preset=0,dict=64MiB > "$archive"
  part=1
  while
    mkdir -p "$(part_of $part)"
    [ -e "$(part_of $part)/run.sh" ] || cp -r build/gpu-models/base/. "$(part_of $part)"
    [ $(($(size_of "$(part_of $part)") + $(size_of "$archive"))) -gt $limit ]
  do
    if [ $(($(size_of build/gpu-models/base) + $(size_of "$archive"))) -gt $limit ]; then
      echo "gpu_bundle: $names: $(($(size_of "$archive") / 1024)) MiB do not fit into a part: left out" >&2
      continue 2
    fi
    part=$((part + 1))
  done
  mkdir -p "$(part_of $part)/verify"
  mv "$archive" "$(part_of $part)/verify/"
done
rm -r build/gpu-models
for part in build/gpu-bundle*; do
  du -sh "$part"
done
