#include "tools/restart.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

namespace hone::tools {
namespace {

constexpr const char* kRestarts = "HONE_RESTARTS";  // of this command so far
constexpr int kMost = 8;                            // a GPU on which more kernels fault is no good

}  // namespace

void restart(const Status& fault) {
  const char* const before = std::getenv(kRestarts);
  const int restarts = before != nullptr ? std::atoi(before) : 0;
  if (restarts >= kMost) return;
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string words{std::istreambuf_iterator<char>(file), {}};  // each ends in a zero
  if (words.empty() || words.back() != '\0') return;
  std::vector<char*> arguments;
  for (size_t at = 0; at < words.size(); at = words.find('\0', at) + 1) arguments.push_back(&words[at]);
  arguments.push_back(nullptr);
  tell(fmt::format("hone: warning: {}: the build begins again without it\n", fault.message()));
  setenv(kRestarts, std::to_string(restarts + 1).c_str(), 1);
  execv("/proc/self/exe", arguments.data());
}

}  // namespace hone::tools
