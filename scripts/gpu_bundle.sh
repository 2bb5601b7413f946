#!/bin/sh
# Collects into build/gpu-bundle all that the GPU's tests and measurements need, for a machine with a driver but without
# this checkout: the program with its libraries, test data, the scripts. There, run gpu-bundle/run.sh.
set -e
cd "$(dirname "$0")/.."
cache=${HONE_CACHE:-$HOME/.cache/hone/assets}
bundle=build/gpu-bundle
rm -rf $bundle
mkdir -p $bundle/program/lib $bundle/scripts $bundle/bench $bundle/verify
strip -o $bundle/program/hone build/bin/hone
strip -o $bundle/program/gpu_test build/bin/gpu_test
ldd build/bin/hone build/bin/gpu_test | awk '/=> \// {print $3}' | grep -v -E '/(libc|libm|ld-linux[^/]*)\.so' |
  sort -u | xargs -I{} cp -L {} $bundle/program/lib/
tar -C $bundle -cJf $bundle/program.tar.xz program
rm -r $bundle/program
cp scripts/make_models.py scripts/fetch.py $bundle/scripts/
cp bench/gpu.py $bundle/bench/
cp scripts/gpu_run.sh $bundle/run.sh
cp tests/conformance/skip.txt $bundle/
tar -C "$cache/conformance" -cJf $bundle/conformance.tar.xz node simple pytorch-operator pytorch-converted
for model in open-nsfw ppocr-cls ppocr-det basic-pitch silero_vad_16k_op15; do
  [ -d "$cache/verify/$model" ] && cp -rL "$cache/verify/$model" $bundle/verify/
done
du -sh $bundle
