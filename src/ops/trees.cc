#include "ops/trees.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/counted.h"
#include "ops/table.h"

namespace hone {
namespace {

constexpr int64_t kNodeFields = 5;

// The inputs, read once for all rows.
struct Forest {
  std::vector<int64_t> roots, nodes, leaves, vote_targets, set_starts;
  std::vector<double> splits, weights, base, set_values;

  int64_t node_count() const { return static_cast<int64_t>(splits.size()); }
  int64_t leaf_count() const { return static_cast<int64_t>(leaves.size()) - 1; }
  bool is_child(int64_t id) const { return id < node_count() && -1 - id < leaf_count(); }
  const int64_t* node(int64_t id) const { return &nodes[static_cast<size_t>(id * kNodeFields)]; }
};

Status check_ranges(const std::vector<int64_t>& starts, size_t count, const char* what) {
  if (starts.empty() || starts.front() != 0 || starts.back() != static_cast<int64_t>(count) ||
      !std::is_sorted(starts.begin(), starts.end()))
    return invalid("the {} do not cover their {} in order", what, counted(count, "value"));
  return {};
}

Status check(const Forest& f, int64_t columns, int64_t targets) {
  if (f.nodes.size() != f.splits.size() * static_cast<size_t>(kNodeFields))
    return invalid("{} and {}", counted(f.nodes.size() / static_cast<size_t>(kNodeFields), "node"),
                   counted(f.splits.size(), "split"));
  if (f.vote_targets.size() != f.weights.size())
    return invalid("{} and {}", counted(f.vote_targets.size(), "vote"), counted(f.weights.size(), "weight"));
  if (!f.base.empty() && static_cast<int64_t>(f.base.size()) != targets)
    return invalid("{} for {}", counted(f.base.size(), "base value"), counted(targets, "target"));
  HONE_CHECK(check_ranges(f.leaves, f.weights.size(), "leaves"));
  if (!f.set_starts.empty()) HONE_CHECK(check_ranges(f.set_starts, f.set_values.size(), "sets"));
  for (int64_t t : f.vote_targets)
    if (t < 0 || t >= targets) return invalid("a vote for target {} of {}", t, targets);
  for (int64_t root : f.roots)
    if (!f.is_child(root)) return invalid("a tree starts at node {} of {}", root, f.node_count());
  for (int64_t id = 0; id < f.node_count(); ++id) {
    const int64_t* n = f.node(id);
    if (n[0] < 0 || n[0] >= columns) return invalid("node {} looks at column {} of {}", id, n[0], columns);
    if (n[1] < 0 || n[1] > TreeEnsemble::member) return invalid("node {} has comparison {}", id, n[1]);
    if (!f.is_child(n[2]) || !f.is_child(n[3])) return invalid("node {} has children {} and {}", id, n[2], n[3]);
    const double set = f.splits[static_cast<size_t>(id)];
    const bool known = set >= 0 && set + 1 < static_cast<double>(f.set_starts.size()) && set == std::floor(set);
    if (n[1] == TreeEnsemble::member && !known) return invalid("node {} asks for set {}", id, set);
  }
  return {};
}

bool holds(const Forest& f, int64_t id, double value) {
  const int64_t* n = f.node(id);
  if (std::isnan(value) && n[4] != 0) return true;
  const double split = f.splits[static_cast<size_t>(id)];
  switch (n[1]) {
    case TreeEnsemble::less_equal: return value <= split;
    case TreeEnsemble::less: return value < split;
    case TreeEnsemble::greater_equal: return value >= split;
    case TreeEnsemble::greater: return value > split;
    case TreeEnsemble::equal: return value == split;
    case TreeEnsemble::not_equal: return value != split;
    default: break;
  }
  const auto set = static_cast<size_t>(split);
  const auto from = f.set_values.begin() + f.set_starts[set], to = f.set_values.begin() + f.set_starts[set + 1];
  return std::find(from, to, value) != to;
}

// The leaf that a row ends at.
Result<int64_t> walk(const Forest& f, int64_t root, const Tensor& x, int64_t row_start) {
  int64_t at = root;
  for (int64_t steps = 0; at >= 0; ++steps) {
    if (steps > f.node_count()) return invalid("a tree has a cycle");
    const int64_t* n = f.node(at);
    at = holds(f, at, x.at(row_start + n[0])) ? n[2] : n[3];
  }
  return -1 - at;
}

// The votes for one row, combined into `out`.
Status vote(const TreeEnsemble& op, const Forest& f, const Tensor& x, int64_t row, Tensor& out) {
  const bool low = op.aggregate == "min", high = op.aggregate == "max";
  const double start = low    ? std::numeric_limits<double>::infinity()
                       : high ? -std::numeric_limits<double>::infinity()
                              : 0;
  std::vector<double> totals(static_cast<size_t>(op.targets), start);
  for (int64_t root : f.roots) {
    HONE_TRY(const int64_t leaf, walk(f, root, x, row * x.dims()[1]));
    for (auto v = static_cast<size_t>(f.leaves[static_cast<size_t>(leaf)]);
         v < static_cast<size_t>(f.leaves[static_cast<size_t>(leaf) + 1]); ++v) {
      double& total = totals[static_cast<size_t>(f.vote_targets[v])];
      total = low ? std::min(total, f.weights[v]) : high ? std::max(total, f.weights[v]) : total + f.weights[v];
    }
  }
  for (size_t t = 0; t < totals.size(); ++t) {
    if (std::isinf(totals[t]) && (low || high)) totals[t] = 0;  // nobody voted
    if (op.aggregate == "average" && !f.roots.empty()) totals[t] /= static_cast<double>(f.roots.size());
    if (!f.base.empty()) totals[t] += f.base[t];
    out.set(row * op.targets + static_cast<int64_t>(t), totals[t]);
  }
  return {};
}

}  // namespace

Result<Types> TreeEnsemble::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  constexpr int64_t kLargest = int64_t{1} << 31;
  if (targets < 1 || targets > kLargest) return invalid("{}", counted(targets, "target"));
  if (aggregate != "sum" && aggregate != "average" && aggregate != "min" && aggregate != "max")
    return invalid("there is no aggregate '{}'", aggregate);
  for (size_t i = 0; i < 7; ++i)
    if (!args.has(i)) return invalid("input {} is absent", i);
  if (x.shape.ranked && x.shape.rank() != 2) return invalid("input must be [N, F], not {}", to_text(x));
  const Dim rows = x.shape.ranked ? x.shape.dims[0] : Dim();
  return Types{{x.dtype == DType::f64 ? DType::f64 : DType::f32, Shape({rows, Dim(targets)})}};
}

Result<Tensors> TreeEnsemble::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  if (x.rank() != 2) return invalid("input must be [N, F], not {}", to_string(x.dims()));
  Forest f{.roots = args[1].to_ints(),
           .nodes = args[2].to_ints(),
           .leaves = args[4].to_ints(),
           .vote_targets = args[5].to_ints()};
  f.splits = args[3].to_doubles();
  f.weights = args[6].to_doubles();
  if (args.has(7)) f.base = args[7].to_doubles();
  if (args.has(8) && args.has(9)) {
    f.set_starts = args[8].to_ints();
    f.set_values = args[9].to_doubles();
  }
  HONE_CHECK(check(f, x.dims()[1], targets));
  HONE_CHECK(checked_bytes(DType::f64, std::vector<int64_t>{x.dims()[0], targets}));
  Tensor out(x.type() == DType::f64 ? DType::f64 : DType::f32, {x.dims()[0], targets});
  for (int64_t row = 0; row < x.dims()[0]; ++row) HONE_CHECK(vote(*this, f, x, row, out));
  return Tensors{out};
}

std::span<const OpRow> trees_ops() {
  static constexpr OpRow kRows[] = {op_row<TreeEnsemble>()};
  return kRows;
}

}  // namespace hone
