#include "backends/sandbox.h"

#include <cstdlib>

#include "backends/random_tensor.h"

namespace hone {

void Sandbox::add_workspace(int64_t bytes) {
  const size_t rounded = (static_cast<size_t>(bytes) + 4096) / 4096 * 4096;
  if (rounded <= workspace_bytes) return;
  workspace = {static_cast<std::byte*>(std::aligned_alloc(4096, rounded)), std::free};
  workspace_bytes = rounded;
}

Sandbox make_sandbox(const Problem& problem) {
  Sandbox box;
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    const TensorType& type = problem.inputs[i];
    box.inputs.push_back(!type.defined()          ? Tensor()
                         : problem.is_constant(i) ? problem.constants[i]
                                                  : random_tensor(type));
  }
  for (const TensorType& type : problem.outputs) box.outputs.emplace_back(type.dtype, *type.shape.concrete());
  for (const Tensor& t : box.inputs) box.in.push_back(&t);
  for (Tensor& t : box.outputs) box.out.push_back(&t);
  return box;
}

void hand_over(const Problem& problem, Sandbox& box, cpu::ThreadPool& pool) {
  constexpr int64_t kLine = 64;
  for (size_t i = 0; i < box.inputs.size(); ++i) {
    if (!box.inputs[i].defined() || problem.is_constant(i) || box.inputs[i].type() == DType::string) continue;
    auto* const bytes = static_cast<volatile std::byte*>(box.inputs[i].mutable_raw());
    const auto size = static_cast<int64_t>(box.inputs[i].bytes());
    pool.parallel(pool.size(), [&](int64_t part, int) {
      for (int64_t at = size * part / pool.size(); at < size * (part + 1) / pool.size(); at += kLine)
        bytes[at] = bytes[at];
    });
  }
}

}  // namespace hone
