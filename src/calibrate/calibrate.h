#pragma once

#include "calibrate/batches.h"
#include "calibrate/calibrators.h"
#include "calibrate/ranges.h"
#include "calibrate/statistics.h"
#include "compile/compile.h"

namespace hone::calibrate {

// The name of the way that tries several thresholds on each tensor. Where a convolution or matrix product reads it, the
// one that changes the output of that layer least, on up to eight runs spread over the data, is taken; elsewhere the
// one with the least mean squared error of the tensor itself. The larger of equals.
constexpr std::string_view kAuto = "auto";

struct Options {
  std::string calibrator = "mse";  // a name among calibrators(), or kAuto
  CalibratorOptions parameters;
  CompileOptions compile;  // of the observed network
  int64_t rows = 1;   // an array is run in pieces of so many rows where the model leaves the leading dim open; 0: whole
  int64_t limit = 0;  // of samples to take; 0: all
  std::function<bool(size_t done, size_t total)> progress;  // after each batch; total 0: not known; false cancels
};

// What was found out about a tensor.
struct TensorReport {
  std::string name, node;
  TensorRange range;
  std::string calibrator;  // that gave the threshold; empty: the tensor holds infinities and has no range
  Statistics statistics;
};

struct Report {
  RangeTable table;                   // of all tensors that have a range
  std::vector<TensorReport> tensors;  // in the order of the network
  std::vector<std::string> warnings;  // one line each
  int64_t samples = 0;
};

// Where a build with these options has its ranges found: on the GPU that it is for, where that is here, else on the
// CPU.
std::string target_for(const CompileOptions& build);

// Runs the fp32 network on all data, once, and chooses a range for every observed tensor. Everything but what `auto`
// needs is independent of the order of the data and of how it is batched (up to the rounding of the network itself).
// On a GPU what it computes is observed there, by the same rules; what `auto` needs beside is done on the CPU.
// Memory: one run of the network, and for each of up to four shapes of the inputs 16 KB and 16 bytes a channel for each
// tensor; with `auto` copies of what a few layers read, and the inputs of its runs. Errors: invalid (no data; data that
// does not fit the model or holds NaN or infinities; a tensor that becomes NaN, with the node and the data),
// unsupported, device (no such device, or its memory is too small), cancelled.
Result<Report> calibrate(const std::string& model_path, Batches& data, const Options& options);

}  // namespace hone::calibrate
