#include "tactics/strips.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace hone {
namespace {

// The rows between the two of which rows `y` of the result are made.
RowRange rows_below(const RowWindows& w, RowRange y) {
  return {std::max<int64_t>(0, y.begin * w.stride - w.pad), std::min(w.in, (y.end - 1) * w.stride - w.pad + w.kernel)};
}

cpu::ConvProblem conv_of_rows(const cpu::ConvProblem& image, RowRange y, int64_t& first) {
  const int64_t begin = y.begin * image.stride_h - image.pad_top;
  const int64_t end = (y.end - 1) * image.stride_h - image.pad_top + image.kh;
  cpu::ConvProblem p = image;
  p.n = 1;
  p.pad_top = std::max<int64_t>(0, -begin);
  p.pad_bottom = std::max<int64_t>(0, end - image.h);
  first = begin + p.pad_top;
  p.h = end - p.pad_bottom - first;
  return p;
}

// Rows `all` of the result in strips of `height`.
std::vector<Strip> strips_of_part(const cpu::ConvProblem& conv, const RowWindows& w, RowRange all, int64_t height) {
  const int64_t row = conv.out_w() * conv.cout;
  std::vector<Strip> strips;
  RowRange held{0, 0};
  for (int64_t begin = all.begin; begin < all.end; begin += height) {
    const RowRange y{begin, std::min(all.end, begin + height)}, needed = rows_below(w, y);
    const int64_t kept = std::clamp<int64_t>(held.end - needed.begin, 0, needed.count());
    const RowRange fresh{needed.begin + kept, needed.end};
    Strip s{.kept = kept * row, .kept_at = (needed.begin - held.begin) * row, .computes = fresh.count() > 0};
    if (s.computes) {
      int64_t first = 0;
      s.conv = conv_of_rows(conv, fresh, first);
      s.in_at = first * conv.w * conv.cin;
    }
    s.needed = needed;
    s.result = y;
    s.pad = std::max<int64_t>(0, w.pad - y.begin * w.stride);
    strips.push_back(s);
    held = needed;
  }
  return strips;
}

void lay_out(Strips& strips) {
  constexpr int64_t kLine = 64;
  int64_t rows = 0;
  for (const auto& part : strips.parts)
    for (const Strip& s : part) {
      rows = std::max(rows, s.needed.count() * strips.conv.out_w() * strips.conv.cout);
      if (s.computes)
        strips.rows_at =
            std::max(strips.rows_at, static_cast<int64_t>(strips.algorithm->workspace_bytes(s.conv, strips.context)));
    }
  strips.rows_at = (strips.rows_at + kLine - 1) / kLine * kLine;
  // A line more, so that the threads' areas do not start in one set of the cache.
  strips.worker_bytes = strips.rows_at + (rows * static_cast<int64_t>(sizeof(float)) + 2 * kLine - 1) / kLine * kLine;
}

}  // namespace

void Strips::convolve(const Strip& strip, cpu::ConvArgs args, int64_t image, std::byte* workspace, float* rows) const {
  std::memmove(rows, rows + strip.kept_at, static_cast<size_t>(strip.kept) * sizeof(float));
  if (!strip.computes) return;
  args.in = static_cast<const float*>(args.in) + image * conv.h * conv.w * conv.cin + strip.in_at;
  args.out = rows + strip.kept;
  args.workspace = workspace;
  args.pool = &cpu::one_thread();
  algorithm->run(strip.conv, context, args);
}

Strips strips_of(const cpu::ConvAlgorithm& algorithm, const cpu::ConvProblem& conv, const cpu::ConvContext& context,
                 const RowWindows& windows, int64_t height, int threads) {
  Strips strips{.algorithm = &algorithm, .conv = conv, .context = context};
  const int64_t count = std::min<int64_t>(windows.out, threads / std::gcd<int64_t>(conv.n, threads));
  for (int64_t i = 0; i < count; ++i)
    strips.parts.push_back(
        strips_of_part(conv, windows, {windows.out * i / count, windows.out * (i + 1) / count}, height));
  lay_out(strips);
  return strips;
}

}  // namespace hone
