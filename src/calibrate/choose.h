#pragma once

#include "base/thread_pool.h"
#include "calibrate/calibrate.h"
#include "calibrate/observed_model.h"

namespace hone::calibrate {

// Fills in the range of every report, and the calibrator that gave it. `runs`: inputs of `model`, for `auto`.
Status choose_ranges(ObservedModel& model, std::span<const std::vector<Tensor>> runs, const Options& options,
                     cpu::ThreadPool& pool, std::vector<TensorReport>& reports);

}  // namespace hone::calibrate
