#include "runtime/forked_streams.h"

namespace hone {

Result<std::unique_ptr<ForkedStreams>> ForkedStreams::create(const Program& program) {
  auto forked = std::make_unique<ForkedStreams>();
  forked->program_ = &program;
  forked->step_ended_.resize(program.steps.size());
  for (int s = 1; s < program.streams(); ++s) {
    HONE_TRY(auto stream, cuda::Stream::create());
    HONE_TRY(auto ended, cuda::Event::create(false));
    forked->others_.push_back(std::move(stream));
    forked->ended_.push_back(std::move(ended));
  }
  if (forked->others_.empty()) return forked;
  HONE_TRY(forked->begun_, cuda::Event::create(false));
  for (const Step& step : program.steps)
    for (int w : step.waits) {
      auto& ended = forked->step_ended_[static_cast<size_t>(w)];
      if (ended) continue;
      HONE_TRY(ended, cuda::Event::create(false));
    }
  return forked;
}

Status ForkedStreams::fork(cuda::Stream& first) {
  if (!others_.empty()) HONE_CHECK(begun_->record(first));
  for (const auto& stream : others_) HONE_CHECK(stream->wait(*begun_));
  return {};
}

Status ForkedStreams::launch_steps(cuda::Stream& first,
                                   const std::function<Status(size_t step, cuda::Stream& stream)>& launch) {
  for (size_t i = 0; i < program_->steps.size(); ++i) {
    const Step& step = program_->steps[i];
    cuda::Stream& stream = step.stream == 0 ? first : *others_[static_cast<size_t>(step.stream) - 1];
    for (int w : step.waits) HONE_CHECK(stream.wait(*step_ended_[static_cast<size_t>(w)]));
    HONE_CHECK(launch(i, stream));
    if (step_ended_[i]) HONE_CHECK(step_ended_[i]->record(stream));
  }
  return {};
}

Status ForkedStreams::join(cuda::Stream& first) {
  for (size_t s = 0; s < others_.size(); ++s) {
    HONE_CHECK(ended_[s]->record(*others_[s]));
    HONE_CHECK(first.wait(*ended_[s]));
  }
  return {};
}

Status ForkedStreams::run(cuda::Stream& first, const std::function<Status(size_t step, cuda::Stream& stream)>& launch) {
  HONE_CHECK(fork(first));
  const Status launched = launch_steps(first, launch);
  const Status joined = join(first);
  return launched.ok() ? joined : launched;
}

}  // namespace hone
