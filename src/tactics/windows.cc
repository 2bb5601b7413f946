#include "tactics/windows.h"

#include "base/counted.h"
#include "ops/elements.h"

namespace hone {

Result<std::vector<int64_t>> slice_window(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  const auto starts = problem.constants[1].to_ints();
  std::vector<int64_t> axes(starts.size()), steps(starts.size(), 1), window(2 * x.size(), 1);
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  if (has(problem, 3)) axes = problem.constants[3].to_ints();
  if (has(problem, 4)) steps = problem.constants[4].to_ints();
  if (axes.size() != starts.size() || steps.size() != starts.size())
    return invalid("{}, {}, {}", counted(starts.size(), "start"), counted(axes.size(), "axis", "axes"),
                   counted(steps.size(), "step"));
  std::fill_n(window.begin(), x.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    HONE_TRY(const int64_t axis, normalize_axis(axes[i], static_cast<int64_t>(x.size())));
    const auto d = static_cast<size_t>(axis);
    // A start beyond the end counts only when it goes backwards, and the count of elements is in the output's shape.
    if (y[d] == 0) continue;
    const int64_t start = starts[i] < 0 ? std::max<int64_t>(starts[i], -x[d]) + x[d] : starts[i];
    window[d] = std::clamp<int64_t>(start, 0, x[d] - 1);
    window[d + x.size()] = y[d] == 1 ? 1 : steps[i];
  }
  return window;
}

std::vector<int64_t> all_pads(const Problem& problem) {
  const int64_t rank = problem.inputs[0].shape.rank();
  const auto given = problem.constants[1].to_ints();
  std::vector<int64_t> axes, all(2 * static_cast<size_t>(rank), 0);
  for (int64_t d = 0; d < rank; ++d) axes.push_back(d);
  if (has(problem, 3)) axes = problem.constants[3].to_ints();
  if (given.size() != 2 * axes.size()) return {};
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = normalize_axis(axes[i], rank);
    if (!axis.ok()) return {};
    all[static_cast<size_t>(*axis)] = given[i];
    all[static_cast<size_t>(*axis + rank)] = given[i + axes.size()];
  }
  return all;
}

}  // namespace hone
