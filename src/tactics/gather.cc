#include "kernels/cpu/gather/gather.h"

#include "ops/elements.h"
#include "ops/gather.h"
#include "tactics/common.h"

namespace hone {
namespace {

Result<cpu::GatherProblem> geometry(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  HONE_TRY(const int64_t axis, normalize_axis(problem.op.as<Gather>()->axis, rank));
  return cpu::GatherProblem{
      .outer = span_count(x, 0, axis),
      .extent = x[static_cast<size_t>(axis)],
      .slice_bytes = span_count(x, axis + 1, rank) * static_cast<int64_t>(size_of(problem.inputs[0].dtype)),
      .count = element_count(dims_of(problem.inputs[1])),
      .wide_indices = problem.inputs[1].dtype == DType::i64};
}

std::string supports(const Problem& problem, const Machine&) {
  if (problem.op.as<Gather>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs[1].dtype != DType::i64 && problem.inputs[1].dtype != DType::i32)
    return "indices are not i32 or i64";
  const auto made = geometry(problem);
  if (!made.ok()) return made.status().message();
  const char* reason = cpu::gather_supports(*made);
  return reason == nullptr ? "" : reason;
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  HONE_TRY(const auto p, geometry(problem));
  return kernel([p](const KernelArgs& args) -> Status {
    const char* wrong =
        cpu::gather(p, args.inputs[0]->raw(), args.inputs[1]->raw(), args.outputs[0]->mutable_raw(), args.pool);
    if (wrong == nullptr) return {};
    return invalid("{} [{}, {})", wrong, -p.extent, p.extent);
  });
}

}  // namespace

std::span<const Tactic> gather_tactics() {
  static constexpr Tactic kRows[] = {{"gather", supports, one_variant, nothing_to_prepare, make}};
  return kRows;
}

}  // namespace hone
