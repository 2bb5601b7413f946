#include "runtime/load.h"

namespace hone {

std::optional<size_t> best_program(std::span<const EngineFile::ProgramInfo> programs, const cuda::Device& device) {
  std::optional<size_t> best;
  for (size_t i = 0; i < programs.size(); ++i) {
    if (!device.runs(programs[i].cuda_arch)) continue;
    // Those that run have the same major number, so that their names are of one length.
    if (!best || programs[i].cuda_arch > programs[*best].cuda_arch) best = i;
  }
  return best;
}

Result<size_t> program_for_this_machine(const EngineFile& file) {
  const auto& programs = file.programs();
  if (programs[0].cuda_arch.empty()) return size_t{0};
  const auto ordinal = cuda::ordinal_of(programs[0].target);
  if (!ordinal) return invalid("{}: GPU code for target '{}'", file.path(), programs[0].target);
  const auto device = cuda::device(*ordinal);
  if (!device.ok()) return device.status().within(file.path());
  if (const auto best = best_program(programs, *device)) return *best;
  std::string archs;
  for (const auto& p : programs) archs += (archs.empty() ? "" : ", ") + p.cuda_arch;
  return Status(
      Code::device,
      fmt::format("{0}: is built for {1}, and GPU {2} ({3}) is {4}: {5}", file.path(), archs, *ordinal, device->name,
                  device->arch(),
                  file.has_portable() ? "build it for this one with hone build --from-engine " + file.path() + " -o NEW"
                                      : "build it from its model again, for it holds no portable graph"));
}

Result<EngineData> load_engine(const std::string& path) {
  HONE_TRY(const EngineFile file, EngineFile::open(path));
  auto number = program_for_this_machine(file);
  if (!number.ok()) return number.status();
  return file.program(*number);
}

}  // namespace hone
