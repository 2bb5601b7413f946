#pragma once

#include "engine/engine_file.h"

namespace hone::testing {

// The GPU has one kernel of its own for it, which packs nothing.
inline constexpr const char* kLibraryProduct = R"hone(graph {
  input %1 "a" : f32[33,20]
  input %2 "b" : f32[20,50]
  %3 "y" = MatMul(%1, %2)
  output %3 "y"
})hone";

// Makes the step of an engine for kLibraryProduct one of cuBLASLt's: selection would have taken the faster one.
inline void use_library(EngineData& engine, const Tensor& algorithm, int64_t workspace_bytes) {
  Program& program = engine.program;
  Step& step = program.steps.front();
  const int64_t* version = algorithm.data<int64_t>();
  step.tactic = "cuda.matmul_cublaslt";
  step.library = fmt::format("cuBLASLt {}.{}.{}", version[0], version[1], version[2]);
  step.packed = {static_cast<int>(program.slots.size())};
  program.slots.push_back({.kind = Slot::Kind::constant, .type = {algorithm.type(), Shape::of(algorithm.dims())}});
  program.memory.weights_bytes += static_cast<int64_t>(algorithm.bytes());
  engine.constants.push_back(algorithm);
  step.workspace_offset = (program.memory.arena_bytes + 63) / 64 * 64;
  step.workspace_bytes = workspace_bytes;
  program.memory.arena_bytes = step.workspace_offset + workspace_bytes;
}

}  // namespace hone::testing
