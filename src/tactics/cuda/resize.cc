#include "ops/resize.h"

#include "ops/elements.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

constexpr int64_t kMostWeights = int64_t{1} << 24;  // of a dim, while the taps are looked for

const Tensor& parameter(const Problem& problem, size_t i) {
  static const Tensor kNone;
  return problem.is_constant(i) && problem.constants[i].count() > 0 ? problem.constants[i] : kNone;
}

// Which entry of scales or sizes speaks of dim `d`, or -1.
int64_t entry_of(const Resize& op, size_t d, int64_t rank) {
  if (op.axes.empty()) return static_cast<int64_t>(d);
  for (size_t i = 0; i < op.axes.size(); ++i)
    if ((op.axes[i] < 0 ? op.axes[i] + rank : op.axes[i]) == static_cast<int64_t>(d)) return static_cast<int64_t>(i);
  return -1;
}

// The entry of dim `d` as the parameter of a resize of that dim alone; undefined when `i` is not given.
Tensor entry(const Problem& problem, size_t i, size_t d) {
  const Tensor& given = parameter(problem, i);
  const int64_t at = entry_of(*problem.op.as<Resize>(), d, problem.inputs[0].shape.rank());
  if (!given.defined() || at < 0 || at >= given.count()) return {};
  Tensor one(given.type(), {1});
  if (i == 2) one.set(0, given.at(at));
  else one.set_int(0, given.int_at(at));
  return one;
}

// Whether a scale other than 1 or a new size changes it.
bool is_changed(const Problem& problem, size_t d) {
  const Tensor scale = entry(problem, 2, d);
  return dims_of(problem.inputs[0])[d] != dims_of(problem.outputs[0])[d] || (scale.defined() && scale.at(0) != 1);
}

// What each position along a dim is made of: `count` elements and their weights, of no weight where there are fewer.
struct Taps {
  int64_t count = 1;
  std::vector<int64_t> places;
  std::vector<double> weights;
};

// As the reference says: it resizes every unit vector.
Result<Taps> taps_of(const Problem& problem, size_t d) {
  const int64_t in = dims_of(problem.inputs[0])[d], out = dims_of(problem.outputs[0])[d];
  Resize line = *problem.op.as<Resize>();
  line.axes = {1};
  Tensor units(DType::f64, {in, in});
  for (int64_t i = 0; i < in; ++i) units.mutable_data<double>()[i * in + i] = 1;
  const Tensors arguments{units, Tensor(), entry(problem, 2, d), entry(problem, 3, d)};
  HONE_TRY(const Tensors results, line.evaluate({arguments, 1}));
  const Tensor& weights = results[0];
  if (weights.dims() != Dims{in, out}) return internal("resize of dim {} to {}", d, to_string(weights.dims()));
  const auto each = [&](int64_t p, auto&& f) {
    for (int64_t i = 0; i < in; ++i)
      if (const double w = weights.data<double>()[i * out + p]; w != 0) f(i, w);
  };
  Taps taps;
  for (int64_t p = 0; p < out; ++p) {
    int64_t found = 0;
    each(p, [&](int64_t, double) { ++found; });
    taps.count = std::max(taps.count, found);
  }
  for (int64_t p = 0; p < out; ++p) {
    each(p, [&](int64_t i, double w) {
      taps.places.push_back(i);
      taps.weights.push_back(w);
    });
    taps.places.resize(static_cast<size_t>((p + 1) * taps.count), taps.places.empty() ? 0 : taps.places.back());
    taps.weights.resize(taps.places.size(), 0);
  }
  return taps;
}

std::string supports(const Problem& problem) {
  if (std::string reason = cuda::refuse_unless_movable<Resize>(problem); !reason.empty()) return reason;
  const Resize& op = *problem.op.as<Resize>();
  if (op.mode != "nearest" && !cuda::is_real_element(problem.inputs[0].dtype))
    return fmt::format("{} elements", name(problem.inputs[0].dtype));
  if (op.aspect_policy != "stretch") return "an aspect ratio policy";
  if (op.coordinates == "tf_crop_and_resize") return "a region of interest";
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  if (element_count(x) == 0) return "an empty input";
  if (problem.constants.empty()) return {};
  if (!parameter(problem, 2).defined() && !parameter(problem, 3).defined()) return "sizes are known only at run time";
  for (size_t d = 0; d < x.size(); ++d)
    if (is_changed(problem, d) && x[d] * std::max(x[d], y[d]) > kMostWeights) return "a dim that is too long";
  return {};
}

// A loop over the taps of each dim that changes, around the sum over all of them. A thread makes a run of results: at
// once when the last dim stays, else one in each of STEPS.
Result<cuda::Source> source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  const bool nearest = problem.op.as<Resize>()->mode == "nearest",
             wide = x.empty() || !is_changed(problem, x.size() - 1);
  Dims strides = strides_of(x);
  cuda::Source source{.drops = cuda::drops_from(problem, 1)};
  std::string parameters, rows, loops, index = "base", weight = "1.0f";
  int64_t below = 1;
  for (size_t d = y.size(); d-- > 0; below *= y[d]) {
    if (!is_changed(problem, d)) continue;
    HONE_TRY(const Taps taps, taps_of(problem, d));
    Tensor places(DType::i32, {static_cast<int64_t>(taps.places.size())}), weights(DType::f32, places.dims());
    for (int64_t i = 0; i < places.count(); ++i) {
      places.set_int(i, taps.places[static_cast<size_t>(i)]);
      weights.set(i, taps.weights[static_cast<size_t>(i)]);
    }
    source.packed.insert(source.packed.end(), {places, weights});
    parameters += fmt::format(", const int* __restrict__ places{0}, const float* __restrict__ weights{0}", d);
    rows += fmt::format("    const int row{} = (int)(i / {} % {}) * {};\n", d, below, y[d], taps.count);
    loops += fmt::format("    for (int t{0} = row{0}; t{0} < row{0} + {1}; ++t{0})\n", d, taps.count);
    index += fmt::format(" + (i64)places{0}[t{0}] * {1}", d, strides[d]);
    weight += fmt::format(" * weights{0}[t{0}]", d);
    strides[d] = 0;
  }
  source.text =
      fmt::format(R"cuda(
#define RUN {0}
#define STEPS {1}
typedef {2} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x{3}) {{
  begin();
  const i64 first = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
  if (first >= {4}) return;
  Run<{5}, RUN> results = {{}};
#pragma unroll
  for (int step = 0; step < STEPS; ++step) {{
    const i64 i = first + step, base = {6};
{7}{8}    {{
      const auto run = load_run<RUN / STEPS>(x + {9});
#pragma unroll
      for (int j = 0; j < RUN / STEPS; ++j) results.v[step + j] {10};
    }}
  }}
  {11};
}}
)cuda",
                  cuda::output_run(problem), wide ? "1" : "RUN",
                  nearest ? cuda::moved_type(problem) : cuda::element_type(problem.inputs[0].dtype), parameters,
                  element_count(y), nearest ? "T" : "float", cuda::strided_index(y, strides, 0, "i"), rows, loops,
                  index, nearest ? "= run.v[j]" : "+= " + weight + " * (float)run.v[j]",
                  nearest ? "*(Run<T, RUN>*)(y + first) = results" : "store_run(y + first, results.v)");
  return source;
}

}  // namespace

std::span<const Tactic> cuda_resize_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, cuda::launch_runs>("cuda.resize")};
  return kRows;
}

}  // namespace hone
