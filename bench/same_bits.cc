// Runs an engine many times on one random input and compares the bytes of all outputs with those of the first run. Exit
// status 1: some differ.
//
//   same_bits ENGINE [RUNS]   (default: 1000)
#include <hone/hone.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

int fail(const hone::Status& status) {
  std::fprintf(stderr, "same_bits: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}

// Floats from a normal distribution; of integers zeros and ones, which are places in any table.
void fill(std::vector<std::byte>& memory, const hone::TensorInfo& input, std::mt19937& random) {
  std::normal_distribution<float> normal;
  const size_t size = hone::size_of(input.dtype);
  for (size_t at = 0; at < memory.size(); at += size) {
    const float value = normal(random);
    if (input.dtype == hone::DType::f32) std::memcpy(&memory[at], &value, size);
    else if (value > 0) memory[at] = std::byte{1};
  }
}

std::vector<std::string> bytes_of_outputs(const hone::Engine& engine, const hone::Context& context) {
  std::vector<std::string> all;
  for (const hone::TensorInfo& info : engine.outputs()) {
    const hone::Result<hone::TensorView> output = context.output(info.name);
    if (!output) std::exit(fail(output.status()));
    all.emplace_back(output->as<const char>(),
                     static_cast<size_t>(output->dims.count()) * hone::size_of(output->dtype));
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return std::fprintf(stderr, "usage: same_bits ENGINE [RUNS]\n"), 2;
  const hone::Result<hone::Engine> engine = hone::Engine::load(argv[1]);
  if (!engine) return fail(engine.status());
  hone::Context context = engine->create_context();
  std::mt19937 random(1);
  std::vector<std::vector<std::byte>> memory;
  for (const hone::TensorInfo& input : engine->inputs()) {
    if (input.dims.count() < 0 || input.dtype == hone::DType::string)
      return std::fprintf(stderr, "same_bits: %s has no fixed size\n", input.name.c_str()), 2;
    memory.emplace_back(static_cast<size_t>(input.dims.count()) * hone::size_of(input.dtype));
    fill(memory.back(), input, random);
    if (const auto bound = context.bind(input.name, {input.dtype, memory.back().data(), input.dims}); !bound)
      return fail(bound);
  }
  const int runs = argc == 3 ? std::atoi(argv[2]) : 1000;
  std::vector<std::string> first;
  int differ = 0;
  for (int run = 0; run < runs; ++run) {
    if (const hone::Status status = context.run(); !status) return fail(status);
    const std::vector<std::string> outputs = bytes_of_outputs(*engine, context);
    if (run == 0) first = outputs;
    else if (outputs != first) ++differ;
  }
  std::printf("%s: %d of %d runs differ from the first\n", argv[1], differ, runs);
  return differ > 0;
}
