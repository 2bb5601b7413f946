#include "calibrate/held_back.h"

#include <algorithm>

#include "base/copy.h"

namespace hone::calibrate {
namespace {

constexpr size_t kEvery = 4;
constexpr size_t kEnough = 8;  // runs, so that two are kept back
constexpr size_t kMost = 256;  // are kept

// The owner of the data may use its memory again.
Tensors copied(const Tensors& values) {
  Tensors copies;
  for (const Tensor& t : values) copies.push_back(hone::copied(t));
  return copies;
}

// How many of a run's inputs make one of the network's; 0 when they do not.
int64_t factor(const Tensor& value, const TensorType& wanted) {
  const auto dims = wanted.shape.concrete();
  if (!dims || value.dims() == *dims || size_of(value.type()) == 0) return 1;
  const Dims& own = value.dims();
  if (own.empty() || own.size() != dims->size() || !std::equal(own.begin() + 1, own.end(), dims->begin() + 1)) return 0;
  return own[0] > 0 && (*dims)[0] % own[0] == 0 ? (*dims)[0] / own[0] : 0;
}

// Of a run as a whole. Inputs that fit as they are are shared by the runs that are joined.
int64_t factor(const Tensors& run, std::span<const TensorType> inputs) {
  int64_t common = 1;
  for (size_t i = 0; i < run.size(); ++i) {
    const int64_t own = factor(run[i], inputs[i]);
    if (own == 0 || (own > 1 && common > 1 && own != common)) return 0;
    common = std::max(common, own);
  }
  return common;
}

Tensor joined(std::span<const Tensors> runs, size_t input, const TensorType& wanted) {
  if (factor(runs[0][input], wanted) == 1) return runs[0][input];
  Tensor whole(wanted.dtype, *wanted.shape.concrete());
  auto* to = static_cast<std::byte*>(whole.mutable_raw());
  for (const Tensors& run : runs)
    to = std::copy_n(static_cast<const std::byte*>(run[input].raw()), run[input].bytes(), to);
  return whole;
}

}  // namespace

Result<std::optional<Batch>> HoldingBack::next() {
  if (!looked_ahead_) HONE_CHECK(look_ahead());
  for (;;) {
    std::optional<Batch> run;
    if (!first_.empty()) {
      run = std::move(first_.front());
      first_.pop_front();
    } else {
      HONE_TRY(run, next_run());
    }
    if (!run || too_few_ || ++runs_ % kEvery != 0 || held_.size() == kMost) return run;
    held_.push_back(copied(run->inputs));
  }
}

Status HoldingBack::look_ahead() {
  looked_ahead_ = true;
  while (first_.size() < kEnough) {
    HONE_TRY(auto run, next_run());
    if (!run) break;
    first_.push_back({run->source, copied(run->inputs)});
  }
  too_few_ = first_.size() < kEnough;
  for (const Batch& run : first_)
    if (too_few_) held_.push_back(run.inputs);
  return {};
}

Result<std::optional<Batch>> HoldingBack::next_run() {
  while (piece_ == pieces_.runs.size()) {
    if (ended_) return std::optional<Batch>();
    HONE_TRY(const auto batch, data_.next());
    ended_ = !batch;
    if (ended_) continue;
    HONE_TRY(pieces_, cut(*batch, inputs_, 1));
    source_ = batch->source;
    piece_ = 0;
  }
  return std::optional(Batch{source_, pieces_.runs[piece_++]});
}

Result<std::vector<Tensors>> runs_of(Batches& data, std::span<const Input> inputs) {
  std::vector<Tensors> runs;
  while (runs.size() < kMost) {
    HONE_TRY(const auto batch, data.next());
    if (!batch) break;
    HONE_TRY(const Pieces pieces, cut(*batch, inputs, 1));
    for (const Tensors& run : pieces.runs)
      if (runs.size() < kMost) runs.push_back(copied(run));
  }
  return runs;
}

std::vector<Tensors> fitted(std::span<const Tensors> runs, std::span<const TensorType> inputs) {
  std::vector<Tensors> alike;
  int64_t common = 0;
  for (const Tensors& run : runs) {
    const int64_t own = factor(run, inputs);
    if (common == 0) common = own;
    if (own != 0 && own == common) alike.push_back(run);
  }
  std::vector<Tensors> result;
  const auto each = static_cast<size_t>(common);
  for (size_t begin = 0; begin < alike.size(); begin += each) {
    std::vector<Tensors> group;
    for (size_t k = begin; k < begin + each; ++k) group.push_back(alike[k % alike.size()]);
    Tensors& run = result.emplace_back();
    for (size_t i = 0; i < inputs.size(); ++i) run.push_back(joined(group, i, inputs[i]));
  }
  return result;
}

std::vector<Tensors> fitted(std::span<const Tensors> runs, const Graph& graph) {
  std::vector<TensorType> inputs;
  for (ValueId v : graph.inputs()) inputs.push_back(graph.type(v));
  return fitted(runs, inputs);
}

}  // namespace hone::calibrate
