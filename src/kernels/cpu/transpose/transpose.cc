// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/transpose/transpose.h"

#include <cstring>

#include "base/tensor.h"
#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/transpose/tile.h"

namespace hone::cpu {

namespace scalar {
extern const TransposeTiles kTransposeTiles;
}
namespace avx2 {
extern const TransposeTiles kTransposeTiles;
}
namespace avx512 {
extern const TransposeTiles kTransposeTiles;
}

const TransposeTiles& transpose_tiles(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kTransposeTiles;
    case Tier::avx2: return avx2::kTransposeTiles;
    case Tier::scalar: break;
  }
  return scalar::kTransposeTiles;
}

namespace {

constexpr int64_t kGrain = 64 << 10;  // bytes that justify a task
constexpr int64_t kBand = 256;        // rows or columns of a 2-D transpose that one unit of work takes

TransposeTileFn tile_fn(Tier tier, int64_t width) {
  const TransposeTiles& t = transpose_tiles(tier);
  return width == 1 ? t.bytes1 : width == 2 ? t.bytes2 : width == 4 ? t.bytes4 : width == 8 ? t.bytes8 : nullptr;
}

Status check(std::span<const int64_t> dims, std::span<const int64_t> perm, int64_t bytes) {
  if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8)
    return unsupported("transpose of elements of {} bytes", bytes);
  if (perm.size() != dims.size()) return invalid("transpose of {} dims by {} axes", dims.size(), perm.size());
  std::vector<bool> seen(dims.size(), false);
  for (int64_t p : perm) {
    if (p < 0 || p >= static_cast<int64_t>(dims.size()) || seen[static_cast<size_t>(p)])
      return invalid("transpose by {}, which is no permutation", to_string(perm));
    seen[static_cast<size_t>(p)] = true;
  }
  return as_status(checked_bytes(DType::i64, dims));
}

}  // namespace

Result<TransposePlan> TransposePlan::make(std::span<const int64_t> dims, std::span<const int64_t> perm,
                                          int64_t element_bytes, Tier tier) {
  HONE_CHECK(check(dims, perm, element_bytes));
  // In the order of y, so that neighbours that stay neighbours merge.
  const Dims dense = strides_of(dims);
  std::vector<int64_t> extent, strides[2];
  for (int64_t p : perm) {
    extent.push_back(dims[static_cast<size_t>(p)]);
    strides[0].push_back(dense[static_cast<size_t>(p)]);
  }
  strides[1] = strides_of(extent);
  collapse_dims(extent, strides);

  TransposePlan plan;
  plan.tier_ = tier;
  plan.width_ = element_bytes;
  auto& [xs, ys] = strides;
  for (auto* s : {&xs, &ys})
    for (auto& v : *s) v *= element_bytes;
  if (xs.back() == element_bytes || extent.back() == 1) {
    // The innermost dim stays: runs are copied; very short ones count as wider elements.
    plan.cols_ = extent.back();
    plan.x_row_ = plan.y_col_ = element_bytes;
    extent.pop_back(), xs.pop_back(), ys.pop_back();
    const int64_t run = plan.cols_ * element_bytes;
    if (!extent.empty() && (run == 2 || run == 4 || run == 8)) {
      plan.width_ = run;
      plan.cols_ = 1;
    }
  }
  const bool two_d = plan.cols_ == 1 && !extent.empty();
  if (two_d) {
    // x's contiguous dim becomes the columns of a 2-D transpose whose rows are y's innermost dim.
    const size_t inner = extent.size() - 1;
    size_t c = 0;
    for (size_t d = 0; d < inner; ++d)
      if (xs[d] < xs[c]) c = d;
    plan.rows_ = extent[inner];
    plan.x_row_ = xs[inner];
    plan.cols_ = inner == 0 ? 1 : extent[c];
    plan.y_col_ = inner == 0 ? 0 : ys[c];
    extent.pop_back(), xs.pop_back(), ys.pop_back();
    if (inner > 0) {
      for (auto* v : {&extent, &xs, &ys}) v->erase(v->begin() + static_cast<int64_t>(c));
    }
  }
  if (extent.empty()) extent.assign(1, 1), xs.assign(1, 0), ys.assign(1, 0);
  plan.outer_ = extent;
  plan.x_strides_ = xs;
  plan.y_strides_ = ys;
  return plan;
}

void TransposePlan::run(const void* x, void* y, ThreadPool& pool) const {
  const TransposeTileFn tile = tile_fn(tier_, width_);
  const bool runs = rows_ == 1;
  // A unit is one outer position's band along the longer side; runs are cut only when there is but one.
  const bool by_rows = !runs && rows_ >= cols_;
  const int64_t side = runs ? cols_ : by_rows ? rows_ : cols_;
  const int64_t band = runs ? (cols_ > kGrain ? kGrain : cols_) : kBand,
                bands = (side + band - 1) / std::max<int64_t>(band, 1);
  const int64_t outer = element_count(outer_), units = outer * bands;
  const int64_t tasks = std::min(units, task_count(outer * rows_ * cols_ * width_, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const char* from = static_cast<const char*>(x);
      char* to = static_cast<char*>(y);
      int64_t rest = u / bands;
      for (size_t d = outer_.size(); d-- > 0; rest /= outer_[d]) {
        from += rest % outer_[d] * x_strides_[d];
        to += rest % outer_[d] * y_strides_[d];
      }
      const int64_t begin = u % bands * band, n = std::min(band, side - begin);
      if (runs) {
        std::memcpy(to + begin * width_, from + begin * width_, static_cast<size_t>(n * width_));
      } else if (by_rows) {
        tile({from + begin * x_row_, to + begin * width_, n, cols_, x_row_, y_col_});
      } else {
        tile({from + begin * width_, to + begin * y_col_, rows_, n, x_row_, y_col_});
      }
    }
  });
}

}  // namespace hone::cpu
