#pragma once

#include "ir/op.h"

namespace hone {

// exp(x) / sum(exp(x)) along one axis, or its logarithm.
struct Softmax {
  static constexpr std::string_view kName = "Softmax";
  int64_t axis = -1;
  bool log = false;

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("log", self.log);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// layer_norm(x, scale?, bias?) over the dims from `axis` on: (x - mean) / sqrt(variance + epsilon) * scale + bias;
// rms: no mean is subtracted. Scale and bias broadcast to x. Extra outputs, when asked for, in f32 and with dims of 1
// from `axis` on: mean (not for rms), 1/deviation.
struct LayerNorm {
  static constexpr std::string_view kName = "LayerNorm";
  int64_t axis = -1;
  double epsilon = 1e-5;
  bool rms = false;

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("epsilon", self.epsilon);
    field("rms", self.rms);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// group_norm(x, scale?, bias?): x is [N, C, spatial...] ([N, spatial..., C] when channels_last), normalised over each
// of `groups` equal runs of channels and all spatial dims; scale and bias are [C]. Instance norm: groups = 0 (one a
// channel).
struct GroupNorm {
  static constexpr std::string_view kName = "GroupNorm";
  int64_t groups = 0;
  double epsilon = 1e-5;
  bool channels_last = false;

  static void fields(auto& self, auto&& field) {
    field("groups", self.groups);
    field("epsilon", self.epsilon);
    field("channels_last", self.channels_last);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
