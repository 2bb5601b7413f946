#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "calibrate/statistics.h"

// What the kernels of kernels/cuda/statistics.cuh are told and leave behind, as far as it needs no GPU.
namespace hone::calibrate {

// How the kernels are launched for a tensor; it decides the order in which moments are added.
struct DeviceLaunches {
  unsigned threads;                // of every block
  int lanes;                       // neighbouring channels that a block of reduce() takes
  unsigned channel_blocks, parts;  // its blocks, and how many share a channel
  unsigned count_blocks;           // of count()
};
DeviceLaunches device_launches(const Layout& layout);

// Of the moments of all parts.
size_t parts_bytes(const Layout& layout);

// Whether the kernels take elements of the type, and their text for it.
bool observed_on_device(DType type);
std::string statistics_source(DType type);

// A state as it is before the first run.
std::vector<std::byte> empty_state(const Layout& layout);
// The statistics that a state holds; `channels`: each has its own. Of runs whose values were
// finite, without their number.
Statistics statistics_of(std::span<const std::byte> state, const Layout& layout, bool channels);

}  // namespace hone::calibrate
