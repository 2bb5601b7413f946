// Slice and Pad: the ops of movement.h that take a window of the index space.
#include <algorithm>

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/movement.h"

namespace hone {
namespace {

struct Range {
  int64_t start = 0, count = 0, step = 1;
};

// ONNX (numpy) rules: negative positions count from the end, all are clamped to the dim.
Range clamp_range(int64_t start, int64_t end, int64_t step, int64_t dim) {
  const auto from_end = [dim](int64_t i) { return i < 0 ? (i < -dim ? -1 : i + dim) : i; };
  if (step > 0) {
    start = std::clamp<int64_t>(from_end(start), 0, dim);
    end = std::clamp<int64_t>(from_end(end), 0, dim);
    return {start, end > start ? (end - start - 1) / step + 1 : 0, step};
  }
  start = std::clamp<int64_t>(from_end(start), std::min<int64_t>(0, dim - 1), dim - 1);
  end = std::clamp<int64_t>(from_end(end), -1, dim - 1);
  // The count is taken with care: -step overflows for the smallest integer.
  return {start, end < start ? (start - end - 1) / (step == INT64_MIN ? INT64_MAX : -step) + 1 : 0, step};
}

struct SliceSpec {
  std::vector<int64_t> starts, ends, axes, steps;
};

Result<SliceSpec> slice_spec(const Tensor& starts, const Tensor& ends, const Tensor& axes, const Tensor& steps,
                             int64_t rank) {
  SliceSpec spec{starts.to_ints(), ends.to_ints(), {}, {}};
  const size_t n = spec.starts.size();
  if (axes.defined()) {
    HONE_TRY(spec.axes, normalize_axes(axes.to_ints(), rank));
  } else {
    for (size_t i = 0; i < n; ++i) spec.axes.push_back(static_cast<int64_t>(i));
    if (static_cast<int64_t>(n) > rank) return invalid("{} for rank {}", counted(n, "start"), rank);
  }
  spec.steps = steps.defined() ? steps.to_ints() : std::vector<int64_t>(n, 1);
  if (spec.ends.size() != n || spec.axes.size() != n || spec.steps.size() != n)
    return invalid("{}, {}, {}, {}", counted(n, "start"), counted(spec.ends.size(), "end"),
                   counted(spec.axes.size(), "axis", "axes"), counted(spec.steps.size(), "step"));
  if (std::find(spec.steps.begin(), spec.steps.end(), 0) != spec.steps.end()) return invalid("a step is 0");
  return spec;
}

// Begins, then ends, of all `rank` dims.
Result<std::vector<int64_t>> full_pads(const Tensor& pads, const Tensor& axes, int64_t rank) {
  std::vector<int64_t> at;
  if (axes.defined()) {
    HONE_TRY(at, normalize_axes(axes.to_ints(), rank));
  } else {
    for (int64_t d = 0; d < rank; ++d) at.push_back(d);
  }
  const auto given = pads.to_ints();
  if (given.size() != 2 * at.size())
    return invalid("{} for {}", counted(given.size(), "pad"), counted(at.size(), "axis", "axes"));
  std::vector<int64_t> full(2 * static_cast<size_t>(rank), 0);
  for (size_t i = 0; i < at.size(); ++i) {
    full[static_cast<size_t>(at[i])] = given[i];
    full[static_cast<size_t>(at[i] + rank)] = given[i + at.size()];
  }
  return full;
}

Result<int64_t> padded_dim(int64_t dim, int64_t begin, int64_t end) {
  int64_t out = 0;
  if (__builtin_add_overflow(dim, begin, &out) || __builtin_add_overflow(out, end, &out) || out < 0 ||
      std::min<int64_t>(begin, 0) + std::min<int64_t>(end, 0) < -dim)
    return invalid("pads {} and {} do not fit dim {}", begin, end, dim);
  return out;
}

// The source index of padded position i of n elements, or -1 for the constant.
int64_t padded_source(const std::string& mode, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  if (mode == "edge") return i < 0 ? 0 : n - 1;
  if (mode == "wrap") return (i % n + n) % n;
  if (mode != "reflect") return -1;
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1), k = (i % period + period) % period;
  return k < n ? k : period - k;
}

Status check_mode(const std::string& mode) {
  if (mode == "constant" || mode == "reflect" || mode == "edge" || mode == "wrap") return {};
  return invalid("pad mode '{}' is unknown", mode);
}

}  // namespace

Result<Types> Slice::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 3));
  const TensorType& x = args.type(0);
  if (!x.shape.ranked) return Types{x};
  const bool axes_known = !args.has(3) || args.value(3).defined();
  const bool known =
      args.value(1).defined() && args.value(2).defined() && axes_known && (!args.has(4) || args.value(4).defined());
  Shape out = x.shape;
  if (!known) {
    // Dims that no axis names stay.
    std::vector<int64_t> touched;
    if (args.value(3).defined()) {
      HONE_TRY(touched, normalize_axes(args.value(3).to_ints(), x.shape.rank()));
    }
    const int64_t first = args.has(3) ? -1 : vector_length(args.type(1).shape);
    for (int64_t d = 0; d < x.shape.rank(); ++d) {
      const bool named = std::find(touched.begin(), touched.end(), d) != touched.end();
      if (args.value(3).defined() ? named : first < 0 || d < first) out.dims[static_cast<size_t>(d)] = {};
    }
    return Types{{x.dtype, out}};
  }
  HONE_TRY(const SliceSpec spec,
           slice_spec(args.value(1), args.value(2), args.value(3), args.value(4), x.shape.rank()));
  for (size_t i = 0; i < spec.axes.size(); ++i) {
    Dim& dim = out.dims[static_cast<size_t>(spec.axes[i])];
    if (dim.known()) dim = clamp_range(spec.starts[i], spec.ends[i], spec.steps[i], dim.value).count;
    else if (spec.starts[i] != 0 || spec.ends[i] < INT32_MAX || spec.steps[i] != 1) dim = {};
  }
  return Types{{x.dtype, out}};
}

Result<Tensors> Slice::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_TRY(const SliceSpec spec, slice_spec(args[1], args[2], args[3], args[4], x.rank()));
  Dims dims = x.dims(), strides = strides_of(dims);
  int64_t offset = 0;
  for (size_t i = 0; i < spec.axes.size(); ++i) {
    const auto d = static_cast<size_t>(spec.axes[i]);
    const Range range = clamp_range(spec.starts[i], spec.ends[i], spec.steps[i], dims[d]);
    dims[d] = range.count;
    if (range.count > 0) offset += range.start * strides[d];
    strides[d] *= range.count > 1 ? range.step : 1;
  }
  return Tensors{copy_strided(x, dims, strides, offset)};
}

Result<Types> Pad::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType& x = args.type(0);
  HONE_CHECK(check_mode(mode));
  if (!x.shape.ranked) return Types{x};
  const Tensor &pads = args.value(1), &axes = args.value(3);
  if (!pads.defined() || (args.has(3) && !axes.defined())) return Types{{x.dtype, unknown_dims(x.shape.rank())}};
  HONE_TRY(const auto full, full_pads(pads, axes, x.shape.rank()));
  Shape out = x.shape;
  for (size_t d = 0; d < out.dims.size(); ++d) {
    const int64_t begin = full[d], end = full[d + out.dims.size()];
    if (out.dims[d].known()) {
      HONE_TRY(const int64_t dim, padded_dim(out.dims[d].value, begin, end));
      out.dims[d] = dim;
    } else if (begin != 0 || end != 0) {
      out.dims[d] = {};
    }
  }
  return Types{{x.dtype, out}};
}

Result<Tensors> Pad::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_CHECK(check_mode(mode));
  HONE_TRY(const auto full, full_pads(args[1], args[3], x.rank()));
  Dims dims = x.dims();
  for (size_t d = 0; d < dims.size(); ++d) {
    HONE_TRY(dims[d], padded_dim(dims[d], full[d], full[d + dims.size()]));
  }
  HONE_CHECK(check_dims(x.type(), dims));
  std::vector<std::vector<int64_t>> maps(dims.size());
  for (size_t d = 0; d < dims.size(); ++d) {
    // Negative pads crop first; the rest of the padding is made from what remains.
    const int64_t begin = full[d], end = full[d + dims.size()];
    const int64_t crop = std::max<int64_t>(-begin, 0), kept = x.dims()[d] - crop - std::max<int64_t>(-end, 0);
    if (kept == 0 && dims[d] > 0 && mode != "constant") return invalid("dim {} is empty: nothing to pad it with", d);
    for (int64_t i = 0; i < dims[d]; ++i) {
      const int64_t source = padded_source(mode, i - std::max<int64_t>(begin, 0), kept);
      maps[d].push_back(source < 0 ? -1 : source + crop);
    }
  }
  if (args[2].defined() && (args[2].type() != x.type() || args[2].count() != 1))
    return invalid("the pad value is not one {}", name(x.type()));
  return Tensors{copy_mapped(x, maps, args[2])};
}

}  // namespace hone
