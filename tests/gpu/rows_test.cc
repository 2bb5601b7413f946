// A small problem for each of the GPU's kernels in each type, in all variants, against the reference: what
// compute-sanitizer runs (scripts/gpu_run.sh sanitize). Skipped without a GPU.
#include <algorithm>
#include <set>

#include "gpu/library.h"
#include "gpu/other_rows.h"
#include "gpu/product_rows.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"

namespace hone {
namespace {

// Rows whose problems are several layers joined: where small ones are.
constexpr std::pair<std::string_view, const char*> kElsewhere[] = {
    {"cuda.bottleneck_wgmma", "GpuBlocks.SmallOnesOfFloatsAreRight"},
    {"cuda.bottleneck_wgmma", "GpuBlocks.SmallOnesOfBytesAreRight"},
    {"cuda.conv_1x1_wgmma", "GpuConvolutions1x1.SmallOnesGiveTheBitsOfOtherKernels"},
    {"cuda.conv_stem_wgmma", "Types/GpuStem.SmallOnesAreRight/f16"},
    {"cuda.conv_stem_wgmma", "Types/GpuStem.SmallOnesAreRight/bf16"},
    {"cuda.conv_stem_wgmma", "Types/GpuStem.SmallOnesAreRight/i8"},
    {"cuda.squeeze_excite", "GpuSqueezeExcite.SmallOnesAreRight"},
    {"cuda.squeeze_excite_plain", "GpuSqueezeExcite.SmallOnesAreRight"}};

std::vector<RowCase> all_cases() {
  std::vector<RowCase> all(std::begin(kProductRows), std::end(kProductRows));
  all.insert(all.end(), std::begin(kOtherRows), std::end(kOtherRows));
  return all;
}

Machine hopper() { return {.cuda_arch = "sm_90", .tf32 = true}; }

std::string text_of(const Pending& p, DType type) {
  return fmt::format("{} of {} as {}", p.problem.op.name(), to_text(p.problem.inputs[0]), name(type));
}

// What a layer does to sums: of floats, a residual and a relu; of integers and e4m3 also a scale and a bias of each
// channel, and a new scale. All in steps that f32 holds exactly, so that only the result is rounded.
std::string layer_of(DType type) {
  if (type != DType::i8 && type != DType::f8e4m3fn) return program_of(type, true, "relu");
  const bool bytes = type == DType::i8;
  const std::string scaled = fmt::format(
      "in0:{}; cast:f32(0); in1:f32; mul:f32(1,2); in2:f32; add:f32(3,4); in3:{}; cast:f32(6); constant:f32(0.5); "
      "mul:f32(7,8); add:f32(5,9); relu:f32(10); constant:f32(0.25); mul:f32(11,12); ",
      bytes ? "i32" : "f32", name(type));
  return scaled + (bytes ? "round:f32(13); constant:f32(-128); constant:f32(127); clip:f32(14,15,16); cast:i8(17)"
                         : "cast_saturate:f8e4m3fn(13)");
}

// The op of `p`, whose sums it expects, with a layer behind it as one step.
void add_layer(Pending& p, DType type) {
  const Dims dims = p.expected[0].dims();
  const bool wide = type == DType::i8 || type == DType::f8e4m3fn;
  std::vector<Input> beside;
  if (wide) {
    beside = {weights({dims.back()}), weights({dims.back()})};
    for (int64_t i = 0; i < dims.back(); ++i) beside[0].value.set(i, i % 2 == 0 ? 0x1p-3 : 0x1p-4);
  }
  beside.push_back(few(dims));
  beside.back().value = converted(beside.back().value, type);

  Graph g;
  std::map<ValueId, std::pair<Tensor, bool>> known;  // and whether it is constant
  std::vector<ValueId> inputs, formals;
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    inputs.push_back(g.add_input({}, p.problem.inputs[i]));
    known[inputs.back()] = {p.inputs[i], p.problem.is_constant(i)};
  }
  const NodeId first = *g.add_node(p.problem.op, inputs);
  formals.push_back(g.node(first).outputs[0]);
  for (const Input& input : beside) {
    formals.push_back(g.add_input({}, {input.value.type(), Shape::of(input.value.dims())}));
    known[formals.back()] = {input.value, input.constant};
  }
  const auto layer = make_op("Pointwise", {{"program", layer_of(type)}});
  ASSERT_TRUE(layer.ok()) << layer.status().message();
  const NodeId last = *g.add_node(*layer, formals);
  std::vector<ValueId> all;
  p.problem = {.op = fused_op(g, first, last, all), .outputs = {g.type(g.node(last).outputs[0])}};
  p.inputs.clear();
  for (ValueId v : all) {
    const auto& [value, constant] = known.at(v);
    p.problem.inputs.push_back(g.type(v));
    p.problem.constants.push_back(constant ? value : Tensor());
    p.inputs.push_back(value);
  }
  // As f32, so that sums are not rounded before the rest is done to them.
  Tensors read{p.expected[0]};
  for (const Input& input : beside) read.push_back(wide ? input.value : converted(input.value, DType::f32));
  const auto exact = make_op("Pointwise", {{"program", layer_of(wide ? type : DType::f32)}});
  const auto want = exact->evaluate({read, 1});
  ASSERT_TRUE(want.ok()) << want.status().message();
  p.expected = *want;
}

void run(Pending& p, const Tactic& tactic, DType type, const Machine& machine) {
  ASSERT_EQ(tactic.supports(p.problem, machine), "") << text_of(p, type);
  for (int v = 0; v < tactic.variants(p.problem, machine); ++v)
    p.candidates.push_back({tactic, v, std::async(std::launch::async, tactic.prepare, p.problem, v, machine)});
  finish(p, machine);
}

class GpuRows : public ::testing::TestWithParam<std::pair<std::string_view, DType>> {};

TEST_P(GpuRows, IsRight) {
  if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  const auto& [row, type] = GetParam();
  const Machine machine{.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0, .tf32 = true};
  if (machine.cuda_arch != "sm_90") GTEST_SKIP() << machine.cuda_arch;
  const Tactic& tactic = *find_tactic(row);
  for (const RowCase& c : all_cases()) {
    if (c.tactic != row || std::ranges::find(c.types, type) == c.types.end()) continue;
    auto plain = posed(c.of(type), type);
    ASSERT_TRUE(plain.ok()) << row << ": " << plain.status().message();
    Pending layer{plain->problem, plain->inputs, plain->expected, plain->error};
    run(*plain, tactic, type, machine);
    if (!c.layer) continue;
    add_layer(layer, type);
    run(layer, tactic, type, machine);
  }
}

std::vector<std::pair<std::string_view, DType>> rows_and_types() {
  std::vector<std::pair<std::string_view, DType>> all;
  for (const RowCase& c : all_cases())
    for (const DType type : c.types)
      if (const std::pair<std::string_view, DType> row{c.tactic, type}; std::ranges::find(all, row) == all.end())
        all.push_back(row);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Rows, GpuRows, ::testing::ValuesIn(rows_and_types()), [](const auto& info) {
  return std::string(info.param.first.substr(5)) + "_" + std::string(name(info.param.second));
});

bool is_a_test(std::string_view name) {
  const auto* program = ::testing::UnitTest::GetInstance();
  for (int s = 0; s < program->total_test_suite_count(); ++s) {
    const auto* suite = program->GetTestSuite(s);
    for (int t = 0; t < suite->total_test_count(); ++t)
      if (name == fmt::format("{}.{}", suite->name(), suite->GetTestInfo(t)->name())) return true;
  }
  return false;
}

// A kernel that is new, or takes another type, needs a case: without a GPU too.
TEST(RowCases, AreThereForEveryKernelAndType) {
  for (const Tactic& tactic : tactic_table()) {
    const bool library =
        tactic.name.find("cublaslt") != tactic.name.npos || tactic.name.find("cudnn") != tactic.name.npos;
    if (tactic.backend != Backend::cuda || library) continue;
    size_t cases = 0;
    for (const auto& [row, test] : kElsewhere)
      if (row == tactic.name) {
        EXPECT_TRUE(is_a_test(test)) << test;
        ++cases;
      }
    std::set<DType> taken, listed;
    for (const RowCase& c : all_cases()) {
      if (c.tactic != tactic.name) continue;
      ++cases;
      listed.insert(c.types.begin(), c.types.end());
      for (const DType type : kRowTypes) {
        const Case own = c.of(type);
        const bool is_listed = std::ranges::find(c.types, type) != c.types.end();
        if (!is_listed && std::ranges::none_of(own.inputs, &Input::reduced)) continue;  // the same in every type
        const auto problem = problem_in(own, type);
        const std::string reason =
            problem.ok() ? tactic.supports(*problem, hopper()) : std::string(problem.status().message());
        if (reason.empty()) taken.insert(type);
        if (!is_listed) continue;
        EXPECT_EQ(reason, "") << tactic.name << " in " << name(type);
        if (!c.layer) continue;
        const Tensor sums(type == DType::i8 ? DType::i32 : DType::f32, *problem->outputs[0].shape.concrete());
        Pending layer{*problem, inputs_in(own, type), {sums}};
        add_layer(layer, type);
        EXPECT_EQ(tactic.supports(layer.problem, hopper()), "") << tactic.name << " with a layer in " << name(type);
      }
    }
    for (const DType type : taken) EXPECT_TRUE(listed.contains(type)) << tactic.name << " in " << name(type);
    EXPECT_GT(cases, 0u) << tactic.name << " has no small problem in tests/gpu/*_rows.h";
  }
}

}  // namespace
}  // namespace hone
