#pragma once

#include <algorithm>

#include "api/access.h"
#include "calibrate/batches.h"
#include "hone/calibrate.h"

namespace hone {

// The user's data as batches in the model's order of inputs.
class UserBatches : public calibrate::Batches {
 public:
  UserBatches(v0::CalibrationData& data, std::vector<calibrate::Input> inputs)
      : data_(data), inputs_(std::move(inputs)) {}

  size_t count() const override { return data_.count(); }
  Result<std::optional<calibrate::Batch>> next() override {
    v0::CalibrationBatch given;
    const auto more = data_.next(given);
    if (!more.ok()) return Status(static_cast<Code>(more.status().code()), more.status().message());
    if (!*more) return std::optional<calibrate::Batch>();
    calibrate::Batch batch{given.source.empty() ? fmt::format("batch {}", number_) : given.source, {}};
    ++number_;
    for (const calibrate::Input& input : inputs_) {
      constexpr auto kName = &std::pair<std::string, v0::TensorView>::first;
      const auto found = std::ranges::find(given.inputs, input.name, kName);
      if (found == given.inputs.end()) return invalid("{}: has no value for input '{}'", batch.source, input.name);
      if (std::ranges::count(given.inputs, input.name, kName) > 1)
        return invalid("{}: has two values for input '{}'", batch.source, input.name);
      auto value = api::to_tensor(found->second);
      if (!value.ok()) return value.status().within(fmt::format("{}: input '{}'", batch.source, input.name));
      batch.inputs.push_back(std::move(*value));
    }
    return std::optional(std::move(batch));
  }

 private:
  v0::CalibrationData& data_;
  std::vector<calibrate::Input> inputs_;
  size_t number_ = 0;
};

}  // namespace hone
