#include <onnx/onnx-ml.pb.h>

#include <algorithm>

#include "base/counted.h"
#include "import/onnx/importer.h"
#include "import/onnx/scope.h"
#include "import/onnx/tensor_proto.h"
#include "ops/fold.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/shape.h"

namespace hone::import_onnx {

using onnx::AttributeProto;

NodeImport::NodeImport(Scope& scope, const onnx::NodeProto& node, int64_t opset)
    : scope_(scope), node_(node), opset_(opset) {}

std::string_view NodeImport::op_type() const { return node_.op_type(); }

const AttributeProto* NodeImport::find(const char* attr) const {
  for (const AttributeProto& a : node_.attribute()) {
    if (a.name() != attr) continue;
    known_.insert(a.name());
    if (a.ref_attr_name().empty()) return &a;
    // In a function body: the caller's attribute, or absent when the caller gave none.
    const auto given = scope_.attrs.find(a.ref_attr_name());
    return given == scope_.attrs.end() ? nullptr : given->second;
  }
  return nullptr;
}

const AttributeProto* NodeImport::find(const char* attr, int type) {
  const AttributeProto* a = find(attr);
  if (a != nullptr && a->type() != type && a->type() != AttributeProto::UNDEFINED) {
    invalid("attribute '{}' has the wrong type", attr);
    return nullptr;
  }
  return a;
}

void NodeImport::ignore(std::initializer_list<const char*> attrs) {
  for (const char* attr : attrs) (void)find(attr);
}

void NodeImport::check_attributes() {
  for (const AttributeProto& a : node_.attribute())
    if (!known_.contains(a.name())) invalid("attribute '{}' is unknown in opset {}", a.name(), opset_);
}

bool NodeImport::has(const char* attr) const { return find(attr) != nullptr; }

int64_t NodeImport::i(const char* attr, int64_t fallback) {
  const auto* a = find(attr, AttributeProto::INT);
  return a ? a->i() : fallback;
}

double NodeImport::f(const char* attr, double fallback) {
  const auto* a = find(attr, AttributeProto::FLOAT);
  return a ? a->f() : fallback;
}

std::string NodeImport::s(const char* attr, std::string fallback) {
  if (const auto* a = find(attr, AttributeProto::STRING)) return a->s();
  return fallback;
}

std::vector<int64_t> NodeImport::ints(const char* attr, std::vector<int64_t> fallback) {
  if (const auto* a = find(attr, AttributeProto::INTS)) return {a->ints().begin(), a->ints().end()};
  return fallback;
}

std::vector<double> NodeImport::floats(const char* attr, std::vector<double> fallback) {
  if (const auto* a = find(attr, AttributeProto::FLOATS)) return {a->floats().begin(), a->floats().end()};
  return fallback;
}

std::vector<std::string> NodeImport::strings(const char* attr) {
  const auto* a = find(attr, AttributeProto::STRINGS);
  return a ? std::vector<std::string>(a->strings().begin(), a->strings().end()) : std::vector<std::string>();
}

Tensor NodeImport::tensor(const char* attr) {
  const AttributeProto* a = find(attr);
  if (a == nullptr) return {};
  if (a->has_sparse_tensor()) {
    auto sparse = to_tensor(a->sparse_tensor(), scope_.session.folder);
    if (!sparse.ok()) fail(sparse.status());
    return sparse.ok() ? *sparse : Tensor();
  }
  if (!a->has_t()) {
    invalid("attribute '{}' is not a tensor", attr);
    return {};
  }
  auto value = to_tensor(a->t(), scope_.session.folder);
  if (!value.ok()) fail(value.status().within(fmt::format("attribute '{}'", attr)));
  return value.ok() ? *value : Tensor();
}

DType NodeImport::dtype(const char* attr, DType fallback) {
  const auto* a = find(attr, AttributeProto::INT);
  if (a == nullptr) return fallback;
  const DType type = dtype_of(static_cast<int>(a->i()));
  if (type == DType::none) invalid("attribute '{}': {} is not an element type", attr, a->i());
  return type;
}

TensorType NodeImport::type_attr(const char* attr) {
  const auto* a = find(attr, AttributeProto::TYPE_PROTO);
  if (a == nullptr || !a->has_tp()) {
    invalid("attribute '{}' (a type) is missing", attr);
    return {};
  }
  auto type = type_of(a->tp(), attr);
  if (!type.ok()) fail(type.status());
  return type.ok() ? *type : TensorType();
}

Subgraph NodeImport::build_graph(const char* attr, const Types& formals) {
  const auto* a = find(attr, AttributeProto::GRAPH);
  if (a == nullptr || !a->has_g()) {
    invalid("attribute '{}' (a graph) is missing", attr);
    return {};
  }
  auto graph = std::make_shared<Graph>();
  graph->name = a->g().name();
  Scope inner(scope_.session, *graph, &scope_);
  inner.opsets = scope_.opsets;
  inner.attrs = scope_.attrs;
  import_graph(inner, a->g(), false, formals);
  return {std::move(graph), inner.captures(), {}};
}

Subgraph NodeImport::graph(const char* attr, const Types& formals) {
  const size_t before = scope_.session.failures.size() + scope_.session.unknown_ops.size();
  Subgraph graph = build_graph(attr, formals);
  if (scope_.session.failures.size() + scope_.session.unknown_ops.size() > before)
    fail(Status(Code::unsupported, ""));  // already reported
  return graph;
}

Subgraph NodeImport::branch(const char* attr) {
  auto& failures = scope_.session.failures;
  const size_t before = failures.size(), unknown = scope_.session.unknown_ops.size();
  Subgraph graph = build_graph(attr, {});
  if (scope_.session.unknown_ops.size() > unknown) fail(Status(Code::unsupported, ""));
  for (size_t i = before; i < failures.size(); ++i) {
    if (failures[i].message().empty()) continue;
    if (failures[i].code() != Code::invalid) fail(Status(Code::unsupported, ""));
    else if (graph.defect.ok()) graph.defect = failures[i];
  }
  if (failed() || graph.defect.ok()) return graph;
  failures.resize(before);
  return {nullptr, {}, graph.defect.within(attr)};
}

size_t NodeImport::input_count() const { return static_cast<size_t>(node_.input_size()); }

ValueId NodeImport::input(size_t k) const {
  if (k >= input_count() || node_.input(static_cast<int>(k)).empty()) return ValueId::none;
  return scope_.find(node_.input(static_cast<int>(k)));
}

std::vector<ValueId> NodeImport::inputs() const {
  std::vector<ValueId> all;
  for (size_t k = 0; k < input_count(); ++k) all.push_back(input(k));
  return all;
}

size_t NodeImport::output_count() const { return static_cast<size_t>(node_.output_size()); }
bool NodeImport::has_output(size_t k) const { return k < output_count() && !node_.output(static_cast<int>(k)).empty(); }

const TensorType& NodeImport::type(ValueId v) const { return scope_.graph.type(v); }
const Tensor& NodeImport::constant(ValueId v) const { return scope_.graph.value(v).constant; }

int64_t NodeImport::rank(ValueId v) {
  const int64_t rank = type(v).shape.rank();
  if (rank < 0) unsupported("the rank of input '{}' is not known", scope_.graph.value(v).name);
  return std::max<int64_t>(rank, 0);
}

Dims NodeImport::dims(ValueId v) {
  const auto dims = type(v).shape.concrete();
  if (!dims) unsupported("the shape {} is not fully known: give --shape for the model's inputs", to_text(type(v)));
  return dims.value_or(Dims());
}

std::vector<int64_t> NodeImport::const_ints(size_t k, const char* attr) {
  if (attr != nullptr && has(attr)) return ints(attr);
  const Tensor& value = constant(input(k));
  if (!value.defined()) {
    unsupported("input {} must be a constant", k);
    return {};
  }
  return value.to_ints();
}

int64_t NodeImport::axis(int64_t axis, int64_t rank) {
  const int64_t resolved = axis < 0 ? axis + rank : axis;
  if (resolved < 0 || resolved >= std::max<int64_t>(rank, 1)) {
    invalid("axis {} is out of range for rank {}", axis, rank);
    return 0;
  }
  return resolved;
}

ValueId NodeImport::add(Op op, std::vector<ValueId> inputs) {
  const auto outputs = add(std::move(op), std::move(inputs), 1);
  return outputs.empty() ? ValueId::none : outputs[0];
}

std::vector<ValueId> NodeImport::add(Op op, std::vector<ValueId> inputs, size_t outputs) {
  std::vector<ValueId> none(outputs, ValueId::none);
  if (failed()) return none;
  if (const auto folded = fold(scope_.graph, op, inputs, outputs)) {
    std::vector<ValueId> values;
    for (const Tensor& t : *folded) values.push_back(constant(t));
    values.resize(outputs, ValueId::none);
    return values;
  }
  std::vector<std::string> sources;
  if (!node_.name().empty()) sources.push_back(node_.name());
  else if (node_.output_size() > 0) sources.push_back(node_.output(0));
  const auto node = scope_.graph.add_node(std::move(op), std::move(inputs), outputs, std::move(sources));
  if (!node.ok()) {
    fail(node.status());
    return none;
  }
  return scope_.graph.node(*node).outputs;
}

ValueId NodeImport::constant(Tensor value) {
  return failed() ? ValueId::none : scope_.graph.add_constant(std::move(value));
}
ValueId NodeImport::ints(const std::vector<int64_t>& values) { return constant(Tensor::vector(values)); }

ValueId NodeImport::scalar(double value, DType type) {
  if (size_of(type) == 0) unsupported("{} where numbers are needed", name(type));
  if (failed()) return ValueId::none;
  Tensor t(type, {});
  t.set(0, value);
  return constant(std::move(t));
}

namespace {

bool is_predicate(Fn fn) {
  switch (fn) {
    case Fn::equal:
    case Fn::less:
    case Fn::less_equal:
    case Fn::greater:
    case Fn::greater_equal:
    case Fn::logical_and:
    case Fn::logical_or:
    case Fn::logical_xor:
    case Fn::logical_not:
    case Fn::is_nan:
    case Fn::is_inf: return true;
    default: return false;
  }
}

}  // namespace

ValueId NodeImport::pointwise(Fn fn, std::vector<ValueId> inputs) {
  if (failed()) return ValueId::none;
  if (static_cast<int>(inputs.size()) != arity(fn)) {
    invalid("{}, not {}", counted(inputs.size(), "input"), arity(fn));
    return ValueId::none;
  }
  PointwiseProgram program;
  PointwiseInstr last{.fn = fn};
  for (size_t k = 0; k < inputs.size(); ++k) {
    program.code.push_back({.fn = Fn::input, .type = type(inputs[k]).dtype, .input = static_cast<int32_t>(k)});
    last.operand[k] = static_cast<int32_t>(k);
  }
  const size_t typed = fn == Fn::where ? 1 : 0;
  last.type = is_predicate(fn) ? DType::boolean : program.code[typed].type;
  program.code.push_back(last);
  return pointwise(std::move(program), std::move(inputs));
}

ValueId NodeImport::pointwise(PointwiseProgram program, std::vector<ValueId> inputs) {
  return add(Pointwise{std::move(program)}, std::move(inputs));
}

ValueId NodeImport::cast(ValueId x, DType to) {
  if (failed() || type(x).dtype == to) return x;
  return pointwise(single(Fn::cast, type(x).dtype, to), {x});
}

ValueId NodeImport::reshape(ValueId x, const std::vector<int64_t>& dims) { return add(Reshape{}, {x, ints(dims)}); }
ValueId NodeImport::transpose(ValueId x, std::vector<int64_t> perm) { return add(Transpose{std::move(perm)}, {x}); }

void NodeImport::output(size_t k, ValueId value) {
  if (failed() || !has_output(k)) return;
  if (value == ValueId::none) return invalid("output {} is not computed", k);
  const std::string& name = node_.output(static_cast<int>(k));
  scope_.define(name, value);
  if (scope_.graph.value(value).name.empty()) scope_.graph.set_name(value, name);
}

void NodeImport::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

}  // namespace hone::import_onnx
