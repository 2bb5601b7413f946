#include "calibrate/noise.h"

#include <cmath>

namespace hone::calibrate {
namespace {

constexpr double kFewest = 1000, kDeviations = 4, kLeast = 0.01;

}  // namespace

void NoiseTest::observe(const Tensor& tensor) {
  if (tensor.type() != DType::f32) return;
  const float* x = tensor.data<float>();
  const int64_t count = tensor.count();
  for (int64_t i = 0; i < count; ++i) {
    const auto v = static_cast<double>(x[i]);
    sum_ += v;
    squares_ += v * v;
  }
  count_ += static_cast<double>(count);
  axes_.resize(std::max(axes_.size(), tensor.dims().size()));
  const Dims strides = strides_of(tensor.dims());
  for (size_t axis = tensor.dims().size() > 1 ? 1 : 0; axis < tensor.dims().size(); ++axis) {
    const int64_t stride = strides[axis], block = stride * tensor.dims()[axis];
    for (int64_t begin = 0; begin < count; begin += block)
      for (int64_t i = begin; i + stride < begin + block; ++i)
        axes_[axis].products += static_cast<double>(x[i]) * static_cast<double>(x[i + stride]);
    const int64_t blocks = block > 0 ? count / block : 0;
    axes_[axis].pairs += static_cast<double>(blocks * (block - stride));
  }
}

bool NoiseTest::looks_random() const {
  if (count_ < kFewest) return false;
  const double mean = sum_ / count_, variance = squares_ / count_ - mean * mean;
  if (!(variance > 0)) return false;
  bool any = false;
  for (const Axis& axis : axes_) {
    if (axis.pairs < kFewest) continue;
    any = true;
    const double correlation = (axis.products / axis.pairs - mean * mean) / variance;
    if (std::fabs(correlation) > std::max(kLeast, kDeviations / std::sqrt(axis.pairs))) return false;
  }
  return any;
}

}  // namespace hone::calibrate
