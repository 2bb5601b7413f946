#pragma once

#include <vector>

#include "kernels/cpu/conv/conv.h"

namespace hone {

// A convolution and a layer of windows behind it, strip by strip: what the convolution makes of a few rows stays in a
// core's cache, where the second layer reads it.

struct RowRange {
  int64_t begin, end;

  int64_t count() const { return end - begin; }
};

// How the second layer's windows lie along the rows between the two.
struct RowWindows {
  int64_t in = 0, out = 0;  // rows between the two, and of the result
  int64_t kernel = 1, stride = 1, pad = 0;
};

// A few rows of the result, of one image. Offsets are in elements.
struct Strip {
  int64_t kept, kept_at;       // what of the strip before in the buffer is moved to its front
  bool computes;               // whether more than that is needed
  cpu::ConvProblem conv = {};  // of the rows behind those
  int64_t in_at = 0;           // from the image's begin
  RowRange needed, result;     // rows between the two, and of the result
  int64_t pad = 0;             // rows of the first window above `needed`
};

// What threads do: each part is neighbouring rows of an image, as many parts an image as give threads equal numbers.
struct Strips {
  const cpu::ConvAlgorithm* algorithm;
  cpu::ConvProblem conv;
  cpu::ConvContext context;  // of one thread
  std::vector<std::vector<Strip>> parts;
  int64_t rows_at = 0, worker_bytes = 0;  // of a thread's workspace: the rows between the two, behind the convolution's

  // Calls second(image, strip, rows) for each strip, of which `rows` are those needed; `args` has no workspace and
  // pool.
  template <class Second>
  void run(const cpu::ConvArgs& args, std::byte* workspace, cpu::ThreadPool& pool, const Second& second) const {
    const auto count = std::ssize(parts);
    pool.parallel(conv.n * count, [&](int64_t task, int worker) {
      const int64_t image = task / count;
      std::byte* const mine = workspace + worker * worker_bytes;
      auto* const rows = reinterpret_cast<float*>(mine + rows_at);
      for (const Strip& strip : parts[static_cast<size_t>(task % count)]) {
        convolve(strip, args, image, mine, rows);
        second(image, strip, rows);
      }
    });
  }

 private:
  void convolve(const Strip& strip, cpu::ConvArgs args, int64_t image, std::byte* workspace, float* rows) const;
};

// Strips of `height` rows of the result, for so many threads.
Strips strips_of(const cpu::ConvAlgorithm& algorithm, const cpu::ConvProblem& conv, const cpu::ConvContext& context,
                 const RowWindows& windows, int64_t height, int threads);

}  // namespace hone
