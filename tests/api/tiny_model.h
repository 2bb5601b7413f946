#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace hone_test {

// Protobuf's wire format, as far as a small ONNX model needs it.
inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}
inline std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
inline std::string bytes(int field, const std::string& value) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(value.size()) + value;
}

// A ValueInfoProto; a negative dim becomes the symbol "N".
inline std::string value_info(const std::string& name, int elem_type, const std::vector<int64_t>& dims) {
  std::string shape;
  for (int64_t d : dims) shape += bytes(1, d < 0 ? bytes(2, "N") : number(1, static_cast<uint64_t>(d)));
  return bytes(1, name) + bytes(2, bytes(1, number(1, static_cast<uint64_t>(elem_type)) + bytes(2, shape)));
}

// An AttributeProto of integers.
inline std::string integers(const std::string& name, const std::vector<int64_t>& values) {
  constexpr uint64_t kInts = 7;
  std::string out = bytes(1, name);
  for (int64_t v : values) out += number(8, static_cast<uint64_t>(v));
  return out + number(20, kInts);
}

inline std::string node(const std::string& op, const std::vector<std::string>& inputs, const std::string& output,
                        const std::vector<std::string>& attributes = {}) {
  std::string out;
  for (const std::string& i : inputs) out += bytes(1, i);
  out += bytes(2, output) + bytes(3, output + "_node") + bytes(4, op);
  for (const std::string& a : attributes) out += bytes(5, a);
  return out;
}

// A TensorProto, of f32 if nothing else is said.
template <class T>
std::string weights(const std::string& name, const std::vector<int64_t>& dims, const std::vector<T>& values,
                    uint64_t elem_type = 1) {
  std::string out;
  for (int64_t d : dims) out += number(1, static_cast<uint64_t>(d));
  const std::string raw(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return out + number(2, elem_type) + bytes(8, name) + bytes(9, raw);
}

inline std::string model(const std::vector<std::string>& nodes, const std::vector<std::string>& inputs,
                         const std::vector<std::string>& outputs, const std::vector<std::string>& initializers = {}) {
  std::string graph;
  for (const std::string& n : nodes) graph += bytes(1, n);
  graph += bytes(2, "tiny");
  for (const std::string& w : initializers) graph += bytes(5, w);
  for (const std::string& i : inputs) graph += bytes(11, i);
  for (const std::string& o : outputs) graph += bytes(12, o);
  return number(1, 8) + bytes(7, graph) + bytes(8, bytes(1, "") + number(2, 17));
}

constexpr int kFloat = 1, kInt64 = 7, kString = 8, kHalf = 10;

// y = relu(x + b), with x of f32[N,4] and b of f32[4].
inline std::string add_relu() {
  return model({node("Add", {"x", "b"}, "s"), node("Relu", {"s"}, "y")},
               {value_info("x", kFloat, {-1, 4}), value_info("b", kFloat, {4})}, {value_info("y", kFloat, {-1, 4})});
}

// y = relu(x w), with x of f32[N,16] and w of f32[16,16], both signs.
inline std::string product() {
  std::vector<float> w(256);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 50;
  return model({node("MatMul", {"x", "w"}, "s"), node("Relu", {"s"}, "y")}, {value_info("x", kFloat, {-1, 16})},
               {value_info("y", kFloat, {-1, 16})}, {weights("w", {16, 16}, w)});
}

// A folder that lives as long as this.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hone-api-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
    return *this / name;
  }

 private:
  std::string path_;
};

}  // namespace hone_test
