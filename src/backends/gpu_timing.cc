#include "backends/gpu_timing.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/random_tensor.h"

namespace hone {
namespace {

// Of a graph: the cost of launching it is spread over them. Fewer where they take kGraphUs together.
constexpr int kLeastLaunches = 4, kLaunches = 20;
constexpr double kGraphUs = 1000;
constexpr int kReplays = 5;
// One launch alone takes up to kLaunchUs more than in a graph.
constexpr double kHopeless = 3, kLaunchUs = 30, kFarSlower = 1.5, kSlower = 1.25;
constexpr int64_t kSamples = 64, kSampleLength = 256;

Result<Tensor> allocate(DType type, const Dims& dims) {
  HONE_TRY(auto memory, cuda::allocate(element_count(dims) * static_cast<int64_t>(size_of(type))));
  return Tensor(type, dims, memory.get(), memory);
}

}  // namespace

// The numbers that repeat are sent once, and copied there.
Result<Tensor> random_on_gpu(const TensorType& type, cuda::Stream& stream) {
  HONE_TRY(Tensor filled, allocate(type.dtype, *type.shape.concrete()));
  const Tensor period = random_period(type.dtype);
  const size_t bytes = filled.bytes();
  auto* const memory = filled.mutable_data<std::byte>();
  size_t done = std::min(bytes, period.bytes());
  HONE_CHECK(stream.copy_to_device(memory, period.raw(), done));
  for (; done < bytes; done *= 2)
    HONE_CHECK(stream.copy_on_device(memory + done, memory, std::min(done, bytes - done)));
  HONE_CHECK(stream.synchronize());  // `period` has been read
  return filled;
}

Result<Tensor> GpuSandbox::upload(const Tensor& value) {
  if (!value.defined()) return Tensor();
  HONE_TRY(Tensor copy, allocate(value.type(), value.dims()));
  HONE_CHECK(stream_->copy_to_device(copy.mutable_raw(), value.raw(), value.bytes()));
  return copy;
}

Result<Tensor> GpuSandbox::upload_packed(size_t place, const Tensor& value) {
  if (place >= packed_.size()) packed_.resize(place + 1);
  auto& [known, copy] = packed_[place];
  const bool same = known.defined() && value.defined() && known.bytes() == value.bytes() &&
                    (known.raw() == value.raw() || std::memcmp(known.raw(), value.raw(), value.bytes()) == 0);
  if (same) return copy;
  HONE_TRY(Tensor made, upload(value));
  packed_[place] = {value, made};
  return made;
}

Result<std::unique_ptr<GpuSandbox>> GpuSandbox::create(const Problem& problem, int ordinal,
                                                       std::span<const Tensor> inputs) {
  HONE_CHECK(cuda::make_current(ordinal));
  auto box = std::make_unique<GpuSandbox>();
  HONE_TRY(box->stream_, cuda::Stream::create());
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    Tensor input;
    if (i < inputs.size() && inputs[i].defined()) {
      HONE_TRY(input, box->upload(inputs[i]));
    } else if (problem.inputs[i].defined()) {
      HONE_TRY(input, random_on_gpu(problem.inputs[i], *box->stream_));
    }
    box->inputs_.push_back(std::move(input));
  }
  for (const TensorType& type : problem.outputs) {
    HONE_TRY(Tensor output, allocate(type.dtype, *type.shape.concrete()));
    box->outputs_.push_back(std::move(output));
  }
  HONE_TRY(box->fault_, allocate(DType::i32, {1}));
  HONE_CHECK(box->stream_->synchronize());
  return box;
}

Result<std::unique_ptr<GpuSandbox::Arguments>> GpuSandbox::arguments(const Kernel& kernel, const Prepared& prepared) {
  auto made = std::make_unique<Arguments>();
  if (const int64_t bytes = kernel.workspace_bytes(); bytes > static_cast<int64_t>(workspace_.bytes())) {
    workspace_ = Tensor();
    HONE_TRY(workspace_, allocate(DType::u8, {bytes}));
  }
  for (const Tensor& t : prepared.packed) {
    HONE_TRY(Tensor copy, upload_packed(made->copies.size(), t));
    made->copies.push_back(std::move(copy));
  }
  for (size_t i = 0; i < inputs_.size(); ++i)
    made->inputs.push_back(i < prepared.drops.size() && prepared.drops[i] ? &made->absent : &inputs_[i]);
  for (Tensor& t : outputs_) made->outputs.push_back(&t);
  for (const Tensor& t : made->copies) made->packed.push_back(&t);
  return made;
}

KernelArgs GpuSandbox::call(const Arguments& a, cpu::ThreadPool& pool) {
  return {.inputs = a.inputs,
          .outputs = a.outputs,
          .workspace = workspace_.mutable_data<std::byte>(),
          .pool = pool,
          .packed = a.packed,
          .stream = stream_.get(),
          .fault = fault_.mutable_data<int32_t>()};
}

Result<Tensors> GpuSandbox::run(const Kernel& kernel, const Prepared& prepared, cpu::ThreadPool& pool) {
  HONE_TRY(const auto arguments, this->arguments(kernel, prepared));
  HONE_CHECK(kernel.run(call(*arguments, pool)));
  Tensors results;
  for (const Tensor& t : outputs_) {
    Tensor& result = results.emplace_back(t.type(), t.dims());
    HONE_CHECK(stream_->copy_to_host(result.mutable_raw(), t.raw(), t.bytes()));
  }
  HONE_CHECK(stream_->synchronize());
  return results;
}

Result<Tensor> GpuSandbox::sample(const Kernel& kernel, const Prepared& prepared, cpu::ThreadPool& pool) {
  HONE_TRY(const auto arguments, this->arguments(kernel, prepared));
  const Tensor& output = outputs_.front();
  const int64_t count = output.count(), length = std::min(count, kSampleLength),
                places = std::clamp<int64_t>(count / std::max<int64_t>(length, 1), 1, kSamples);
  const auto size = size_of(output.type());
  const auto at = [&](int64_t place) {
    return places == 1 ? 0 : static_cast<size_t>((count - length) * place / (places - 1)) * size;
  };
  const auto bytes = static_cast<size_t>(length) * size;
  const size_t all = static_cast<size_t>(places) * bytes;
  if (staging_ == nullptr) {
    HONE_TRY(staging_, cuda::allocate_on_host(static_cast<int64_t>(all)));
  }
  auto* const memory = static_cast<std::byte*>(outputs_.front().mutable_raw());
  HONE_CHECK(stream_->fill(memory, 0xff, output.bytes()));  // not a number in any type of floats, and -1 in integers
  HONE_CHECK(kernel.run(call(*arguments, pool)));
  for (int64_t i = 0; i < places; ++i)
    HONE_CHECK(stream_->copy_to_host(staging_.get() + static_cast<size_t>(i) * bytes, memory + at(i), bytes));
  HONE_CHECK(stream_->synchronize());
  Tensor sampled(output.type(), {places * length});
  std::memcpy(sampled.mutable_raw(), staging_.get(), all);
  return sampled;
}

Result<double> GpuSandbox::time_us(const Kernel& kernel, const Prepared& prepared, cpu::ThreadPool& pool,
                                   double best_us) {
  HONE_TRY(const auto arguments, this->arguments(kernel, prepared));
  const KernelArgs args = call(*arguments, pool);
  HONE_TRY(const auto start, cuda::Event::create());
  HONE_TRY(const auto end, cuda::Event::create());
  const auto timed = [&](auto&& launch) -> Result<double> {
    HONE_CHECK(start->record(*stream_));
    HONE_CHECK(launch());
    HONE_CHECK(end->record(*stream_));
    HONE_CHECK(stream_->synchronize());
    return end->since(*start);
  };
  HONE_CHECK(kernel.run(args));
  HONE_TRY(const double once, timed([&] { return kernel.run(args); }));
  if (once > kHopeless * best_us + kLaunchUs) return once;
  const int launches = static_cast<int>(std::clamp<double>(kGraphUs / once, kLeastLaunches, kLaunches));
  HONE_CHECK(cuda::Graph::begin(*stream_));
  for (int i = 0; i < launches; ++i) HONE_CHECK(kernel.run(args));
  HONE_TRY(auto graph, cuda::Graph::end(*stream_));
  std::vector<double> times;
  for (int i = 0; i < kReplays; ++i) {
    HONE_TRY(const double us, timed([&] { return graph->launch(*stream_); }));
    times.push_back(us / launches);
    const double least = *std::ranges::min_element(times);
    if ((i == 0 && least > kFarSlower * best_us) || (i == 1 && least > kSlower * best_us)) return least;
  }
  std::nth_element(times.begin(), times.begin() + kReplays / 2, times.end());
  return times[kReplays / 2];
}

}  // namespace hone
