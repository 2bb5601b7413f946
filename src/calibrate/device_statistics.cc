#include "calibrate/device_statistics.h"

#include <algorithm>

#include "base/counted.h"
#include "calibrate/device_state.h"
#include "cuda/nvrtc.h"

namespace hone::calibrate {

static_assert(sizeof(NotFinite) == 2 * sizeof(uint64_t));

Result<const DeviceStatistics::Kernels*> DeviceStatistics::kernels(DType type, const cuda::Device& device) {
  if (const auto found = kernels_.find(type); found != kernels_.end()) return &found->second;
  HONE_TRY(const Tensor cubin, cuda::compile(statistics_source(type), device.arch()));
  Kernels made;
  HONE_TRY(made.module, cuda::Module::load(cubin));
  HONE_TRY(made.reduce, made.module->function("reduce", 0));
  HONE_TRY(made.take, made.module->function("take", 0));
  HONE_TRY(made.count, made.module->function("count", 0));
  return &kernels_.emplace(type, std::move(made)).first->second;
}

Result<std::unique_ptr<DeviceStatistics>> DeviceStatistics::create(int ordinal, std::span<const Observed> tensors) {
  HONE_TRY(const cuda::Device device, cuda::device(ordinal));
  HONE_CHECK(cuda::make_current(ordinal));
  auto made = std::make_unique<DeviceStatistics>();
  made->ordinal_ = ordinal;
  HONE_TRY(made->stream_, cuda::Stream::create());
  size_t parts = 0;
  for (const Observed& tensor : tensors) {
    Place& place = made->places_.emplace_back();
    if (!observed_on_device(tensor.type) || element_count(tensor.dims) == 0) continue;
    place.layout = layout_of(tensor.dims, tensor.axis);
    place.channels = tensor.axis >= 0;
    HONE_TRY(place.kernels, made->kernels(tensor.type, device));
    const auto state = empty_state(place.layout);
    place.offset = made->empty_.size();
    place.bytes = state.size();
    made->empty_.insert(made->empty_.end(), state.begin(), state.end());
    parts = std::max(parts, parts_bytes(place.layout));
  }
  HONE_TRY(made->states_, cuda::allocate(static_cast<int64_t>(made->empty_.size())));
  HONE_TRY(made->odd_, cuda::allocate(static_cast<int64_t>(tensors.size() * sizeof(NotFinite))));
  HONE_TRY(made->parts_, cuda::allocate(static_cast<int64_t>(parts)));
  HONE_CHECK(made->reset());
  return made;
}

Status DeviceStatistics::reset() {
  HONE_CHECK(stream_->copy_to_device(states_.get(), empty_.data(), empty_.size()));
  for (Place& place : places_) {
    place.runs = 0;
    place.odd = {};
  }
  return forget_odd();
}

Status DeviceStatistics::forget_odd() {
  const std::vector<NotFinite> none(places_.size());
  HONE_CHECK(stream_->copy_to_device(odd_.get(), none.data(), none.size() * sizeof(NotFinite)));
  return stream_->synchronize();
}

Status DeviceStatistics::observe(size_t k, const Tensor& values, cuda::Stream& stream) {
  Place& place = places_[k];
  if (values.count() != place.layout.count())
    return internal("statistics of {}, not {}", counted(values.count(), "value"), place.layout.count());
  HONE_CHECK(cuda::make_current(ordinal_));
  const DeviceLaunches launches = device_launches(place.layout);
  const cuda::Stream::Dim3 block{launches.threads};
  std::byte *state = states_.get() + place.offset, *odd = odd_.get() + k * sizeof(NotFinite), *parts = parts_.get();
  const void* x = values.raw();
  auto [outer, channels, inner] = place.layout;
  int64_t of_channel = outer * inner, all = values.count();
  auto [threads, lanes, channel_blocks, part_count, count_blocks] = launches;
  void* reduce[] = {&parts, &x, &channels, &inner, &of_channel, &lanes};
  HONE_CHECK(stream.launch(place.kernels->reduce, {.grid = {channel_blocks, part_count}, .block = block}, reduce));
  void* take[] = {&state, &parts, &part_count, &channels};
  HONE_CHECK(stream.launch(place.kernels->take, {.grid = {1}, .block = block}, take));
  void* count[] = {&state, &odd, &x, &all};
  HONE_CHECK(stream.launch(place.kernels->count, {.grid = {count_blocks}, .block = block}, count));
  ++place.runs;
  return {};
}

Result<std::vector<NotFinite>> DeviceStatistics::finish(cuda::Stream& stream) {
  HONE_CHECK(cuda::make_current(ordinal_));
  std::vector<NotFinite> odd(places_.size());
  HONE_CHECK(stream.copy_to_host(odd.data(), odd_.get(), odd.size() * sizeof(NotFinite)));
  HONE_CHECK(stream.synchronize());
  if (std::ranges::any_of(odd, &NotFinite::any)) HONE_CHECK(forget_odd());
  for (size_t k = 0; k < odd.size(); ++k) {
    places_[k].odd.nans += odd[k].nans;
    places_[k].odd.infinities += odd[k].infinities;
  }
  return odd;
}

Result<std::vector<Statistics>> DeviceStatistics::take() {
  HONE_CHECK(cuda::make_current(ordinal_));
  std::vector<std::byte> seen(empty_.size());
  HONE_CHECK(stream_->copy_to_host(seen.data(), states_.get(), seen.size()));
  HONE_CHECK(stream_->synchronize());
  std::vector<Statistics> all(places_.size());
  for (size_t k = 0; k < places_.size(); ++k) {
    const Place& place = places_[k];
    if (!takes(k)) continue;
    all[k] = statistics_of(std::span(seen).subspan(place.offset, place.bytes), place.layout, place.channels);
    all[k].runs = place.runs;
    all[k].nans = place.odd.nans;
    all[k].infinities = place.odd.infinities;
  }
  HONE_CHECK(reset());
  return all;
}

}  // namespace hone::calibrate
