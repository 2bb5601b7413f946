// Streams of engines for a GPU that need not be here: which steps get them, what shares memory then, how many are kept.
#include "backends/streams.h"

#include <gtest/gtest.h>

#include "compile/compile.h"
#include "cuda/nvrtc.h"
#include "engine/inspect.h"
#include "engine/manifest.h"
#include "plan/random_steps.h"

namespace hone {
namespace {

class Streams : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  }
  static EngineData engine_of(const std::string& text) {
    auto graph = graph_from_text(text);
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    auto engine = compile_graph(*graph, {.target = "cuda", .cuda_arch = "sm_90", .tune = false});
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? std::move(*engine) : EngineData();
  }
  // A product, `count` branches of two products each, and what joins them.
  static std::string branches(int count) {
    std::string inputs = "input %1 \"x\" : f32[32,32]\n", nodes = "%2 = MatMul(%1, %1)\n";
    int next = 3, sum = 2;
    for (int b = 0; b < count; ++b, next += 4) {
      inputs += fmt::format("input %{} \"w{}\" : f32[32,32]\n", next, b);
      nodes += fmt::format("%{} = MatMul(%2, %{})\n%{} = MatMul(%{}, %1)\n%{} = MatMul(%{}, %{})\n", next + 1, next,
                           next + 2, next + 1, next + 3, sum, next + 2);
      sum = next + 3;
    }
    return fmt::format("graph {{ {}{}output %{} \"y\" }}", inputs, nodes, sum);
  }
};

struct Access {
  int64_t begin, end;  // in the arena
  bool writes;
};

std::vector<Access> accesses(const Program& program, const Step& step) {
  std::vector<Access> all;
  const auto add = [&](int s, bool writes) {
    while (program.slots[static_cast<size_t>(s)].kind == Slot::Kind::alias)
      s = program.slots[static_cast<size_t>(s)].alias_of;
    const Slot& slot = program.slots[static_cast<size_t>(s)];
    if (slot.kind != Slot::Kind::arena) return;
    const int64_t bytes = element_count(*slot.type.shape.concrete()) * static_cast<int64_t>(size_of(slot.type.dtype));
    all.push_back({slot.offset, slot.offset + bytes, writes});
  };
  for (int s : step.inputs)
    if (s >= 0) add(s, false);
  for (int s : step.outputs) add(s, true);
  all.push_back({step.workspace_offset, step.workspace_offset + step.workspace_bytes, true});
  return all;
}

TEST_F(Streams, StepsThatMayRunAtOnceDoNotTouchEachOthersMemory) {
  const EngineData one = engine_of(branches(5));
  ASSERT_EQ(one.program.streams(), 1);
  for (const int most : {1, 2, 3, 4}) {
    Program program = one.program;
    EXPECT_EQ(assign_streams(program, most), most);
    EXPECT_EQ(program.streams(), most);
    EXPECT_EQ(to_json(program) == to_json(one.program), most == 1);
    EXPECT_TRUE(program_from_json(to_json(program)).ok());
    EXPECT_NE(inspect_json(program).find(fmt::format("\"streams\": {}", most)), std::string::npos);
    EXPECT_GE(program.memory.arena_bytes, program.memory.lower_bound_bytes);
    EXPECT_LT(program.memory.arena_bytes, program.memory.without_reuse_bytes);
    const auto& steps = program.steps;
    std::vector<int> stream;
    std::vector<std::vector<int>> waits;
    for (const Step& step : steps) {
      stream.push_back(step.stream);
      waits.push_back(step.waits);
    }
    const auto before = testing::closure(stream, waits);
    for (size_t b = 0; b < steps.size(); ++b)
      for (size_t a = 0; a < b; ++a) {
        if (before[a][b]) continue;
        for (const Access& of_a : accesses(program, steps[a]))
          for (const Access& of_b : accesses(program, steps[b])) {
            const bool apart = of_a.end <= of_b.begin || of_b.end <= of_a.begin;
            EXPECT_TRUE(apart || (!of_a.writes && !of_b.writes)) << a << " and " << b << " of " << most << " streams";
          }
      }
  }
}

TEST_F(Streams, AChainAndStepsOnTheCpuStayInOne) {
  EngineData chain = engine_of(R"hone(graph {
    input %1 "x" : f32[8,8]
    %2 = MatMul(%1, %1)
    %3 = MatMul(%2, %1)
    output %3 "y"
  })hone");
  EXPECT_EQ(assign_streams(chain.program, 4), 1);
  choose_streams(chain, [](const EngineData&) -> Result<double> {
    ADD_FAILURE() << "there is nothing to choose";
    return 1.0;
  });
  EngineData mixed = engine_of(R"hone(graph {
    input %1 "x" : f32[8,8]
    input %2 "d" : f64[8,8]
    %3 = MatMul(%1, %1)
    %4 = MatMul(%2, %2)
    output %3 "y"
    output %4 "z"
  })hone");
  EXPECT_EQ(assign_streams(mixed.program, 4), 1);
  EXPECT_EQ(mixed.program.streams(), 1);
}

TEST_F(Streams, AreChosenByTiming) {
  const EngineData one = engine_of(branches(5));
  const auto chosen = [&](std::vector<double> us, size_t asked) {
    EngineData engine = one;
    engine.program.build.notes.clear();
    size_t timed = 0;
    const int streams[] = {1, 2, 4};
    choose_streams(engine, [&](const EngineData& e) -> Result<double> {
      EXPECT_EQ(e.program.streams(), streams[timed]);
      const double time = us[timed++];
      return time > 0 ? Result<double>(time) : invalid("it fails on random data");
    });
    EXPECT_EQ(timed, asked);
    const auto& notes = engine.program.build.notes;
    return std::pair(engine.program.streams(), notes.empty() ? "" : notes[0]);
  };
  using Choice = std::pair<int, std::string>;
  EXPECT_EQ(chosen({1000, 900, 800}, 3),
            (Choice{4, "the network takes 1.000 ms in 1 stream, 0.900 ms in 2, 0.800 ms in 4: it runs in 4"}));
  EXPECT_EQ(chosen({1000, 900, 950}, 3).first, 2);
  EXPECT_EQ(chosen({1000, 1100}, 2),
            (Choice{1, "the network takes 1.000 ms in 1 stream, 1.100 ms in 2: it runs in 1"}));
  EXPECT_EQ(chosen({1000, 999}, 2).first, 1);  // no more than timings differ by
  const Choice failed{1, "several streams were not tried: it fails on random data"};
  EXPECT_EQ(chosen({-1}, 1), failed);
  EXPECT_EQ(chosen({1000, -1}, 2), failed);
}

}  // namespace
}  // namespace hone
