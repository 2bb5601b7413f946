#include "expect_pass.h"

namespace hone {
namespace {

using testing::expect_no_pass;
using testing::expect_pass;

std::string one(std::string_view program) {
  return fmt::format("graph {{ input %1 \"x\" : f32[2,3] %2 = Pointwise(%1) {{program=\"{}\"}} output %2 \"y\" }}",
                     program);
}

TEST(SimplifyPointwise, InlinesUniformConstants) {
  expect_pass("simplify_pointwise", R"hone(graph {
    input %1 "x" : f32[2,3]
    const %2 : f32[1,3] = [2, 2, 2]
    const %3 : f32[3] = [1, 2, 3]
    %4 = Pointwise(%1, %2, %3) {program="in0:f32; in1:f32; in2:f32; mul:f32(0,1); add:f32(3,2)"}
    output %4 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[2,3]
    const %3 : f32[3] = [1, 2, 3]
    %4 = Pointwise(%1, %3) {program="in0:f32; constant:f32(2); in1:f32; mul:f32(0,1); add:f32(2,3)"}
    output %4 "y"
  })hone");
  // The constant makes the result larger, or does not fit a double.
  expect_no_pass("simplify_pointwise", R"hone(graph {
    input %1 "x" : f32[1,3]
    input %2 "i" : i64[2]
    const %3 : f32[2,1] = [2, 2]
    const %4 : i64[1] = [9007199254740993]
    %5 = Pointwise(%1, %3) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    %6 = Pointwise(%2, %4) {program="in0:i64; in1:i64; mul:i64(0,1)"}
    output %5 "y"
    output %6 "z"
  })hone");
}

TEST(SimplifyPointwise, MergesAndComputes) {
  expect_pass("simplify_pointwise",
              one("in0:f32; in0:f32; constant:f32(2); constant:f32(3); mul:f32(2,3); mul:f32(0,4); "
                  "mul:f32(1,4); add:f32(5,6); constant:f32(1); mul:f32(7,8)"),
              one("in0:f32; constant:f32(6); mul:f32(0,1); add:f32(2,2)"));
  expect_pass("simplify_pointwise", one("in0:f32; constant:f32(2); pow:f32(0,1)"), one("in0:f32; square:f32(0)"));
  expect_pass("simplify_pointwise", one("in0:f32; constant:f32(0); max:f32(0,1)"), one("in0:f32; relu:f32(0)"));
}

TEST(SimplifyPointwise, NamesActivations) {
  const auto named = [](std::string_view from, std::string_view to) {
    expect_pass("simplify_pointwise", one(from), one(to));
  };
  named("in0:f32; sigmoid:f32(0); mul:f32(0,1)", "in0:f32; silu:f32(0)");
  named(
      "in0:f32; constant:f32(1.4142135381698608); div:f32(0,1); erf:f32(2); constant:f32(1); add:f32(3,4); "
      "mul:f32(0,5); "
      "constant:f32(0.5); mul:f32(6,7)",
      "in0:f32; gelu_erf:f32(0)");
  named(
      "in0:f32; constant:f32(0.5); mul:f32(0,1); constant:f32(0.70710677); mul:f32(0,3); erf:f32(4); constant:f32(1); "
      "add:f32(6,5); mul:f32(2,7)",
      "in0:f32; gelu_erf:f32(0)");
  named(
      "in0:f32; constant:f32(3); pow:f32(0,1); constant:f32(0.044715); mul:f32(2,3); add:f32(0,4); "
      "constant:f32(0.7978845834732056); mul:f32(5,6); tanh:f32(7); constant:f32(1); add:f32(8,9); constant:f32(0.5); "
      "mul:f32(0,11); mul:f32(12,10)",
      "in0:f32; gelu_tanh:f32(0)");
  named("in0:f32; mul:f32(0,0); constant:f32(0.044715); mul:f32(1,2); constant:f32(1); add:f32(3,4); mul:f32(0,5); "
        "constant:f32(0.7978845834732056); mul:f32(6,7); tanh:f32(8); add:f32(9,4); mul:f32(0,10); constant:f32(0.5); "
        "mul:f32(11,12)", "in0:f32; gelu_tanh:f32(0)");
  named("in0:f32; constant:f32(3); add:f32(0,1); constant:f32(0); constant:f32(6); clip:f32(2,3,4); mul:f32(0,5); "
        "div:f32(6,4)", "in0:f32; hard_swish:f32(0)");
  named("in0:f32; constant:f32(0.1666666716337204); constant:f32(0.5); hard_sigmoid:f32(0,1,2); mul:f32(0,3)",
        "in0:f32; hard_swish:f32(0)");
  named("in0:f32; constant:f32(3); add:f32(0,1); relu:f32(2); constant:f32(6); min:f32(3,4); div:f32(5,4)",
        "in0:f32; constant:f32(0.1666666716337204); constant:f32(0.5); hard_sigmoid:f32(0,1,2)");
}

TEST(SimplifyPointwise, DoesNotNameLookalikes) {
  for (const char* program :
       {"in0:f32; constant:f32(2); mul:f32(0,1); sigmoid:f32(2); mul:f32(0,3)",
        "in0:f32; constant:f32(0.7); mul:f32(0,1); erf:f32(2); constant:f32(1); add:f32(3,4); mul:f32(0,5); "
        "constant:f32(0.5); mul:f32(6,7)",
        "in0:f32; constant:f32(3); add:f32(0,1); constant:f32(0); constant:f32(5); clip:f32(2,3,4); "
        "mul:f32(0,5); constant:f32(6); div:f32(6,7)"}) {
    auto graph = testing::parse(one(program));
    testing::run_pass("simplify_pointwise", graph);
    const std::string text = to_text(graph);
    for (const char* name : {"silu", "gelu", "hard_"}) EXPECT_EQ(text.find(name), std::string::npos) << text;
  }
}

constexpr const char* kLayerNorm = R"hone(graph {{
    input %1 "x" : f32[2,3,4]
    const %2 : i64[1] = [{}]
    const %3 : f32[4] = [1, 2, 3, 4]
    const %4 : f32[4] = [5, 6, 7, 8]
    %10 = Reduce(%1, %2) {{kind="mean"}}
    %11 = Pointwise(%1, %10) {{program="in0:f32; in1:f32; sub:f32(0,1)"}}
    %12 = Pointwise(%11) {{program="in0:f32; square:f32(0)"}}
    %13 = Reduce(%12, %2) {{kind="mean"}}
    %14 = Pointwise(%13) {{program="in0:f32; constant:f32(0.5); add:f32(0,1)"}}
    %15 = Pointwise(%14) {{program="in0:f32; sqrt:f32(0)"}}
    %16 = Pointwise(%11, %15) {{program="in0:f32; in1:f32; div:f32(0,1)"}}
    %17 = Pointwise(%16, %3) {{program="in0:f32; in1:f32; mul:f32(0,1)"}}
    %18 = Pointwise(%17, %4) {{program="in0:f32; in1:f32; add:f32(0,1)"}}
    output %18 "y"
  }})hone";

TEST(RecogniseNorms, LayerNorm) {
  expect_pass("recognise_norms", fmt::format(fmt::runtime(kLayerNorm), -1), R"hone(graph {
    input %1 "x" : f32[2,3,4]
    const %3 : f32[4] = [1, 2, 3, 4]
    const %4 : f32[4] = [5, 6, 7, 8]
    %18 = LayerNorm(%1, %3, %4) {axis=2, epsilon=0.5, rms=false}
    output %18 "y"
  })hone");
  expect_no_pass("recognise_norms", fmt::format(fmt::runtime(kLayerNorm), 1));  // not the last dims
}

constexpr const char* kScaledNorm = R"hone(graph {{
    input %1 "x" : f32[2,3,2]
    const %2 : f32[2] = [1, 2]
    const %3 : f32[2] = [3, 4]
    const %4 : f32[{}] = {}
    %5 = LayerNorm(%1, %2, %3) {{axis=2, epsilon=0.5, rms=false}}
    %6 = Pointwise(%5, %4) {{program="in0:f32; in1:f32; mul:f32(0,1)"}}
    output %6 "y"
  }})hone";

TEST(RecogniseNorms, ScalesParametersThatAreThere) {
  expect_pass("recognise_norms", fmt::format(fmt::runtime(kScaledNorm), "1,2", "[10, 100]"), R"hone(graph {
    input %1 "x" : f32[2,3,2]
    const %2 : f32[2] = [10, 200]
    const %3 : f32[2] = [30, 400]
    %5 = LayerNorm(%1, %2, %3) {axis=2, epsilon=0.5, rms=false}
    output %5 "y"
  })hone");
  expect_no_pass("recognise_norms", fmt::format(fmt::runtime(kScaledNorm), "3,1", "[1, 2, 3]"));  // by row
}

TEST(RecogniseNorms, RmsNorm) {
  expect_pass("recognise_norms", R"hone(graph {
    input %1 "x" : f32[2,4]
    const %2 : i64[1] = [1]
    const %3 : f32[1,4] = [1, 2, 3, 4]
    %12 = Pointwise(%1) {program="in0:f32; constant:f32(2); pow:f32(0,1)"}
    %13 = Reduce(%12, %2) {kind="mean"}
    %14 = Pointwise(%13) {program="in0:f32; constant:f32(0.5); add:f32(0,1)"}
    %15 = Pointwise(%14) {program="in0:f32; sqrt:f32(0)"}
    %16 = Pointwise(%15) {program="in0:f32; reciprocal:f32(0)"}
    %17 = Pointwise(%1, %16) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    %18 = Pointwise(%17, %3) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    output %18 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[2,4]
    const %3 : f32[4] = [1, 2, 3, 4]
    %18 = LayerNorm(%1, %3) {axis=1, epsilon=0.5, rms=true}
    output %18 "y"
  })hone");
}

TEST(RecogniseNorms, Softmax) {
  expect_pass("recognise_norms", R"hone(graph {
    input %1 "x" : f32[2,4]
    const %2 : i64[1] = [0]
    %3 = Reduce(%1, %2) {kind="max"}
    %4 = Pointwise(%1, %3) {program="in0:f32; in1:f32; sub:f32(0,1)"}
    %5 = Pointwise(%4) {program="in0:f32; exp:f32(0)"}
    %6 = Reduce(%5, %2) {kind="sum"}
    %7 = Pointwise(%5, %6) {program="in0:f32; in1:f32; div:f32(0,1)"}
    output %7 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[2,4]
    %7 = Softmax(%1) {axis=0}
    output %7 "y"
  })hone");
  expect_no_pass("recognise_norms", R"hone(graph {
    input %1 "x" : f32[2,4]
    const %2 : i64[1] = [0]
    %5 = Pointwise(%1) {program="in0:f32; exp:f32(0)"}
    %6 = Reduce(%5, %2) {kind="mean"}
    %7 = Pointwise(%5, %6) {program="in0:f32; in1:f32; div:f32(0,1)"}
    output %7 "y"
  })hone");
}

}  // namespace
}  // namespace hone
