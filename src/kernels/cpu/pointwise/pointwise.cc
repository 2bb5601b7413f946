// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/pointwise/pointwise.h"

#include <cstring>

#include "base/tensor.h"
#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/pointwise/lower.h"

namespace hone::cpu {
namespace {

constexpr int kMaxInputs = 24, kMaxRank = 12;
constexpr int64_t kShortRow = 48;     // rows below this are not worth a block of their own
constexpr int64_t kGrain = 32 << 10;  // simple instructions times values that justify a task

// out[i] = source at position `at` + i of the loop nest; `at` is a multi-index.
template <class T>
void expand(const T* source, T* out, int64_t n, const int64_t* at, std::span<const int64_t> dims,
            std::span<const int64_t> strides) {
  const size_t inner = dims.size() - 1;
  int64_t index[kMaxRank], offset = 0;
  for (size_t d = 0; d <= inner; ++d) index[d] = at[d], offset += at[d] * strides[d];
  while (n > 0) {
    const int64_t run = std::min(n, dims[inner] - index[inner]), stride = strides[inner];
    const T* from = source + offset;
    if (stride == 1) std::memcpy(out, from, static_cast<size_t>(run) * sizeof(T));
    else if (stride == 0) std::fill_n(out, run, *from);
    else
      for (int64_t i = 0; i < run; ++i) out[i] = from[i * stride];
    out += run;
    n -= run;
    offset -= index[inner] * stride;
    index[inner] = 0;
    for (size_t d = inner; d-- > 0;) {
      offset += strides[d];
      if (++index[d] < dims[d]) break;
      offset -= strides[d] * dims[d];
      index[d] = 0;
    }
  }
}

using ExpandFn = void (*)(const void* source, void* out, int64_t n, const int64_t* at, std::span<const int64_t> dims,
                          std::span<const int64_t> strides);
template <class T>
void expand_bytes(const void* source, void* out, int64_t n, const int64_t* at, std::span<const int64_t> dims,
                  std::span<const int64_t> strides) {
  expand(static_cast<const T*>(source), static_cast<T*>(out), n, at, dims, strides);
}
ExpandFn expand_of(size_t size) {
  return size == 8   ? expand_bytes<uint64_t>
         : size == 4 ? expand_bytes<uint32_t>
         : size == 2 ? expand_bytes<uint16_t>
                     : expand_bytes<uint8_t>;
}

// Strides of an operand under the output's dims: 0 where it broadcasts.
Result<std::vector<int64_t>> aligned_strides(const PointwiseOperand& operand, std::span<const int64_t> out,
                                             size_t which) {
  const auto bad = [&] {
    return invalid("pointwise input {} of dims {} does not broadcast to {}", which, to_string(operand.dims),
                   to_string(out));
  };
  if (operand.dims.size() > out.size()) return bad();
  if (!operand.strides.empty() && operand.strides.size() != operand.dims.size())
    return invalid("pointwise input {} has {} strides for {} dims", which, operand.strides.size(), operand.dims.size());
  const Dims dense = strides_of(operand.dims);
  std::vector<int64_t> strides(out.size(), 0);
  const size_t shift = out.size() - operand.dims.size();
  for (size_t d = 0; d < operand.dims.size(); ++d) {
    const int64_t extent = operand.dims[d];
    if (extent == 1) continue;
    if (extent != out[d + shift]) return bad();
    strides[d + shift] = operand.strides.empty() ? dense[d] : operand.strides[d];
  }
  return strides;
}

bool is_dense(std::span<const int64_t> dims, std::span<const int64_t> strides) {
  int64_t expected = 1;
  for (size_t d = dims.size(); d-- > 0; expected *= dims[d])
    if (dims[d] != 1 && strides[d] != expected) return false;
  return true;
}
bool is_constant(std::span<const int64_t> strides) {
  return std::all_of(strides.begin(), strides.end(), [](int64_t s) { return s == 0; });
}

}  // namespace

struct PointwisePlan::State {
  std::vector<int64_t> dims;
  std::vector<std::vector<int64_t>> strides;  // of each input, then of the output, in elements
  std::vector<int64_t> sizes;                 // bytes an element, the same order
  std::vector<Access> access;
  std::vector<ExpandFn> expand;
  Lowered code;
  bool flat = false;  // blocks run over the whole output, not within rows
  int64_t block = 0, count = 0;

  Status choose_access(std::span<const PointwiseOperand> inputs);
  void run_part(Part part, const void* const* inputs, void* output, std::byte* memory) const;
  void run_block(char** place, int64_t n, const int64_t* at) const;

  int64_t row_length() const { return flat ? count : dims.back(); }
  int64_t blocks_per_row() const { return (row_length() + block - 1) / block; }
  int64_t units() const { return row_length() == 0 ? 0 : count / row_length() * blocks_per_row(); }
  size_t register_bytes() const { return static_cast<size_t>(block * code.register_width + 63) / 64 * 64; }
  size_t worker_bytes() const {
    return static_cast<size_t>(code.registers) * register_bytes() + static_cast<size_t>(code.scalar_registers) * 64;
  }
};

// Rows when they are long and each input is contiguous or constant along them, else flat blocks.
Status PointwisePlan::State::choose_access(std::span<const PointwiseOperand> inputs) {
  const auto& out = strides.back();
  const bool dense_output = is_dense(dims, out);
  flat = dims.size() > 1 && dims.back() < kShortRow && dense_output;
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (strides[k].back() == 0 || strides[k].back() == 1 || dims.back() == 1) continue;
    if (!dense_output) return unsupported("pointwise input {} and the output are both strided", k);
    flat = true;
  }
  if (out.back() != 1 && dims.back() != 1) return unsupported("pointwise output is not contiguous along its last dim");
  for (size_t k = 0; k < inputs.size(); ++k) {
    const auto& s = strides[k];
    if (flat) {
      access.push_back(is_constant(s) ? Access::scalar : is_dense(dims, s) ? Access::direct : Access::expand);
    } else {
      access.push_back(s.back() == 0 ? Access::scalar : Access::direct);
    }
    expand.push_back(expand_of(size_of(inputs[k].type)));
  }
  return {};
}

const char* pointwise_supports(const PointwiseProgram& program) {
  if (const char* refusal = lowering_refusal(program)) return refusal;
  if (program.inputs() > kMaxInputs) return "more than 24 inputs";
  const std::vector<Access> access(static_cast<size_t>(program.inputs()), Access::direct);
  return lower_pointwise(program, access, Tier::scalar).ok() ? nullptr : "an instruction has no kernel for its types";
}

Result<PointwisePlan> PointwisePlan::make(const PointwiseProgram& program, std::span<const PointwiseOperand> inputs,
                                          const PointwiseOperand& output, Tier tier) {
  if (const char* refusal = lowering_refusal(program)) return unsupported("pointwise: {}", refusal);
  if (inputs.size() > kMaxInputs) return unsupported("pointwise: {} inputs, at most {}", inputs.size(), kMaxInputs);
  if (static_cast<size_t>(program.inputs()) > inputs.size())
    return invalid("pointwise program needs {} inputs, got {}", program.inputs(), inputs.size());
  for (const auto& instr : program.code)
    if (instr.fn == Fn::input && inputs[static_cast<size_t>(instr.input)].type != instr.type)
      return invalid("pointwise input {} is not {}", instr.input, name(instr.type));
  if (output.type != program.result_type()) return invalid("pointwise output is not {}", name(program.result_type()));
  HONE_CHECK(checked_bytes(output.type, output.dims));

  auto state = std::make_shared<State>();
  state->dims.assign(output.dims.begin(), output.dims.end());
  for (size_t k = 0; k < inputs.size(); ++k) {
    HONE_TRY(auto strides, aligned_strides(inputs[k], output.dims, k));
    state->strides.push_back(std::move(strides));
    state->sizes.push_back(static_cast<int64_t>(size_of(inputs[k].type)));
  }
  HONE_TRY(auto strides, aligned_strides(output, output.dims, inputs.size()));
  state->strides.push_back(std::move(strides));
  state->sizes.push_back(static_cast<int64_t>(size_of(output.type)));
  state->count = element_count(output.dims);
  collapse_dims(state->dims, state->strides);
  if (state->dims.size() > kMaxRank) return unsupported("pointwise over {} dims", state->dims.size());
  HONE_CHECK(state->choose_access(inputs));
  HONE_TRY(state->code, lower_pointwise(program, state->access, tier));
  state->block = state->code.registers == 0 ? 4096 : state->code.registers <= 3 ? 1024 : 512;
  return PointwisePlan(std::move(state));
}

void PointwisePlan::State::run_block(char** place, int64_t n, const int64_t* at) const {
  for (const auto& e : code.expansions) {
    const auto k = static_cast<size_t>(e.input);
    expand[k](place[e.input], place[e.out], n, at, dims, strides[k]);
  }
  for (const auto& step : code.steps)
    step.fn({{place[step.in[0]], place[step.in[1]], place[step.in[2]]}, place[step.out], step.scalar ? 1 : n});
}

void PointwisePlan::State::run_part(Part part, const void* const* inputs, void* output, std::byte* memory) const {
  char* place[kMaxPlaces];
  const int out = code.output_place();
  for (size_t c = 0; c < code.constants.size(); ++c)
    place[code.constant_place(static_cast<int>(c))] = reinterpret_cast<char*>(const_cast<int64_t*>(&code.constants[c]));
  for (int r = 0; r < code.registers; ++r, memory += register_bytes())
    place[code.register_place(r)] = reinterpret_cast<char*>(memory);
  for (int r = 0; r < code.scalar_registers; ++r, memory += 64)
    place[code.scalar_place(r)] = reinterpret_cast<char*>(memory);

  const size_t rank = dims.size();
  for (int64_t unit = part.begin; unit < part.end; ++unit) {
    const int64_t start = unit % blocks_per_row() * block;
    const int64_t n = std::min(block, row_length() - start);
    // The multi-index of the block's first element.
    int64_t at[kMaxRank], rest = flat ? start : unit / blocks_per_row() * dims.back() + start;
    for (size_t d = rank; d-- > 0; rest /= dims[d]) at[d] = rest % dims[d];
    for (int k = 0; k <= out; ++k) {
      char* base = k == out ? static_cast<char*>(output) : static_cast<char*>(const_cast<void*>(inputs[k]));
      const bool expanded = k != out && access[static_cast<size_t>(k)] == Access::expand;
      int64_t offset = 0;
      for (size_t d = 0; d < rank && !expanded; ++d) offset += at[d] * strides[static_cast<size_t>(k)][d];
      place[k] = base + offset * sizes[static_cast<size_t>(k)];
    }
    run_block(place, n, at);
  }
}

size_t PointwisePlan::workspace_bytes(int threads) const {
  return state_->worker_bytes() * static_cast<size_t>(threads);
}

void PointwisePlan::run(const void* const* inputs, void* output, void* workspace, ThreadPool& pool) const {
  const State& s = *state_;
  const int64_t units = s.units();
  const int64_t tasks = std::min(units, task_count(s.count * s.code.cost, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int worker) {
    auto* memory = static_cast<std::byte*>(workspace) + static_cast<size_t>(worker) * s.worker_bytes();
    s.run_part(part_of(units, t, tasks), inputs, output, memory);
  });
}

}  // namespace hone::cpu
