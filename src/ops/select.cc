#include "ops/select.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

struct Box {
  double top, left, bottom, right;

  double area() const { return (bottom - top) * (right - left); }
};

Box box_at(const Tensor& boxes, int64_t index, bool centered) {
  const double a = boxes.at(index * 4), b = boxes.at(index * 4 + 1), c = boxes.at(index * 4 + 2),
               d = boxes.at(index * 4 + 3);
  if (centered) return {b - d / 2, a - c / 2, b + d / 2, a + c / 2};
  return {std::min(a, c), std::min(b, d), std::max(a, c), std::max(b, d)};
}

double intersection_over_union(const Box& a, const Box& b) {
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  if (height <= 0 || width <= 0) return 0;
  const double both = height * width;
  return both / (a.area() + b.area() - both);
}

struct Thresholds {
  int64_t most = 0;
  double iou = 0;
  bool has_score = false;
  double score = 0;
};

// The boxes of one class that are kept, best first.
std::vector<int64_t> keep(const std::vector<Box>& boxes, std::span<const double> scores, const Thresholds& limits) {
  std::vector<int64_t> order;
  for (size_t b = 0; b < boxes.size(); ++b)
    if (limits.has_score ? scores[b] > limits.score : !std::isnan(scores[b])) order.push_back(static_cast<int64_t>(b));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  std::vector<int64_t> kept;
  for (int64_t candidate : order) {
    if (static_cast<int64_t>(kept.size()) >= limits.most) break;
    const Box& box = boxes[static_cast<size_t>(candidate)];
    const bool covered = std::any_of(kept.begin(), kept.end(), [&](int64_t k) {
      return intersection_over_union(boxes[static_cast<size_t>(k)], box) > limits.iou;
    });
    if (!covered) kept.push_back(candidate);
  }
  return kept;
}

}  // namespace

Result<Types> NonZero::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (x.dtype == DType::string || is_complex(x.dtype)) return invalid("non-zero elements of {}", name(x.dtype));
  Shape out = unknown_dims(2);
  if (x.shape.ranked) out.dims[0] = x.shape.rank();
  return Types{{DType::i64, out}};
}

Result<Tensors> NonZero::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  std::vector<Dims> found;
  Dims at(x.dims().size(), 0);
  for (int64_t i = 0; i < x.count(); ++i) {
    if (x.at(i) != 0) found.push_back(at);
    next_index(at, x.dims());
  }
  const auto n = static_cast<int64_t>(found.size());
  Tensor out(DType::i64, {x.rank(), n});
  for (int64_t d = 0; d < x.rank(); ++d)
    for (int64_t k = 0; k < n; ++k)
      out.mutable_data<int64_t>()[d * n + k] = found[static_cast<size_t>(k)][static_cast<size_t>(d)];
  return Tensors{out};
}

Result<Types> NonMaxSuppression::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  for (size_t k = 0; k < 2; ++k) {
    if (!is_float(args.type(k).dtype)) return invalid("input {} is {}", k, name(args.type(k).dtype));
    if (args.type(k).shape.ranked && args.type(k).shape.rank() != 3)
      return invalid("input {} is {}", k, to_text(args.type(k)));
  }
  return Types{{DType::i64, Shape({Dim(), Dim(3)})}};
}

Result<Tensors> NonMaxSuppression::evaluate(const EvalArgs& args) const {
  const Tensor &boxes = args[0], &scores = args[1];
  if (boxes.rank() != 3 || scores.rank() != 3 || boxes.dims()[2] != 4 || boxes.dims()[0] != scores.dims()[0] ||
      boxes.dims()[1] != scores.dims()[2])
    return invalid("boxes {} and scores {} do not match", to_string(boxes.dims()), to_string(scores.dims()));
  for (size_t k = 2; k < 5; ++k)
    if (args.has(k) && args[k].count() != 1)
      return invalid("input {} is {}, not a scalar", k, to_string(args[k].dims()));
  const Thresholds limits{args.has(2) ? args[2].int_at(0) : 0, args.has(3) ? args[3].at(0) : 0, args.has(4),
                          args.has(4) ? args[4].at(0) : 0};
  const int64_t batches = scores.dims()[0], classes = scores.dims()[1], count = scores.dims()[2];
  const auto all_scores = scores.to_doubles();
  std::vector<int64_t> rows;
  for (int64_t n = 0; n < batches; ++n) {
    std::vector<Box> own;
    for (int64_t b = 0; b < count; ++b) own.push_back(box_at(boxes, n * count + b, centered));
    for (int64_t c = 0; c < classes; ++c) {
      const std::span<const double> row(all_scores.data() + (n * classes + c) * count, static_cast<size_t>(count));
      for (int64_t b : keep(own, row, limits)) rows.insert(rows.end(), {n, c, b});
    }
  }
  const auto found = static_cast<int64_t>(rows.size()) / 3;
  return Tensors{Tensor::of<int64_t>(DType::i64, {found, 3}, rows)};
}

std::span<const OpRow> select_ops() {
  static constexpr OpRow kRows[] = {op_row<NonZero>(), op_row<NonMaxSuppression>()};
  return kRows;
}

}  // namespace hone
