#include "base/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/counted.h"
#include "base/file_map.h"

namespace hone {
namespace {

struct Row {
  std::string_view descr;
  DType type;
};
constexpr Row kRows[] = {{"<f4", DType::f32}, {"<f8", DType::f64},  {"<f2", DType::f16}, {"|i1", DType::i8},
                         {"<i2", DType::i16}, {"<i4", DType::i32},  {"<i8", DType::i64}, {"|u1", DType::u8},
                         {"<u2", DType::u16}, {"<u4", DType::u32},  {"<u8", DType::u64}, {"|b1", DType::boolean},
                         {"<c8", DType::c64}, {"<c16", DType::c128}};

// The text after `'key':` in the header's Python dictionary.
std::string_view field(std::string_view header, std::string_view key) {
  const size_t at = header.find(key);
  if (at == std::string_view::npos) return {};
  std::string_view rest = header.substr(at + key.size());
  while (!rest.empty() && (rest.front() == ' ' || rest.front() == ':' || rest.front() == '\'')) rest.remove_prefix(1);
  return rest;
}

Result<Dims> parse_shape(std::string_view text) {
  Dims dims;
  if (text.empty() || text.front() != '(') return invalid("the shape is malformed");
  text.remove_prefix(1);
  while (!text.empty() && text.front() != ')') {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return invalid("the shape is malformed");
    dims.push_back(value);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    while (!text.empty() && (text.front() == ',' || text.front() == ' ')) text.remove_prefix(1);
  }
  return dims;
}

// C++ knows no third truth value: whatever is not 0 becomes 1.
void make_truths(Tensor& t) {
  auto* bytes = static_cast<uint8_t*>(t.mutable_raw());
  std::transform(bytes, bytes + t.bytes(), bytes, [](uint8_t b) { return b != 0; });
}

}  // namespace

Result<Tensor> npy_from_bytes(std::string_view all) {
  if (!all.starts_with("\x93NUMPY") || all.size() < 12) return invalid("not an .npy file");
  const auto major = static_cast<unsigned char>(all[6]);
  const size_t prefix = major == 1 ? 10 : 12;
  uint32_t length = 0;
  std::memcpy(&length, all.data() + 8, major == 1 ? 2 : 4);
  if (length > all.size() - prefix) return invalid("truncated");
  const std::string_view header = all.substr(prefix, length), body = all.substr(prefix + length);
  if (field(header, "'fortran_order'").starts_with("True")) return unsupported("Fortran order: save it in C order");
  HONE_TRY(Dims dims, parse_shape(field(header, "'shape'")));
  const std::string_view descr = field(header, "'descr'");
  for (const Row& row : kRows) {
    if (!descr.starts_with(row.descr) || descr.substr(row.descr.size(), 1) != "'") continue;
    HONE_TRY(const int64_t bytes, checked_bytes(row.type, dims));
    if (body.size() < static_cast<size_t>(bytes))
      return invalid("truncated: {} of {}", counted(body.size(), "byte"), bytes);
    Tensor t(row.type, dims);
    std::memcpy(t.mutable_raw(), body.data(), static_cast<size_t>(bytes));
    if (row.type == DType::boolean) make_truths(t);
    return t;
  }
  return unsupported("element type {} is not read: save it in another", descr.substr(0, descr.find('\'')));
}

Result<Tensor> read_npy(const std::string& path) {
  HONE_TRY(auto file, FileMap::open(path));
  auto tensor = npy_from_bytes(file->text());
  if (!tensor.ok()) return tensor.status().within(path);
  return tensor;
}

Status write_npy(const std::string& path, const Tensor& value) {
  if (!value.defined() || value.type() == DType::string || value.type() == DType::sequence)
    return unsupported("{}: {} cannot be written as .npy", path, name(value.type()));
  for (const Row& row : kRows) {
    if (row.type != value.type()) continue;
    std::string shape;
    for (int64_t d : value.dims()) shape += fmt::format("{}, ", d);
    std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", row.descr, shape);
    header.append(63 - (header.size() + 10) % 64, ' ').push_back('\n');
    std::string head("\x93NUMPY\x01\x00", 8);
    head.push_back(static_cast<char>(header.size() & 255));
    head.push_back(static_cast<char>(header.size() >> 8));
    head += header;
    const std::string_view parts[] = {head, {static_cast<const char*>(value.raw()), value.bytes()}};
    return write_file(path, parts);
  }
  Tensor wide(DType::f32, value.dims());
  for (int64_t i = 0; i < value.count(); ++i) wide.set(i, value.at(i));
  return write_npy(path, wide);
}

}  // namespace hone
