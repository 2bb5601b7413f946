#include "kernels/cpu/resize/resize.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/resize.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

const Tensor& parameter(const Problem& problem, size_t i) {
  static const Tensor kNone;
  const bool given = problem.is_constant(i) && problem.constants[i].count() > 0;
  return given ? problem.constants[i] : kNone;
}

// Which entry of scales or sizes speaks of dim `d`, or -1.
int64_t entry_of(const Resize& op, size_t d, int64_t rank) {
  if (op.axes.empty()) return static_cast<int64_t>(d);
  for (size_t i = 0; i < op.axes.size(); ++i)
    if ((op.axes[i] < 0 ? op.axes[i] + rank : op.axes[i]) == static_cast<int64_t>(d)) return static_cast<int64_t>(i);
  return -1;
}

// The dims that a scale other than 1 or a new size changes.
std::vector<size_t> changed_dims(const Problem& problem) {
  const auto& op = *problem.op.as<Resize>();
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  const Tensor& scales = parameter(problem, 2);
  std::vector<size_t> changed;
  for (size_t d = 0; d < x.size(); ++d) {
    const int64_t entry = entry_of(op, d, static_cast<int64_t>(x.size()));
    const bool scaled = scales.defined() && entry >= 0 && entry < scales.count() && scales.at(entry) != 1;
    if (scaled || x[d] != y[d]) changed.push_back(d);
  }
  return changed;
}

std::string supports(const Problem& problem, const Machine& machine) {
  const auto* op = problem.op.as<Resize>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (std::string reason = refuse_type_or_machine(problem.inputs[0].dtype, machine); !reason.empty()) return reason;
  if (problem.outputs[0].dtype != problem.inputs[0].dtype) return "another type of the result";
  if (op->mode == "cubic") return "cubic interpolation";
  if (op->antialias) return "antialiasing";
  if (op->aspect_policy != "stretch") return "an aspect ratio policy";
  if (op->coordinates == "tf_crop_and_resize") return "a region of interest";
  if (element_count(dims_of(problem.inputs[0])) == 0) return "an empty input";
  if (problem.constants.empty()) return "";
  if (!parameter(problem, 2).defined() && !parameter(problem, 3).defined()) return "sizes are known only at run time";
  const auto changed = changed_dims(problem);
  if (changed.size() > 2) return "more than two dims are resized";
  if (changed.size() == 2 && changed[1] != changed[0] + 1) return "the resized dims are not neighbours";
  return "";
}

// Where each position along dim `d` lies in the input. The reference says so itself: it resizes the numbers 0, 1, 2,
// ..., and both nearest and linear resizing of those give the position that was read.
Result<Tensor> positions(const Problem& problem, size_t d) {
  const auto rank = problem.inputs[0].shape.rank();
  const int64_t in = dims_of(problem.inputs[0])[d], entry = entry_of(*problem.op.as<Resize>(), d, rank);
  if (entry < 0) return internal("dim {} is not resized", d);
  Resize line = *problem.op.as<Resize>();
  line.axes.clear();
  Tensors args{Tensor(DType::f64, {in}), Tensor(), Tensor(), Tensor()};
  for (int64_t i = 0; i < in; ++i) args[0].mutable_data<double>()[i] = static_cast<double>(i);
  for (size_t i : {2, 3}) {
    const Tensor& given = parameter(problem, i);
    if (!given.defined()) continue;
    if (entry >= given.count()) return invalid("{} scales or sizes for dim {}", given.count(), d);
    args[i] = Tensor(given.type(), {1});
    if (i == 2) args[i].set(0, given.at(entry));
    else args[i].set_int(0, given.int_at(entry));
  }
  HONE_TRY(const Tensors out, line.evaluate({args, 1}));
  return out[0];
}

// Packed: the first changed dim, then the positions along each.
Result<Prepared> prepare(const Problem& problem, int, const Machine&) {
  const auto changed = changed_dims(problem);
  Prepared prepared;
  prepared.packed.push_back(Tensor::scalar(changed.empty() ? int64_t{0} : static_cast<int64_t>(changed[0])));
  for (size_t d : changed) {
    HONE_TRY(Tensor line, positions(problem, d));
    prepared.packed.push_back(std::move(line));
  }
  for (size_t i = 0; i < problem.inputs.size(); ++i) prepared.drops.push_back(i > 0);
  return prepared;
}

// One tap for each output position; a dim that stays has its own indices.
Result<std::vector<cpu::ResizeTap>> taps_of(std::span<const Tensor> packed, size_t line, int64_t in, int64_t out) {
  std::vector<double> at;
  for (int64_t i = 0; i < out && line >= packed.size(); ++i) at.push_back(static_cast<double>(i));
  if (line < packed.size()) at = packed[line].to_doubles();
  if (static_cast<int64_t>(at.size()) != out)
    return invalid("resize: {} for {}", counted(at.size(), "position"), counted(out, "element"));
  return cpu::linear_taps(at, in);
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int,
                                           const Machine& machine) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  const auto first = packed.empty() ? -1 : packed[0].int_at(0), second = first + (packed.size() > 2);
  if (first < 0 || second >= std::max<int64_t>(rank, 1) || packed.size() > 3) return invalid("resize: bad packed data");
  if (element_count(y) == 0) return kernel([](const KernelArgs&) { return Status(); });
  const auto size = [&](const Dims& dims, int64_t d) { return rank == 0 ? 1 : dims[static_cast<size_t>(d)]; };
  cpu::ResizeProblem p{.batch = span_count(x, 0, first),
                       .channels = rank == 0 ? 1 : span_count(x, second + 1, rank),
                       .in_height = size(x, first),
                       .in_width = first == second ? 1 : size(x, second)};
  HONE_TRY(auto rows, taps_of(packed, 1, p.in_height, size(y, first)));
  HONE_TRY(auto columns, taps_of(packed, 2, p.in_width, first == second ? 1 : size(y, second)));
  HONE_TRY(auto plan, cpu::ResizePlan::make(p, std::move(rows), std::move(columns), tier_of(machine)));
  const auto of_type = [&](auto zero) {
    using T = decltype(zero);
    return kernel([plan = std::move(plan)](const KernelArgs& args) {
      plan.run(args.inputs[0]->data<T>(), args.outputs[0]->mutable_data<T>(), args.pool);
      return Status();
    });
  };
  return in_bf16(problem) ? of_type(bf16()) : of_type(0.f);
}

}  // namespace

std::span<const Tactic> resize_tactics() {
  static constexpr Tactic kRows[] = {{"resize", supports, one_variant, prepare, make, nullptr, drops_all_but_first}};
  return kRows;
}

}  // namespace hone
