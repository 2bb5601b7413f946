// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/copy/copy.h"

#include <cstring>

#include "base/tensor.h"
#include "kernels/cpu/copy/strides.h"

namespace hone::cpu {
namespace {

constexpr int64_t kGrain = 128 << 10;  // bytes that justify a task

struct Wide {
  uint64_t low, high;
};

// Calls f with a value of a type of that width.
template <class F>
void with_width(int64_t width, F f) {
  switch (width) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    default: return f(Wide{});
  }
}
bool is_width(int64_t w) { return w == 1 || w == 2 || w == 4 || w == 8 || w == 16; }

void strided(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t n, int64_t width) {
  with_width(width, [&](auto v) {
    for (int64_t i = 0; i < n; ++i) {
      std::memcpy(&v, x + i * x_step, sizeof v);
      std::memcpy(y + i * y_step, &v, sizeof v);
    }
  });
}

void repeat(const char* value, char* y, int64_t n, int64_t width) {
  if (width == 1) {
    std::memset(y, *value, static_cast<size_t>(n));
    return;
  }
  with_width(width, [&](auto v) {
    std::memcpy(&v, value, sizeof v);
    for (int64_t i = 0; i < n; ++i) std::memcpy(y + i * static_cast<int64_t>(sizeof v), &v, sizeof v);
  });
}

}  // namespace

Result<CopyPlan> CopyPlan::make(std::span<const int64_t> dims, std::span<const int64_t> x_strides,
                                std::span<const int64_t> y_strides, int64_t element_bytes, int64_t x_offset) {
  if (!is_width(element_bytes)) return unsupported("copy of elements of {} bytes", element_bytes);
  if (x_strides.size() != dims.size() || y_strides.size() != dims.size())
    return invalid("copy of {} dims with {} and {} strides", dims.size(), x_strides.size(), y_strides.size());
  HONE_CHECK(checked_bytes(DType::c128, dims));
  CopyPlan plan;
  std::vector<int64_t> extent(dims.begin(), dims.end());
  std::vector<int64_t> strides[2] = {{x_strides.begin(), x_strides.end()}, {y_strides.begin(), y_strides.end()}};
  collapse_dims(extent, strides);
  for (auto& s : strides)
    for (auto& v : s) v *= element_bytes;
  plan.run_ = extent.back();
  plan.run_x_ = strides[0].back();
  plan.run_y_ = strides[1].back();
  if (plan.run_ == 1) plan.run_x_ = plan.run_y_ = element_bytes;
  plan.same_ = plan.run_x_ == 0 && plan.run_y_ == element_bytes;
  extent.pop_back();
  for (auto& s : strides) s.pop_back();
  plan.dims_ = extent;
  plan.x_strides_ = strides[0];
  plan.y_strides_ = strides[1];
  plan.width_ = element_bytes;
  plan.x_offset_ = x_offset * element_bytes;
  return plan;
}

// How many steps from `start`, which is in [0, size), stay there.
static int64_t steps_inside(int64_t start, int64_t step, int64_t size) {
  if (step == 0) return INT64_MAX;
  if (step > 0) return (size - 1 - start) / step;
  return step == INT64_MIN ? 0 : start / -step;
}

Result<CopyPlan> CopyPlan::slice(std::span<const int64_t> x_dims, std::span<const int64_t> starts,
                                 std::span<const int64_t> steps, std::span<const int64_t> dims, int64_t element_bytes) {
  if (starts.size() != x_dims.size() || steps.size() != x_dims.size() || dims.size() != x_dims.size())
    return invalid("slice of {} dims with {} starts, {} steps, {} dims", x_dims.size(), starts.size(), steps.size(),
                   dims.size());
  std::vector<int64_t> strides = strides_of(x_dims);
  int64_t offset = 0;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] <= 0) continue;
    if (starts[d] < 0 || starts[d] >= x_dims[d] || dims[d] - 1 > steps_inside(starts[d], steps[d], x_dims[d]))
      return invalid("slice of dim {} from {} in steps of {} leaves [0, {})", d, starts[d], steps[d], x_dims[d]);
    offset += starts[d] * strides[d];
    strides[d] *= dims[d] == 1 ? 0 : steps[d];  // a step that is not taken may be of any size
  }
  return make(dims, strides, strides_of(dims), element_bytes, offset);
}

Result<CopyPlan> CopyPlan::expand(std::span<const int64_t> x_dims, std::span<const int64_t> dims,
                                  int64_t element_bytes) {
  if (x_dims.size() > dims.size()) return invalid("expand of {} to {}", to_string(x_dims), to_string(dims));
  const Dims own = strides_of(x_dims);
  std::vector<int64_t> strides(dims.size(), 0);
  const size_t shift = dims.size() - x_dims.size();
  for (size_t d = 0; d < x_dims.size(); ++d) {
    if (x_dims[d] == 1) continue;
    if (x_dims[d] != dims[d + shift]) return invalid("expand of {} to {}", to_string(x_dims), to_string(dims));
    strides[d + shift] = own[d];
  }
  return make(dims, strides, strides_of(dims), element_bytes);
}

Result<CopyPlan> CopyPlan::tile(std::span<const int64_t> x_dims, std::span<const int64_t> repeats,
                                int64_t element_bytes) {
  if (repeats.size() != x_dims.size()) return invalid("tile of {} dims by {} repeats", x_dims.size(), repeats.size());
  const Dims own = strides_of(x_dims);
  std::vector<int64_t> dims, strides;
  for (size_t d = 0; d < x_dims.size(); ++d) {
    dims.insert(dims.end(), {repeats[d], x_dims[d]});
    strides.insert(strides.end(), {0, own[d]});
  }
  return make(dims, strides, strides_of(dims), element_bytes);
}

void CopyPlan::run(const void* x, void* y, ThreadPool& pool) const {
  const int64_t outer = element_count(dims_);
  if (outer == 0 || run_ == 0) return;
  const auto copy = [this](const char* from, char* to, int64_t n) {
    if (run_x_ == width_ && run_y_ == width_) std::memcpy(to, from, static_cast<size_t>(n * width_));
    else if (same_) repeat(from, to, n, width_);
    else strided(from, run_x_, to, run_y_, n, width_);
  };
  const char* const all_x = static_cast<const char*>(x) + x_offset_;
  char* const all_y = static_cast<char*>(y);
  // A lone run is cut into parts.
  const int64_t units = dims_.empty() ? run_ : outer;
  const int64_t tasks = std::min(units, task_count(outer * run_ * width_, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    if (dims_.empty()) return copy(all_x + part.begin * run_x_, all_y + part.begin * run_y_, part.end - part.begin);
    for (int64_t u = part.begin; u < part.end;) {
      const char* from = all_x;
      char* to = all_y;
      int64_t rest = u;
      for (size_t d = dims_.size(); d-- > 0; rest /= dims_[d]) {
        from += rest % dims_[d] * x_strides_[d];
        to += rest % dims_[d] * y_strides_[d];
      }
      const int64_t end = std::min(part.end, u - u % dims_.back() + dims_.back());
      for (; u < end; ++u, from += x_strides_.back(), to += y_strides_.back()) copy(from, to, run_);
    }
  });
}

namespace {

// The index of x that index i of y (relative to x's first) shows, or -1 for the pad value.
int64_t padded_index(int64_t i, int64_t n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::constant: return -1;
    case PadMode::edge: return i < 0 ? 0 : n - 1;
    case PadMode::wrap: return ((i % n) + n) % n;
    case PadMode::reflect: {
      if (n == 1) return 0;
      const int64_t period = 2 * (n - 1), r = ((i % period) + period) % period;
      return r < n ? r : period - r;
    }
  }
  return -1;
}

}  // namespace

Result<PadPlan> PadPlan::make(std::span<const int64_t> x_dims, std::span<const int64_t> begin,
                              std::span<const int64_t> end, PadMode mode, int64_t element_bytes) {
  if (!is_width(element_bytes)) return unsupported("pad of elements of {} bytes", element_bytes);
  if (begin.size() != x_dims.size() || end.size() != x_dims.size())
    return invalid("pad of {} dims by {} and {} amounts", x_dims.size(), begin.size(), end.size());
  PadPlan plan;
  plan.width_ = element_bytes;
  // Inner dims that stay as they are move as one.
  size_t rank = x_dims.size();
  while (rank > 0 && begin[rank - 1] == 0 && end[rank - 1] == 0) plan.unit_ *= x_dims[--rank];
  const Dims strides = strides_of(x_dims);
  for (size_t d = 0; d < rank; ++d) {
    const int64_t n = x_dims[d], out = n + begin[d] + end[d];
    if (out < 0 || out > (int64_t{1} << 40)) return invalid("pad of dim {} of {} by {} and {}", d, n, begin[d], end[d]);
    if (n == 0 && out > 0 && mode != PadMode::constant)
      return invalid("pad of the empty dim {} has nothing to repeat", d);
    std::vector<int64_t> from(static_cast<size_t>(out));
    for (int64_t i = 0; i < out; ++i) {
      const int64_t source = padded_index(i - begin[d], n, mode);
      from[static_cast<size_t>(i)] = source < 0 ? -1 : source * strides[d] * element_bytes;
    }
    plan.dims_.push_back(out);
    plan.from_.push_back(std::move(from));
    plan.inside_begin_ = std::clamp<int64_t>(begin[d], 0, out);
    plan.inside_end_ = std::clamp<int64_t>(begin[d] + n, plan.inside_begin_, out);
  }
  if (plan.dims_.empty()) {
    plan.dims_.assign(1, 1);
    plan.from_.push_back({0});
    plan.inside_end_ = 1;
  }
  Dims all = plan.dims_;
  all.push_back(plan.unit_);
  HONE_CHECK(checked_bytes(DType::c128, all));
  return plan;
}

void PadPlan::row(const char* x, char* y, const char* value, int64_t index, int64_t begin, int64_t end) const {
  const auto& last = from_.back();
  const int64_t n = dims_.back(), unit_bytes = unit_ * width_;
  int64_t offset = 0, rest = index;
  bool outside = false;
  for (size_t d = dims_.size() - 1; d-- > 0; rest /= dims_[d]) {
    const int64_t from = from_[d][static_cast<size_t>(rest % dims_[d])];
    outside = outside || from < 0;
    offset += from;
  }
  y += index * n * unit_bytes;
  if (outside) return repeat(value, y + begin * unit_bytes, (end - begin) * unit_, width_);
  const auto edge = [&](int64_t first, int64_t stop) {
    for (int64_t i = first; i < stop; ++i) {
      const int64_t from = last[static_cast<size_t>(i)];
      if (from < 0) repeat(value, y + i * unit_bytes, unit_, width_);
      else std::memcpy(y + i * unit_bytes, x + offset + from, static_cast<size_t>(unit_bytes));
    }
  };
  const int64_t first = std::clamp(inside_begin_, begin, end), stop = std::clamp(inside_end_, first, end);
  edge(begin, first);
  if (stop > first)
    std::memcpy(y + first * unit_bytes, x + offset + last[static_cast<size_t>(first)],
                static_cast<size_t>((stop - first) * unit_bytes));
  edge(stop, end);
}

void PadPlan::run(const void* x, void* y, const void* value, ThreadPool& pool) const {
  const int64_t n = dims_.back(), rows = n == 0 ? 0 : element_count(dims_) / n;
  if (rows * unit_ == 0) return;
  const int64_t tasks = task_count(rows * n * unit_ * width_, kGrain, pool.size());
  const int64_t pieces = std::min(n, (tasks + rows - 1) / rows), units = rows * pieces;  // of a row; one of many rows
  pool.parallel(std::min(tasks, units), [&](int64_t t, int) {
    const Part part = part_of(units, t, std::min(tasks, units));
    for (int64_t u = part.begin; u < part.end; ++u) {
      const Part piece = part_of(n, u % pieces, pieces);
      row(static_cast<const char*>(x), static_cast<char*>(y), static_cast<const char*>(value), u / pieces, piece.begin,
          piece.end);
    }
  });
}

void fill(void* y, int64_t n, const void* value, int64_t element_bytes, ThreadPool& pool) {
  const int64_t tasks = task_count(n * element_bytes, kGrain, pool.size());
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(n, t, tasks);
    repeat(static_cast<const char*>(value), static_cast<char*>(y) + part.begin * element_bytes, part.end - part.begin,
           element_bytes);
  });
}

}  // namespace hone::cpu
