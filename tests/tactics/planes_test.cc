#include <limits>

#include "base/cpu_info.h"
#include "stepwise.h"
#include "tactic_testing.h"

namespace hone {
namespace {

// What quantises x[2, channels, 5, 61] and then moves the channels to the end.
Problem planes(int64_t channels, const std::string& program) {
  const auto body = graph_from_text(fmt::format(R"(graph "g" {{
    input %1 "x" : f32[2,{0},5,61]
    %2 = Pointwise(%1) {{program="{1}"}}
    %3 = Transpose(%2) {{perm=[0, 2, 3, 1]}}
    output %3 "y"
  }})",
                                                channels, program));
  EXPECT_TRUE(body.ok()) << body.status().message();
  return {.op = Fused{std::make_shared<Graph>(*body)},
          .inputs = {body->type(body->inputs()[0])},
          .outputs = {body->type(body->outputs()[0])}};
}

constexpr const char* kMultiplied =
    "in0:f32; constant:f32(31.984375); mul:f32(0,1); round:f32(2); constant:f32(-128); constant:f32(127); "
    "clip:f32(3,4,5); cast:i8(6)";
constexpr const char* kDivided =
    "in0:f32; constant:f32(0.037109375); div:f32(0,1); round:f32(2); constant:f32(-7); add:f32(3,4); "
    "constant:f32(-128); "
    "constant:f32(127); clip:f32(5,6,7); cast:i8(8)";

TEST(Planes, AreQuantisedAsTheReferenceDoes) {
  const Tactic& tactic = *find_tactic("transpose_to_i8");
  for (int64_t channels : {2, 3, 17})
    for (const char* program : {kMultiplied, kDivided}) {
      const Problem problem = planes(channels, program);
      Tensor x = random_tensor(DType::f32, {2, channels, 5, 61}, 1, -5, 5);
      x.set(3, std::numeric_limits<double>::quiet_NaN());
      x.set(40, std::numeric_limits<double>::infinity());
      x.set(77, -std::numeric_limits<double>::infinity());
      for (int64_t i = 0; i < 50; ++i) x.set(100 + i, (static_cast<double>(i) + 0.5) * 0.037109375);  // ties
      const Tensors inputs{x};
      const auto steps = testing::stepwise(*pointwise_from_text(program));
      const auto want = planes(channels, to_text(steps)).op.evaluate({inputs, 1});
      ASSERT_TRUE(want.ok()) << want.status().message();
      for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier) {
        const Machine machine{.threads = 2, .max_tier = tier};
        ASSERT_EQ(tactic.supports(problem, machine), "");
        const Tensor got = run(tactic, problem, inputs, 0, machine);
        for (int64_t i = 0; i < got.count(); ++i)
          ASSERT_EQ(got.at(i), (*want)[0].at(i)) << "element " << i << ", tier " << tier << ", " << program;
      }
    }
}

TEST(Planes, OtherWorkIsLeftToOthers) {
  const Tactic& tactic = *find_tactic("transpose_to_i8");
  for (const char* program :
       {"in0:f32; round:f32(0); constant:f32(-128); constant:f32(127); clip:f32(1,2,3); cast:i8(4)",
        "in0:f32; constant:f32(2); mul:f32(0,1); round:f32(2); constant:f32(-127.5); constant:f32(127); "
        "clip:f32(3,4,5); cast:i8(6)",
        "in0:f32; constant:f32(2); mul:f32(0,1); constant:f32(-128); constant:f32(127); clip:f32(2,3,4); cast:i8(5)"})
    EXPECT_NE(tactic.supports(planes(3, program), {}), "");
  EXPECT_EQ(tactic.supports(planes(65, kMultiplied), {}), "no planes of an image");
}

}  // namespace
}  // namespace hone
