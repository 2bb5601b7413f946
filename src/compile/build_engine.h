#pragma once

#include <span>

#include "compile/compile.h"

namespace hone {

struct EngineOptions {
  std::vector<std::string> cuda_archs;  // a program for each; empty: one, for the target's own or that of the compiler
  bool portable = true;                 // whether the engine holds what it can be built from again
};

// A network whose shapes are fixed as what goes into an engine file.
Result<EngineContents> build_engine(Graph graph, const CompileOptions& options, const EngineOptions& engine = {},
                                    Start start = now());

// The options of a build from an engine's portable graph: what differs from the default in `given`, and for all else
// what the engine was built with. `precisions`: whether tf32, half and bytes are given, too. Errors: invalid (int8
// or fp8 without ranges).
Result<CompileOptions> options_from(const Recipe& recipe, CompileOptions given, bool precisions);

}  // namespace hone
