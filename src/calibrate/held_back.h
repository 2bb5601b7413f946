#pragma once

#include <deque>
#include <map>

#include "calibrate/batches.h"
#include "calibrate/pieces.h"
#include "ir/graph.h"

namespace hone::calibrate {

// Data as the runs of the model that it stands for, of which every fourth is kept back: ranges are found on the others,
// and what they are worth is measured on those. Where there are fewer than eight runs, all are in both.
class HoldingBack : public Batches {
 public:
  HoldingBack(Batches& data, std::vector<Input> inputs) : data_(data), inputs_(std::move(inputs)) {}

  Result<std::optional<Batch>> next() override;

  // After the last.
  const std::vector<Tensors>& held() const { return held_; }
  bool too_few() const { return too_few_; }

 private:
  Result<std::optional<Batch>> next_run();
  Status look_ahead();

  Batches& data_;
  std::vector<Input> inputs_;
  Pieces pieces_;
  std::string source_;
  size_t piece_ = 0, runs_ = 0;
  std::deque<Batch> first_;  // read before it was known whether there are enough
  bool looked_ahead_ = false, ended_ = false, too_few_ = false;
  std::vector<Tensors> held_;
};

// All data, but for what is beyond 256 runs.
Result<std::vector<Tensors>> runs_of(Batches& data, std::span<const Input> inputs);

// The runs as runs of a network whose inputs have these types: where it takes n times as many rows, n runs are joined,
// the last ones with the first ones again; runs of other shapes are left out.
std::vector<Tensors> fitted(std::span<const Tensors> runs, std::span<const TensorType> inputs);
std::vector<Tensors> fitted(std::span<const Tensors> runs, const Graph& graph);

}  // namespace hone::calibrate
