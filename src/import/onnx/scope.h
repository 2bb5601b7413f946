#pragma once

#include <map>
#include <set>
#include <string>

#include "import/onnx/importer.h"
#include "import/onnx/model.h"

namespace onnx {
class GraphProto;
class FunctionProto;
class ModelProto;
class TypeProto;
}  // namespace onnx

namespace hone::import_onnx {

// What the whole import shares.
struct Session {
  const onnx::ModelProto& model;
  std::string folder;  // of external data
  std::map<std::string, Dims> shapes;
  std::map<std::string, int64_t> opsets;  // of the main graph, by domain
  std::map<std::pair<std::string, std::string>, const onnx::FunctionProto*> functions;
  // Every failure, so that all of them are reported at once.
  std::vector<Status> failures;
  std::map<std::string, std::vector<std::string>> unknown_ops;  // "domain::Op" -> node names
  int depth = 0;                                                // nested functions and subgraphs
  int64_t expanded = 0;                                         // nodes from function bodies
  bool too_large = false;                                       // expansion was given up
};

// The names visible at one place: a graph being built, and the scope around it for subgraphs.
class Scope {
 public:
  Scope(Session& session, Graph& graph, Scope* outer) : session(session), graph(graph), outer_(outer) {}

  Session& session;
  Graph& graph;
  std::map<std::string, int64_t> opsets;                     // of this graph or function, by domain
  std::map<std::string, const onnx::AttributeProto*> attrs;  // of the function call being expanded

  // none when nobody defines the name. A name of the outer scope becomes a capture.
  ValueId find(const std::string& name);
  void define(const std::string& name, ValueId value) { names_[name] = value; }
  bool knows(const std::string& name) const;
  // The same, but for what the outer scope defines: such names may be taken again.
  bool has_own(const std::string& name) const { return names_.contains(name) || poisoned_.contains(name); }
  // The name exists, but the node that makes it failed; its users are skipped in silence.
  void poison(const std::string& name) { poisoned_.insert(name); }
  bool poisoned(const std::string& name) const;
  // Formal inputs of a captured value inside, and the outer values they stand for.
  const std::vector<ValueId>& captures() const { return captures_; }

 private:
  Scope* outer_;
  std::map<std::string, ValueId> names_;
  std::set<std::string> poisoned_;
  std::vector<ValueId> captures_;
};

// The type that `name` is declared with. An optional has the type of what it may hold.
Result<TensorType> type_of(const onnx::TypeProto& proto, const std::string& name);

// Adds the nodes of a graph to the scope, reporting failures to the session. `formals` are types for inputs of a
// subgraph that the model declares without.
void import_graph(Scope& scope, const onnx::GraphProto& proto, bool top, const Types& formals = {});

}  // namespace hone::import_onnx
