#include "api/c_support.h"
#include "hone/build.h"

namespace {

using hone::v0::BuildOptions;
using hone::v0::Code;
using hone::v0::Status;

Status translate(const hone_build_options* given, BuildOptions& options) {
  if (given == nullptr) return {};
  hone_build_options o = HONE_BUILD_OPTIONS_INIT;
  if (Status status = hone::capi::read_struct(given, o, "options"); !status.ok()) return status;
  if (o.precision_count > 0 && o.precisions == nullptr) return hone::capi::null_argument("options: precisions");
  if (o.shape_count > 0 && o.shapes == nullptr) return hone::capi::null_argument("options: shapes");
  if (o.precisions != nullptr) {
    for (size_t i = 0; i < o.precision_count; ++i)
      options.precisions.push_back(static_cast<hone::v0::Precision>(o.precisions[i]));
  }
  for (size_t i = 0; i < o.shape_count; ++i) {
    const hone_shape& s = o.shapes[i];
    if (s.name == nullptr || (s.rank > 0 && s.dims == nullptr))
      return hone::capi::null_argument("options: name or dims of a shape");
    options.shapes[s.name] = hone::v0::Dims(s.dims, s.rank);
  }
  if (o.target != nullptr) options.target = o.target;
  if (o.isa != nullptr) options.isa = o.isa;
  if (o.timing_cache != nullptr) options.timing_cache = o.timing_cache;
  if (o.calibration_cache != nullptr) options.calibration_cache = o.calibration_cache;
  if (o.time_budget_s != 0) options.time_budget_s = o.time_budget_s;
  options.threads = o.threads;
  options.tune = o.no_tune == 0;
  options.winograd = o.no_winograd == 0;
  options.deterministic = o.deterministic != 0;
  options.strict = o.strict != 0;
  options.portable = o.no_portable == 0;
  if (o.progress != nullptr)
    options.progress = [call = o.progress, user = o.user](size_t done, size_t total, std::string_view what) {
      return call(done, total, std::string(what).c_str(), user) != 0;
    };
  return {};
}

}  // namespace

hone_code hone_build(const char* path, const hone_build_options* options, hone_engine** engine) {
  if (engine == nullptr) return hone::capi::report(hone::capi::null_argument("engine"));
  *engine = nullptr;
  if (path == nullptr) return hone::capi::report(hone::capi::null_argument("path"));
  return hone::capi::guarded([&]() -> Status {
    BuildOptions translated;
    if (Status status = translate(options, translated); !status.ok()) return status;
    auto built = hone::v0::build(path, translated);
    if (!built.ok()) return built.status();
    *engine = new hone_engine(std::move(*built));
    return {};
  });
}
