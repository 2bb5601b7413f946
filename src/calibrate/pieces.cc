#include "calibrate/pieces.h"

#include <cmath>

#include "base/counted.h"

namespace hone::calibrate {
namespace {

bool fits(const Shape& shape, const Dims& dims, size_t from) {
  if (!shape.ranked) return true;
  if (shape.dims.size() != dims.size()) return false;
  for (size_t i = from; i < dims.size(); ++i)
    if (shape.dims[i].known() && shape.dims[i].value != dims[i]) return false;
  return true;
}

// The value with the model's rank; its leading dim is looked at later.
Result<Tensor> conform(const Tensor& value, const Input& input) {
  const auto misfit = [&](const char* what) {
    return invalid("input '{}' is {}, the model takes {}: {}", input.name,
                   to_text({value.type(), Shape::of(value.dims())}), to_text(input.type), what);
  };
  if (!value.defined()) return value;
  if (value.type() == DType::sequence)
    return input.type.dtype == DType::sequence ? Result<Tensor>(value) : misfit("give one");
  if (value.type() != input.type.dtype) return misfit("convert the data");
  if (fits(input.type.shape, value.dims(), 1)) return value;
  Dims lifted = value.dims();
  lifted.insert(lifted.begin(), 1);
  return fits(input.type.shape, lifted, 1) ? Result<Tensor>(value.reshaped(lifted))
                                           : misfit("give data of that shape, or --shape");
}

Status check_finite(const Tensor& value, const Input& input) {
  if (!is_float(value.type())) return {};
  for (int64_t i = 0; i < value.count(); ++i)
    if (const double v = value.at(i); !std::isfinite(v))
      return invalid("input '{}' holds {} (element {}): clean the data", input.name, v, i);
  return {};
}

Tensor rows_of(const Tensor& value, int64_t begin, int64_t count) {
  Dims dims = value.dims();
  const size_t row = dims[0] > 0 ? value.bytes() / static_cast<size_t>(dims[0]) : 0;
  dims[0] = count;
  return {value.type(), dims, static_cast<const std::byte*>(value.raw()) + static_cast<size_t>(begin) * row,
          std::make_shared<Tensor>(value)};
}

// How the arrays are cut: into `runs` of as many rows each, but for the last. Nothing: they are run whole.
struct Cut {
  int64_t runs = 1, samples = 1;
  std::vector<int64_t> rows;  // of each input in a run
};

Result<std::optional<Cut>> plan(const std::vector<Tensor>& values, std::span<const Input> inputs, int64_t rows) {
  Cut cut;
  int64_t open = -1;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& value = values[i];
    if (!value.defined() || size_of(value.type()) == 0 || value.rank() == 0) return std::optional<Cut>();
    const Shape& shape = inputs[i].type.shape;
    const bool fixed = shape.ranked && shape.dims[0].known();
    const int64_t length = value.dims()[0], each = fixed ? shape.dims[0].value : rows;
    if (fixed && (each == 0 ? length != 0 : length == 0 || length % each != 0))
      return invalid("input '{}' has {}, the model takes {} at a time", inputs[i].name, counted(length, "row"), each);
    if (!fixed && length == 0) return invalid("input '{}' has no rows", inputs[i].name);
    if (each == 0) return std::optional<Cut>();
    const int64_t runs = (length + each - 1) / each;
    if (i > 0 && (runs != cut.runs || (!fixed && open >= 0 && open != length))) return std::optional<Cut>();
    if (!fixed) open = length;
    cut.runs = runs;
    cut.samples = std::max(cut.samples, length);
    cut.rows.push_back(each);
  }
  return std::optional(cut);
}

Result<Pieces> pieces_of(const Batch& batch, std::span<const Input> inputs, int64_t rows) {
  std::vector<Tensor> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    HONE_TRY(values.emplace_back(), conform(batch.inputs[i], inputs[i]));
    HONE_CHECK(check_finite(values.back(), inputs[i]));
  }
  HONE_TRY(const auto cut, plan(values, inputs, rows));
  if (!cut || cut->runs == 1) {
    for (size_t i = 0; i < inputs.size(); ++i)
      if (values[i].type() != DType::sequence && values[i].defined() &&
          !fits(inputs[i].type.shape, values[i].dims(), 0))
        return invalid("input '{}' is {}, the model takes {}", inputs[i].name, to_string(values[i].dims()),
                       to_text(inputs[i].type));
    const int64_t samples = cut ? cut->samples : !values.empty() && values[0].rank() > 0 ? values[0].dims()[0] : 1;
    return Pieces{{std::move(values)}, samples};
  }
  Pieces pieces{{}, cut->samples};
  for (int64_t run = 0; run < cut->runs; ++run) {
    auto& parts = pieces.runs.emplace_back();
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t begin = run * cut->rows[i];
      parts.push_back(rows_of(values[i], begin, std::min(cut->rows[i], values[i].dims()[0] - begin)));
    }
  }
  return pieces;
}

}  // namespace

Result<Pieces> cut(const Batch& batch, std::span<const Input> inputs, int64_t rows) {
  if (batch.inputs.size() != inputs.size())
    return invalid("{}: has {} of the model's {}", batch.source, batch.inputs.size(), counted(inputs.size(), "input"));
  auto pieces = pieces_of(batch, inputs, rows);
  if (!pieces.ok()) return pieces.status().within(batch.source);
  return pieces;
}

}  // namespace hone::calibrate
