#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "build.h"

HONE_NAMESPACE_BEGIN

// Samples of a network's inputs, as many in a row as the data has in one piece. The leading dim of every array counts
// the samples; it may be left away for one sample.
struct CalibrationBatch {
  std::string source;                                      // for messages, e.g. a file; may be empty
  std::vector<std::pair<std::string, TensorView>> inputs;  // every input of the model, by name, in any order
};

// Where calibration data comes from: users implement it over whatever they have.
class HONE_API CalibrationData {
 public:
  virtual ~CalibrationData();

  // Fills in the next batch, which comes empty, and returns true; false when there is no more. The memory behind the
  // views stays the owner's: it must be valid and unchanged until the next call or the end of calibrate() or
  // build(), is only read, and may then be used for the next batch. Called from the thread that calls those, never
  // twice at once. Must not throw; an error ends the calibration, which returns it.
  virtual Result<bool> next(CalibrationBatch& batch) = 0;
  // How many batches there are, for progress; 0 when that is not known.
  virtual size_t count() const;
};

// How to calibrate. The defaults are those of `hone calibrate`.
struct CalibrationOptions {
  std::string calibrator = "mse";      // auto, entropy, minmax, percentile, mse, legacy
  double percentile = 99.99;           // percentile: per cent of the values that are not clipped, above 0 to 100
  double quantile = 0.99999;           // legacy: fraction of the values that are not clipped, above 0 to 1
  double cutoff = 1;                   // legacy: fraction of the maximum that the regression looks at; 1: none
  std::map<std::string, Dims> shapes;  // dims of inputs that neither the model nor the data gives
  int threads = 0;                     // CPU threads; 0: as many as usable
  int64_t rows = 1;   // samples in one run of the network, where it leaves the leading dim open; 0: a whole batch
  int64_t limit = 0;  // stop after so many samples; 0: take all
  std::string target = "cpu";  // where the network runs: cpu, cuda, cuda:N, reference; auto: the best device there is
  // Called after each batch from calibrate()'s thread; total is 0 when it is not known. False cancels. Must not throw.
  std::function<bool(size_t done, size_t total)> progress;
};

// The range of a tensor of the source model: int8 is to stand for k * threshold / 127, -127 <= k <= 127.
struct TensorRange {
  std::string name;
  double low = 0, high = 0;           // the smallest and largest value to represent; what lies outside is clipped
  double threshold = 0;               // the larger of their magnitudes, above 0
  std::vector<double> channels = {};  // the largest magnitude in each channel; empty where it is not known
  double largest = 0;                 // the largest magnitude that was seen, clipped or not; 0 where it is not known
};

// Ranges for the tensors of one model. A value.
struct HONE_API Calibration {
  std::string calibrator;  // of a cache that was read: as far as its format tells
  std::vector<TensorRange> ranges;
  std::vector<std::string> warnings;  // what about data and network should make one doubt them; one line each
  int64_t samples = 0;                // 0 when read from a cache

  // Writes a cache beside `path`, then renames. `format`: "tensorrt", "onnxruntime", or "" for onnxruntime where the
  // path ends in .json and tensorrt elsewhere, which holds thresholds alone. The same ranges give the same bytes.
  // Errors: invalid (unknown format, cannot be written).
  Status save(const std::string& path, std::string_view format = {}) const;
  // Reads a cache of either format. Errors: invalid (missing, broken or no cache).
  static Result<Calibration> load(const std::string& path);
  // Whether there is a range for every tensor of the ONNX model that quantisation needs one for. Errors: invalid (some
  // are missing, or the cache is another model's: the message names tensors; the model is missing or broken).
  Status check(const std::string& model) const;
};

// Runs the fp32 network of an ONNX model on the data and finds the range of every float tensor that a quantised network
// needs. Memory does not grow with the number of samples. Thread safe, as long as `data` is not shared. Errors: invalid
// (missing or broken model, bad options, no data, data that does not fit or holds NaN or infinities, a tensor that
// becomes NaN: the message names the source of the data and the tensor), unsupported (ops that Hone lacks), device (no
// such device here, or its memory is too small), cancelled, and what next() returns.
HONE_API Result<Calibration> calibrate(const std::string& model, CalibrationData& data,
                                       const CalibrationOptions& options = {});

HONE_NAMESPACE_END
