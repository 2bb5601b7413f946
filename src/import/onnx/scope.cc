#include "import/onnx/scope.h"

#include <onnx/onnx-ml.pb.h>

#include <algorithm>
#include <set>

#include "import/onnx/tensor_proto.h"

namespace hone::import_onnx {
namespace {

constexpr int kMaxDepth = 32;
constexpr int64_t kMaxExpanded = 300'000;  // nodes that come from function bodies

using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

std::string label(const onnx::NodeProto& node) {
  const std::string& name = !node.name().empty() || node.output_size() == 0 ? node.name() : node.output(0);
  return fmt::format("node '{}' ({})", name, node.op_type());
}

// Names that a node needs from its surroundings, through its subgraphs too.
void collect_uses(const onnx::NodeProto& node, std::set<std::string>& uses, int depth) {
  for (const auto& name : node.input())
    if (!name.empty()) uses.insert(name);
  if (depth > kMaxDepth) return;
  for (const auto& attr : node.attribute())
    if (attr.has_g())
      for (const auto& inner : attr.g().node()) collect_uses(inner, uses, depth + 1);
}

// The nodes, inputs before users (models are meant to be sorted, not all are). Nodes on a cycle are left out.
std::vector<const onnx::NodeProto*> sorted(const Nodes& nodes) {
  std::map<std::string, int> producer;
  for (int i = 0; i < nodes.size(); ++i)
    for (const auto& name : nodes[i].output())
      if (!name.empty()) producer.emplace(name, i);
  std::vector<int> missing(static_cast<size_t>(nodes.size()), 0);
  std::vector<std::vector<int>> users(static_cast<size_t>(nodes.size()));
  for (int i = 0; i < nodes.size(); ++i) {
    std::set<std::string> uses;
    collect_uses(nodes[i], uses, 0);
    for (const auto& name : uses) {
      const auto found = producer.find(name);
      if (found == producer.end()) continue;
      users[static_cast<size_t>(found->second)].push_back(i);
      ++missing[static_cast<size_t>(i)];
    }
  }
  std::set<int> ready;  // the lowest index first keeps the model's own order
  for (int i = 0; i < nodes.size(); ++i)
    if (missing[static_cast<size_t>(i)] == 0) ready.insert(i);
  std::vector<const onnx::NodeProto*> order;
  while (!ready.empty()) {
    const int i = *ready.begin();
    ready.erase(ready.begin());
    order.push_back(&nodes[i]);
    for (int user : users[static_cast<size_t>(i)])
      if (--missing[static_cast<size_t>(user)] == 0) ready.insert(user);
  }
  return order;
}

void fail(Session& session, const Status& status, const onnx::NodeProto& node) {
  session.failures.push_back(status.message().empty() ? status : status.within(label(node)));
}

void import_nodes(Scope& scope, const Nodes& nodes);

void expand_function(Scope& scope, const onnx::NodeProto& node, const onnx::FunctionProto& function) {
  Session& session = scope.session;
  if (session.too_large) return;
  if (session.depth >= kMaxDepth || (session.expanded += function.node_size()) > kMaxExpanded) {
    session.too_large = true;  // once: functions that call each other twice would fail 2^depth times
    return fail(session,
                unsupported("functions nest deeper than {} or expand to more than {} nodes", kMaxDepth, kMaxExpanded),
                node);
  }
  Scope inner(session, scope.graph, nullptr);
  inner.opsets = scope.opsets;
  for (const auto& entry : function.opset_import())
    inner.opsets[entry.domain() == "ai.onnx" ? "" : entry.domain()] = entry.version();
  for (const auto& attr : function.attribute_proto()) inner.attrs[attr.name()] = &attr;
  for (const auto& attr : node.attribute()) {
    const auto outer = scope.attrs.find(attr.ref_attr_name());
    if (attr.ref_attr_name().empty()) inner.attrs[attr.name()] = &attr;
    else if (outer != scope.attrs.end()) inner.attrs[attr.name()] = outer->second;
  }
  for (int i = 0; i < function.input_size(); ++i)
    inner.define(function.input(i),
                 i < node.input_size() && !node.input(i).empty() ? scope.find(node.input(i)) : ValueId::none);
  ++session.depth;
  import_nodes(inner, function.node());
  --session.depth;
  for (int i = 0; i < node.output_size() && i < function.output_size(); ++i) {
    const std::string& name = function.output(i);
    if (node.output(i).empty() || inner.poisoned(name)) continue;
    if (inner.knows(name)) scope.define(node.output(i), inner.find(name));
    else fail(session, invalid("its output '{}' is not computed by any node", name), node);
  }
}

void import_node(Scope& scope, const onnx::NodeProto& node) {
  Session& session = scope.session;
  const std::string domain = node.domain() == "ai.onnx" ? "" : node.domain();
  const auto function = session.functions.find({node.domain(), node.op_type()});
  if (function != session.functions.end()) return expand_function(scope, node, *function->second);
  const auto opset = scope.opsets.find(domain);
  const int64_t version = opset == scope.opsets.end() ? 1 : opset->second;
  const ImporterRow* row = find_importer(domain, node.op_type(), version);
  if (row == nullptr) {
    const std::string name = domain.empty() ? node.op_type() : domain + "::" + node.op_type();
    session.unknown_ops[name].push_back(node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name());
    return;
  }
  NodeImport import(scope, node, version);
  row->import(import);
  import.check_attributes();
  if (import.failed()) fail(session, import.status(), node);
}

// False when an input depends on a node that failed: it was reported there. A name that nobody defines is reported
// here.
bool inputs_ready(Scope& scope, const onnx::NodeProto& node) {
  bool ready = true;
  for (const auto& name : node.input()) {
    if (name.empty()) continue;
    if (!scope.knows(name)) fail(scope.session, invalid("input '{}' is not defined by anything", name), node);
    if (!scope.knows(name) || scope.poisoned(name)) ready = false;
  }
  return ready;
}

// A name that has two values could mean either.
void check_outputs(Scope& scope, const Nodes& nodes) {
  std::set<std::string> seen;
  for (const auto& node : nodes)
    for (const auto& name : node.output())
      if (!name.empty() && (scope.has_own(name) || !seen.insert(name).second))
        fail(scope.session, invalid("its output '{}' is defined twice", name), node);
}

void import_nodes(Scope& scope, const Nodes& nodes) {
  check_outputs(scope, nodes);
  const auto order = sorted(nodes);
  for (const onnx::NodeProto* node : order) {
    const bool known =
        find_importer(node->domain() == "ai.onnx" ? "" : node->domain(), node->op_type(), INT64_MAX) != nullptr ||
        scope.session.functions.contains({node->domain(), node->op_type()});
    if (inputs_ready(scope, *node) || !known) import_node(scope, *node);
    for (const auto& name : node->output())
      if (!name.empty() && !scope.knows(name)) scope.poison(name);
  }
  if (order.size() == static_cast<size_t>(nodes.size())) return;
  const std::set<const onnx::NodeProto*> done(order.begin(), order.end());
  for (const auto& node : nodes)
    if (!done.contains(&node)) return fail(scope.session, invalid("part of a cycle"), node);
}

}  // namespace

Result<TensorType> type_of(const onnx::TypeProto& proto, const std::string& name) {
  if (proto.has_optional_type()) return type_of(proto.optional_type().elem_type(), name);
  if (proto.has_sequence_type()) {
    HONE_TRY(const TensorType item, type_of(proto.sequence_type().elem_type(), name));
    return TensorType{DType::sequence, Shape(), item.dtype};
  }
  if (!proto.has_tensor_type()) return unsupported("input '{}' is not a tensor", name);
  const auto& tensor = proto.tensor_type();
  TensorType type{dtype_of(tensor.elem_type()), Shape::unranked()};
  if (type.dtype == DType::none)
    return unsupported("input '{}' has element type {}, which is unknown", name, tensor.elem_type());
  if (!tensor.has_shape()) return type;
  type.shape = Shape();
  for (const auto& dim : tensor.shape().dim()) {
    // Exporters write 0 or -1 for "any".
    if (dim.has_dim_value() && dim.dim_value() > 0) type.shape.dims.emplace_back(dim.dim_value());
    else if (dim.has_dim_value() && dim.dim_value() < -1) return invalid("input '{}' has a negative dim", name);
    else if (dim.has_dim_value() && dim.dim_value() == 0) type.shape.dims.emplace_back(0);
    else type.shape.dims.push_back(dim.dim_param().empty() ? Dim() : Dim::named(dim.dim_param()));
  }
  if (const Status status = check_size(type); !status.ok()) return status.within(fmt::format("input '{}'", name));
  return type;
}

namespace {

// The declared type of a subgraph's input, completed by what its user gives it.
Result<TensorType> formal_type(const onnx::ValueInfoProto& info, const TensorType& given) {
  if (!info.has_type() || (info.type().has_tensor_type() && info.type().tensor_type().elem_type() == 0)) {
    if (given.defined()) return given;
    return unsupported("the subgraph's input '{}' has no type", info.name());
  }
  HONE_TRY(TensorType type, type_of(info.type(), info.name()));
  if (!type.shape.ranked && type.dtype == given.dtype) type.shape = given.shape;
  return type;
}

Status override_shape(const Session& session, const std::string& name, TensorType& type) {
  const auto given = session.shapes.find(name);
  if (given == session.shapes.end()) return {};
  HONE_CHECK(checked_bytes(type.dtype, given->second));
  if (type.shape.ranked && type.shape.dims.size() != given->second.size())
    return invalid("input '{}' is {}, not of shape {}", name, to_text(type), to_string(given->second));
  type.shape = Shape::of(given->second);
  return {};
}

void import_inputs(Scope& scope, const onnx::GraphProto& proto, bool top, const std::set<std::string>& initialised,
                   const Types& formals) {
  size_t position = 0;
  for (const auto& info : proto.input()) {
    if (initialised.contains(info.name())) continue;
    if (scope.has_own(info.name())) scope.session.failures.push_back(invalid("there are two inputs '{}'", info.name()));
    const TensorType given = position < formals.size() ? formals[position] : TensorType();
    ++position;
    auto type = top ? type_of(info.type(), info.name()) : formal_type(info, given);
    Status status = type.status();
    if (status.ok() && top) status = override_shape(scope.session, info.name(), *type);
    if (!status.ok()) {
      scope.session.failures.push_back(status);
      scope.poison(info.name());
      continue;
    }
    scope.define(info.name(), scope.graph.add_input(info.name(), *type));
  }
}

std::set<std::string> import_initializers(Scope& scope, const onnx::GraphProto& proto) {
  std::set<std::string> names;
  const auto define = [&](const std::string& name, Result<Tensor> value) {
    if (!names.insert(name).second) scope.session.failures.push_back(invalid("there are two initialisers '{}'", name));
    if (value.ok()) return scope.define(name, scope.graph.add_constant(std::move(*value), name));
    scope.session.failures.push_back(value.status());
    scope.poison(name);
  };
  // The model is ours alone during the import: initialisers give up their bytes instead of being copied.
  auto& mutable_proto = const_cast<onnx::GraphProto&>(proto);
  for (auto& tensor : *mutable_proto.mutable_initializer())
    define(tensor.name(), to_tensor(tensor, scope.session.folder));
  for (const auto& tensor : proto.sparse_initializer())
    define(tensor.values().name(), to_tensor(tensor, scope.session.folder));
  return names;
}

}  // namespace

ValueId Scope::find(const std::string& name) {
  const auto found = names_.find(name);
  if (found != names_.end()) return found->second;
  if (outer_ == nullptr || !outer_->knows(name)) return ValueId::none;
  const ValueId outside = outer_->find(name);
  if (outside == ValueId::none) return outside;
  const Value& value = outer_->graph.value(outside);
  ValueId inside;
  if (value.is_constant()) {
    inside = graph.add_constant(value.constant, name);
  } else {
    inside = graph.add_input(name, value.type);
    captures_.push_back(outside);
  }
  names_[name] = inside;
  return inside;
}

bool Scope::knows(const std::string& name) const {
  return names_.contains(name) || poisoned_.contains(name) || (outer_ != nullptr && outer_->knows(name));
}

bool Scope::poisoned(const std::string& name) const {
  if (names_.contains(name)) return false;
  return poisoned_.contains(name) || (outer_ != nullptr && outer_->poisoned(name));
}

void import_graph(Scope& scope, const onnx::GraphProto& proto, bool top, const Types& formals) {
  Session& session = scope.session;
  if (session.depth >= kMaxDepth) {
    session.failures.push_back(unsupported("graphs nest deeper than {}", kMaxDepth));
    return;
  }
  ++session.depth;
  const auto initialised = import_initializers(scope, proto);
  import_inputs(scope, proto, top, initialised, formals);
  for (const auto& [name, dims] : session.shapes) {
    const auto& inputs = scope.graph.inputs();
    const bool there = std::any_of(inputs.begin(), inputs.end(),
                                   [&, &name = name](ValueId v) { return scope.graph.value(v).name == name; });
    if (top && !there && !scope.poisoned(name))
      session.failures.push_back(invalid("the model has no input '{}'", name));
  }
  import_nodes(scope, proto.node());
  for (const auto& output : proto.output()) {
    if (scope.poisoned(output.name())) continue;
    const ValueId value = scope.knows(output.name()) ? scope.find(output.name()) : ValueId::none;
    if (value == ValueId::none)
      session.failures.push_back(invalid("output '{}' is not computed by any node", output.name()));
    else scope.graph.add_output(value, output.name());
  }
  --session.depth;
}

}  // namespace hone::import_onnx
