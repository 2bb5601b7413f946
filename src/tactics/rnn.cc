#include "ops/rnn.h"

#include <algorithm>
#include <cstring>

#include "base/counted.h"
#include "kernels/cpu/bf16/rows.h"
#include "kernels/cpu/gemm/gemm.h"
#include "kernels/cpu/pointwise/pointwise.h"
#include "tactics/in_bf16.h"
#include "tactics/rnn_cell.h"

namespace hone {
namespace {

cpu::ConvProblem as_conv(const cpu::GemmProblem& p) { return {.w = p.m, .cin = p.k, .cout = p.n, .out_ldc = p.ldc}; }

// What multiplies states and inputs by weights that are packed for it: f32 by f32, or factors that are rounded to bf16,
// with sums in f32.
struct Multiplier {
  cpu::GemmContext context;
  const cpu::Bf16Kernel* bf16 = nullptr;

  size_t packed_bytes(int64_t n, int64_t k) const {
    return bf16 != nullptr ? cpu::bf16_packed_bytes({.cin = k, .cout = n}, *bf16)
                           : cpu::gemm_packed_bytes(n, k, context.tier);
  }
  // Of n rows of k weights.
  void pack(const float* weights, int64_t n, int64_t k, float* packed) const {
    if (bf16 != nullptr) cpu::bf16_pack({.cin = k, .cout = n}, *bf16, {weights, k, 1, 0}, packed);
    else cpu::gemm_pack(weights, k, true, n, k, context.tier, packed);
  }
  size_t workspace_bytes(const cpu::GemmProblem& p) const {
    return bf16 != nullptr ? cpu::bf16_workspace_bytes(as_conv(p), *bf16, {.threads = context.threads})
                           : cpu::gemm_workspace_bytes(p, context);
  }
  void run(const cpu::GemmProblem& p, const float* a, const float* packed, float* c, const cpu::Epilogue& epilogue,
           void* workspace, cpu::ThreadPool& pool) const {
    if (bf16 == nullptr) return cpu::gemm(p, context, a, packed, c, epilogue, workspace, pool);
    cpu::bf16_conv(as_conv(p), *bf16, {.threads = context.threads},
                   {.in = a, .packed = packed, .out = c, .epilogue = epilogue, .workspace = workspace, .pool = &pool});
  }
};

// Extents, and where a direction's parts lie in the packed weights: offsets in floats, aligned as a GEMM needs them.
struct Layout {
  int64_t time, batch, in, hidden, width, dirs;
  bool gru, reset_after;  // reset_after: the reset gate applies after the recurrent product
  int64_t joint;          // gates that one recurrent product serves; the candidate of a gru has its own
  int64_t input = 0, recurrent = 0, candidate = 0, bias = 0, candidate_bias = 0, total = 0;
  Multiplier multiplier;

  Layout(const Problem& problem, const Multiplier& m) : multiplier(m) {
    const Rnn& op = *problem.op.as<Rnn>();
    const Dims x = dims_of(problem.inputs[0]);
    time = x[0], batch = x[1], in = x[2];
    hidden = op.hidden, width = op.gates() * op.hidden, dirs = op.directions();
    gru = op.cell == "gru", reset_after = gru && op.linear_before_reset;
    joint = gru ? 2 * hidden : width;
    const auto take = [&](int64_t count) {
      const int64_t at = total;
      total += cpu::round_up(count, 16);
      return at;
    };
    const auto take_matrix = [&](int64_t n, int64_t k) {
      return take(static_cast<int64_t>(multiplier.packed_bytes(n, k) / sizeof(float)));
    };
    input = take_matrix(width, in);
    recurrent = take_matrix(joint, hidden);
    if (gru) candidate = take_matrix(hidden, hidden);
    bias = take(width);
    candidate_bias = take(hidden);
  }

  // Weights and bias (may be null) of all directions, as the op has them.
  void pack(const float* w, const float* r, const float* b, float* packed) const {
    for (int64_t d = 0; d < dirs; ++d, w += width * in, r += width * hidden, packed += total) {
      multiplier.pack(w, width, in, packed + input);
      multiplier.pack(r, joint, hidden, packed + recurrent);
      if (gru) multiplier.pack(r + joint * hidden, hidden, hidden, packed + candidate);
      float *sum = packed + bias, *apart = packed + candidate_bias;
      std::fill(sum, sum + width, 0.f);
      std::fill(apart, apart + hidden, 0.f);
      if (b == nullptr) continue;
      for (int64_t j = 0; j < width; ++j) sum[j] = reset_after && j >= joint ? b[j] : b[j] + b[width + j];
      for (int64_t j = 0; j < hidden && gru; ++j) apart[j] = b[width + joint + j];
      b += 2 * width;
    }
  }
};

// Hands out 64-byte aligned parts of a workspace.
struct Workspace {
  int64_t bytes = 0;
  int64_t take(size_t count) {
    const int64_t at = bytes;
    bytes += cpu::round_up(static_cast<int64_t>(count), 64);
    return at;
  }
  int64_t take_floats(int64_t count) { return take(static_cast<size_t>(count) * sizeof(float)); }
};

struct Direction {
  std::optional<cpu::PointwisePlan> first, second;
  bool reverse = false;
};

// What is computed in f32, wherever it comes from and goes to. Null: it is absent.
struct Values {
  const float *x = nullptr, *h0 = nullptr, *c0 = nullptr, *peepholes = nullptr;
  float *y = nullptr, *h = nullptr, *c = nullptr;
};

class RnnKernel final : public Kernel {
 public:
  static Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed,
                                                    const Machine& machine, const cpu::Bf16Kernel* bf16);
  int64_t workspace_bytes() const override { return workspace_.bytes; }
  Status run(const KernelArgs& args) const override;

 private:
  // Where a direction's memory is during one run.
  struct Run {
    const KernelArgs& args;
    const Values& values;
    const float* weights;
    float *gates, *cell, *extra;
    void* scratch;
    int64_t d;
  };

  RnnKernel(const Problem& problem, const Machine& machine, const cpu::Bf16Kernel* bf16)
      : at_(problem, {{tier_of(machine), machine.threads}, bf16}),
        stored_(in_bf16(problem)),
        lstm_(problem.op.as<Rnn>()->cell == "lstm"),
        peepholes_(has(problem, 7)),
        lengths_(has(problem, 4)),
        rows_(lengths_ ? 1 : at_.batch) {}

  Status plan(const Rnn& op);
  void place(const Problem& problem, const Machine& machine);
  Values values_of(const KernelArgs& args) const;
  void store(const KernelArgs& args, const Values& values) const;
  template <class T>
  T* part(const KernelArgs& args, int64_t offset) const {
    return reinterpret_cast<T*>(args.workspace + offset);
  }
  const float* run_sequence(const Run& run, const float* h, int64_t first, int64_t length) const;
  void step(const Run& run, const float* h, float* gates, float* cell, float* out) const;
  void multiply(const Run& run, const cpu::GemmProblem& p, const float* a, int64_t weights, const float* bias,
                const float* residual, float* c) const {
    cpu::Epilogue epilogue;
    epilogue.bias = bias;
    epilogue.residual = residual;
    at_.multiplier.run(p, a, run.weights + weights, c, epilogue, run.scratch, run.args.pool);
  }

  Layout at_;
  bool stored_;  // tensors lie in memory as bf16
  bool lstm_, peepholes_, lengths_;
  int64_t rows_;  // sequences that advance together: the batch, or one when lengths differ
  std::vector<Direction> directions_;
  cpu::GemmProblem input_, joint_, candidate_;
  Tensor packed_;  // undefined when weights are not constant
  Workspace workspace_;
  int64_t gates_ = 0, cell_ = 0, zeros_ = 0, extra_ = 0, weights_ = 0, scratch_ = 0;
  std::vector<int64_t> inputs_, outputs_;  // where those are in f32 that lie in bf16; -1: nowhere
};

Status RnnKernel::plan(const Rnn& op) {
  const Dims rows{rows_, at_.hidden}, strides{at_.width, 1}, vector{at_.hidden};
  const cpu::PointwiseOperand gate{DType::f32, rows, strides}, state{DType::f32, rows}, peephole{DType::f32, vector};
  std::vector<cpu::PointwiseOperand> operands(static_cast<size_t>(op.gates()), gate);
  if (op.cell != "rnn") operands.push_back(state);
  if (at_.reset_after) operands.push_back(state);
  if (peepholes_) operands.insert(operands.end(), 3, peephole);
  for (int64_t d = 0; d < at_.dirs; ++d) {
    const CellPrograms programs = cell_programs(op, d, peepholes_);
    Direction& direction = directions_.emplace_back();
    direction.reverse = op.direction == "reverse" || d == 1;
    if (!programs.first.code.empty() && !at_.reset_after) {
      HONE_TRY(direction.first, cpu::PointwisePlan::make(programs.first, operands, state, at_.multiplier.context.tier));
    }
    HONE_TRY(direction.second, cpu::PointwisePlan::make(programs.second, operands, state, at_.multiplier.context.tier));
  }
  return {};
}

void RnnKernel::place(const Problem& problem, const Machine& machine) {
  input_ = {.m = at_.time * at_.batch, .n = at_.width, .k = at_.in};
  joint_ = {.m = rows_, .n = at_.joint, .k = at_.hidden, .ldc = at_.width};
  candidate_ = {.m = rows_, .n = at_.hidden, .k = at_.hidden, .ldc = at_.reset_after ? at_.hidden : at_.width};
  size_t scratch = 0;
  for (const cpu::GemmProblem* p : {&input_, &joint_, &candidate_})
    scratch = std::max(scratch, at_.multiplier.workspace_bytes(*p));
  for (const Direction& d : directions_)
    for (const auto* plan : {&d.first, &d.second})
      if (plan->has_value()) scratch = std::max(scratch, (*plan)->workspace_bytes(machine.threads));
  scratch_ = workspace_.take(scratch);
  gates_ = workspace_.take_floats(at_.time * at_.batch * at_.width);
  cell_ = workspace_.take_floats(at_.batch * at_.hidden);
  zeros_ = workspace_.take_floats(at_.batch * at_.hidden);
  if (at_.gru) extra_ = workspace_.take_floats(rows_ * at_.hidden);
  if (!packed_.defined()) weights_ = workspace_.take_floats(at_.dirs * at_.total);
  if (!stored_) return;
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    const bool read = (i == 0 || i > 4) && has(problem, i);
    inputs_.push_back(read ? workspace_.take_floats(element_count(dims_of(problem.inputs[i]))) : -1);
  }
  for (const TensorType& type : problem.outputs)
    outputs_.push_back(type.defined() ? workspace_.take_floats(element_count(dims_of(type))) : -1);
}

// Tensors in bf16 are widened into the workspace, and have their results there before they are stored.
Values RnnKernel::values_of(const KernelArgs& args) const {
  const auto input = [&](size_t i) -> const float* {
    if (i >= args.inputs.size() || !args.inputs[i]->defined()) return nullptr;
    if (!stored_) return args.inputs[i]->data<float>();
    auto* wide = part<float>(args, inputs_[i]);
    cpu::avx512_bf16::widen_row(args.inputs[i]->data<bf16>(), args.inputs[i]->count(), wide);
    return wide;
  };
  const auto output = [&](size_t i) -> float* {
    if (i >= args.outputs.size() || !args.outputs[i]->defined()) return nullptr;
    return stored_ ? part<float>(args, outputs_[i]) : args.outputs[i]->mutable_data<float>();
  };
  return {input(0), input(5), input(6), input(7), output(0), output(1), output(2)};
}

void RnnKernel::store(const KernelArgs& args, const Values& values) const {
  const float* const results[] = {values.y, values.h, values.c};
  for (size_t i = 0; stored_ && i < args.outputs.size(); ++i)
    if (results[i] != nullptr)
      cpu::avx512_bf16::narrow_row(results[i], args.outputs[i]->count(), args.outputs[i]->mutable_data<bf16>());
}

Result<std::unique_ptr<const Kernel>> RnnKernel::make(const Problem& problem, std::span<const Tensor> packed,
                                                      const Machine& machine, const cpu::Bf16Kernel* bf16) {
  std::unique_ptr<RnnKernel> made(new RnnKernel(problem, machine, bf16));
  if (!packed.empty()) made->packed_ = packed[0];
  if (made->packed_.defined() && made->packed_.count() != made->at_.dirs * made->at_.total)
    return invalid("{}, expected {}", counted(made->packed_.count(), "packed weight"),
                   made->at_.dirs * made->at_.total);
  HONE_CHECK(made->plan(*problem.op.as<Rnn>()));
  made->place(problem, machine);
  return std::unique_ptr<const Kernel>(std::move(made));
}

// From a row of gates that holds the input's part: adds the state's part and computes the next state.
void RnnKernel::step(const Run& run, const float* h, float* gates, float* cell, float* out) const {
  const Direction& d = directions_[static_cast<size_t>(run.d)];
  multiply(run, joint_, h, at_.recurrent, nullptr, gates, gates);
  const void* operands[8] = {gates};
  size_t count = 0;
  for (int64_t g = 0; g * at_.hidden < at_.width; ++g) operands[count++] = gates + g * at_.hidden;
  if (lstm_) operands[count++] = cell;
  if (at_.gru) operands[count++] = h;
  if (at_.reset_after) operands[count++] = run.extra;
  if (peepholes_)
    for (int64_t p = 0; p < 3; ++p) operands[count++] = run.values.peepholes + (run.d * 3 + p) * at_.hidden;
  if (d.first) d.first->run(operands, lstm_ ? cell : run.extra, run.scratch, run.args.pool);
  float* last = gates + at_.joint;
  if (at_.reset_after)
    multiply(run, candidate_, h, at_.candidate, run.weights + at_.candidate_bias, nullptr, run.extra);
  else if (at_.gru) multiply(run, candidate_, run.extra, at_.candidate, nullptr, last, last);
  d.second->run(operands, out, run.scratch, run.args.pool);
}

// Runs rows_ sequences from the first on; returns their last states.
const float* RnnKernel::run_sequence(const Run& run, const float* h, int64_t first, int64_t length) const {
  float* y = run.values.y;
  float* cell = run.cell + first * at_.hidden;
  for (int64_t s = 0; s < length; ++s) {
    const int64_t t = directions_[static_cast<size_t>(run.d)].reverse ? length - 1 - s : s;
    float* out = y + ((t * at_.dirs + run.d) * at_.batch + first) * at_.hidden;
    step(run, h, run.gates + (t * at_.batch + first) * at_.width, cell, out);
    h = out;
  }
  return h;
}

Status RnnKernel::run(const KernelArgs& args) const {
  const int64_t states = at_.batch * at_.hidden;
  const auto bytes = [](int64_t count) { return static_cast<size_t>(count) * sizeof(float); };
  const Values values = values_of(args);
  const float* weights = packed_.defined() ? packed_.data<float>() : part<float>(args, weights_);
  if (!packed_.defined()) {
    const auto given = [&](size_t i) { return args.inputs[i]->defined() ? args.inputs[i]->data<float>() : nullptr; };
    at_.pack(given(1), given(2), args.inputs.size() > 3 ? given(3) : nullptr, part<float>(args, weights_));
  }
  if (lengths_) std::memset(values.y, 0, bytes(at_.time * at_.dirs * states));
  auto* zeros = part<float>(args, zeros_);
  std::memset(zeros, 0, bytes(states));
  for (int64_t d = 0; d < at_.dirs; ++d) {
    const Run run{args,
                  values,
                  weights + d * at_.total,
                  part<float>(args, gates_),
                  part<float>(args, cell_),
                  part<float>(args, extra_),
                  part<void>(args, scratch_),
                  d};
    multiply(run, input_, values.x, at_.input, run.weights + at_.bias, nullptr, run.gates);
    std::memcpy(run.cell, values.c0 != nullptr ? values.c0 + d * states : zeros, bytes(states));
    for (int64_t first = 0; first < at_.batch; first += rows_) {
      const int64_t length =
          lengths_ ? std::clamp<int64_t>(args.inputs[4]->data<int32_t>()[first], 0, at_.time) : at_.time;
      const float* h = (values.h0 != nullptr ? values.h0 + d * states : zeros) + first * at_.hidden;
      h = run_sequence(run, h, first, length);
      if (values.h != nullptr) std::memcpy(values.h + d * states + first * at_.hidden, h, bytes(rows_ * at_.hidden));
    }
    if (values.c != nullptr) std::memcpy(values.c + d * states, run.cell, bytes(states));
  }
  store(args, values);
  return {};
}

std::string refuse_empty(const Problem& problem) {
  for (int64_t d : dims_of(problem.inputs[0]))
    if (d == 0) return "an empty input";
  return {};
}

std::string supports(const Problem& problem, const Machine&) {
  if (problem.op.as<Rnn>() == nullptr) return kAnotherOp;
  if (std::string reason = refuse_unless_fixed_f32(problem); !reason.empty()) return reason;
  return refuse_empty(problem);
}

bool has_constant_weights(const Problem& problem) {
  return problem.is_constant(1) && problem.is_constant(2) && (!has(problem, 3) || problem.is_constant(3));
}

template <cpu::Bf16Set kSet>
std::string supports_bf16(const Problem& problem, const Machine& machine) {
  if (problem.op.as<Rnn>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (!in_bf16(problem) && !machine.bf16) return "bf16 is not allowed";
  if (tier_of(machine) < cpu::Tier::avx512 || !cpu::has_bf16_set(kSet))
    return fmt::format("needs {}", cpu::bf16_set_name(kSet));
  Problem floats = problem;
  if (has(problem, 4)) floats.inputs[4] = {};  // the lengths are integers
  if (std::string reason = refuse_other_types(floats, in_bf16(problem) ? DType::bf16 : DType::f32); !reason.empty())
    return reason;
  if (!problem.constants.empty() && !has_constant_weights(problem)) return "weights are not constant";
  return refuse_empty(problem);
}

// Input, recurrent weights and biases, when they are packed.
bool drops_weights(size_t input, std::span<const Tensor> packed) { return !packed.empty() && input >= 1 && input <= 3; }

Result<Prepared> prepare_for(const Problem& problem, const Machine& machine, const cpu::Bf16Kernel* bf16) {
  if (!has_constant_weights(problem)) return Prepared{};
  const Layout layout(problem, {{tier_of(machine), machine.threads}, bf16});
  const Problem floats = with_constants_in_f32(problem);
  Tensor packed(DType::f32, {layout.dirs * layout.total});
  const float* bias = has(problem, 3) ? floats.constants[3].data<float>() : nullptr;
  layout.pack(floats.constants[1].data<float>(), floats.constants[2].data<float>(), bias, packed.mutable_data<float>());
  return Prepared{{packed}, {false, true, true, true}};
}

Result<Prepared> prepare(const Problem& problem, int, const Machine& machine) {
  return prepare_for(problem, machine, nullptr);
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int,
                                           const Machine& machine) {
  return RnnKernel::make(problem, packed, machine, nullptr);
}

template <cpu::Bf16Set kSet>
Result<Prepared> prepare_bf16(const Problem& problem, int, const Machine& machine) {
  return prepare_for(problem, machine, &cpu::bf16_kernel(kSet));
}

template <cpu::Bf16Set kSet>
Result<std::unique_ptr<const Kernel>> make_bf16(const Problem& problem, std::span<const Tensor> packed, int,
                                                const Machine& machine) {
  if (packed.empty()) return invalid("packed weights are missing");
  return RnnKernel::make(problem, packed, machine, &cpu::bf16_kernel(kSet));
}

template <cpu::Bf16Set kSet>
constexpr Tactic row(std::string_view name) {
  return {name, supports_bf16<kSet>, one_variant, prepare_bf16<kSet>, make_bf16<kSet>, nullptr, drops_weights};
}

}  // namespace

std::span<const Tactic> rnn_tactics() {
  static constexpr Tactic kRows[] = {row<cpu::Bf16Set::amx>("rnn_amx_bf16"),
                                     row<cpu::Bf16Set::avx512>("rnn_avx512_bf16"),
                                     {"rnn", supports, one_variant, prepare, make, nullptr, drops_weights}};
  return kRows;
}

}  // namespace hone
