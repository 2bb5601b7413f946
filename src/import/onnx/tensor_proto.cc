#include "import/onnx/tensor_proto.h"

#include <onnx/onnx-ml.pb.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/file_map.h"

namespace hone::import_onnx {
namespace {

using onnx::TensorProto;

// Sparse tensors are stored dense: a small file must not ask for all memory.
constexpr int64_t kMaxSparseBytes = int64_t{4} << 30;

struct TypeRow {
  int proto;
  DType type;
};
constexpr TypeRow kTypes[] = {
    {TensorProto::FLOAT, DType::f32},
    {TensorProto::UINT8, DType::u8},
    {TensorProto::INT8, DType::i8},
    {TensorProto::UINT16, DType::u16},
    {TensorProto::INT16, DType::i16},
    {TensorProto::INT32, DType::i32},
    {TensorProto::INT64, DType::i64},
    {TensorProto::STRING, DType::string},
    {TensorProto::BOOL, DType::boolean},
    {TensorProto::FLOAT16, DType::f16},
    {TensorProto::DOUBLE, DType::f64},
    {TensorProto::UINT32, DType::u32},
    {TensorProto::UINT64, DType::u64},
    {TensorProto::COMPLEX64, DType::c64},
    {TensorProto::COMPLEX128, DType::c128},
    {TensorProto::BFLOAT16, DType::bf16},
    {TensorProto::FLOAT8E4M3FN, DType::f8e4m3fn},
    {TensorProto::FLOAT8E4M3FNUZ, DType::f8e4m3fnuz},
    {TensorProto::FLOAT8E5M2, DType::f8e5m2},
    {TensorProto::FLOAT8E5M2FNUZ, DType::f8e5m2fnuz},
    {TensorProto::UINT4, DType::u4},
    {TensorProto::INT4, DType::i4},
    {TensorProto::FLOAT4E2M1, DType::f4e2m1},
    {TensorProto::FLOAT8E8M0, DType::f8e8m0},
    {TensorProto::UINT2, DType::u2},
    {TensorProto::INT2, DType::i2},
};

// Elements that share a byte in ONNX's raw form.
int packed(DType type) {
  switch (type) {
    case DType::i4:
    case DType::u4:
    case DType::f4e2m1: return 2;
    case DType::i2:
    case DType::u2: return 4;
    default: return 1;
  }
}

size_t raw_bytes(DType type, int64_t count) {
  const int per_byte = packed(type);
  return per_byte == 1 ? static_cast<size_t>(count) * size_of(type)
                       : static_cast<size_t>((count + per_byte - 1) / per_byte);
}

Tensor unpack(DType type, const Dims& dims, const uint8_t* raw) {
  const int per_byte = packed(type), bits = 8 / per_byte;
  Tensor out(type, dims);
  auto* to = out.mutable_data<uint8_t>();
  for (int64_t i = 0; i < out.count(); ++i)
    to[i] = static_cast<uint8_t>((raw[i / per_byte] >> (i % per_byte * bits)) & ((1 << bits) - 1));
  return out;
}

bool aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

// C++ knows no third truth value: whatever is not 0 becomes 1.
Tensor truths(const Dims& dims, const auto& values) {
  Tensor out(DType::boolean, dims);
  std::transform(values.begin(), values.end(), out.mutable_data<bool>(), [](auto v) { return v != 0; });
  return out;
}

// A tensor over `raw`, without a copy where alignment and packing allow.
Tensor over(DType type, const Dims& dims, std::string_view raw, std::shared_ptr<const void> owner) {
  if (packed(type) > 1) return unpack(type, dims, reinterpret_cast<const uint8_t*>(raw.data()));
  if (type == DType::boolean) return truths(dims, raw);
  if (owner && aligned(raw.data())) return {type, dims, raw.data(), std::move(owner)};
  Tensor out(type, dims);
  if (out.bytes() > 0) std::memcpy(out.mutable_raw(), raw.data(), out.bytes());
  return out;
}

std::string label(const TensorProto& proto) { return fmt::format("tensor '{}'", proto.name()); }

Result<Dims> dims_of(const TensorProto& proto, DType type) {
  Dims dims(proto.dims().begin(), proto.dims().end());
  if (const auto bytes = checked_bytes(type, dims); !bytes.ok()) return bytes.status().within(label(proto));
  return dims;
}

Status size_error(const TensorProto& proto, size_t want, size_t got) {
  return invalid("tensor '{}' has {} bytes or elements of data, its shape wants {}", proto.name(), got, want);
}

template <class T>
Result<Tensor> from_field(const TensorProto& proto, DType type, const Dims& dims, const auto& field,
                          size_t per_element = 1) {
  const auto want = static_cast<size_t>(element_count(dims)) * per_element;
  if (static_cast<size_t>(field.size()) != want) return size_error(proto, want, static_cast<size_t>(field.size()));
  Tensor out(type, dims);
  auto* to = out.mutable_data<T>();
  for (size_t i = 0; i < want; ++i) to[i] = static_cast<T>(field.Get(static_cast<int>(i)));
  return out;
}

Result<Tensor> from_int32(const TensorProto& proto, DType type, const Dims& dims) {
  if (type == DType::boolean) {
    const auto want = static_cast<size_t>(element_count(dims)), got = static_cast<size_t>(proto.int32_data_size());
    return got == want ? Result<Tensor>(truths(dims, proto.int32_data())) : size_error(proto, want, got);
  }
  if (packed(type) == 1) {
    switch (size_of(type)) {
      case 1: return from_field<uint8_t>(proto, type, dims, proto.int32_data());
      case 2: return from_field<uint16_t>(proto, type, dims, proto.int32_data());
      default: return from_field<int32_t>(proto, type, dims, proto.int32_data());
    }
  }
  std::string raw;
  for (int32_t v : proto.int32_data()) raw.push_back(static_cast<char>(v));
  const size_t want = raw_bytes(type, element_count(dims));
  if (raw.size() != want) return size_error(proto, want, raw.size());
  return unpack(type, dims, reinterpret_cast<const uint8_t*>(raw.data()));
}

Result<Tensor> from_strings(const TensorProto& proto, const Dims& dims) {
  const auto want = static_cast<size_t>(element_count(dims));
  if (static_cast<size_t>(proto.string_data_size()) != want)
    return size_error(proto, want, static_cast<size_t>(proto.string_data_size()));
  return Tensor::strings(dims, {proto.string_data().begin(), proto.string_data().end()});
}

Result<Tensor> from_fields(const TensorProto& proto, DType type, const Dims& dims) {
  switch (type) {
    case DType::f32: return from_field<float>(proto, type, dims, proto.float_data());
    case DType::c64: return from_field<float>(proto, type, dims, proto.float_data(), 2);
    case DType::f64: return from_field<double>(proto, type, dims, proto.double_data());
    case DType::c128: return from_field<double>(proto, type, dims, proto.double_data(), 2);
    case DType::i64: return from_field<int64_t>(proto, type, dims, proto.int64_data());
    case DType::u64: return from_field<uint64_t>(proto, type, dims, proto.uint64_data());
    case DType::u32: return from_field<uint32_t>(proto, type, dims, proto.uint64_data());
    default: return from_int32(proto, type, dims);
  }
}

Result<size_t> number(const TensorProto& proto, const std::string& key, const std::string& text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return invalid("tensor '{}': external data's {} '{}' is not a number of bytes", proto.name(), key, text);
  return value;
}

Result<Tensor> from_external(const TensorProto& proto, DType type, const Dims& dims, const std::string& folder) {
  std::string location;
  size_t offset = 0, length = SIZE_MAX;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") {
      HONE_TRY(offset, number(proto, "offset", entry.value()));
    }
    if (entry.key() == "length") {
      HONE_TRY(length, number(proto, "length", entry.value()));
    }
  }
  namespace fs = std::filesystem;
  const fs::path path = fs::path(location).lexically_normal();
  if (location.empty() || path.is_absolute() || *path.begin() == "..")
    return invalid("tensor '{}': external data '{}' must be a file beside the model", proto.name(), location);
  const auto opened = FileMap::open((fs::path(folder) / path).string());
  if (!opened.ok()) return opened.status().within(label(proto));
  const auto& file = *opened;
  const std::string_view all = file->text();
  const size_t want = raw_bytes(type, element_count(dims));
  if (length == SIZE_MAX) length = want;
  if (length != want) return size_error(proto, want, length);
  if (offset > all.size() || all.size() - offset < want)
    return invalid("tensor '{}': external data '{}' ends before byte {}", proto.name(), location, offset + want);
  return over(type, dims, all.substr(offset, want), file);
}

Result<Tensor> decode(const TensorProto& proto, const std::string& folder, const std::shared_ptr<std::string>& raw) {
  const DType type = dtype_of(proto.data_type());
  if (type == DType::none)
    return unsupported("tensor '{}' has element type {}, which is unknown", proto.name(), proto.data_type());
  HONE_TRY(const Dims dims, dims_of(proto, type));
  const bool external = proto.data_location() == TensorProto::EXTERNAL;
  if (external && type == DType::string) return invalid("tensor '{}': strings cannot be external data", proto.name());
  if (external) return from_external(proto, type, dims, folder);
  if (type == DType::string) return from_strings(proto, dims);
  if (!raw && !proto.has_raw_data()) return from_fields(proto, type, dims);
  const std::string_view bytes = raw ? std::string_view(*raw) : std::string_view(proto.raw_data());
  const size_t want = raw_bytes(type, element_count(dims));
  if (bytes.size() != want) return size_error(proto, want, bytes.size());
  return over(type, dims, bytes, raw);
}

}  // namespace

DType dtype_of(int data_type) {
  for (const TypeRow& row : kTypes)
    if (row.proto == data_type) return row.type;
  return DType::none;
}

Result<Tensor> to_tensor(onnx::TensorProto& proto, const std::string& folder) {
  std::shared_ptr<std::string> raw;
  if (proto.has_raw_data()) raw.reset(proto.release_raw_data());
  return decode(proto, folder, raw);
}

Result<Tensor> to_tensor(const onnx::TensorProto& proto, const std::string& folder) {
  return decode(proto, folder, nullptr);
}

Result<Tensor> to_tensor(const onnx::SparseTensorProto& proto, const std::string& folder) {
  HONE_TRY(Tensor values, to_tensor(proto.values(), folder));
  HONE_TRY(Tensor indices, to_tensor(proto.indices(), folder));
  Dims dims(proto.dims().begin(), proto.dims().end());
  HONE_TRY(const int64_t bytes, checked_bytes(values.type(), dims));
  if (bytes > kMaxSparseBytes || size_of(values.type()) == 0)
    return unsupported("sparse tensor '{}' of {}{} is too large or of a type without numbers", proto.values().name(),
                       name(values.type()), to_string(dims));
  if (indices.type() != DType::i64 || values.rank() != 1 || indices.rank() < 1 || indices.dims()[0] != values.count())
    return invalid("sparse tensor '{}' is malformed", proto.values().name());
  const bool linear = indices.rank() == 1;
  if (!linear && (indices.rank() != 2 || indices.dims()[1] != static_cast<int64_t>(dims.size())))
    return invalid("sparse tensor '{}' is malformed", proto.values().name());
  Tensor out(values.type(), dims);
  const Dims strides = strides_of(dims);
  for (int64_t i = 0; i < values.count(); ++i) {
    int64_t at = linear ? indices.int_at(i) : 0;
    for (size_t d = 0; !linear && d < dims.size(); ++d) {
      const int64_t index = indices.int_at(i * static_cast<int64_t>(dims.size()) + static_cast<int64_t>(d));
      if (index < 0 || index >= dims[d])
        return invalid("sparse tensor '{}' has an index out of range", proto.values().name());
      at += index * strides[d];
    }
    if (at < 0 || at >= out.count())
      return invalid("sparse tensor '{}' has an index out of range", proto.values().name());
    std::memcpy(static_cast<char*>(out.mutable_raw()) + static_cast<size_t>(at) * size_of(out.type()),
                static_cast<const char*>(values.raw()) + static_cast<size_t>(i) * size_of(out.type()),
                size_of(out.type()));
  }
  return out;
}

}  // namespace hone::import_onnx
