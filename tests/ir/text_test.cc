#include <gtest/gtest.h>

#include <limits>

#include "ir/graph.h"
#include "ops/pointwise.h"
#include "ops/shape.h"

namespace hone {
namespace {

Graph parse(std::string_view text) {
  auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message() << "\n" << text;
  return graph.ok() ? *graph : Graph();
}

void expect_round_trip(const Graph& graph) {
  const std::string text = to_text(graph);
  const Graph back = parse(text);
  EXPECT_TRUE(equal(graph, back)) << text << "\nread back as\n" << to_text(back);
  EXPECT_EQ(to_text(parse(to_text(back))), to_text(back));
}

TEST(Text, RoundTripKeepsNamesTypesAndMetadata) {
  Graph g;
  g.name = "net \"a\"\\\n\x01";
  g.metadata = {{"producer", "x = \"y\""}, {"", "empty key"}};
  const ValueId x = g.add_input("x", {DType::f32, Shape({Dim::named("N"), Dim(), Dim::named("2*h + 1"), Dim(3)})});
  const ValueId u = g.add_input("", {DType::f32, Shape::unranked()});
  const auto relu = g.add_node(Pointwise{single(Fn::relu, DType::f32, DType::f32)}, {x}, 1, {"relu1", "a, \"b\""});
  ASSERT_TRUE(relu.ok());
  g.set_name(g.node(*relu).outputs[0], "relu_out");
  const auto sum = g.add_node(Pointwise{single(Fn::add, DType::f32, DType::f32)}, {g.node(*relu).outputs[0], u});
  ASSERT_TRUE(sum.ok());
  g.add_output(g.node(*sum).outputs[0], "y");
  g.add_output(x, "x again");
  expect_round_trip(g);
}

TEST(Text, ConstantsRoundTripToTheBit) {
  Graph g;
  Tensor f(DType::f32, {2, 3});
  const float values[] = {0.1f,
                          -0.0f,
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::denorm_min(),
                          3.4028235e38f};
  std::copy(std::begin(values), std::end(values), f.mutable_data<float>());
  f.mutable_data<uint32_t>()[4] = 0x7f800001;
  g.add_output(g.add_constant(f, "f"), "f");
  for (DType type : {DType::f16, DType::bf16, DType::f8e4m3fn, DType::f8e5m2, DType::f8e4m3fnuz, DType::f8e8m0,
                     DType::i4, DType::u4, DType::u2, DType::f4e2m1, DType::i8, DType::u8}) {
    Tensor t(type, {256});
    for (int i = 0; i < 256; ++i) {
      if (size_of(type) == 1) t.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(i);
      else t.mutable_data<uint16_t>()[i] = static_cast<uint16_t>(i * 257 + 3);
    }
    g.add_output(g.add_constant(t), std::string(name(type)));
  }
  Tensor u(DType::u64, {2});
  u.mutable_data<uint64_t>()[0] = UINT64_MAX;
  g.add_output(g.add_constant(u), "u");
  const int64_t extremes[] = {INT64_MIN, INT64_MAX};
  g.add_output(g.add_constant(Tensor::vector(extremes)), "i");
  Tensor c(DType::c64, {1});
  c.mutable_data<float>()[0] = 1.5f;
  c.mutable_data<float>()[1] = -2;
  g.add_output(g.add_constant(c), "c");
  g.add_output(g.add_constant(Tensor::strings({2}, {"a\"\n", ""})), "s");
  g.add_output(g.add_constant(Tensor(DType::f64, {0, 4})), "none");
  g.add_output(g.add_constant(Tensor::scalar(1e300, DType::f64)), "d");
  g.add_output(g.add_constant(Tensor(DType::boolean, {2})), "b");
  expect_round_trip(g);
}

TEST(Text, InfersTypesThatAreLeftOut) {
  const Graph g = parse(R"hone(
    graph "g" {  // a comment
      input %1 "x" : f32[N,4]
      const %2 : i64[2] = [0, 4]
      %3 = Pointwise(%1) {program="in0:f32; relu:f32(0)"}
      %4 : f32[N,4] = Reshape(%3, %2)
      output %4 "y"
    })hone");
  EXPECT_EQ(to_text(g.type(g.outputs()[0])), "f32[N,4]");
  expect_round_trip(g);
}

TEST(Text, LargeConstantsAreElidedAndRefused) {
  const Graph g = parse("graph \"\" { const %1 : f32[3] = [1, 2, 3] output %1 \"y\" }");
  const std::string text = to_text(g, {.max_inline = 2});
  EXPECT_NE(text.find("= #"), std::string::npos) << text;
  const auto back = graph_from_text(text);
  ASSERT_FALSE(back.ok());
  EXPECT_NE(back.status().message().find("line 2"), std::string::npos) << back.status().message();
}

// Those inside of bodies, too.
TEST(Text, LargeConstantsAreStoredAndFound) {
  const Graph g = parse(R"hone(graph "" {
    input %1 "c" : bool[]
    const %2 : f32[3] = [1, 2, 3]
    const %3 : string[2] = ["a", "b\n"]
    %4 = If(%1) {then_branch=graph "" { const %1 : i64[2] = [4, 5] output %1 "z" }, else_branch=graph "" {
      const %1 : i64[2] = [6, 7] output %1 "z" }}
    output %2 "x"
    output %3 "y"
    output %4 "z"
  })hone");
  Tensors kept;
  const auto store = [&](const Tensor& t) { return kept.push_back(t), kept.size() - 1; };
  const std::string text = to_text(g, {.max_inline = 1, .store = store});
  EXPECT_EQ(kept.size(), 4u) << text;
  const auto read = [&](uint64_t number, DType type, const Dims& dims) -> Result<Tensor> {
    if (number >= kept.size() || kept[number].type() != type || kept[number].dims() != dims) return invalid("lost");
    return kept[number];
  };
  const auto back = graph_from_text(text, read);
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_TRUE(equal(g, *back)) << text;
  EXPECT_FALSE(graph_from_text(text).ok());
  kept.pop_back();
  const auto lost = graph_from_text(text, read);
  ASSERT_FALSE(lost.ok());
  EXPECT_NE(lost.status().message().find("lost"), std::string::npos) << lost.status().message();
}

TEST(Text, BadInputIsAnErrorWithItsLine) {
  for (const char* text : {"",
                           "graph",
                           "graph \"g\"",
                           "graph {",
                           "graph { input }",
                           "graph { input %1 : f33[] }",
                           "graph { input %1 }",
                           "graph { input %1 : f32[-1] }",
                           "graph { input %1 : f32[1 }",
                           "graph { input %99999999999999999999 : f32[] }",
                           "graph { const %1 : f32[1] = [1, 2] }",
                           "graph { const %1 : f32[4611686018427387904,8] = [] }",
                           "graph { const %1 : f32[1000000000] = [1] }",
                           "graph { const %1 : i8[1] = [300] }",
                           "graph { const %1 : i32[1] = [1.5] }",
                           "graph { const %1 : f32[?] = [1] }",
                           "graph { const %1 : string[1] = [1] }",
                           "graph { const %1 : none[1] = [1] }",
                           "graph { output %1 \"y\" }",
                           "graph { output _ \"y\" }",
                           "graph { input %1 : f32[] input %1 : f32[] }",
                           "graph { %2 = Nothing() }",
                           "graph { %2 = Reshape(%1) }",
                           "graph { input %1 : f32[] %2 = Pointwise(%1) {program=\"in9:f32\"} }",
                           "graph { input %1 : f32[] %2 = Pointwise(%1) {program=\"in0:f32\", more=1} }",
                           "graph { input %1 : f32[] %2 = Pointwise(%1) {program=\"in0:f32\", program=\"in0:f32\"} }",
                           "graph { input %1 : f32[2] %2 : f32[3] = Pointwise(%1) {program=\"in0:f32\"} }",
                           "graph { %1 : sequence<f32>[] = SequenceConstruct() {element=\"f64\"} }",
                           "graph { input %1 : f32[2] %2, %3 = Pointwise(%1) {program=\"in0:f32\"} }",
                           "graph { meta \"a = 1 }",
                           "graph { meta \"\\q\" = \"\" }",
                           "graph { } trailing",
                           "graph \"\\x",
                           "graph \"\\xzz\" {}",
                           "graph { %1 = A() {x=[1, \"a\"]} }",
                           "graph { %1 = A() {x=} }",
                           "graph { %1 = A() {x=graph} }"}) {
    const auto graph = graph_from_text(text);
    ASSERT_FALSE(graph.ok()) << text;
    EXPECT_TRUE(graph.status().message().starts_with("line 1: ")) << graph.status().message();
  }
}

TEST(Text, SizesThatNoMemoryHoldsAreRefused) {
  for (const char* text :
       {"graph { input %1 : f32[9223372036854775807] }", "graph { input %1 : u8[4611686018427387904,?,2] }",
        // the products and sums of these wrap to something harmless
        "graph { input %1 : f32[0] const %2 : i64[2] = [4294967296, 4294967296] %3 = Reshape(%1, %2) }",
        "graph { input %1 : u8[4611686018427387904] %2 = Concat(%1, %1) {axis=0} }",
        "graph { input %1 : bool[1] const %2 : bool[1] = [0x2] }"}) {
    const auto graph = graph_from_text(text);
    ASSERT_FALSE(graph.ok()) << text << to_text(*graph);
  }
}

TEST(Text, ARankThatAVectorGivesIsNotBelievedBlindly) {
  const Graph g = parse(R"hone(graph "g" {
    input %1 : f32[2]
    input %2 : i64[100000000000]
    %3 = Reshape(%1, %2) {allow_zero=false}
    %4 = Expand(%1, %2)
    output %3 "y"
    output %4 "z"
  })hone");
  for (ValueId v : g.outputs()) EXPECT_FALSE(g.type(v).shape.ranked);
}

TEST(Text, PatternsThatWouldExhaustTheStackAreRefused) {
  const auto parses = [](const std::string& pattern) {
    return graph_from_text("graph { input %1 : string[1] %2 = RegexFullMatch(%1) {pattern=\"" + pattern + "\"} }").ok();
  };
  EXPECT_TRUE(parses("([0-9]{1,3}\\\\.){3}[0-9]{1,3}"));
  EXPECT_TRUE(parses("(a|b){1,20}[(]"));
  EXPECT_FALSE(parses("(a?){30000}"));
  EXPECT_FALSE(parses("((a{100}){100}){100}"));
  EXPECT_FALSE(parses(std::string(2000, '(') + std::string(2000, ')')));
}

TEST(Text, DeepNestingIsRefused) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "graph { %1 = If() {then=";
  EXPECT_FALSE(graph_from_text(text).ok());
}

TEST(Text, EveryPrefixAndEveryFlippedByteIsSafe) {
  const std::string text = to_text(parse(R"hone(graph "g" {
    meta "k" = "v"
    input %1 "x" : f32[N,2]
    const %2 : f32[2] = [1, nan]
    const %3 : string[1] = ["s"]
    %4 : i64[1] = Shape(%1) {start=-1, end=5} from "n"
    output %4 "y"
    output %3 "z"
  })hone"));
  for (size_t i = 0; i < text.size(); ++i) {
    (void)graph_from_text(text.substr(0, i));
    for (const char c : {'\0', '"', '9', '[', '}', '%', '\xff'}) {
      std::string changed = text;
      changed[i] = c;
      (void)graph_from_text(changed);
    }
  }
}

TEST(Text, TypesDoNotHideWhatANodeRefuses) {
  const auto graph = graph_from_text(R"(graph {
    input %1 : f32[2,3]
    const %2 : i64[2] = [5, 5]
    %3 : f32[*] = Transpose(%1) {perm=[1, 0]}
    %4 = Reshape(%3, %2)
    output %4 "y"
  })");
  ASSERT_FALSE(graph.ok());
  EXPECT_NE(graph.status().message().find("[3,2] cannot be reshaped to [5,5]"), std::string::npos)
      << graph.status().message();
}

TEST(Equal, SeesEveryDifference) {
  const std::string base = R"hone(graph "g" {
    input %1 "x" : f32[2]
    const %2 "c" : f32[2] = [1, 2]
    %3 = Pointwise(%1, %2) {program="in0:f32; in1:f32; sub:f32(0,1)"} from "n"
    %4 = Pointwise(%3) {program="in0:f32; relu:f32(0)"}
    output %4 "y"
  })hone";
  const Graph g = parse(base);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = base;
    text.replace(text.find(from), from.size(), to);
    return parse(text);
  };
  EXPECT_FALSE(equal(g, changed("\"g\"", "\"h\"")));
  EXPECT_FALSE(equal(g, changed("[1, 2]", "[1, 3]")));
  EXPECT_FALSE(equal(g, changed("\"c\"", "\"d\"")));
  EXPECT_FALSE(equal(g, changed("(%1, %2)", "(%2, %1)")));
  EXPECT_FALSE(equal(g, changed("relu", "neg")));
  EXPECT_FALSE(equal(g, changed("\"n\"", "\"m\"")));
  EXPECT_FALSE(equal(g, changed("output %4", "output %3")));
  EXPECT_FALSE(equal(g, changed("\"y\"", "\"z\"")));
}

}  // namespace
}  // namespace hone
