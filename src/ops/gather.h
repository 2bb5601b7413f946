#pragma once

#include "ir/op.h"

namespace hone {

// gather(x, indices): slices of x along `axis`; negative indices count from the end.
struct Gather {
  static constexpr std::string_view kName = "Gather";
  int64_t axis = 0;

  static void fields(auto& self, auto&& field) { field("axis", self.axis); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// gather_elements(x, indices): out[i][j] = x[indices[i][j]][j] for axis 0, and so on.
struct GatherElements {
  static constexpr std::string_view kName = "GatherElements";
  int64_t axis = 0;

  static void fields(auto& self, auto&& field) { field("axis", self.axis); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// gather_nd(x, indices): the last dim of indices addresses the dims of x after batch_dims.
struct GatherND {
  static constexpr std::string_view kName = "GatherND";
  int64_t batch_dims = 0;

  static void fields(auto& self, auto&& field) { field("batch_dims", self.batch_dims); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// scatter_elements(x, indices, updates); reduction: none, add, mul, max, min.
struct ScatterElements {
  static constexpr std::string_view kName = "ScatterElements";
  int64_t axis = 0;
  std::string reduction = "none";

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("reduction", self.reduction);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// scatter_nd(x, indices, updates); reduction: none, add, mul, max, min.
struct ScatterND {
  static constexpr std::string_view kName = "ScatterND";
  std::string reduction = "none";

  static void fields(auto& self, auto&& field) { field("reduction", self.reduction); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
