// Runs the program in another process, with the stand-ins for the driver and NVRTC.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace hone_test {

struct Outcome {
  int status;
  std::string text;  // of both outputs
};

// `luck`: what the driver's calls return ("cuInit=100"). `environment`: further variables.
inline Outcome run_hone(const std::string& luck, const std::string& arguments, const std::string& environment = {}) {
  const std::string command = "LD_LIBRARY_PATH=" HONE_RECORDING_DRIVER " HONE_NVRTC=" HONE_RECORDING_DRIVER
                              "/libnvrtc.so.13 HONE_CUBLASLT= HONE_CUDNN= "
                              "HONE_RECORDING_DRIVER=" +
                              luck + " " + environment + " " HONE_BINARY " " + arguments + " 2>&1";
  FILE* const pipe = popen(command.c_str(), "r");
  Outcome outcome;
  char part[256];
  while (std::fgets(part, sizeof part, pipe) != nullptr) outcome.text += part;
  outcome.status = WEXITSTATUS(pclose(pipe));
  return outcome;
}

}  // namespace hone_test
