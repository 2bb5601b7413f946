#include <hone/hone.h>

// build MODEL ENGINE
int main(int argc, char** argv) {
  if (argc != 3) return 2;
  hone::BuildOptions options;
  options.threads = 1;
  return static_cast<int>(hone::build(argv[1], options).value().save(argv[2]).code());
}
