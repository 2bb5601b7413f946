#pragma once

#include "ir/attr.h"
#include "ir/op.h"

namespace hone {

// Ops that hold graphs. Outer values that a graph uses are its last inputs, and the node's. They are never folded: a
// graph may hold random ops, and a loop may not end.

// if(condition, then captures..., else captures...): the outputs of one of two graphs.
struct If {
  static constexpr std::string_view kName = "If";
  static constexpr bool kPure = false;
  std::shared_ptr<const Graph> then_branch, else_branch;

  static void fields(auto& self, auto&& field) {
    field("then_branch", self.then_branch);
    field("else_branch", self.else_branch);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// raise(): fails with its message. It stands for what is wrong in a branch that may never be taken; `types` are those
// of its outputs, as text.
struct Raise {
  static constexpr std::string_view kName = "Raise";
  static constexpr bool kPure = false;
  std::string message;
  std::vector<std::string> types;

  static void fields(auto& self, auto&& field) {
    field("message", self.message);
    field("types", self.types);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// loop(trip count?, condition?, `states` initial states..., captures...): runs
// body(i, condition, states..., captures...) -> condition, states..., elements... while i < trip count and the
// condition holds. The outputs are the last states, then each element stacked along a new first axis.
struct Loop {
  static constexpr std::string_view kName = "Loop";
  static constexpr bool kPure = false;
  std::shared_ptr<const Graph> body;
  int64_t states = 0;

  static void fields(auto& self, auto&& field) {
    field("body", self.body);
    field("states", self.states);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// scan(`states` initial states..., scanned inputs..., captures...): runs body(states..., slices..., captures...) ->
// states..., elements... for each position along the inputs' axes. The outputs are the last states, then the elements
// stacked along their axes. One axis and one `reverse` flag for each scanned input (output); reversed ones run from the
// end.
struct Scan {
  static constexpr std::string_view kName = "Scan";
  static constexpr bool kPure = false;
  std::shared_ptr<const Graph> body;
  int64_t states = 0;
  std::vector<int64_t> input_axes, input_reverse, output_axes, output_reverse;
  // As Scan-8: node input 0 is the batch's sequence lengths (may be absent), everything else but the captures has the
  // batch as its first dim (not counted by the axes), and elements past a sequence's length are zeros.
  bool batched = false;

  static void fields(auto& self, auto&& field) {
    field("body", self.body);
    field("states", self.states);
    field("input_axes", self.input_axes);
    field("input_reverse", self.input_reverse);
    field("output_axes", self.output_axes);
    field("output_reverse", self.output_reverse);
    field("batched", self.batched);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// sequence_map(sequence, `inputs` - 1 more sequences or tensors..., captures...): runs the body for each item; the
// outputs are the sequences of its outputs.
struct SequenceMap {
  static constexpr std::string_view kName = "SequenceMap";
  static constexpr bool kPure = false;
  std::shared_ptr<const Graph> body;
  int64_t inputs = 1;

  static void fields(auto& self, auto&& field) {
    field("body", self.body);
    field("inputs", self.inputs);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// A graph inside a control op. Its inputs are `formals` of its own, among them states that one run hands to the next,
// then captures. The op's first outputs are the last states.
struct ControlBody {
  std::string_view attr;
  const Graph* graph = nullptr;
  size_t formals = 0;
  size_t first_state = 0, states = 0;
  size_t first_input = 0;  // the op's input that is the body's input 0
};

// The bodies of a control op in the order of their inputs; none for any other op.
std::vector<ControlBody> bodies_of(const Op& op);
// The op with another graph for a body.
Result<Op> with_body(const Op& op, std::string_view attr, Graph body);

// Whether a condition holds; an error when it is not one boolean.
Result<bool> truth(const Tensor& condition);

}  // namespace hone
