#include "tactics/cuda/epilogue.h"

#include <algorithm>

#include "ops/fused.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "tactics/common.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {
namespace {

struct Body {
  const Graph* graph = nullptr;
  const Node *transpose = nullptr, *before = nullptr, *anchor = nullptr, *after = nullptr;
};

const PointwiseProgram& program_of(const Node& node) { return node.op.as<Pointwise>()->program; }

// Without an anchor when it is something else.
Body body_of(const Fused& fused) {
  Body body{.graph = fused.body.get()};
  for (NodeId id : body.graph->order()) {
    const Node& node = body.graph->node(id);
    const bool pointwise = node.op.as<Pointwise>() != nullptr;
    const Node*& place = body.anchor != nullptr               ? body.after
                         : pointwise                          ? body.before
                         : node.op.as<Transpose>() != nullptr ? body.transpose
                                                              : body.anchor;
    if (place != nullptr || (&place == &body.after && !pointwise) ||
        (&place == &body.before && node.inputs.size() != 1))
      return {};
    place = &node;
  }
  return body;
}

// The program inputs that `at` is the sum of, in f32, each of them once; nothing when it is more than a sum, or one of
// more than `most`.
std::optional<std::vector<int32_t>> terms_of(const std::vector<PointwiseInstr>& code, int32_t at, size_t most) {
  std::vector<int32_t> terms, open{at};
  while (!open.empty()) {
    const PointwiseInstr* instr = &code[static_cast<size_t>(open.back())];
    open.pop_back();
    if (instr->type != DType::f32) return std::nullopt;
    if (instr->fn == Fn::add) {
      open.insert(open.end(), {instr->operand[0], instr->operand[1]});
      if (terms.size() + open.size() > most) return std::nullopt;
      continue;
    }
    if (instr->fn == Fn::cast) instr = &code[static_cast<size_t>(instr->operand[0])];
    if (instr->fn != Fn::input || !is_real_element(instr->type) || std::count(terms.begin(), terms.end(), instr->input))
      return std::nullopt;
    terms.push_back(instr->input);
  }
  return terms;
}

bool is_row(const Dims& dims, int64_t columns) {
  return !dims.empty() && element_count(dims) == columns && dims.back() == columns;
}

// How the kernel reads its data: the strides, and the statements from `raw` to `value`.
void read_data(const Problem& problem, const Body& body, AnchorView* view) {
  view->strides = strides_of(dims_of(problem.inputs[0]));
  view->value = "  const auto value = raw;\n";
  view->prologue = body.transpose != nullptr || body.before != nullptr;
  if (body.transpose != nullptr) {
    const Dims before = view->strides;
    const auto& perm = body.transpose->op.as<Transpose>()->perm;
    for (size_t d = 0; d < perm.size(); ++d) view->strides[d] = before[static_cast<size_t>(perm[d])];
  }
  if (body.before != nullptr && refuse_program(program_of(*body.before)).empty()) {
    const auto& program = program_of(*body.before);
    // The bits above a byte's are not its sign's.
    view->value = statements(program, {"raw"}) + fmt::format("  const auto value = {}v{};\n",
                                                             program.result_type() == DType::i8 ? "(signed char)" : "",
                                                             program.code.size() - 1);
  }
}

// The statements of the nodes after the anchor, from `acc` to `result`; nothing when they read what is no input.
std::optional<std::string> after_statements(const Problem& problem, const Body& body, RunOperands* operands,
                                            AnchorView* view) {
  const auto& inputs = body.graph->inputs();
  const auto& program = program_of(*body.after);
  const Dims out = dims_of(problem.outputs[0]);
  std::vector<std::string> expressions;
  std::vector<bool> known(problem.inputs.size(), false);
  for (ValueId v : body.after->inputs) {
    if (v == body.anchor->outputs[0]) {
      expressions.push_back("acc");
      continue;
    }
    const auto at = static_cast<size_t>(std::find(inputs.begin(), inputs.end(), v) - inputs.begin());
    if (at < view->inputs || at >= problem.inputs.size()) return std::nullopt;
    const TensorType& type = problem.inputs[at];
    RunOperands again;
    expressions.push_back(
        (known[at] ? &again : operands)->add(fmt::format("e{}", at), type.dtype, dims_of(type), out, true));
    known[at] = true;
  }
  for (size_t i = view->inputs; i < problem.inputs.size(); ++i)
    view->parameters += fmt::format(", const {}* __restrict__ e{}", element_type(problem.inputs[i].dtype), i);
  return statements(program, expressions) + fmt::format("  const auto result = v{};\n", program.code.size() - 1);
}

// The functions that store results, given the statements from `acc` to `result`.
std::string store_functions(DType result, const RunOperands& operands, std::string_view terms) {
  const char* results = is_held_in_float(result)                       ? "float"
                        : size_of(result) <= 4 && result != DType::u32 ? "int"
                                                                       : "i64";
  return operands.define("PARAMETERS") + operands.define_columns("PARAMETERS") +
         fmt::format(R"cuda(
typedef {2} Result;
__device__ inline void results_of(PARAMETERS, i64 index, const Operands& operands, const Columns& columns,
                                  const Sum (&sums)[RUN], Result (&results)[RUN]) {{
{0}#pragma unroll
  for (int j = 0; j < RUN; ++j) {{
    Sum acc = sums[j];
    {1}    results[j] = result;
  }}
}}
__device__ inline void store(PARAMETERS, i64 z, int m, int n, const Operands& operands, const Columns& columns,
                             const Sum (&sums)[RUN]) {{
  const i64 index = (z * M + m) * N + n;
  Result results[RUN];
  results_of(ARGUMENTS, index, operands, columns, sums, results);
  store_run(y + index, results);
}}
__device__ inline void store(PARAMETERS, i64 z, int m, int n, const Sum (&sums)[RUN]) {{
  store(ARGUMENTS, z, m, n, operands_at(ARGUMENTS, (z * M + m) * N + n), columns_at(ARGUMENTS, n), sums);
}}
)cuda",
                     operands.loads, terms, results);
}

}  // namespace

std::optional<SimpleEpilogue> simple_epilogue(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  const Body body = fused != nullptr ? body_of(*fused) : Body{};
  const size_t own = fused != nullptr ? body.anchor->inputs.size() : problem.inputs.size();
  SimpleEpilogue epilogue{.bias = own > 2 && has(problem, 2) ? 2 : -1};
  if (body.after == nullptr) return epilogue;
  const auto& code = program_of(*body.after).code;
  auto at = static_cast<int32_t>(code.size()) - 1;
  const auto instr = [&] { return code[static_cast<size_t>(at)]; };
  if (instr().type == problem.outputs[0].dtype && instr().fn == Fn::cast) at = instr().operand[0];
  if (instr().type == DType::f32 && (instr().fn == Fn::relu || instr().fn == Fn::gelu_tanh)) {
    epilogue.activation = instr().fn;
    at = instr().operand[0];
  }
  const auto terms = terms_of(code, at, 3);
  if (!terms) return std::nullopt;
  bool product = false;
  const auto& inputs = body.graph->inputs();
  const Dims out = dims_of(problem.outputs[0]);
  for (const int32_t term : *terms) {
    if (static_cast<size_t>(term) >= body.after->inputs.size()) return std::nullopt;
    const ValueId v = body.after->inputs[static_cast<size_t>(term)];
    if (v == body.anchor->outputs[0]) {
      product = true;
      continue;
    }
    const auto input = static_cast<size_t>(std::find(inputs.begin(), inputs.end(), v) - inputs.begin());
    if (input < own || !has(problem, input)) return std::nullopt;
    const Dims dims = dims_of(problem.inputs[input]);
    // What is both is a bias where there is none.
    int& place = is_row(dims, out.back()) && epilogue.bias < 0 ? epilogue.bias : epilogue.residual;
    if (place >= 0 || (&place == &epilogue.residual && dims != out)) return std::nullopt;
    place = static_cast<int>(input);
  }
  if (!product) return std::nullopt;
  return epilogue;
}

bool rises_with_sum(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  const Body body = fused != nullptr ? body_of(*fused) : Body{};
  if (body.after == nullptr) return true;
  const auto& code = program_of(*body.after).code;
  const auto& inputs = body.graph->inputs();
  const auto value_of = [&](const PointwiseInstr& instr) {
    return body.after->inputs[static_cast<size_t>(instr.input)];
  };
  // Whether an operand that does not depend on the sum is above zero.
  const auto positive = [&](const PointwiseInstr& instr) {
    if (instr.fn == Fn::constant) return instr.value > 0;
    if (instr.fn != Fn::input) return false;
    const auto at = static_cast<size_t>(std::find(inputs.begin(), inputs.end(), value_of(instr)) - inputs.begin());
    if (!problem.is_constant(at)) return false;
    const Tensor& values = problem.constants[at];
    for (int64_t i = 0; i < values.count(); ++i)
      if (!(values.at(i) > 0)) return false;
    return true;
  };
  enum class Course { fixed, rising, unknown };
  std::vector<Course> courses;
  for (const PointwiseInstr& instr : code) {
    const auto operand = [&](int k) { return static_cast<size_t>(instr.operand[k]); };
    const auto is = [&](int k, Course course) { return courses[operand(k)] == course; };
    bool fixed = instr.fn != Fn::input || value_of(instr) != body.anchor->outputs[0];
    for (int k = 0; k < arity(instr.fn); ++k) fixed = fixed && is(k, Course::fixed);
    bool rising = false;
    switch (instr.fn) {
      case Fn::input:
      case Fn::constant: rising = true; break;
      case Fn::cast: rising = is(0, Course::rising) && (is_real_element(instr.type) || instr.type == DType::i8); break;
      case Fn::cast_saturate: rising = is(0, Course::rising) && is_held_in_float(instr.type); break;
      case Fn::relu:
      case Fn::round:
      case Fn::sigmoid:
      case Fn::tanh: rising = is(0, Course::rising); break;
      case Fn::clip: rising = is(0, Course::rising) && is(1, Course::fixed) && is(2, Course::fixed); break;
      case Fn::add:
      case Fn::max:
      case Fn::min: rising = !is(0, Course::unknown) && !is(1, Course::unknown); break;
      case Fn::mul:
        for (const int k : {0, 1})
          rising = rising || (is(k, Course::rising) && is(1 - k, Course::fixed) && positive(code[operand(1 - k)]));
        break;
      case Fn::div: rising = is(0, Course::rising) && is(1, Course::fixed) && positive(code[operand(1)]); break;
      default: break;
    }
    courses.push_back(fixed ? Course::fixed : rising ? Course::rising : Course::unknown);
  }
  return courses.back() != Course::unknown;
}

std::optional<AnchorView> view_anchor(const Problem& problem, std::string_view op) {
  const auto* fused = problem.op.as<Fused>();
  const Body body = fused != nullptr ? body_of(*fused) : Body{};
  if (fused != nullptr && body.anchor == nullptr) return std::nullopt;
  if ((fused != nullptr ? body.anchor->op : problem.op).name() != op) return std::nullopt;
  AnchorView view{.op = fused ? body.anchor->op : problem.op,
                  .inputs = fused ? body.anchor->inputs.size() : problem.inputs.size(),
                  .data = fused ? body.graph->type(body.anchor->inputs[0]) : problem.inputs[0]};
  if (!problem.is_static()) return view;

  read_data(problem, body, &view);
  RunOperands operands;
  std::string terms;
  if (const size_t bias = bias_input(op); view.inputs > bias && has(problem, bias)) {
    view.parameters += fmt::format(", const {}* __restrict__ bias", element_type(problem.inputs[bias].dtype));
    terms = "acc += " + operands.add_column("bias", problem.inputs[bias].dtype) + ";\n    ";
  }
  if (body.after == nullptr) {
    terms += "const Sum result = acc;\n";
  } else {
    if (!refuse_program(program_of(*body.after)).empty()) return view;
    const auto after = after_statements(problem, body, &operands, &view);
    if (!after) return std::nullopt;
    terms += *after;
  }
  view.store = store_functions(problem.outputs[0].dtype, operands, terms);
  return view;
}

std::string refuse_epilogue(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return {};
  const Body body = body_of(*fused);
  if (body.anchor == nullptr) return "other nodes are fused";
  for (const Node* node : {body.before, body.after})
    if (node != nullptr)
      if (std::string reason = refuse_program(program_of(*node)); !reason.empty()) return reason;
  return {};
}

}  // namespace hone::cuda
