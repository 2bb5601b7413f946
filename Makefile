# Everything here only calls scripts and CMake presets; see README.md.
.PHONY: all deps build demo test bench test-gpu bench-gpu sanitize-gpu sanitize tidy fuzz clean

all: build

deps:
	@scripts/install_deps.sh
	@python3 scripts/fetch.py --quiet --set onnx-schema

build: deps
	@cmake --preset release > /dev/null
	@cmake --build --preset release

demo: build
	@scripts/demo.sh

test: build
	@cmake --build --preset release --target tests
	@scripts/test.sh

bench: build
	@scripts/bench.sh

# They run where the GPU is: build/gpu-bundle is all that another machine needs (see docs/gpu.md).
test-gpu bench-gpu sanitize-gpu: build
	@cmake --build --preset release --target gpu_test
	@python3 scripts/fetch.py --quiet --set conformance
	@python3 scripts/fetch.py --quiet --set models
	@"$$(scripts/peers.sh --print)" scripts/make_inputs.py > /dev/null
	@scripts/gpu_bundle.sh
	@build/gpu-bundle/run.sh $(@:%-gpu=%)

# The tests under sanitizers, in builds of their own; scripts/sanitize.sh says which.
sanitize: deps
	@scripts/install_deps.sh clang libclang-rt-dev
	@scripts/sanitize.sh

# .clang-tidy over all sources, or those of TIDY='ops src/passes/fuse'; see scripts/tidy.py.
tidy: build
	@scripts/install_deps.sh clang-tidy
	@python3 scripts/tidy.py $(TIDY)

# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 600

fuzz: deps
	@scripts/install_deps.sh clang libclang-rt-dev
	@cmake --preset asan > /dev/null
	@cmake --build --preset asan --target fuzz_programs write_seeds
	@scripts/fuzz.sh $(FUZZ_SECONDS)

clean:
	rm -rf build build-debug build-asan build-tsan
