#include "ops/window.h"

#include <algorithm>

#include "base/counted.h"

namespace hone {
namespace {

// Attributes beyond this are nonsense and would overflow.
constexpr int64_t kLimit = int64_t{1} << 30;

Status check_entries(const char* what, std::span<const int64_t> values, size_t count, int64_t least) {
  if (values.size() != count)
    return invalid("{} has {} for {}", what, counted(values.size(), "entry", "entries"), counted(count, "spatial dim"));
  for (int64_t v : values)
    if (v < least || v > kLimit) return invalid("{} {} has a value out of range", what, to_string(values));
  return {};
}

}  // namespace

Result<std::vector<Window>> windows(std::span<const int64_t> kernel, std::span<const int64_t> strides,
                                    std::span<const int64_t> dilations, std::span<const int64_t> pads) {
  const size_t n = kernel.size();
  HONE_CHECK(check_entries("kernel", kernel, n, 1));
  HONE_CHECK(check_entries("strides", strides, n, 1));
  HONE_CHECK(check_entries("dilations", dilations, n, 1));
  if (pads.size() != 2 * n)
    return invalid("pads has {}, not two for each of {}", counted(pads.size(), "entry", "entries"),
                   counted(n, "spatial dim"));
  HONE_CHECK(check_entries("pads", pads, 2 * n, -kLimit));
  std::vector<Window> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = {kernel[i], strides[i], dilations[i], pads[i], pads[n + i]};
  return out;
}

Result<Dim> window_positions(const Dim& in, const Window& w, bool ceil_mode) {
  if (!in.known()) return w.stride == 1 && w.pad_begin + w.pad_end == w.reach() - 1 ? in : Dim();
  const int64_t room = in.value + w.pad_begin + w.pad_end - w.reach();
  if (room < 0)
    return invalid("a window of {} does not fit {} padded by {} and {}", w.reach(), counted(in.value, "element"),
                   w.pad_begin, w.pad_end);
  int64_t count = (room + (ceil_mode ? w.stride - 1 : 0)) / w.stride + 1;
  if (ceil_mode && (count - 1) * w.stride >= in.value + w.pad_begin) --count;
  return Dim(count);
}

Result<Dim> transposed_positions(const Dim& in, const Window& w, int64_t output_padding) {
  const int64_t extra = w.reach() + output_padding - w.pad_begin - w.pad_end;
  if (!in.known()) return w.stride == 1 && extra == 1 ? in : Dim();
  const __int128 size = static_cast<__int128>(in.value - 1) * w.stride + extra;
  if (size < 0 || size > (__int128{1} << 62))
    return invalid("{} transpose to a size of {}", counted(in.value, "element"), static_cast<double>(size));
  return Dim(static_cast<int64_t>(size));
}

Activation::Activation(std::span<const int64_t> dims, bool channels_last) {
  const size_t rank = dims.size();
  batch = dims[0];
  channels = dims[channels_last ? rank - 1 : 1];
  const auto inner = dims.subspan(channels_last ? 1 : 2, rank - 2);
  spatial.assign(inner.begin(), inner.end());
  positions = element_count(spatial);
  batch_stride = channels * positions;
  channel_stride = channels_last ? 1 : positions;
  spatial_stride = channels_last ? channels : 1;
}

void window_taps(std::span<const Window> windows, std::span<const int64_t> in, std::span<const int64_t> at,
                 std::vector<int64_t>& taps) {
  taps.assign(1, 0);
  std::vector<int64_t> wider;
  for (size_t d = 0; d < windows.size(); ++d) {
    const Window& w = windows[d];
    const int64_t start = at[d] * w.stride - w.pad_begin;
    wider.clear();
    for (int64_t tap : taps) {
      for (int64_t k = 0; k < w.kernel; ++k) {
        const int64_t x = start + k * w.dilation;
        wider.push_back(tap < 0 || x < 0 || x >= in[d] ? -1 : tap * in[d] + x);
      }
    }
    taps.swap(wider);
  }
}

}  // namespace hone
