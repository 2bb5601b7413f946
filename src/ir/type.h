#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace hone {

// A number, a named symbol, or (neither) unknown until the network runs.
struct Dim {
  int64_t value = -1;
  std::string symbol;

  Dim() = default;
  Dim(int64_t v) : value(v) {}
  static Dim named(std::string symbol) {
    Dim d;
    d.symbol = std::move(symbol);
    return d;
  }

  bool known() const { return value >= 0; }
  bool operator==(const Dim&) const = default;
};

// Rank may be unknown too: then `dims` is empty and `ranked` false.
struct Shape {
  std::vector<Dim> dims;
  bool ranked = true;

  Shape() = default;
  Shape(std::vector<Dim> d) : dims(std::move(d)) {}
  static Shape of(std::span<const int64_t> dims) { return Shape(std::vector<Dim>(dims.begin(), dims.end())); }
  static Shape unranked() {
    Shape s;
    s.ranked = false;
    return s;
  }

  int64_t rank() const { return ranked ? static_cast<int64_t>(dims.size()) : -1; }
  bool known() const;                     // ranked, and every dim is a number
  std::optional<Dims> concrete() const;   // the dims, when known()
  bool operator==(const Shape&) const = default;
};

struct TensorType {
  DType dtype = DType::none;
  Shape shape;
  DType element = DType::none;  // of a sequence: its tensors' type

  bool defined() const { return dtype != DType::none; }
  bool operator==(const TensorType&) const = default;
};

// "f32[N,3,224,224]"; "?" for an unknown dim, "f32[*]" for an unknown rank; "sequence<f32>[]" for a list.
std::string to_text(const TensorType& type);
Result<TensorType> type_from_text(std::string_view text);

// Two sources may know different things of one value; whether they leave room for each other.
bool compatible(const TensorType& a, const TensorType& b);

// An error when the known dims alone are too large for any memory, so that sizes can be computed without overflow.
Status check_size(const TensorType& type);

// True when a tensor of these dims may be bound to `shape` (symbols and unknown dims accept anything).
bool accepts(const Shape& shape, std::span<const int64_t> dims);

// The shape of numpy broadcasting; an error names both when they do not agree.
Result<Shape> broadcast(const Shape& a, const Shape& b);

}  // namespace hone
