#include "ops/trees.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/counted.h"
#include "import/onnx/importer.h"
#include "import/onnx/scores.h"
#include "ops/gather.h"
#include "ops/movement.h"
#include "ops/reduce.h"

namespace hone::import_onnx {
namespace {

constexpr std::string_view kMl = "ai.onnx.ml";

// The inputs of a TreeEnsemble while they are put together.
struct Trees {
  std::vector<int64_t> roots, nodes, leaves{0}, targets, set_starts{0};
  std::vector<double> splits, weights, set_values;

  int64_t add_leaf() {  // its votes are those added since the last leaf
    leaves.push_back(static_cast<int64_t>(targets.size()));
    return 1 - static_cast<int64_t>(leaves.size());
  }
  void add_node(int64_t column, int64_t compare, int64_t when_true, int64_t when_false, bool nan_is_true,
                double split) {
    nodes.insert(nodes.end(), {column, compare, when_true, when_false, nan_is_true});
    splits.push_back(split);
  }
};

ValueId doubles(NodeImport& n, const std::vector<double>& values) {
  return n.constant(Tensor::of<double>(DType::f64, {static_cast<int64_t>(values.size())}, values));
}

ValueId emit(NodeImport& n, const Trees& trees, int64_t targets, const std::string& aggregate,
             const std::vector<double>& base) {
  const auto nodes = static_cast<int64_t>(trees.splits.size());
  std::vector<ValueId> inputs{n.input(0),
                              n.ints(trees.roots),
                              n.reshape(n.ints(trees.nodes), {nodes, 5}),
                              doubles(n, trees.splits),
                              n.ints(trees.leaves),
                              n.ints(trees.targets),
                              doubles(n, trees.weights)};
  inputs.push_back(base.empty() ? ValueId::none : doubles(n, base));
  if (trees.set_starts.size() > 1) {
    inputs.push_back(n.ints(trees.set_starts));
    inputs.push_back(doubles(n, trees.set_values));
  }
  return n.add(TreeEnsemble{.targets = targets, .aggregate = aggregate}, std::move(inputs));
}

// FLOATS attribute `attr`, or the double tensor `attr`_as_tensor.
std::vector<double> numbers(NodeImport& n, const std::string& attr) {
  const std::string tensor = attr + "_as_tensor";
  if (!n.has(tensor.c_str())) return n.floats(attr.c_str());
  const Tensor value = n.tensor(tensor.c_str());
  return value.defined() ? value.to_doubles() : std::vector<double>();
}

std::vector<double> tensor_numbers(NodeImport& n, const char* attr) {
  const Tensor value = n.has(attr) ? n.tensor(attr) : Tensor();
  return value.defined() ? value.to_doubles() : std::vector<double>();
}

// TreeEnsemble-5, where nodes and leaves are numbered apart.
void import_trees(NodeImport& n) {
  n.ignore({"nodes_hitrates"});
  const auto roots = n.ints("tree_roots"), columns = n.ints("nodes_featureids"), on_true = n.ints("nodes_truenodeids"),
             on_false = n.ints("nodes_falsenodeids"), true_leaf = n.ints("nodes_trueleafs"),
             false_leaf = n.ints("nodes_falseleafs"), targets = n.ints("leaf_targetids");
  const auto modes = tensor_numbers(n, "nodes_modes"), splits = tensor_numbers(n, "nodes_splits"),
             weights = tensor_numbers(n, "leaf_weights"), members = tensor_numbers(n, "membership_values");
  const size_t count = columns.size();
  auto nan_is_true = n.ints("nodes_missing_value_tracks_true");
  if (nan_is_true.empty()) nan_is_true.assign(count, 0);
  for (size_t size : {on_true.size(), on_false.size(), true_leaf.size(), false_leaf.size(), modes.size(), splits.size(),
                      nan_is_true.size()})
    if (size != count) return n.invalid("nodes_* attributes have {} and {}", count, counted(size, "element"));
  if (targets.size() != weights.size())
    return n.invalid("{} and {}", counted(targets.size(), "leaf", "leaves"), counted(weights.size(), "weight"));

  Trees trees{.roots = roots};
  for (size_t k = 0; k < targets.size(); ++k) {
    trees.targets.push_back(targets[k]);
    trees.weights.push_back(weights[k]);
    trees.add_leaf();
  }
  for (double v : members) {  // the sets are ended by NaN
    if (!std::isnan(v)) trees.set_values.push_back(v);
    else trees.set_starts.push_back(static_cast<int64_t>(trees.set_values.size()));
  }
  const auto child = [](bool leaf, int64_t id) { return leaf && id >= 0 ? -1 - id : id; };
  int64_t sets = 0;
  for (size_t k = 0; k < count; ++k) {
    const auto mode = static_cast<int64_t>(modes[k]);
    const double split = mode == TreeEnsemble::member ? static_cast<double>(sets++) : splits[k];
    if (on_true[k] < 0 || on_false[k] < 0) return n.invalid("node {} has a negative child", k);
    trees.add_node(columns[k], mode, child(true_leaf[k] != 0, on_true[k]), child(false_leaf[k] != 0, on_false[k]),
                   nan_is_true[k] != 0, split);
  }
  constexpr const char* kAggregates[] = {"average", "sum", "min", "max"};
  constexpr const char* kTransforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  const int64_t aggregate = n.i("aggregate_function", 1), transform = n.i("post_transform", 0);
  if (aggregate < 0 || aggregate > 3) return n.invalid("there is no aggregate function {}", aggregate);
  if (transform < 0 || transform > 4) return n.invalid("there is no post transform {}", transform);
  const ValueId scores = emit(n, trees, n.i("n_targets", 1), kAggregates[aggregate], {});
  n.output(0, post_transform(n, scores, kTransforms[transform]));
}

// TreeEnsembleRegressor and -Classifier: nodes and leaves in one list, named by (tree, node), with votes beside.
struct OlderTrees {
  std::vector<int64_t> tree_ids, node_ids, columns, on_true, on_false, nan_is_true;
  std::vector<double> splits;
  std::vector<std::string> modes;
  std::vector<int64_t> vote_trees, vote_nodes, vote_targets;
  std::vector<double> weights;
};

OlderTrees read_older(NodeImport& n, const std::string& votes) {
  n.ignore({"nodes_hitrates", "nodes_hitrates_as_tensor"});  // how often, of use to compilers that place code by it
  OlderTrees t{.tree_ids = n.ints("nodes_treeids"),
               .node_ids = n.ints("nodes_nodeids"),
               .columns = n.ints("nodes_featureids"),
               .on_true = n.ints("nodes_truenodeids"),
               .on_false = n.ints("nodes_falsenodeids"),
               .nan_is_true = n.ints("nodes_missing_value_tracks_true"),
               .splits = numbers(n, "nodes_values"),
               .modes = n.strings("nodes_modes"),
               .vote_trees = n.ints((votes + "_treeids").c_str()),
               .vote_nodes = n.ints((votes + "_nodeids").c_str()),
               .vote_targets = n.ints((votes + "_ids").c_str()),
               .weights = numbers(n, votes + "_weights")};
  const size_t count = t.tree_ids.size();
  if (t.nan_is_true.empty()) t.nan_is_true.assign(count, 0);
  for (size_t size : {t.node_ids.size(), t.columns.size(), t.on_true.size(), t.on_false.size(), t.splits.size(),
                      t.modes.size(), t.nan_is_true.size()})
    if (size != count) n.invalid("nodes_* attributes have {} and {}", count, counted(size, "element"));
  for (size_t size : {t.vote_nodes.size(), t.vote_targets.size(), t.weights.size()})
    if (size != t.vote_trees.size())
      n.invalid("{}_* attributes have {} and {}", votes, t.vote_trees.size(), counted(size, "element"));
  return t;
}

using NodeName = std::pair<int64_t, int64_t>;

// Adds the leaves with their votes, and says where each node and leaf is.
std::map<NodeName, int64_t> place_nodes(NodeImport& n, const OlderTrees& t, Trees& trees) {
  std::multimap<NodeName, size_t> votes;
  for (size_t v = 0; v < t.vote_trees.size(); ++v) votes.emplace(NodeName(t.vote_trees[v], t.vote_nodes[v]), v);
  std::map<NodeName, int64_t> places;
  int64_t inner = 0;
  for (size_t k = 0; k < t.tree_ids.size(); ++k) {
    const NodeName name(t.tree_ids[k], t.node_ids[k]);
    int64_t place = inner;
    if (t.modes[k] == "LEAF") {
      for (auto [at, end] = votes.equal_range(name); at != end; ++at) {
        trees.targets.push_back(t.vote_targets[at->second]);
        trees.weights.push_back(t.weights[at->second]);
      }
      place = trees.add_leaf();
    } else {
      ++inner;
    }
    if (!places.emplace(name, place).second) n.invalid("tree {} has two nodes {}", name.first, name.second);
    // The first node of a tree is its root.
    if (k == 0 || t.tree_ids[k] != t.tree_ids[k - 1]) trees.roots.push_back(place);
  }
  return places;
}

Trees older_trees(NodeImport& n, const std::string& votes) {
  static const std::map<std::string, int64_t> kModes = {
      {"BRANCH_LEQ", TreeEnsemble::less_equal},    {"BRANCH_LT", TreeEnsemble::less},
      {"BRANCH_GTE", TreeEnsemble::greater_equal}, {"BRANCH_GT", TreeEnsemble::greater},
      {"BRANCH_EQ", TreeEnsemble::equal},          {"BRANCH_NEQ", TreeEnsemble::not_equal}};
  const OlderTrees t = read_older(n, votes);
  Trees trees;
  if (n.failed()) return trees;
  const std::map<NodeName, int64_t> places = place_nodes(n, t, trees);
  for (size_t k = 0; k < t.tree_ids.size() && !n.failed(); ++k) {
    if (t.modes[k] == "LEAF") continue;
    const auto mode = kModes.find(t.modes[k]);
    const auto yes = places.find({t.tree_ids[k], t.on_true[k]}), no = places.find({t.tree_ids[k], t.on_false[k]});
    if (mode == kModes.end()) n.invalid("there is no node mode '{}'", t.modes[k]);
    else if (yes == places.end() || no == places.end())
      n.invalid("node {} of tree {} lacks a child", t.node_ids[k], t.tree_ids[k]);
    else trees.add_node(t.columns[k], mode->second, yes->second, no->second, t.nan_is_true[k] != 0, t.splits[k]);
  }
  return trees;
}

void import_regressor(NodeImport& n) {
  const Trees trees = older_trees(n, "target");
  static const std::map<std::string, std::string> kAggregates = {
      {"SUM", "sum"}, {"AVERAGE", "average"}, {"MIN", "min"}, {"MAX", "max"}};
  const auto aggregate = kAggregates.find(n.s("aggregate_function", "SUM"));
  if (aggregate == kAggregates.end())
    return n.invalid("there is no aggregate function '{}'", n.s("aggregate_function"));
  const ValueId scores = emit(n, trees, n.i("n_targets", 1), aggregate->second, numbers(n, "base_values"));
  n.output(0, post_transform(n, n.cast(scores, DType::f32), n.s("post_transform", "NONE")));
}

// Votes for one class of two are the second one's; the first gets the rest.
ValueId two_classes(NodeImport& n, ValueId scores, const std::string& transform) {
  const bool probability = transform == "NONE" || transform == "PROBIT";
  const ValueId other =
      probability ? n.pointwise(Fn::sub, {n.scalar(1, DType::f32), scores}) : n.pointwise(Fn::neg, {scores});
  return n.add(Concat{.axis = 1}, {other, scores});
}

void import_classifier(NodeImport& n) {
  Trees trees = older_trees(n, "class");
  const std::vector<std::string> names = n.strings("classlabels_strings");
  const std::vector<int64_t> ids = n.ints("classlabels_int64s");
  const auto classes = static_cast<int64_t>(std::max(names.size(), ids.size()));
  if (n.failed()) return;
  if (classes < 2) return n.unsupported("{} class labels", classes);
  const std::string transform = n.s("post_transform", "NONE");
  const std::vector<double> base = numbers(n, "base_values");
  const bool one_sided =
      std::adjacent_find(trees.targets.begin(), trees.targets.end(), std::not_equal_to<>()) == trees.targets.end();
  if (one_sided && (classes != 2 || base.size() > 1))
    return n.unsupported("votes for one of {} with {}", counted(classes, "class", "classes"),
                         counted(base.size(), "base value"));
  if (one_sided) std::fill(trees.targets.begin(), trees.targets.end(), 0);
  ValueId scores = n.cast(emit(n, trees, one_sided ? 1 : classes, "sum", base), DType::f32);
  if (one_sided) scores = two_classes(n, scores, transform);
  scores = post_transform(n, scores, transform);
  const Tensor labels = names.empty() ? Tensor::vector(ids) : Tensor::strings({classes}, names);
  const ValueId best = n.add(ArgReduce{.axis = 1, .keep_dims = false}, {scores});
  n.output(0, n.add(Gather{.axis = 0}, {n.constant(labels), best}));
  n.output(1, scores);
}

}  // namespace

std::span<const ImporterRow> trees_importers() {
  static constexpr ImporterRow kRows[] = {
      {"TreeEnsemble", import_trees, 5, kMl},
      {"TreeEnsembleRegressor", import_regressor, 1, kMl},
      {"TreeEnsembleClassifier", import_classifier, 1, kMl},
  };
  return kRows;
}

}  // namespace hone::import_onnx
