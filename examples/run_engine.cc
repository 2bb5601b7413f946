// Loads an engine, runs it once on zeros and prints the shape and the first value of every float output.
//
//   hone build model.onnx -o model.hone
//   c++ -std=c++17 run_engine.cc $(pkg-config --cflags --libs hone_runtime) -o run_engine && ./run_engine model.hone
#include <hone/hone.h>

#include <cstdio>
#include <vector>

namespace {

int fail(const hone::Status& status) {
  std::fprintf(stderr, "run_engine: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: run_engine ENGINE\n"), 2;
  hone::Result<hone::Engine> engine = hone::Engine::load(argv[1]);
  if (!engine) return fail(engine.status());

  hone::Context context = engine->create_context();  // one per thread
  std::vector<std::vector<double>> memory;           // the inputs stay here: the context reads them in place
  for (const hone::TensorInfo& input : engine->inputs()) {
    if (input.dims.count() < 0 || input.dtype == hone::DType::string)
      return std::fprintf(stderr, "%s has no fixed size\n", input.name.c_str()), 2;
    const size_t bytes = static_cast<size_t>(input.dims.count()) * hone::size_of(input.dtype);
    memory.emplace_back(bytes / sizeof(double) + 1, 0.0);
    const hone::Status status = context.bind(input.name, {input.dtype, memory.back().data(), input.dims});
    if (!status) return fail(status);
  }
  if (const hone::Status status = context.run(); !status) return fail(status);

  for (const hone::TensorInfo& info : engine->outputs()) {
    const hone::Result<hone::TensorView> output = context.output(info.name);  // in the context's memory
    if (!output) return fail(output.status());
    std::printf("%s: %s[", info.name.c_str(), hone::name(output->dtype));
    for (size_t i = 0; i < output->dims.rank(); ++i)
      std::printf("%s%lld", i ? "," : "", static_cast<long long>(output->dims[i]));
    std::printf("]");
    if (output->dtype == hone::DType::f32 && output->dims.count() > 0)
      std::printf(" %g ...", *output->as<const float>());
    std::printf("\n");
  }
}
