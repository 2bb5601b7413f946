#pragma once

#include "ir/op.h"

namespace hone {

// Ops on lists of tensors. Negative positions count from the end. Those that make lists are not folded: a constant is
// always a tensor.

// Any number of tensors of one type as a sequence; `element` is the type when there are none.
struct SequenceConstruct {
  static constexpr std::string_view kName = "SequenceConstruct";
  static constexpr bool kPure = false;
  DType element = DType::f32;

  static void fields(auto& self, auto&& field) { field("element", self.element); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// sequence_at(sequence, position): one of its tensors.
struct SequenceAt {
  static constexpr std::string_view kName = "SequenceAt";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// sequence_insert(sequence, tensor, position?): before that position, at the end by default.
struct SequenceInsert {
  static constexpr std::string_view kName = "SequenceInsert";
  static constexpr bool kPure = false;

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// sequence_erase(sequence, position?): the last one by default.
struct SequenceErase {
  static constexpr std::string_view kName = "SequenceErase";
  static constexpr bool kPure = false;

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The number of items as an i64 scalar.
struct SequenceLength {
  static constexpr std::string_view kName = "SequenceLength";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// split_to_sequence(x, sizes?): sizes is a scalar (of every part but the last, which may be smaller) or a vector;
// without it the parts have size 1 and keep the axis or not.
struct SplitToSequence {
  static constexpr std::string_view kName = "SplitToSequence";
  static constexpr bool kPure = false;
  int64_t axis = 0;
  bool keep_dims = true;

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("keep_dims", self.keep_dims);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The items joined along an axis of theirs, or along a new one.
struct ConcatFromSequence {
  static constexpr std::string_view kName = "ConcatFromSequence";
  int64_t axis = 0;
  bool new_axis = false;

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("new_axis", self.new_axis);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// An optional that holds nothing: its value is an undefined tensor, which is why it is not folded. Optionals that hold
// something are that something.
struct EmptyOptional {
  static constexpr std::string_view kName = "EmptyOptional";
  static constexpr bool kPure = false;
  DType type = DType::f32, element = DType::none;  // `element` of a sequence

  static void fields(auto& self, auto&& field) {
    field("type", self.type);
    field("element", self.element);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// Whether the input is there, as a boolean scalar.
struct OptionalHasElement {
  static constexpr std::string_view kName = "OptionalHasElement";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The input, which must be there.
struct OptionalGetElement {
  static constexpr std::string_view kName = "OptionalGetElement";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
