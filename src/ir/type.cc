#include "ir/type.h"

#include <algorithm>
#include <charconv>

namespace hone {

bool Shape::known() const {
  return ranked && std::all_of(dims.begin(), dims.end(), [](const Dim& d) { return d.known(); });
}

std::optional<Dims> Shape::concrete() const {
  if (!known()) return std::nullopt;
  Dims out;
  for (const Dim& d : dims) out.push_back(d.value);
  return out;
}

std::string to_text(const TensorType& type) {
  std::string text(name(type.dtype));
  if (type.element != DType::none) text += fmt::format("<{}>", name(type.element));
  if (!type.shape.ranked) return text + "[*]";
  text += '[';
  for (size_t i = 0; i < type.shape.dims.size(); ++i) {
    const Dim& d = type.shape.dims[i];
    if (i > 0) text += ',';
    text += d.known() ? std::to_string(d.value) : d.symbol.empty() ? "?" : d.symbol;
  }
  return text + ']';
}

Result<TensorType> type_from_text(std::string_view text) {
  const size_t open = text.find('[');
  if (open == std::string_view::npos || !text.ends_with(']')) return invalid("'{}' is not a tensor type", text);
  TensorType type;
  std::string_view head = text.substr(0, open);
  if (const size_t angle = head.find('<'); angle != std::string_view::npos && head.ends_with('>')) {
    const auto element = dtype_from_name(head.substr(angle + 1, head.size() - angle - 2));
    if (!element) return invalid("'{}' has an unknown element type", text);
    type.element = *element;
    head = head.substr(0, angle);
  }
  const auto dtype = dtype_from_name(head);
  if (!dtype) return invalid("'{}' has an unknown element type", text);
  type.dtype = *dtype;
  std::string_view dims = text.substr(open + 1, text.size() - open - 2);
  if (dims == "*") {
    type.shape = Shape::unranked();
    return type;
  }
  while (!dims.empty()) {
    const size_t comma = std::min(dims.find(','), dims.size());
    const std::string_view part = dims.substr(0, comma);
    dims.remove_prefix(std::min(comma + 1, dims.size()));
    int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error == std::errc() && end == part.data() + part.size()) {
      if (value < 0) return invalid("'{}' has a negative dim", text);
      type.shape.dims.emplace_back(value);
    } else if (part == "?") {
      type.shape.dims.emplace_back();
    } else if (!part.empty()) {
      type.shape.dims.push_back(Dim::named(std::string(part)));
    } else {
      return invalid("'{}' has an empty dim", text);
    }
  }
  HONE_CHECK(check_size(type));
  return type;
}

bool compatible(const TensorType& a, const TensorType& b) {
  if (a.dtype != b.dtype) return false;
  if (a.element != b.element && a.element != DType::none && b.element != DType::none) return false;
  if (!a.shape.ranked || !b.shape.ranked) return true;
  if (a.shape.dims.size() != b.shape.dims.size()) return false;
  for (size_t i = 0; i < a.shape.dims.size(); ++i) {
    const Dim &x = a.shape.dims[i], &y = b.shape.dims[i];
    if (x.known() && y.known() && x.value != y.value) return false;
  }
  return true;
}

Status check_size(const TensorType& type) {
  Dims known;
  for (const Dim& d : type.shape.dims)
    if (d.known()) known.push_back(d.value);
  return as_status(checked_bytes(type.dtype, known));
}

bool accepts(const Shape& shape, std::span<const int64_t> dims) {
  if (!shape.ranked) return true;
  if (shape.dims.size() != dims.size()) return false;
  for (size_t i = 0; i < dims.size(); ++i)
    if (shape.dims[i].known() && shape.dims[i].value != dims[i]) return false;
  return true;
}

Result<Shape> broadcast(const Shape& a, const Shape& b) {
  if (!a.ranked || !b.ranked) return Shape::unranked();
  const size_t rank = std::max(a.dims.size(), b.dims.size());
  Shape out;
  out.dims.resize(rank);
  for (size_t i = 0; i < rank; ++i) {
    const Dim x = i + a.dims.size() < rank ? Dim(1) : a.dims[i + a.dims.size() - rank];
    const Dim y = i + b.dims.size() < rank ? Dim(1) : b.dims[i + b.dims.size() - rank];
    if (x == y || y.value == 1) {
      out.dims[i] = x;
    } else if (x.value == 1) {
      out.dims[i] = y;
    } else if (x.known() && y.known()) {
      return invalid("shapes {} and {} do not broadcast", to_text({DType::f32, a}).substr(3),
                     to_text({DType::f32, b}).substr(3));
    } else if (x.known() || y.known()) {
      out.dims[i] = x.known() ? x : y;  // the unknown one must be 1 or equal
    }
  }
  return out;
}

}  // namespace hone
