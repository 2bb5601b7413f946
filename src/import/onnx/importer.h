#pragma once

#include <initializer_list>
#include <set>
#include <span>
#include <string_view>

#include "base/pointwise.h"
#include "ir/graph.h"

namespace onnx {
class NodeProto;
class AttributeProto;
}  // namespace onnx

namespace hone::import_onnx {

class Scope;

// A subgraph attribute: its inputs are the framework's formal inputs followed by the captured outer values.
struct Subgraph {
  std::shared_ptr<const Graph> graph;
  std::vector<ValueId> captures;
  Status defect;  // of a branch whose shapes or types contradict each other: then there is no graph
};

// One framework node on its way into the graph. The first failure sticks: later calls do nothing, so an importer reads
// straight through and the caller reports the failure with the node's name.
class NodeImport {
 public:
  NodeImport(Scope& scope, const onnx::NodeProto& node, int64_t opset);

  int64_t opset() const { return opset_; }
  std::string_view op_type() const;

  // Attributes; the default when absent, a failure when of another type.
  bool has(const char* attr) const;
  int64_t i(const char* attr, int64_t fallback = 0);
  double f(const char* attr, double fallback = 0);
  std::string s(const char* attr, std::string fallback = {});
  std::vector<int64_t> ints(const char* attr, std::vector<int64_t> fallback = {});
  std::vector<double> floats(const char* attr, std::vector<double> fallback = {});
  std::vector<std::string> strings(const char* attr);
  Tensor tensor(const char* attr);
  DType dtype(const char* attr, DType fallback = DType::none);  // a TensorProto.DataType number
  TensorType type_attr(const char* attr);
  // Attributes that a model may give and that change nothing here. All others must be read: see check_attributes().
  void ignore(std::initializer_list<const char*> attrs);
  // `formals`: types of the subgraph's inputs, where the model leaves them out.
  Subgraph graph(const char* attr, const Types& formals = {});
  // The same for a graph that may never run: what is invalid in it becomes its defect instead of a failure.
  Subgraph branch(const char* attr);

  size_t input_count() const;
  ValueId input(size_t k) const;  // none when absent
  bool has_input(size_t k) const { return input(k) != ValueId::none; }
  std::vector<ValueId> inputs() const;
  size_t output_count() const;
  bool has_output(size_t k) const;

  const TensorType& type(ValueId v) const;
  int64_t rank(ValueId v);                  // fails when unknown
  Dims dims(ValueId v);                     // fails unless all are numbers
  const Tensor& constant(ValueId v) const;  // undefined unless constant
  // The integers (or floats) of input k, or of attribute `attr` in older opsets; fails unless constant.
  std::vector<int64_t> const_ints(size_t k, const char* attr = nullptr);
  // A negative axis counts from the end; fails when out of range.
  int64_t axis(int64_t axis, int64_t rank);

  // Emitters; constants fold at once.
  ValueId add(Op op, std::vector<ValueId> inputs);
  std::vector<ValueId> add(Op op, std::vector<ValueId> inputs, size_t outputs);
  ValueId constant(Tensor value);
  ValueId ints(const std::vector<int64_t>& values);  // an i64 vector constant
  ValueId scalar(double value, DType type);          // a rank-0 constant
  // One scalar function; inputs already of one type. The result type is bool for predicates, else the first input's.
  ValueId pointwise(Fn fn, std::vector<ValueId> inputs);
  ValueId pointwise(PointwiseProgram program, std::vector<ValueId> inputs);
  ValueId cast(ValueId x, DType to);
  ValueId reshape(ValueId x, const std::vector<int64_t>& dims);
  ValueId transpose(ValueId x, std::vector<int64_t> perm);

  void output(size_t k, ValueId value);

  // Fails when the node has an attribute that its importer neither read nor ignored.
  void check_attributes();

  void fail(Status status);
  // "attribute auto_pad: ..." style failures for what Hone does not do.
  template <class... Args>
  void unsupported(fmt::format_string<Args...> format, Args&&... args) {
    fail(hone::unsupported(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void invalid(fmt::format_string<Args...> format, Args&&... args) {
    fail(hone::invalid(format, std::forward<Args>(args)...));
  }
  bool failed() const { return !status_.ok(); }
  const Status& status() const { return status_; }

 private:
  const onnx::AttributeProto* find(const char* attr) const;
  const onnx::AttributeProto* find(const char* attr, int type);
  Subgraph build_graph(const char* attr, const Types& formals);

  Scope& scope_;
  const onnx::NodeProto& node_;
  int64_t opset_;
  Status status_;
  mutable std::set<std::string_view> known_;  // names of the node's attributes that were asked for
};

// How one framework op becomes core ops. `since` is the first opset the row is for; the newest that fits wins.
struct ImporterRow {
  std::string_view op_type;
  void (*import)(NodeImport&);
  int64_t since = 1;
  std::string_view domain;  // empty: ai.onnx
};

// Rows for ops that are one scalar function: `import_function<Fn::relu>`.
template <Fn fn>
void import_function(NodeImport& n) {
  n.output(0, n.pointwise(fn, n.inputs()));
}

std::span<const ImporterRow> importers();  // of all families
const ImporterRow* find_importer(std::string_view domain, std::string_view op_type, int64_t opset);

}  // namespace hone::import_onnx
