#include "calibrate/spread.h"

#include "base/copy.h"
#include "calibrate/pieces.h"

namespace hone::calibrate {

void Spread::offer(const Tensors& run) {
  if (offered_++ % apart_ != 0) return;
  if (kept_.size() == most_) {
    for (size_t k = 1; k < most_ / 2; ++k) kept_[k] = std::move(kept_[2 * k]);
    kept_.resize(most_ / 2);
    apart_ *= 2;
  }
  Tensors& copies = kept_.emplace_back();
  for (const Tensor& t : run) copies.push_back(copied(t));
}

Result<std::optional<Batch>> Remembering::next() {
  HONE_TRY(auto batch, data_.next());
  if (batch) {
    HONE_TRY(const Pieces pieces, cut(*batch, inputs_, 1));
    for (const Tensors& run : pieces.runs) kept_.offer(run);
  }
  return batch;
}

}  // namespace hone::calibrate
