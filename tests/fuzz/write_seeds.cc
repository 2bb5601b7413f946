// write_seeds TARGET FOLDER: fills the folder with the seeds of a target, a file each.
#include <cstdio>
#include <fstream>

#include "fuzz/seeds.h"

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: write_seeds TARGET FOLDER\n");
    return 2;
  }
  const std::filesystem::path folder = arguments[2];
  std::filesystem::create_directories(folder);
  const auto seeds = hone::fuzz::seeds(arguments[1], HONE_CONFORMANCE);
  for (size_t i = 0; i < seeds.size(); ++i) std::ofstream(folder / std::to_string(i), std::ios::binary) << seeds[i];
  return seeds.empty();
}
