# Everything here only calls scripts and CMake presets; see README.md.
.PHONY: all deps build demo test bench fuzz clean

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
	@scripts/test.sh

bench: build
	@scripts/bench.sh

# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 600

fuzz: build
	@scripts/install_deps.sh clang libclang-rt-dev
	@cmake --preset fuzz > /dev/null
	@cmake --build --preset fuzz --target fuzz_programs
	@scripts/fuzz.sh $(FUZZ_SECONDS)

clean:
	rm -rf build build-debug build-asan build-tsan build-fuzz
