#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine.h"

HONE_NAMESPACE_BEGIN

class HONE_API CalibrationData;  // calibrate.h

enum class Precision : int { fp32 = 0, tf32 = 1, bf16 = 2, fp16 = 3, fp8 = 4, int8 = 5 };

// How to optimise. The defaults are those of `hone build`, but for the timing cache.
struct BuildOptions {
  std::string target = "auto";        // auto, cpu, cuda, cuda:N, reference; auto: the best device there is
  std::vector<Precision> precisions;  // those allowed beside fp32; on a CPU bf16 and int8; fp8 on GPUs from 8.9 on
  // int8 and fp8 need ranges, and fp16 uses them: of the cache, or found on the data where there is no such file, which
  // is then written. The fastest of the engines with int8 or fp8 and without is made; without tuning, one with.
  std::string calibration_cache;  // file of ranges (calibrate.h)
  // Typical inputs, as for calibrate() with its defaults. Biases of int8 layers are corrected on some of them, beside a
  // cache too. Not owned; read during build().
  CalibrationData* calibration_data = nullptr;
  bool strict = false;  // a tensor that fp16 cannot hold is an error; false: it stays in fp32
  // How far outputs may be from fp32: 0.005 for 0.5 %; 0: no limit. As many layers are in int8 or fp8 as keep it, and
  // fp32 takes the place of fp16, bf16 and TF32 that do not; when fp32 does not either, that is an error (invalid).
  double accuracy_budget = 0;
  // Of the budget. top1: the share of positions (all axes but the last) with another largest element; error: the RMS of
  // errors over that of values; auto: top1 for one output of floats whose last axis has 10 or more, else error.
  std::string accuracy_metric = "auto";
  // What the budget is measured on: 256 samples at most, best others than the ranges are from; null: every fourth of
  // calibration_data, on which no ranges are found then. Not owned; read during build().
  CalibrationData* accuracy_data = nullptr;
  std::map<std::string, Dims> shapes;  // dims of inputs that the model leaves open, or to override, by name
  int threads = 0;                     // CPU threads to tune for; 0: as many as usable
  std::string isa = "auto";            // highest instruction set: auto, avx512, avx2, scalar
  double time_budget_s = 60;           // limit for timing tactics
  std::string timing_cache;            // file of earlier timings to read and extend, with compiled code in the folder
                                       // FILE.d beside it; empty: none
  bool tune = true;                    // false: the first tactic that fits, without timing
  bool winograd = true;                // false: none of Winograd's and Strassen's algorithms, see docs/cpu.md
  // The same engine on the same device gives the same bits on every run: tactics that do not promise that are refused
  // (on a CPU there are none), and random numbers without a seed are an error (unsupported).
  bool deterministic = false;
  bool portable = true;  // the engine holds, and saves, what it can be built from again elsewhere
  // Called from build()'s thread before each layer is tuned; false cancels the build. Must not throw.
  std::function<bool(size_t done, size_t total, std::string_view what)> progress;
};

// Imports an ONNX model, optimises it for this machine and makes an engine; takes from milliseconds to time_budget_s
// and more. Leading dims that the model leaves open and `shapes` does not give are 1. Thread safe, but builds that run
// at the same time disturb each other's timings.
// `path` may be an engine file as well, told apart by content: it is built again from the portable graph inside. What
// is left at its default in `options` is as the engine was built then, and its shapes and ranges are fixed: shapes, a
// calibration cache or data and a budget are refused, and int8 and fp8 need an engine with ranges.
// Errors: invalid (missing or broken model, open dims, bad options, an engine without a portable graph), unsupported
// (all that the model needs and Hone lacks, or with `strict` all that fp16 cannot hold, in one message with the node
// names), device (no such device here), cancelled.
HONE_API Result<Engine> build(const std::string& path, const BuildOptions& options = {});

HONE_NAMESPACE_END
