#include "ops/linear_attention.h"

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

// Learns `known` from a dim, or says that they differ.
bool agree(Dim& known, const Dim& dim) {
  if (!known.known()) known = dim;
  return !dim.known() || known == dim;
}

// Checks [batch, time, parts * size] and learns all but the parts.
Status read(const InferArgs& args, size_t i, Dim& batch, Dim& time, int64_t parts, Dim& size) {
  const Shape& shape = args.type(i).shape;
  if (!shape.ranked) return {};
  bool fits = shape.rank() == 3 && agree(batch, shape.dims[0]) && agree(time, shape.dims[1]);
  if (fits && shape.dims[2].known())
    fits = shape.dims[2].value % parts == 0 && agree(size, Dim(shape.dims[2].value / parts));
  if (!fits) return invalid("input {} is {}, which does not fit the other inputs", i, to_text(args.type(i)));
  return {};
}

Dim times(const Dim& dim, int64_t count) {
  int64_t product;
  return dim.known() && !__builtin_mul_overflow(dim.value, count, &product) ? Dim(product) : Dim();
}

struct Sizes {
  Dim batch, time, key, value;
};

Result<Sizes> sizes_of(const LinearAttention& op, const InferArgs& args) {
  Sizes s;
  HONE_CHECK(read(args, 0, s.batch, s.time, op.heads, s.key));
  HONE_CHECK(read(args, 1, s.batch, s.time, op.groups, s.key));
  HONE_CHECK(read(args, 2, s.batch, s.time, op.groups, s.value));
  if (const Shape& state = args.type(3).shape; args.has(3) && state.ranked)
    if (state.rank() != 4 || !agree(s.batch, state.dims[0]) ||
        (state.dims[1].known() && state.dims[1] != Dim(op.groups)) || !agree(s.key, state.dims[2]) ||
        !agree(s.value, state.dims[3]))
      return invalid("input 3 is {}, which does not fit the other inputs", to_text(args.type(3)));
  for (size_t i : {4u, 5u}) {
    const Shape& shape = args.type(i).shape;
    if (!args.has(i) || !shape.ranked) continue;
    Dim one;
    HONE_CHECK(read(args, i, s.batch, s.time, 1, one));
    const Dim wide = i == 4 ? times(s.key, op.groups) : Dim(1);
    if (one.known() && one != Dim(op.groups) && wide.known() && one != wide)
      return invalid("the last dim of input {} is {}", i, one.value);
  }
  return s;
}

// One group of one batch element on its way through time.
class Memory {
 public:
  Memory(double* state, int64_t key, int64_t value)
      : state_(state), key_(key), value_(value), row_(static_cast<size_t>(value)) {}

  void decay(const double* log, bool each) {
    for (int64_t d = 0; d < key_; ++d) {
      const double factor = std::exp(log[each ? d : 0]);
      for (int64_t m = 0; m < value_; ++m) state_[d * value_ + m] *= factor;
    }
  }

  void write(const double* k, const double* v, const double* beta) {
    std::copy_n(v, value_, row_.begin());
    if (beta != nullptr) {
      std::fill(row_.begin(), row_.end(), 0);
      multiply_add(k, state_, row_.data(), 1, key_, value_);
      for (int64_t m = 0; m < value_; ++m) row_[static_cast<size_t>(m)] = *beta * (v[m] - row_[static_cast<size_t>(m)]);
    }
    multiply_add(k, row_.data(), state_, key_, 1, value_);
  }

  void read(const double* q, double scale, double* y) {
    multiply_add(q, state_, y, 1, key_, value_);
    for (int64_t m = 0; m < value_; ++m) y[m] *= scale;
  }

 private:
  double* state_;
  int64_t key_, value_;
  std::vector<double> row_;
};

}  // namespace

Result<Types> LinearAttention::infer(const InferArgs& args) const {
  const DType type = args.type(0).dtype;
  if (!is_float(type)) return invalid("linear attention of {}", name(type));
  if (groups < 1 || heads < 1 || heads % groups != 0)
    return invalid("{} over {}", counted(heads, "head"), counted(groups, "group"));
  if (!args.has(1) || !args.has(2)) return invalid("the keys or values are missing");
  for (size_t i = 1; i < 6; ++i)
    if (args.has(i) && i != 3 && args.type(i).dtype != type)
      return invalid("input {} is {}, expected {}", i, name(args.type(i).dtype), name(type));
  if (args.has(3) && !is_float(args.type(3).dtype)) return invalid("the state is {}", name(args.type(3).dtype));
  HONE_TRY(const Sizes s, sizes_of(*this, args));
  Types types{{type, Shape({s.batch, s.time, times(s.value, heads)})}};
  if (args.outputs > 1)
    types.push_back({args.has(3) ? args.type(3).dtype : type, Shape({s.batch, Dim(groups), s.key, s.value})});
  return types;
}

Result<Tensors> LinearAttention::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, {}, 2}));
  const Dims y_dims = *types[0].shape.concrete(), state_dims = *types[1].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, y_dims));
  HONE_CHECK(checked_bytes(DType::f64, state_dims));
  const int64_t batch = y_dims[0], time = y_dims[1], key = state_dims[2], value = state_dims[3];
  const auto q = numbers_of<double>(args[0]), k = numbers_of<double>(args[1]), v = numbers_of<double>(args[2]);
  const auto decay = args.has(4) ? numbers_of<double>(args[4]) : std::vector<double>();
  const auto beta = args.has(5) ? numbers_of<double>(args[5]) : std::vector<double>();
  const bool each = args.has(4) && args[4].dims()[2] != groups;
  const int64_t decay_step = each ? key : 1, betas = args.has(5) ? args[5].dims()[2] : 0;
  const double factor = scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(key));
  std::vector<double> y(static_cast<size_t>(element_count(y_dims))),
      state(static_cast<size_t>(element_count(state_dims)));
  if (args.has(3)) state = numbers_of<double>(args[3]);
  const int64_t shared = heads / groups;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t g = 0; g < groups; ++g) {
      Memory memory(state.data() + (b * groups + g) * key * value, key, value);
      for (int64_t row = b * time; row < (b + 1) * time; ++row) {
        const int64_t at = row * groups + g;
        if (!decay.empty()) memory.decay(decay.data() + at * decay_step, each);
        memory.write(k.data() + at * key, v.data() + at * value,
                     beta.empty() ? nullptr : beta.data() + row * betas + (betas == 1 ? 0 : g));
        for (int64_t h = g * shared; h < (g + 1) * shared; ++h)
          memory.read(q.data() + (row * heads + h) * key, factor, y.data() + (row * heads + h) * value);
      }
    }
  Tensors out{tensor_from(types[0].dtype, y_dims, y)};
  if (args.outputs > 1) out.push_back(tensor_from(types[1].dtype, state_dims, state));
  return out;
}

std::span<const OpRow> linear_attention_ops() {
  static constexpr OpRow kRows[] = {op_row<LinearAttention>()};
  return kRows;
}

}  // namespace hone
