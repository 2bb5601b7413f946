#include "ops/rnn.h"

#include <tuple>

#include "base/counted.h"
#include "kernels/cuda/rnn.cuh.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

constexpr int64_t kMostTile = 4;  // sequences of a block
constexpr int64_t kMostShared = int64_t{96} << 10;

struct Extents {
  int64_t time, batch, in, hidden, width, dirs, tile, threads;

  explicit Extents(const Problem& problem) {
    const Rnn& op = *problem.op.as<Rnn>();
    const Dims x = dims_of(problem.inputs[0]);
    time = x[0], batch = x[1], in = x[2];
    hidden = op.hidden, width = op.gates() * op.hidden, dirs = op.directions();
    tile = std::clamp<int64_t>(kMostShared / state_bytes(), 1, std::min(batch, kMostTile));
    threads = std::clamp<int64_t>((width + 31) / 32 * 32, 64, 1024);
  }
  int64_t state_bytes() const { return static_cast<int64_t>(sizeof(float)) * (2 * hidden + width); }
};

struct Activation {
  std::string_view name;
  const char* text;  // of x, and the parameters a and b
};

constexpr Activation kActivations[] = {{"sigmoid", "sigmoid(x)"},
                                       {"tanh", "tanhf(x)"},
                                       {"relu", "most(x, 0.0f)"},
                                       {"affine", "a * x + b"},
                                       {"leakyrelu", "x < 0 ? a * x : x"},
                                       {"thresholdedrelu", "x > a ? x : 0.0f"},
                                       {"scaledtanh", "a * tanhf(b * x)"},
                                       {"hardsigmoid", "least(most(a * x + b, 0.0f), 1.0f)"},
                                       {"elu", "x < 0 ? a * expm1f(x) : x"},
                                       {"softsign", "x / (1 + fabsf(x))"},
                                       {"softplus", "softplus(x)"}};

const Activation* find_activation(std::string_view name) {
  const auto* found = std::find_if(std::begin(kActivations), std::end(kActivations),
                                   [&](const Activation& a) { return a.name == name; });
  return found == std::end(kActivations) ? nullptr : found;
}

std::string supports(const Problem& problem) {
  const auto* op = problem.op.as<Rnn>();
  if (op == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  for (const std::string& name : op->activations)
    if (find_activation(name) == nullptr) return fmt::format("activation '{}'", name);
  const Extents e(problem);
  if (e.time * e.batch * e.in == 0) return "empty";
  if (e.state_bytes() > kMostShared) return fmt::format("states of {}", counted(e.state_bytes(), "byte"));
  return e.time * e.batch * e.dirs * e.width > INT32_MAX ? "2^31 gates or more" : "";
}

// `float actK(int direction, float x)` for each of the cell's activations.
std::string activations_of(const Rnn& op) {
  std::string text;
  for (size_t k = 0; k < op.functions(); ++k) {
    text += fmt::format("__device__ inline float act{}(int direction, float x) {{\n", k);
    if (op.clip > 0) text += fmt::format("  x = least(most(x, -{0}), {0});\n", cuda::float_literal(op.clip));
    for (size_t d = 0; d < static_cast<size_t>(op.directions()); ++d) {
      const size_t i = d * op.functions() + k;
      text += fmt::format("  if (direction == {}) {{\n    const float a = {}, b = {};\n    return {};\n  }}\n", d,
                          cuda::float_literal(op.alpha[i]), cuda::float_literal(op.beta[i]),
                          find_activation(op.activations[i])->text);
    }
    text += "  return x;\n}\n";
  }
  return text;
}

// Whether weights and biases are packed, so that neighbouring gates are neighbours in memory; else they are read as
// they come, gate by gate.
bool packs(const Problem& problem) {
  return problem.is_constant(1) && problem.is_constant(2) && (!has(problem, 3) || problem.is_constant(3));
}

std::string weights_of(const Problem& problem) {
  const bool packed = packs(problem);
  const char* place = packed ? "((i64)(direction) * {0} + (k)) * WIDTH + (column)"
                             : "((i64)(direction) * WIDTH + (column)) * {0} + (k)";
  return fmt::format("#define W(direction, k, column) (float)w[{}]\n#define R(direction, k, column) (float)r[{}]\n",
                     fmt::format(fmt::runtime(place), "IN"), fmt::format(fmt::runtime(place), "HIDDEN")) +
         (packed || has(problem, 3)
              ? "#define BIAS(direction, which, column) (float)bias[((direction) * 2 + (which)) * WIDTH + (column)]\n"
              : "#define BIAS(direction, which, column) 0.0f\n");
}

// What comes from inputs and goes to outputs that need not be there.
std::string optional_tensors(const Problem& problem) {
  struct Row {
    size_t input;
    const char *name, *macro;
  };
  static constexpr Row kRows[] = {{5, "h0", "START_H"}, {6, "c0", "START_C"}, {7, "peepholes", "PEEPHOLE"}};
  std::string text, outputs, inputs;
  const char* type = cuda::element_type(problem.inputs[0].dtype);
  text += has(problem, 4) ? "#define LENGTH(batch) (int)least(most((i64)lengths[batch], 0LL), (i64)TIME)\n"
                          : "#define LENGTH(batch) TIME\n";
  if (has(problem, 4)) inputs += ", const int* __restrict__ lengths";
  for (const Row& row : kRows) {
    text += has(problem, row.input) ? fmt::format("#define {}(i) (float){}[i]\n", row.macro, row.name)
                                    : fmt::format("#define {}(i) 0.0f\n", row.macro);
    if (has(problem, row.input)) inputs += fmt::format(", const {}* __restrict__ {}", type, row.name);
  }
  std::string store = "(void)0";
  for (const auto& [output, name, value] : {std::tuple{1, "last_h", "h"}, std::tuple{2, "last_c", "c"}}) {
    if (problem.outputs.size() <= static_cast<size_t>(output)) continue;
    outputs += fmt::format(", {}* __restrict__ {}", type, name);
    store += fmt::format(", {}[i] = (T)({})", name, value);
  }
  const bool packed = packs(problem);
  const std::string weights = fmt::format(", const {0}* __restrict__ w, const {0}* __restrict__ r", type);
  if (packed) inputs += weights + ", const float* __restrict__ bias";
  else inputs = weights + (has(problem, 3) ? fmt::format(", const {}* __restrict__ bias", type) : "") + inputs;
  return text + fmt::format(
                    "#define STORE_LAST(i, h, c) {0}\ntypedef {1} T;\n#define PARAMETERS {1}* __restrict__ y{2}, "
                    "const {1}* __restrict__ x{3}, float* __restrict__ gates\n",
                    store, type, outputs, inputs);
}

Result<cuda::Source> source(const Problem& problem) {
  const Rnn& op = *problem.op.as<Rnn>();
  const Extents e(problem);
  cuda::Source source{
      .text = fmt::format("#define TIME {}\n#define BATCH {}\n#define IN {}\n#define HIDDEN {}\n#define WIDTH {}\n"
                          "#define DIRS {}\n#define TILE {}\n#define THREADS {}\n#define RESET_AFTER {:d}\n"
                          "#define INPUT_FORGET {:d}\n#define REVERSE {:d}\n{}",
                          e.time, e.batch, e.in, e.hidden, e.width, e.dirs, e.tile, e.threads, op.linear_before_reset,
                          op.input_forget, op.direction == "reverse",
                          op.cell == "lstm"  ? "#define LSTM\n"
                          : op.cell == "gru" ? "#define GRU\n"
                                             : "") +
              weights_of(problem) + optional_tensors(problem) + activations_of(op) + kernels::rnn_cuh};
  if (!packs(problem)) return source;
  source.drops.assign(problem.inputs.size(), false);
  std::fill_n(source.drops.begin() + 1, has(problem, 3) ? 3 : 2, true);
  Tensor bias(DType::f32, {e.dirs * 2 * e.width});
  if (has(problem, 3))
    for (int64_t i = 0; i < bias.count(); ++i) bias.set(i, problem.constants[3].at(i));
  source.packed = {cuda::permuted(problem.constants[1], {0, 2, 1}), cuda::permuted(problem.constants[2], {0, 2, 1}),
                   bias};
  return source;
}

cuda::Launch launch(const Problem& problem) {
  const Extents e(problem);
  const auto blocks = [](int64_t count, int64_t each) { return static_cast<unsigned>((count + each - 1) / each); };
  return {.grid = {blocks(e.batch, e.tile), static_cast<unsigned>(e.dirs)},
          .block = {static_cast<unsigned>(e.threads)},
          .shared_bytes = static_cast<unsigned>(e.tile * e.state_bytes()),
          .workspace_bytes = static_cast<int64_t>(sizeof(float)) * e.time * e.batch * e.dirs * e.width,
          .before = cuda::Stream::Shape{.grid = {blocks(e.time * e.batch, 32), blocks(e.dirs * e.width, 32)},
                                        .block = {256}}};
}

}  // namespace

std::span<const Tactic> cuda_rnn_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.rnn")};
  return kRows;
}

}  // namespace hone
