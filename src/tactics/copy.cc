// Ops that only move runs of elements: what they read from constant inputs is resolved when the engine is built.
#include "kernels/cpu/copy/copy.h"

#include <algorithm>
#include <cstring>

#include "ops/elements.h"
#include "ops/movement.h"
#include "ops/shape.h"
#include "ops/view.h"
#include "tactics/windows.h"

namespace hone {
namespace {

using MadeKernel = Result<std::unique_ptr<const Kernel>>;

// Null when every input from `first` on but `except` is absent or constant, or the problem comes from an engine.
const char* not_constant(const Problem& problem, size_t first, size_t except = 0) {
  for (size_t i = first; i < problem.constants.size(); ++i)
    if (i != except && has(problem, i) && !problem.is_constant(i)) return "its parameters are known only at run time";
  return nullptr;
}

template <class T>
std::string supports_op(const Problem& problem, const Machine&) {
  if (problem.op.as<T>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  const char* reason = not_constant(problem, 1);
  return reason == nullptr ? "" : reason;
}

// Reads nothing but input 0.
Result<Prepared> drop_parameters(const Problem& problem, int, const Machine&) {
  Prepared prepared;
  for (size_t i = 0; i < problem.inputs.size(); ++i) prepared.drops.push_back(i > 0);
  return prepared;
}

int64_t element_bytes(const Problem& problem) { return static_cast<int64_t>(size_of(problem.inputs[0].dtype)); }

Result<int64_t> axis_of(const Problem& problem, int64_t axis) {
  return normalize_axis(axis, problem.inputs[0].shape.rank());
}

MadeKernel copy_all(Result<cpu::CopyPlan> made) {
  HONE_TRY(cpu::CopyPlan plan, std::move(made));
  return kernel([plan = std::move(plan)](const KernelArgs& args) {
    plan.run(args.inputs[0]->raw(), args.outputs[0]->mutable_raw(), args.pool);
    return Status();
  });
}

MadeKernel nothing_to_do() {
  return kernel([](const KernelArgs&) { return Status(); });
}

// Slice. Packed: the starts of all dims, then their steps.

Result<Prepared> prepare_slice(const Problem& problem, int variant, const Machine& machine) {
  HONE_TRY(const auto window, slice_window(problem));
  HONE_TRY(Prepared prepared, drop_parameters(problem, variant, machine));
  prepared.packed.push_back(Tensor::vector(window));
  return prepared;
}

MadeKernel make_slice(const Problem& problem, std::span<const Tensor> packed, int, const Machine&) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  if (packed.size() != 1 || packed[0].count() != 2 * static_cast<int64_t>(x.size()))
    return invalid("slice: bad packed data");
  if (element_count(y) == 0) return nothing_to_do();
  const auto numbers = packed[0].to_ints();
  const auto all = std::span(numbers);
  return copy_all(cpu::CopyPlan::slice(x, all.first(x.size()), all.last(x.size()), y, element_bytes(problem)));
}

// Concat and Split: the part of a dim that one tensor holds.

struct PartCopy {
  cpu::CopyPlan plan;
  size_t tensor;
  int64_t offset;  // bytes into the whole
};

// Copies part to whole, or whole to part.
Result<std::vector<PartCopy>> part_copies(const Types& parts, const TensorType& whole, int64_t axis, bool to_whole) {
  const Dims strides = strides_of(dims_of(whole));
  const auto bytes = static_cast<int64_t>(size_of(whole.dtype));
  std::vector<PartCopy> copies;
  int64_t begin = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Dims dims = dims_of(parts[i]), own = strides_of(dims);
    const int64_t offset = begin * strides[static_cast<size_t>(axis)] * bytes;
    begin += dims[static_cast<size_t>(axis)];
    if (element_count(dims) == 0) continue;
    HONE_TRY(auto plan, cpu::CopyPlan::make(dims, to_whole ? own : strides, to_whole ? strides : own, bytes));
    copies.push_back({std::move(plan), i, offset});
  }
  return copies;
}

MadeKernel make_concat(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  HONE_TRY(const int64_t axis, axis_of(problem, problem.op.as<Concat>()->axis));
  HONE_TRY(auto copies, part_copies(problem.inputs, problem.outputs[0], axis, true));
  return kernel([copies = std::move(copies)](const KernelArgs& args) {
    auto* y = args.outputs[0]->mutable_data<std::byte>();
    for (const PartCopy& c : copies)
      if (const void* x = args.inputs[c.tensor]->raw(); x != y + c.offset) c.plan.run(x, y + c.offset, args.pool);
    return Status();
  });
}

std::string supports_concat(const Problem& problem, const Machine&) {
  if (problem.op.as<Concat>() == nullptr) return kAnotherOp;
  return problem.is_static() ? "" : "shapes are not fixed";
}

MadeKernel make_split(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  HONE_TRY(const int64_t axis, axis_of(problem, problem.op.as<Split>()->axis));
  HONE_TRY(auto copies, part_copies(problem.outputs, problem.inputs[0], axis, false));
  return kernel([copies = std::move(copies)](const KernelArgs& args) {
    const auto* x = args.inputs[0]->data<std::byte>();
    for (const PartCopy& c : copies) c.plan.run(x + c.offset, args.outputs[c.tensor]->mutable_raw(), args.pool);
    return Status();
  });
}

// Pad. Packed: the amounts before and after every dim. The value, when there is one, may come at run time.

cpu::PadMode pad_mode(const std::string& mode) {
  return mode == "reflect" ? cpu::PadMode::reflect
         : mode == "edge"  ? cpu::PadMode::edge
         : mode == "wrap"  ? cpu::PadMode::wrap
                           : cpu::PadMode::constant;
}

std::string supports_pad(const Problem& problem, const Machine&) {
  const auto* op = problem.op.as<Pad>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (has(problem, 2) &&
      (problem.inputs[2].dtype != problem.inputs[0].dtype || element_count(dims_of(problem.inputs[2])) != 1))
    return "the value is not one element of the input's type";
  if (const char* reason = not_constant(problem, 1, 2)) return reason;
  if (problem.constants.empty()) return "";
  const auto pads = all_pads(problem);
  const size_t rank = pads.size() / 2;
  if (rank != problem.inputs[0].shape.dims.size()) return "pads that do not fit the input";
  for (size_t d = 0; d < rank && op->mode != "constant"; ++d)
    if (std::min(pads[d], pads[d + rank]) < 0 && std::max(pads[d], pads[d + rank]) > 0)
      return "a dim is cropped and then padded from what is left";
  return "";
}

// Pads and axes; the value is read.
bool pad_drops(size_t input, std::span<const Tensor>) { return input == 1 || input == 3; }

Result<Prepared> prepare_pad(const Problem& problem, int, const Machine&) {
  Prepared prepared;
  prepared.packed.push_back(Tensor::vector(all_pads(problem)));
  for (size_t i = 0; i < problem.inputs.size(); ++i) prepared.drops.push_back(pad_drops(i, {}));
  return prepared;
}

MadeKernel make_pad(const Problem& problem, std::span<const Tensor> packed, int, const Machine&) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  if (packed.size() != 1 || packed[0].count() != 2 * static_cast<int64_t>(x.size()))
    return invalid("pad: bad packed data");
  const auto numbers = packed[0].to_ints();
  const auto begin = std::span(numbers).first(x.size()), end = std::span(numbers).last(x.size());
  const auto fits = [&](size_t d) {
    int64_t sum = 0;
    return !__builtin_add_overflow(begin[d], end[d], &sum) && !__builtin_add_overflow(sum, x[d], &sum) && sum == y[d];
  };
  for (size_t d = 0; d < x.size(); ++d)
    if (!fits(d)) return invalid("pad: packed data does not fit the output {}", to_string(y));
  if (element_count(y) == 0) return nothing_to_do();
  const cpu::PadMode mode = pad_mode(problem.op.as<Pad>()->mode);
  HONE_TRY(auto plan, cpu::PadPlan::make(x, begin, end, mode, element_bytes(problem)));
  return kernel([plan = std::move(plan), given = has(problem, 2)](const KernelArgs& args) {
    static constexpr char kZero[16] = {};
    const void* value = given ? args.inputs[2]->raw() : kZero;
    plan.run(args.inputs[0]->raw(), args.outputs[0]->mutable_raw(), value, args.pool);
    return Status();
  });
}

// Expand and Tile: the shapes say everything.

MadeKernel make_expand(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  if (element_count(y) == 0) return nothing_to_do();
  return copy_all(cpu::CopyPlan::expand(x, y, element_bytes(problem)));
}

MadeKernel make_tile(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  const Dims x = dims_of(problem.inputs[0]);
  Dims repeats = dims_of(problem.outputs[0]);
  if (repeats.size() != x.size()) return invalid("tile of {} to {}", to_string(x), to_string(repeats));
  if (element_count(repeats) == 0) return nothing_to_do();
  for (size_t d = 0; d < x.size(); ++d) {
    if (x[d] == 0) return invalid("tile of {} to {}", to_string(x), to_string(repeats));
    repeats[d] /= x[d];
  }
  return copy_all(cpu::CopyPlan::tile(x, repeats, element_bytes(problem)));
}

// Reshape and its like, where they are not views of memory that is there anyway.

std::string supports_view(const Problem& problem, const Machine& machine) {
  if (!problem.op.view()) return kAnotherOp;
  return problem.op.as<Squeeze>() != nullptr     ? supports_op<Squeeze>(problem, machine)
         : problem.op.as<Unsqueeze>() != nullptr ? supports_op<Unsqueeze>(problem, machine)
                                                 : supports_op<Reshape>(problem, machine);
}

MadeKernel make_view(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  const Dims count{element_count(dims_of(problem.inputs[0]))}, step{1};
  if (count[0] == 0) return nothing_to_do();
  HONE_TRY(auto plan, cpu::CopyPlan::make(count, step, step, element_bytes(problem)));
  return kernel([plan = std::move(plan)](const KernelArgs& args) {
    if (args.outputs[0]->raw() != args.inputs[0]->raw())
      plan.run(args.inputs[0]->raw(), args.outputs[0]->mutable_raw(), args.pool);
    return Status();
  });
}

int take_input(const Problem&) { return 0; }

}  // namespace

std::span<const Tactic> copy_tactics() {
  static constexpr Tactic kRows[] = {
      {"slice", supports_op<Slice>, one_variant, prepare_slice, make_slice, nullptr, drops_all_but_first},
      {"concat", supports_concat, one_variant, nothing_to_prepare, make_concat},
      {"split", supports_op<Split>, one_variant, drop_parameters, make_split, nullptr, drops_all_but_first},
      {"pad", supports_pad, one_variant, prepare_pad, make_pad, nullptr, pad_drops},
      {"expand", supports_op<Expand>, one_variant, drop_parameters, make_expand, nullptr, drops_all_but_first},
      {"tile", supports_op<Tile>, one_variant, drop_parameters, make_tile, nullptr, drops_all_but_first},
      {"view", supports_view, one_variant, drop_parameters, make_view, take_input, drops_all_but_first},
  };
  return kRows;
}

}  // namespace hone
