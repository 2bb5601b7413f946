#include "ops/einsum.h"

#include <algorithm>

#include "import/onnx/importer.h"
#include "ops/matmul.h"
#include "ops/reduce.h"

namespace hone::import_onnx {
namespace {

using Labels = std::vector<int>;

bool has(const Labels& labels, int label) { return std::find(labels.begin(), labels.end(), label) != labels.end(); }

bool distinct(const Labels& labels) {
  return std::all_of(labels.begin(), labels.end(),
                     [&](int l) { return std::count(labels.begin(), labels.end(), l) == 1; });
}

Labels joined(std::initializer_list<Labels> parts) {
  Labels out;
  for (const Labels& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// A value whose dims carry labels.
struct Labelled {
  ValueId value;
  Labels labels;
};

// Sums over the labels that `keep` refuses.
void sum_out(NodeImport& n, Labelled& x, auto&& keep) {
  std::vector<int64_t> axes;
  Labels rest;
  for (size_t i = 0; i < x.labels.size(); ++i) {
    if (keep(x.labels[i])) rest.push_back(x.labels[i]);
    else axes.push_back(static_cast<int64_t>(i));
  }
  if (axes.empty()) return;
  x.value = n.add(Reduce{.kind = "sum", .keep_dims = false}, {x.value, n.ints(axes)});
  x.labels = rest;
}

void order(NodeImport& n, Labelled& x, const Labels& labels) {
  if (x.labels == labels) return;
  std::vector<int64_t> perm;
  for (int l : labels) perm.push_back(std::find(x.labels.begin(), x.labels.end(), l) - x.labels.begin());
  x.value = n.transpose(x.value, perm);
  x.labels = labels;
}

// A two-operand einsum as one matrix product over batches. Reshapes merge labels where there are several of a kind;
// they are worked out before anything is emitted, because unknown sizes may stand in the way.
class Contraction {
 public:
  Contraction(NodeImport& n, const EinsumPlan& plan)
      : n_(n), a_{n.input(0), plan.operands[0]}, b_{n.input(1), plan.operands[1]}, out_(plan.output) {}

  bool possible() {
    if (!distinct(a_.labels) || !distinct(b_.labels)) return false;
    for (int l : a_.labels) {
      if (has(b_.labels, l)) (has(out_, l) ? batch_ : sum_).push_back(l);
      else if (has(out_, l)) left_.push_back(l);
    }
    for (int l : b_.labels)
      if (!has(a_.labels, l) && has(out_, l)) right_.push_back(l);
    for (int l : sum_)
      if ((size(a_, l) == 1) != (size(b_, l) == 1)) return false;  // broadcasts
    return merged(a_, left_, sum_, a_shape_) && merged(b_, sum_, right_, b_shape_) && split();
  }

  ValueId emit() {
    sum_out(n_, a_, [&](int l) { return has(b_.labels, l) || has(out_, l); });
    sum_out(n_, b_, [&](int l) { return has(sum_, l) || has(out_, l); });
    order(n_, a_, joined({batch_, left_, sum_}));
    order(n_, b_, joined({batch_, sum_, right_}));
    const auto shaped = [&](ValueId v, const std::vector<int64_t>& shape) {
      return shape.empty() ? v : n_.reshape(v, shape);
    };
    ValueId y = n_.add(MatMul{}, {shaped(a_.value, a_shape_), shaped(b_.value, b_shape_)});
    const Labels labels = joined({batch_, left_, right_});
    if (left_.size() != 1 || right_.size() != 1) y = n_.reshape(y, out_shape_);
    Labelled result{y, labels};
    order(n_, result, out_);
    return result.value;
  }

 private:
  int64_t size(const Labelled& x, int label) const {
    const auto at = static_cast<size_t>(std::find(x.labels.begin(), x.labels.end(), label) - x.labels.begin());
    return n_.type(x.value).shape.dims[at].value;
  }

  // The shape [batch..., all of `first`, all of `second`]; empty when x has it already. False when it cannot be given.
  bool merged(const Labelled& x, const Labels& first, const Labels& second, std::vector<int64_t>& shape) const {
    if (first.size() == 1 && second.size() == 1) return true;
    shape.assign(batch_.size(), 0);
    int free = 0;
    for (const Labels* group : {&first, &second}) {
      int64_t product = 1;
      for (int l : *group) {
        const int64_t dim = size(x, l);
        if (dim == 0) return false;
        product = dim < 0 || product < 0 ? -1 : product * dim;
      }
      const bool copied = group->size() == 1 && (group == &first || first.size() == 1);
      shape.push_back(product < 0 && copied ? 0 : product);
      free += shape.back() < 0;
    }
    return free <= 1;
  }

  bool split() {
    out_shape_.assign(batch_.size(), 0);
    int free = 0;
    for (const auto& [x, group] : {std::pair{&a_, &left_}, std::pair{&b_, &right_}}) {
      for (int l : *group) {
        const int64_t dim = size(*x, l);
        if (dim == 0) return false;
        out_shape_.push_back(dim);
        free += dim < 0;
      }
    }
    return free <= 1;
  }

  NodeImport& n_;
  Labelled a_, b_;
  Labels out_, batch_, left_, right_, sum_;
  std::vector<int64_t> a_shape_, b_shape_, out_shape_;
};

void import_einsum(NodeImport& n) {
  const std::string equation = n.s("equation");
  std::vector<int64_t> ranks;
  for (ValueId v : n.inputs()) ranks.push_back(n.type(v).shape.rank());
  const auto plan = einsum_plan(equation, ranks);
  if (!plan.ok()) return n.fail(plan.status());
  const bool ranked = std::all_of(ranks.begin(), ranks.end(), [](int64_t r) { return r >= 0; });
  if (ranked && ranks.size() == 1 && distinct(plan->operands[0])) {
    Labelled x{n.input(0), plan->operands[0]};
    sum_out(n, x, [&](int l) { return has(plan->output, l); });
    order(n, x, plan->output);
    return n.output(0, x.value);
  }
  if (ranked && ranks.size() == 2) {
    Contraction contraction(n, *plan);
    if (contraction.possible()) return n.output(0, contraction.emit());
  }
  n.output(0, n.add(Einsum{equation}, n.inputs()));
}

}  // namespace

std::span<const ImporterRow> einsum_importers() {
  static constexpr ImporterRow kRows[] = {{"Einsum", import_einsum, 12}};
  return kRows;
}

}  // namespace hone::import_onnx
