#pragma once

#include <span>
#include <vector>

#include "ir/type.h"
#include "ops/elements.h"

namespace hone {

// A window that slides along one spatial dim.
struct Window {
  int64_t kernel = 1, stride = 1, dilation = 1, pad_begin = 0, pad_end = 0;

  int64_t reach() const { return (kernel - 1) * dilation + 1; }
};

// Joins and checks the attributes of a convolution or pooling; each has one entry a spatial dim, `pads` two.
Result<std::vector<Window>> windows(std::span<const int64_t> kernel, std::span<const int64_t> strides,
                                    std::span<const int64_t> dilations, std::span<const int64_t> pads);

// How many positions the window has along a dim of size `in`; unknown when `in` is, but a size that stays the same
// keeps its symbol. ceil_mode: a last partial window counts when it starts before the end padding.
Result<Dim> window_positions(const Dim& in, const Window& window, bool ceil_mode = false);
// The same for a transposed convolution.
Result<Dim> transposed_positions(const Dim& in, const Window& window, int64_t output_padding);

// Where the dims of an activation tensor are: [N, C, spatial...] or [N, spatial..., C].
struct ActivationLayout {
  size_t spatial = 0;
  bool channels_last = false;

  size_t rank() const { return spatial + 2; }
  size_t channel_axis() const { return channels_last ? spatial + 1 : 1; }
  size_t spatial_axis(size_t i) const { return i + (channels_last ? 1 : 2); }
};

// A concrete activation tensor: element (n, c, s) is at n * batch_stride + c * channel_stride + s * spatial_stride,
// where s is a row-major index over the spatial dims.
struct Activation {
  int64_t batch = 1, channels = 1;
  Dims spatial;
  int64_t positions = 1;  // product of spatial
  int64_t batch_stride = 0, channel_stride = 0, spatial_stride = 0;

  Activation(std::span<const int64_t> dims, bool channels_last);
};

// For the window at position `at` (one index a dim): each kernel tap's row-major index in the input `in`, or -1 in
// padding.
void window_taps(std::span<const Window> windows, std::span<const int64_t> in, std::span<const int64_t> at,
                 std::vector<int64_t>& taps);

}  // namespace hone
