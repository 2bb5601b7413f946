#include "calibrate/appearances.h"

#include <gtest/gtest.h>

#include "compile/compile.h"
#include "cuda/nvrtc.h"

namespace hone::calibrate {
namespace {

const TensorType kFour{DType::f32, Shape::of(Dims{4})}, kTwo{DType::f32, Shape::of(Dims{2})};

Slot part_of(int whole, int64_t offset) {
  return {.kind = Slot::Kind::alias, .type = kTwo, .offset = offset, .alias_of = whole};
}

Step step(std::vector<int> inputs, std::vector<int> outputs, std::vector<Body> bodies = {}) {
  Step made;
  made.inputs = std::move(inputs);
  made.outputs = std::move(outputs);
  made.bodies = std::move(bodies);
  return made;
}

// 0: an input; 1: a part of it; 2: a whole, whose parts 3 and 4 two steps write; 5: a control step's result, which its
// body writes; 6: a result of no fixed size.
TEST(Appearances, AreBehindTheLastStepThatWrites) {
  Program program;
  program.slots = {{.kind = Slot::Kind::input, .type = kFour},
                   part_of(0, 8),
                   {.kind = Slot::Kind::arena, .type = kFour},
                   part_of(2, 8),
                   part_of(2, 0),
                   {.kind = Slot::Kind::arena, .type = kFour},
                   {.kind = Slot::Kind::dynamic, .type = {DType::f32, {}}}};
  program.steps = {step({1}, {3}), step({0}, {6}), step({0}, {5}, {{.steps = 1, .inputs = {}, .outputs = {5}}}),
                   step({0}, {5}), step({1}, {4})};
  for (const int s : {1, 2, 3, 4, 5, 6}) program.outputs.push_back({"", s, program.slots[static_cast<size_t>(s)].type});
  const Appearances seen(program);
  EXPECT_EQ(seen.given, std::vector<size_t>{0});
  EXPECT_EQ(seen.behind, (std::vector<std::vector<size_t>>{{2}, {5}, {4}, {}, {1, 3}}));
}

// Of ten steps in a row no more than two results live at once, though all are outputs.
void expect_shared_memory(const std::string& cuda_arch) {
  Graph graph;
  ValueId v = graph.add_input("x", {DType::f32, Shape::of(Dims{64, 64})});
  for (int k = 0; k < 10; ++k) {
    v = graph.node(*graph.add_node(*make_op("Softmax", Attrs{}), {v})).outputs[0];
    graph.add_output(v, std::to_string(k));
  }
  CompileOptions options{
      .target = cuda_arch.empty() ? "cpu" : "cuda", .cuda_arch = cuda_arch, .threads = 1, .tune = false};
  const auto kept = compile_graph(graph, options);
  options.keep_outputs = false;
  const auto shared = compile_graph(graph, options);
  ASSERT_TRUE(kept.ok() && shared.ok()) << kept.status().message() << shared.status().message();
  constexpr int64_t kBytes = 64 * 64 * 4;
  EXPECT_GE(kept->program.memory.arena_bytes, 10 * kBytes);
  EXPECT_LE(shared->program.memory.arena_bytes, 3 * kBytes);
}

TEST(Appearances, OutputsThatAreNotKeptShareMemory) { expect_shared_memory(""); }

TEST(Appearances, OutputsThatAreNotKeptShareMemoryOfAGpu) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  expect_shared_memory("sm_90");
}

}  // namespace
}  // namespace hone::calibrate
