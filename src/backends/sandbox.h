#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "tactics/tactic.h"

namespace hone {

// What a kernel of a problem is timed on: inputs and outputs of the right types, filled with what a network may hold.
struct Sandbox {
  Tensors inputs, outputs;
  std::vector<const Tensor*> in;
  std::vector<Tensor*> out;
  std::shared_ptr<std::byte> workspace;
  size_t workspace_bytes = 0;

  // What is there is kept where it is large enough: its pages have been touched.
  void add_workspace(int64_t bytes);
};

Sandbox make_sandbox(const Problem& problem);

// In a network, the layer before wrote the input, each thread a part of it: what lies in another core's cache takes
// longer to read. Rewrites the inputs so, in equal neighbouring parts.
void hand_over(const Problem& problem, Sandbox& box, cpu::ThreadPool& pool);

}  // namespace hone
