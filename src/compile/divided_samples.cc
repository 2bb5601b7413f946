#include "compile/divided_samples.h"

namespace hone {
namespace {

constexpr size_t kEvery = 4, kEnough = 8;

}  // namespace

DividedSamples divided(const Graph& graph, std::span<const Tensors> samples) {
  samples = as_many_as_fit(graph, samples);
  DividedSamples result;
  const bool enough = samples.size() >= kEnough;
  for (size_t k = 0; k < samples.size(); ++k) {
    const bool judges = enough && k % kEvery == kEvery - 1;
    if (judges || !enough) result.judges.push_back(samples[k]);
    if (!judges) result.corrects.push_back(samples[k]);
  }
  return result;
}

}  // namespace hone
