#include "ops/lrn.h"

#include <algorithm>
#include <cmath>

#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {

Result<Types> Lrn::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  if (!is_float(x.dtype)) return invalid("response normalisation of {}", name(x.dtype));
  if (size < 1) return invalid("size is {}", size);
  if (x.shape.ranked && x.shape.rank() < 2)
    return invalid("response normalisation of {} needs [N, C, ...]", to_text(x));
  return Types{x};
}

Result<Tensors> Lrn::evaluate(const EvalArgs& args) const {
  const Dims& dims = args[0].dims();
  const auto x = numbers_of<double>(args[0]);
  std::vector<double> out(x.size());
  const int64_t channels = dims[1], positions = element_count(std::span(dims).subspan(2));
  for (int64_t i = 0; i < args[0].count(); ++i) {
    const int64_t c = i / positions % channels;
    const int64_t from = std::max<int64_t>(0, c - (size - 1) / 2), to = std::min(channels - 1, c + size / 2);
    double squares = 0;
    for (int64_t j = from; j <= to; ++j) {
      const double v = x[static_cast<size_t>(i + (j - c) * positions)];
      squares += v * v;
    }
    out[static_cast<size_t>(i)] =
        x[static_cast<size_t>(i)] / std::pow(bias + alpha / static_cast<double>(size) * squares, beta);
  }
  return Tensors{tensor_from(args[0].type(), dims, out)};
}

std::span<const OpRow> lrn_ops() {
  static constexpr OpRow kRows[] = {op_row<Lrn>()};
  return kRows;
}

}  // namespace hone
