#include "runtime/control.h"

#include <gtest/gtest.h>

#include "compile/compile.h"
#include "folder_test.h"
#include "runtime/context.h"
#include "runtime/load.h"

namespace hone {
namespace {

Tensor floats(Dims dims, std::vector<float> values) { return Tensor::of<float>(DType::f32, std::move(dims), values); }

Graph parse(const std::string& text) {
  auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message() << "\n" << text;
  return graph.ok() ? std::move(*graph) : Graph();
}

// Compiles and saves and loads, so that whatever is tested is tested through the engine file.
class ControlTest : public testing::FolderTest {
 protected:
  std::shared_ptr<const LoadedEngine> engine(const Graph& graph) {
    const auto data = compile_graph(graph, {.threads = 1, .tune = false, .verify_passes = true});
    EXPECT_TRUE(data.ok()) << data.status().message();
    const std::string path = (folder_ / "e.hone").string();
    EXPECT_TRUE(save_engine({{*data}}, path).ok());
    auto loaded = load_engine(path);
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    auto made = LoadedEngine::make(std::move(*loaded));
    EXPECT_TRUE(made.ok()) << made.status().message();
    return *made;
  }

  // The steps compute what the interpreter computes, run after run; `steps` of them are a control op's own.
  void expect_like_interpreter(const std::string& text, const std::vector<Tensors>& runs, int controls = 1) {
    const Graph graph = parse(text);
    const auto made = engine(graph);
    int found = 0;
    for (const Step& s : made->program().steps) found += !s.bodies.empty();
    EXPECT_EQ(found, controls);
    ExecutionContext context(made);
    for (const Tensors& inputs : runs) {
      for (size_t i = 0; i < inputs.size(); ++i) {
        const Status bound = context.bind_input(graph.value(graph.inputs()[i]).name, inputs[i]);
        ASSERT_TRUE(bound.ok()) << bound.message();
      }
      const auto want = interpret(graph, inputs);
      const Status ran = context.run();
      ASSERT_EQ(ran.ok(), want.ok()) << ran.message() << want.status().message();
      if (!ran.ok()) continue;
      const Tensors got = context.outputs();
      ASSERT_EQ(got.size(), want->size());
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].dims(), (*want)[i].dims()) << i;
        for (int64_t k = 0; k < got[i].count(); ++k)
          ASSERT_NEAR(got[i].at(k), (*want)[i].at(k), 1e-6) << i << " at " << k;
      }
    }
  }
};

// Their steps are there: what the graphs hold would be read again as text whenever the engine is loaded.
TEST_F(ControlTest, AStepDoesNotKeepTheGraphsOfItsBodies) {
  const auto made = engine(parse(R"g(graph "g" {
  input %1 "c" : bool[]
  input %2 "x" : f32[2]
  %3 : f32[2] = If(%1, %2, %2) {else_branch=graph "e" {
      input %1 "x" : f32[2]
      const %2 : f32[2] = [1, 2]
      %3 : f32[2] = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1)"}
      output %3 "y"
    }, then_branch=graph "t" {
      input %1 "x" : f32[2]
      %2 : f32[2] = Pointwise(%1) {program="in0:f32; neg:f32(0)"}
      output %2 "y"
    }}
  output %3 "y"
})g"));
  ASSERT_FALSE(made->program().steps.empty());
  const Step& step = made->program().steps[0];
  ASSERT_EQ(step.bodies.size(), 2u);
  for (const auto& [name, attr] : step.attrs)
    EXPECT_TRUE(std::get<std::shared_ptr<const Graph>>(attr)->outputs().empty()) << name;
}

const Tensor kYes = Tensor::scalar(1.0, DType::boolean), kNo = Tensor::scalar(0.0, DType::boolean);

constexpr const char* kBranches = R"g(graph "g" {
  input %1 "c" : bool[]
  input %2 "x" : f32[2,3]
  const %3 : i64[2] = [3, 2]
  %4 : f32[2,3] = Pointwise(%2) {program="in0:f32; relu:f32(0)"}
  %5 : f32[3,2] = If(%1, %4, %4, %2) {else_branch=graph "e" {
      input %1 "a" : f32[2,3]
      input %2 "x" : f32[2,3]
      const %3 : i64[2] = [3, 2]
      %4 : f32[2,3] = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1)"}
      %5 : f32[3,2] = Reshape(%4, %3) {allow_zero=false}
      output %5 "y"
    }, then_branch=graph "t" {
      input %1 "a" : f32[2,3]
      const %2 : f32[2,2] = [1, 2, 3, 4]
      const %3 : i64[2] = [3, 2]
      %4 : f32[3,2] = Reshape(%1, %3) {allow_zero=false}
      %5 : f32[3,2] = MatMul(%4, %2) {trans_a=false, trans_b=false}
      output %5 "y"
    }}
  %6 : f32[3,2] = Reshape(%4, %3) {allow_zero=false}
  %7 : f32[3,2] = Pointwise(%5, %6) {program="in0:f32; in1:f32; sub:f32(0,1)"}
  output %7 "y"
}
)g";

TEST_F(ControlTest, IfRunsTheBranchTaken) {
  const Tensor x = floats({2, 3}, {1, -2, 3, -4, 5, -6});
  expect_like_interpreter(kBranches, {{kYes, x}, {kNo, x}, {kYes, floats({2, 3}, {0, 1, 2, 3, 4, 5})}});
}

TEST_F(ControlTest, BodiesUseKernels) {
  const auto made = engine(parse(kBranches));
  for (const Step& s : made->program().steps) EXPECT_NE(s.tactic, "reference") << s.label;
}

TEST_F(ControlTest, BranchesOfDifferentShapes) {
  expect_like_interpreter(R"g(graph "g" {
  input %1 "c" : bool[]
  input %2 "x" : f32[2]
  %3 : f32[?] = If(%1, %2, %2) {else_branch=graph "e" {
      input %1 "x" : f32[2]
      %2 : f32[4] = Concat(%1, %1) {axis=0}
      output %2 "y"
    }, then_branch=graph "t" {
      input %1 "x" : f32[2]
      %2 : f32[2] = Pointwise(%1) {program="in0:f32; tanh:f32(0)"}
      output %2 "y"
    }}
  %4 : f32[2] = Pointwise(%2) {program="in0:f32; square:f32(0)"}
  %5 : f32[2] = Pointwise(%4) {program="in0:f32; tanh:f32(0)"}
  output %3 "y"
  output %5 "z"
}
)g",
                          {{kYes, floats({2}, {1, 2})}, {kNo, floats({2}, {3, 4})}, {kYes, floats({2}, {5, 6})}});
}

TEST_F(ControlTest, ABranchMayFail) {
  expect_like_interpreter(R"g(graph "g" {
  input %1 "c" : bool[]
  input %2 "x" : f32[2]
  %3 : f32[2] = If(%1, %2) {else_branch=graph "e" {
      %1 : f32[2] = Raise() {message="never take this", types=["f32[2]"]}
      output %1 "y"
    }, then_branch=graph "t" {
      input %1 "x" : f32[2]
      output %1 "y"
    }}
  output %3 "y"
}
)g",
                          {{kYes, floats({2}, {1, 2})}, {kNo, floats({2}, {1, 2})}, {kYes, floats({2}, {3, 4})}});
}

// Two states that change places, an element of each iteration and a condition; in the body there is a branch.
constexpr const char* kLoop = R"g(graph "g" {
  input %1 "n" : i64[]
  input %2 "a" : f32[2]
  input %3 "b" : f32[2]
  input %4 "k" : f32[2]
  const %5 : bool[] = [1]
  %6 : f32[2], %7 : f32[2], %8 : f32[?,2], %9 : f32[?,2] = Loop(%1, %5, %2, %3, %4) {body=graph "b" {
      input %1 "i" : i64[]
      input %2 "c" : bool[]
      input %3 "a" : f32[2]
      input %4 "b" : f32[2]
      input %5 "k" : f32[2]
      const %6 : i64[] = [2]
      %7 : bool[] = Pointwise(%1, %6) {program="in0:i64; in1:i64; less:bool(0,1)"}
      %8 : f32[2] = If(%7, %3, %5, %3, %5) {else_branch=graph "e" {
          input %1 "a" : f32[2]
          input %2 "k" : f32[2]
          %3 : f32[2] = Pointwise(%1, %2) {program="in0:f32; in1:f32; sub:f32(0,1)"}
          output %3 "y"
        }, then_branch=graph "t" {
          input %1 "a" : f32[2]
          input %2 "k" : f32[2]
          %3 : f32[2] = Pointwise(%1, %2) {program="in0:f32; in1:f32; mul:f32(0,1)"}
          output %3 "y"
        }}
      %9 : f32[2] = Pointwise(%8) {program="in0:f32; constant:f32(1.5); add:f32(0,1)"}
      %10 : bool[] = Pointwise(%1) {program="in0:i64; constant:i64(4); less:bool(0,1)"}
      output %10 "c"
      output %4 "b"
      output %9 "a"
      output %9 "e"
      output %3 "f"
    }, states=2}
  output %6 "a"
  output %7 "b"
  output %8 "e"
  output %9 "f"
}
)g";

TEST_F(ControlTest, LoopCarriesStatesAndStacksElements) {
  const Tensor a = floats({2}, {1, 2}), b = floats({2}, {-1, 0.5f}), k = floats({2}, {2, -3});
  std::vector<Tensors> runs;
  for (const int64_t trips : {3, 0, 1, 100, 2}) runs.push_back({Tensor::scalar(trips), a, b, k});
  expect_like_interpreter(kLoop, runs, 2);
}

TEST_F(ControlTest, LoopOfAFixedCountFillsItsStack) {
  expect_like_interpreter(R"g(graph "g" {
  input %1 "x" : f32[3]
  const %2 : i64[] = [4]
  %3 : f32[3], %4 : f32[4,3] = Loop(%2, _, %1) {body=graph "b" {
      input %1 "i" : i64[]
      input %2 "c" : bool[]
      input %3 "s" : f32[*]
      %4 : f32[*] = Pointwise(%3) {program="in0:f32; constant:f32(0.5); mul:f32(0,1)"}
      output %2 "c"
      output %4 "s"
      output %3 "e"
    }, states=1}
  output %3 "s"
  output %4 "e"
}
)g",
                          {{floats({3}, {8, -4, 2})}, {floats({3}, {1, 2, 3})}});
}

TEST_F(ControlTest, AStateMayGrow) {
  expect_like_interpreter(
      R"g(graph "g" {
  input %1 "n" : i64[]
  input %2 "x" : f32[1]
  %3 : f32[*] = Loop(%1, _, %2) {body=graph "b" {
      input %1 "i" : i64[]
      input %2 "c" : bool[]
      input %3 "s" : f32[*]
      %4 : f32[*] = Concat(%3, %3) {axis=0}
      output %2 "c"
      output %4 "s"
    }, states=1}
  output %3 "y"
}
)g",
      {{Tensor::scalar(int64_t{3}), floats({1}, {7})}, {Tensor::scalar(int64_t{0}), floats({1}, {5})}});
}

TEST_F(ControlTest, ScanReadsAndWritesAlongItsAxes) {
  expect_like_interpreter(R"g(graph "g" {
  input %1 "s" : f32[2]
  input %2 "x" : f32[2,3]
  input %3 "z" : f32[3,2]
  input %4 "k" : f32[2]
  %5 : f32[2], %6 : f32[2,3], %7 : f32[3,2] = Scan(%1, %2, %3, %4) {batched=false, body=graph "b" {
      input %1 "s" : f32[2]
      input %2 "x" : f32[2]
      input %3 "z" : f32[2]
      input %4 "k" : f32[2]
      %5 : f32[2] = Pointwise(%1, %2, %3) {program="in0:f32; in1:f32; in2:f32; mul:f32(1,2); add:f32(0,3)"}
      %6 : f32[2] = Pointwise(%5, %4) {program="in0:f32; in1:f32; mul:f32(0,1)"}
      output %5 "s"
      output %6 "e"
      output %2 "f"
    }, input_axes=[1, 0], input_reverse=[0, 1], output_axes=[-1, 0], output_reverse=[1, 0], states=1}
  output %5 "s"
  output %6 "e"
  output %7 "f"
}
)g",
                          {{floats({2}, {1, 2}), floats({2, 3}, {1, 2, 3, 4, 5, 6}), floats({3, 2}, {6, 5, 4, 3, 2, 1}),
                            floats({2}, {10, 100})}});
}

TEST_F(ControlTest, StepsThatDoNotFitTheirOpAreRefused) {
  const auto data = compile_graph(parse(kLoop), {.threads = 1, .tune = false});
  ASSERT_TRUE(data.ok()) << data.status().message();
  const auto loop = static_cast<size_t>(std::find_if(data->program.steps.begin(), data->program.steps.end(),
                                                     [](const Step& s) { return s.op == "Loop"; }) -
                                        data->program.steps.begin());
  ASSERT_LT(loop, data->program.steps.size());
  const std::function<void(Step&)> damages[] = {
      [](Step& s) { s.bodies[0].inputs.pop_back(); },
      [](Step& s) { s.bodies[0].outputs.pop_back(); },
      [](Step& s) { std::swap(s.bodies[0].inputs[0], s.bodies[0].inputs[1]); },
      [](Step& s) { std::swap(s.bodies[0].inputs[2], s.bodies[0].inputs[3]); },
      [](Step& s) { s.bodies.push_back({}); },
      [](Step& s) { s.outputs.pop_back(); },
      [](Step& s) { s.op = "Pointwise"; },
  };
  for (const auto& damage : damages) {
    EngineData broken = *data;
    damage(broken.program.steps[loop]);
    EXPECT_FALSE(LoadedEngine::make(std::move(broken)).ok()) << &damage - damages;
  }
  EXPECT_TRUE(LoadedEngine::make(EngineData(*data)).ok());
}

TEST_F(ControlTest, AViewOfWhatIsMadeAtRunTimeIsCopied) {
  expect_like_interpreter(R"g(graph "g" {
  input %1 "x" : f32[4]
  const %2 : i64[2] = [1, 1]
  %3 : i64[1,?] = NonZero(%1)
  %4 : i64[] = Reduce(%3) {keep_dims=false, kind="sum", noop_without_axes=false}
  %5 : i64[1,1] = Reshape(%4, %2) {allow_zero=false}
  output %5 "y"
}
)g",
                          {{floats({4}, {0, 1, 1, 0})}, {floats({4}, {1, 0, 0, 1})}}, 0);
}

}  // namespace
}  // namespace hone
