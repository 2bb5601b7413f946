#pragma once

#include <map>
#include <memory>

#include "calibrate/statistics.h"
#include "cuda/device.h"

namespace hone::calibrate {

// Statistics of tensors that lie on a GPU, taken there by the rules of Statistics::observe: of the same values, the
// same extremes and counts, and sums that are added in another order, which is the same in every run. Takes 16 KB and
// 16 bytes a channel for each tensor, however many runs it has seen. Not thread safe.
class DeviceStatistics {
 public:
  struct Observed {
    DType type = DType::none;
    Dims dims;
    int64_t axis = -1;  // of the channels; -1: there are none
  };
  // Tensors that are empty, or of types that the kernels do not take, get no place. Errors: device (no memory).
  static Result<std::unique_ptr<DeviceStatistics>> create(int ordinal, std::span<const Observed> tensors);

  // Whether tensor k has a place.
  bool takes(size_t k) const { return places_[k].bytes > 0; }
  // Takes in the values of tensor k behind what `stream` has been given, one stream for all.
  Status observe(size_t k, const Tensor& values, cuda::Stream& stream);
  // Waits for the stream, and says what is not finite in the values that were taken in since it was called last.
  Result<std::vector<NotFinite>> finish(cuda::Stream& stream);
  // The statistics of all runs that were finished; they begin anew.
  Result<std::vector<Statistics>> take();

 private:
  struct Kernels {
    std::shared_ptr<const cuda::Module> module;
    cuda::CUfunc *reduce = nullptr, *take = nullptr, *count = nullptr;
  };
  struct Place {
    Layout layout;
    bool channels = false;
    size_t offset = 0, bytes = 0;  // of its state in `states_`
    const Kernels* kernels = nullptr;
    int64_t runs = 0;
    NotFinite odd;  // of all runs
  };

  Result<const Kernels*> kernels(DType type, const cuda::Device& device);
  Status reset();
  Status forget_odd();  // of the runs since the last finish()

  int ordinal_ = 0;
  std::unique_ptr<cuda::Stream> stream_;
  std::map<DType, Kernels> kernels_;
  std::vector<Place> places_;
  std::vector<std::byte> empty_;                     // all states before the first run
  std::shared_ptr<std::byte> states_, odd_, parts_;  // on the GPU; odd_: a NotFinite for each tensor
};

}  // namespace hone::calibrate
