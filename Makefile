# Everything here only calls scripts and CMake presets; see README.md.
.PHONY: all deps build demo test bench clean

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

clean:
	rm -rf build build-debug build-asan build-tsan
