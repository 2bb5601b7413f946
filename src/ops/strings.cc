#include "ops/strings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/counted.h"
#include "ops/movement.h"
#include "ops/table.h"

namespace hone {
namespace {

Status check_strings(const InferArgs& args, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (args.type(i).dtype != DType::string) return invalid("input {} is {}, not string", i, to_text(args.type(i)));
  return {};
}

// Both inputs under the shape that they broadcast to.
Result<Tensors> broadcast_pair(const EvalArgs& args) {
  HONE_TRY(const Shape shape, broadcast(Shape::of(args[0].dims()), Shape::of(args[1].dims())));
  const Tensor target = Tensor::vector(*shape.concrete());
  Tensors out;
  for (size_t i = 0; i < 2; ++i) {
    const Tensors expand{args[i], target};
    HONE_TRY(Tensors wide, Expand{}.evaluate({expand, 1}));
    out.push_back(std::move(wide[0]));
  }
  return out;
}

constexpr std::string_view kSpace = " \t\n\r\f\v";

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(kSpace);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kSpace) - from + 1);
}

template <class T>
bool parse(std::string_view text, T& value) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Result<Tensor> numbers_from(const Tensor& x, DType to) {
  Tensor out(to, x.dims());
  for (int64_t i = 0; i < x.count(); ++i) {
    const std::string_view text = trimmed(x.text()[static_cast<size_t>(i)]);
    double real = 0;
    int64_t whole = 0;
    uint64_t natural = 0;
    if (is_float(to)) {
      if (!parse(text, real)) return invalid("'{}' is not a number", text);
      out.set(i, real);
    } else if (to == DType::u64 ? parse(text, natural) : parse(text, whole)) {
      out.set_int(i, to == DType::u64 ? static_cast<int64_t>(natural) : whole);
    } else if (to == DType::boolean && (text == "true" || text == "True" || text == "false" || text == "False")) {
      out.set_int(i, text[0] == 't' || text[0] == 'T');
    } else {
      return invalid("'{}' is not an integer", text);
    }
  }
  return out;
}

std::string number_text(const Tensor& x, int64_t i) {
  if (x.type() == DType::f64) return fmt::format("{}", x.at(i));
  if (is_float(x.type())) return fmt::format("{}", static_cast<float>(x.at(i)));
  if (x.type() == DType::u64) return fmt::format("{}", static_cast<uint64_t>(x.int_at(i)));
  return fmt::format("{}", x.int_at(i));
}

// At runs of white space, as Python's str.split() does.
std::vector<std::string> split_spaces(std::string_view text, int64_t limit) {
  std::vector<std::string> parts;
  size_t from = text.find_first_not_of(kSpace);
  while (from != std::string_view::npos) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.emplace_back(text.substr(from));
      break;
    }
    const size_t to = std::min(text.find_first_of(kSpace, from), text.size());
    parts.emplace_back(text.substr(from, to - from));
    from = text.find_first_not_of(kSpace, to);
  }
  return parts;
}

std::vector<std::string> split_at(std::string_view text, std::string_view delimiter, int64_t limit) {
  std::vector<std::string> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t to = text.find(delimiter);
    if (to == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, to));
    text.remove_prefix(to + delimiter.size());
  }
  parts.emplace_back(text);
  return parts;
}

// For each element of x the index of the last equal key, or -1.
std::vector<int64_t> find_keys(const Tensor& x, const Tensor& keys) {
  std::vector<int64_t> found(static_cast<size_t>(x.count()), -1);
  const auto resolve = [&](auto& table, auto&& element) {
    for (int64_t k = 0; k < keys.count(); ++k) table[element(keys, k)] = k;
    for (int64_t i = 0; i < x.count(); ++i)
      if (const auto at = table.find(element(x, i)); at != table.end()) found[static_cast<size_t>(i)] = at->second;
  };
  if (x.type() == DType::string) {
    std::unordered_map<std::string, int64_t> table;
    resolve(table, [](const Tensor& t, int64_t i) { return t.text()[static_cast<size_t>(i)]; });
  } else if (is_float(x.type())) {
    std::map<std::pair<bool, double>, int64_t> table;
    resolve(table, [](const Tensor& t, int64_t i) {
      const double v = t.at(i);
      return std::isnan(v) ? std::pair(true, 0.0) : std::pair(false, v);
    });
  } else {
    std::unordered_map<int64_t, int64_t> table;
    resolve(table, [](const Tensor& t, int64_t i) { return t.int_at(i); });
  }
  return found;
}

}  // namespace

Result<Types> CastString::infer(const InferArgs& args) const {
  const DType from = args.type(0).dtype;
  const auto number = [](DType t) { return is_float(t) || is_integer(t) || t == DType::boolean; };
  const bool fits = from == DType::string ? number(to) || to == DType::string : number(from) && to == DType::string;
  if (!fits) return invalid("cannot turn {} into {}", name(from), name(to));
  return Types{{to, args.type(0).shape}};
}

Result<Tensors> CastString::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  if (to != DType::string) {
    HONE_TRY(Tensor out, numbers_from(x, to));
    return Tensors{std::move(out)};
  }
  if (x.type() == DType::string) return Tensors{x};
  Tensor out(DType::string, x.dims());
  for (int64_t i = 0; i < x.count(); ++i) out.mutable_text()[static_cast<size_t>(i)] = number_text(x, i);
  return Tensors{out};
}

Result<Types> StringConcat::infer(const InferArgs& args) const {
  HONE_CHECK(check_strings(args, 2));
  HONE_TRY(Shape shape, broadcast(args.type(0).shape, args.type(1).shape));
  return Types{{DType::string, std::move(shape)}};
}

Result<Tensors> StringConcat::evaluate(const EvalArgs& args) const {
  HONE_TRY(const Tensors pair, broadcast_pair(args));
  Tensor out(DType::string, pair[0].dims());
  for (size_t i = 0; i < out.text().size(); ++i) out.mutable_text()[i] = pair[0].text()[i] + pair[1].text()[i];
  return Tensors{out};
}

Result<Types> StringEqual::infer(const InferArgs& args) const {
  HONE_CHECK(check_strings(args, 2));
  HONE_TRY(Shape shape, broadcast(args.type(0).shape, args.type(1).shape));
  return Types{{DType::boolean, std::move(shape)}};
}

Result<Tensors> StringEqual::evaluate(const EvalArgs& args) const {
  HONE_TRY(const Tensors pair, broadcast_pair(args));
  Tensor out(DType::boolean, pair[0].dims());
  for (size_t i = 0; i < pair[0].text().size(); ++i)
    out.mutable_data<bool>()[i] = pair[0].text()[i] == pair[1].text()[i];
  return Tensors{out};
}

Result<Types> StringSplit::infer(const InferArgs& args) const {
  HONE_CHECK(check_strings(args, 1));
  Shape parts = args.type(0).shape;
  if (parts.ranked) parts.dims.emplace_back();
  return Types{{DType::string, std::move(parts)}, {DType::i64, args.type(0).shape}};
}

Result<Tensors> StringSplit::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  std::vector<std::vector<std::string>> split;
  size_t longest = 0;
  for (const std::string& text : x.text()) {
    split.push_back(delimiter.empty() ? split_spaces(text, max_split) : split_at(text, delimiter, max_split));
    longest = std::max(longest, split.back().size());
  }
  Dims dims = x.dims();
  dims.push_back(static_cast<int64_t>(longest));
  Tensor parts(DType::string, dims), counts(DType::i64, x.dims());
  for (size_t i = 0; i < split.size(); ++i) {
    counts.mutable_data<int64_t>()[i] = static_cast<int64_t>(split[i].size());
    std::move(split[i].begin(), split[i].end(),
              parts.mutable_text().begin() + static_cast<std::ptrdiff_t>(i * longest));
  }
  return Tensors{parts, counts};
}

Result<Types> Lookup::infer(const InferArgs& args) const {
  if (args.type(0).dtype != args.type(1).dtype)
    return invalid("input is {}, the keys {}", name(args.type(0).dtype), name(args.type(1).dtype));
  if (is_complex(args.type(0).dtype) || args.type(0).dtype == DType::sequence)
    return invalid("cannot look up {}", name(args.type(0).dtype));
  if (args.type(2).dtype != args.type(3).dtype)
    return invalid("values are {}, the default {}", name(args.type(2).dtype), name(args.type(3).dtype));
  const auto keys = args.type(1).shape.concrete(), values = args.type(2).shape.concrete();
  if (keys && values && element_count(*keys) != element_count(*values))
    return invalid("{} and {}", counted(element_count(*keys), "key"), counted(element_count(*values), "value"));
  return Types{{args.type(2).dtype, args.type(0).shape}};
}

Result<Tensors> Lookup::evaluate(const EvalArgs& args) const {
  const Tensor &values = args[2], &fallback = args[3];
  if (args[1].count() != values.count())
    return invalid("{} and {}", counted(args[1].count(), "key"), counted(values.count(), "value"));
  if (fallback.count() < 1) return invalid("the default is empty");
  const std::vector<int64_t> found = find_keys(args[0], args[1]);
  if (strict && std::find(found.begin(), found.end(), -1) != found.end())
    return invalid("an element is none of the keys");
  Tensor out(values.type(), args[0].dims());
  for (size_t i = 0; i < found.size(); ++i) {
    const Tensor& from = found[i] < 0 ? fallback : values;
    const int64_t at = std::max<int64_t>(found[i], 0), to = static_cast<int64_t>(i);
    if (values.type() == DType::string) out.mutable_text()[i] = from.text()[static_cast<size_t>(at)];
    else if (is_float(values.type())) out.set(to, from.at(at));
    else out.set_int(to, from.int_at(at));
  }
  return Tensors{out};
}

std::span<const OpRow> strings_ops() {
  static constexpr OpRow kRows[] = {
      op_row<CastString>(),       op_row<StringConcat>(),   op_row<StringEqual>(), op_row<StringSplit>(),
      op_row<StringNormalizer>(), op_row<RegexFullMatch>(), op_row<Lookup>(),      op_row<TfIdf>()};
  return kRows;
}

}  // namespace hone
