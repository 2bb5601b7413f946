#include <fmt/format.h>

#include "base/cpu_info.h"
#include "cuda/cublaslt.h"
#include "cuda/cudnn.h"
#include "cuda/device.h"
#include "cuda/nvrtc.h"
#include "kernels/cpu/bf16/bf16.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

// Of a library: its version, or why it cannot be had.
struct Found {
  bool here = false;
  std::string text;
};

struct Gpus {
  std::vector<cuda::Device> devices;
  std::string missing;  // why there are none, or empty
  Found nvrtc, cublaslt, cudnn;
};

Found found(const Result<cuda::LibraryVersion>& version, std::string_view lost) {
  if (version.ok()) return {true, version->number()};
  return {false, fmt::format("{} (without it, {})", version.status().message(), lost)};
}

Gpus find_gpus() {
  Gpus gpus;
  auto devices = cuda::devices();
  if (devices.ok()) gpus.devices = *devices;
  else gpus.missing = devices.status().message();
  const auto nvrtc = cuda::nvrtc_version();
  gpus.nvrtc = {nvrtc.ok(), nvrtc.ok() ? *nvrtc : nvrtc.status().message()};
  gpus.cublaslt = found(cuda::cublaslt_version(), "matrix products use Hone's kernels alone");
  gpus.cudnn = found(cuda::cudnn_version(), "convolutions use Hone's kernels alone");
  return gpus;
}

Json gpu_json(const cuda::Device& d) {
  return {{"name", d.name},
          {"arch", d.arch()},
          {"multiprocessors", d.multiprocessors},
          {"memory_bytes", d.memory_bytes},
          {"l2_bytes", d.l2_bytes}};
}

Json version_json(const Found& library) { return library.here ? Json(library.text) : Json(); }

Status doctor(const Output& output) {
  const cpu::CpuInfo& info = cpu::cpu_info();
  Json features = Json::array();
  for (const auto& f : info.features) features.push_back(f);
  const Gpus gpus = find_gpus();
  Json cards = Json::array();
  std::vector<std::string> targets{"cpu", "reference"};
  for (const cuda::Device& d : gpus.devices) {
    cards.push_back(gpu_json(d));
    targets.push_back(fmt::format("cuda:{}", d.ordinal));
  }
  const auto bf16 = cpu::best_bf16_set();
  const Json json{{"cpu",
                   {{"model", info.model},
                    {"usable_cpus", cpu::usable_cpu_count()},
                    {"tier", cpu::tier_name(cpu::best_tier())},
                    {"features", features},
                    {"bf16", bf16 ? Json(cpu::bf16_set_name(*bf16)) : Json()},
                    {"l1d_bytes", info.l1d},
                    {"l2_bytes", info.l2},
                    {"l3_bytes", info.l3}}},
                  {"tactic_cache", default_cache_path()},
                  {"gpus", cards},
                  {"nvrtc", version_json(gpus.nvrtc)},
                  {"cublaslt", version_json(gpus.cublaslt)},
                  {"cudnn", version_json(gpus.cudnn)},
                  {"targets", targets}};
  HONE_CHECK(output.write(json));
  if (!output.shows_table()) return {};
  fmt::print("cpu            {} ({} usable)\n", info.model, cpu::usable_cpu_count());
  fmt::print("kernels        {}\n", cpu::tier_name(cpu::best_tier()));
  fmt::print("bf16           {}\n", bf16 ? cpu::bf16_set_name(*bf16) : "none: --precision bf16 leaves a CPU at fp32");
  fmt::print("caches         L1d {} KiB, L2 {} KiB, L3 {} KiB\n", info.l1d >> 10, info.l2 >> 10, info.l3 >> 10);
  fmt::print("features       {}\n", fmt::join(info.features, " "));
  fmt::print("tactic cache   {}\n", default_cache_path());
  for (const cuda::Device& d : gpus.devices)
    fmt::print("gpu {}          {} ({}, {} multiprocessors, {} MiB)\n", d.ordinal, d.name, d.arch(), d.multiprocessors,
               d.memory_bytes >> 20);
  if (!gpus.missing.empty()) fmt::print("gpu            none: {}\n", gpus.missing);
  fmt::print("NVRTC          {}\n", gpus.nvrtc.text);
  fmt::print("cuBLASLt       {}\n", gpus.cublaslt.text);
  fmt::print("cuDNN          {}\n", gpus.cudnn.text);
  fmt::print("targets        {}\n", fmt::join(targets, ", "));
  if (cpu::best_tier() == cpu::Tier::avx2)
    fmt::print("note           no AVX-512: kernels run at half the vector width\n");
  if (cpu::best_tier() == cpu::Tier::scalar)
    fmt::print("note           no AVX2: kernels run on the baseline instruction set\n");
  return {};
}

}  // namespace

void add_doctor(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("doctor", "Say what devices and instruction sets were found");
  auto output = std::make_shared<Output>();
  output->add_to(*sub);
  sub->callback([output, &exit] { exit = report(doctor(*output)); });
}

}  // namespace hone::tools
