// What a product's results lose when its weights are rounded, one after the other, and how later weights make up for
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "ir/graph.h"

namespace hone {

// Of the rows x that a product reads: their mean m, or nearly, and the sum of (x - m)^T (x - m), [columns, columns].
struct SecondMoments {
  std::vector<double> means, sums;
  int64_t columns = 0, rows = 0;  // `rows`: how many were added up; 0: nothing is known
};
// Those of what a node reads first, in the graph as it was given.
using MomentsOf = std::function<Result<SecondMoments>(NodeId)>;

// Weights that are off by a row of errors e put a result off by e m^T in the mean, which a bias takes back, and by a
// sum of squares of e H e^T about it, H being the sums. With H = R R^T and R upper triangular that is |e R|^2, whose
// column c is R_cc (e_c + sum over k < c of e_k R_kc / R_cc): a weight that is rounded in its turn takes on the sum,
// with the opposite sign, as OPTQ (Frantar et al., 2023) does.
class ErrorFeedback {
 public:
  // Nothing is fed back, all columns count alike.
  explicit ErrorFeedback(int64_t columns);
  // Few rows say little of how columns go together: the moments off the diagonal are shrunk by
  // rows / (rows + columns). A column that never moved counts for a hundredth of the mean.
  // `threads`: as for cpu::ThreadPool.
  explicit ErrorFeedback(SecondMoments moments, int threads = 0);

  bool any() const { return !factor_.empty(); }
  // How much squared errors of a column count, 1 on average.
  double importance(int64_t column) const { return importance_[static_cast<size_t>(column)]; }
  // R_cc, and behind it, for each later column c, what it takes on of an error of `column`: R_column,c / R_cc. Only
  // where there is any feedback.
  const double* row(int64_t column) const { return factor_.data() + column * columns_ + column; }

 private:
  int64_t columns_;
  std::vector<double> importance_, factor_;  // [columns, columns], above the diagonal
};

}  // namespace hone
