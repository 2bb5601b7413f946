#pragma once

#include "calibrate/batches.h"
#include "ir/op.h"

namespace hone::calibrate {

// Keeps some of many runs, equally far apart whatever their number: when there are too many, every second one goes.
class Spread {
 public:
  explicit Spread(size_t most) : most_(most) {}  // an even number

  // Copies what it keeps: the data's owner may use the memory again.
  void offer(const Tensors& run);
  const std::vector<Tensors>& runs() const { return kept_; }

 private:
  size_t most_, offered_ = 0, apart_ = 1;
  std::vector<Tensors> kept_;
};

// Data on its way through, of which some runs of one row are kept.
class Remembering : public Batches {
 public:
  Remembering(Batches& data, std::vector<Input> inputs, size_t most)
      : data_(data), inputs_(std::move(inputs)), kept_(most) {}

  Result<std::optional<Batch>> next() override;
  size_t count() const override { return data_.count(); }
  const std::vector<Tensors>& runs() const { return kept_.runs(); }

 private:
  Batches& data_;
  std::vector<Input> inputs_;
  Spread kept_;
};

}  // namespace hone::calibrate
