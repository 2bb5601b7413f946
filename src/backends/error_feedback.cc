#include "backends/error_feedback.h"

#include <algorithm>
#include <cmath>

#include "base/thread_pool.h"

namespace hone {
namespace {

constexpr double kLeastImportance = 0.01;
constexpr int64_t kRowsOfTask = 64;

// In as many sums as vector registers hold.
double dot(const double* a, const double* b, int64_t count) {
  constexpr int64_t kSums = 16;
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums)
    for (int64_t k = 0; k < kSums; ++k) sums[k] += a[i + k] * b[i + k];
  double sum = 0;
  for (; i < count; ++i) sum += a[i] * b[i];
  for (const double s : sums) sum += s;
  return sum;
}

// Of h, the R above: from the last column to the first. What is below the diagonal is left as it is.
void factorize(std::vector<double>& h, int64_t n, cpu::ThreadPool& pool) {
  for (int64_t c = n - 1; c >= 0; --c) {
    const double* own = h.data() + c * n + c + 1;
    double& diagonal = h[static_cast<size_t>(c * n + c)];
    diagonal = std::sqrt(diagonal - dot(own, own, n - c - 1));
    pool.parallel((c + kRowsOfTask - 1) / kRowsOfTask, [&](int64_t task, int) {
      for (int64_t r = task * kRowsOfTask; r < std::min((task + 1) * kRowsOfTask, c); ++r) {
        double* row = h.data() + r * n + c;
        *row = (*row - dot(row + 1, own, n - c - 1)) / diagonal;
      }
    });
  }
}

}  // namespace

ErrorFeedback::ErrorFeedback(int64_t columns) : columns_(columns), importance_(static_cast<size_t>(columns), 1) {}

ErrorFeedback::ErrorFeedback(SecondMoments moments, int threads) : ErrorFeedback(moments.columns) {
  std::vector<double>& h = moments.sums;
  const auto n = static_cast<size_t>(columns_);
  double mean = 0;
  for (size_t c = 0; c < n; ++c) mean += h[c * n + c] / static_cast<double>(n);
  // Of an input that is always 0, and of one that overflowed, nothing can be learned.
  if (moments.rows == 0 || !(mean > 0) || !std::ranges::all_of(h, [](double v) { return std::isfinite(v); })) return;
  const double kept = static_cast<double>(moments.rows) / static_cast<double>(moments.rows + columns_);
  for (size_t r = 0; r < n; ++r)
    for (size_t c = 0; c < n; ++c)
      h[r * n + c] = r == c ? h[r * n + c] / mean + kLeastImportance : h[r * n + c] * kept / mean;
  for (size_t c = 0; c < n; ++c) importance_[c] = h[c * n + c] / (1 + kLeastImportance);
  cpu::ThreadPool pool(threads);
  factorize(h, columns_, pool);
  for (size_t r = 0; r < n; ++r)
    for (size_t c = r + 1; c < n; ++c) h[r * n + c] /= h[c * n + c];
  factor_ = std::move(h);
}

}  // namespace hone
