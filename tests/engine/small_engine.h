#pragma once

#include "engine/engine_file.h"
#include "ops/pointwise.h"

namespace hone {

inline TensorType type(const char* text) { return *type_from_text(text); }

// relu(x + w) with an aliased result, and a constant of strings.
inline EngineData small_engine() {
  EngineData e;
  Program& p = e.program;
  p.name = "net \"x\"\n";
  p.target = "cpu";
  p.device = "test";
  p.threads = 2;
  p.slots = {{.kind = Slot::Kind::input, .type = type("f32[2,3]"), .name = "x"},
             {.kind = Slot::Kind::constant, .type = type("f32[3]"), .name = "w"},
             {.kind = Slot::Kind::arena, .type = type("f32[2,3]"), .name = "y", .offset = 64},
             {.kind = Slot::Kind::alias, .type = type("f32[6]"), .alias_of = 2},
             {.kind = Slot::Kind::constant, .type = type("string[2]"), .name = "names"}};
  Step step{.tactic = "reference", .op = "Pointwise", .inputs = {0, 1}, .outputs = {2}};
  step.attrs = {{"program", std::string("in0:f32; in1:f32; add:f32(0,1)")},
                {"reals", std::vector<double>{0.1, -1e300}},
                {"real", 1.0 / 3},
                {"flag", true},
                {"ints", std::vector<int64_t>{1, INT64_MIN}}};
  step.input_types = {type("f32[2,3]"), type("f32[3]")};
  step.sources = {"add", "relu"};
  step.label = "node 'add' (Pointwise)";
  step.refused = {{"other", "too slow"}};
  step.varies = "as it likes";
  p.steps = {step};
  p.inputs = {{"x", 0, type("f32[2,3]")}};
  p.outputs = {{"y", 3, type("f32[6]")}};
  p.memory = {.arena_bytes = 128, .lower_bound_bytes = 64, .without_reuse_bytes = 128, .weights_bytes = 12};
  const float w[] = {1, -2, 3.5f};
  e.constants.resize(5);
  e.constants[1] = Tensor::of<float>(DType::f32, {3}, w);
  e.constants[4] = Tensor::strings({2}, {"cat", "d\"og\n"});
  return e;
}

}  // namespace hone
