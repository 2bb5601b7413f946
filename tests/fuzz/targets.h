#pragma once

#include <string>
#include <string_view>

// Readers of files that strangers may have made. Each takes any bytes, and gives what went against a promise of the
// reader, or nothing. What breaks without a word is for the sanitizers to see.
namespace hone::fuzz {

std::string import_onnx(std::string_view bytes);
std::string parse_text(std::string_view bytes);
// As it is, and with checksums made true, so that what lies behind them is reached too.
std::string load_engine_file(std::string_view bytes);
// An engine of any program over weights that are zero.
std::string load_manifest(std::string_view bytes);
// Of calibration, in both formats, and of tuning.
std::string read_calibration_cache(std::string_view bytes);
std::string read_tactic_cache(std::string_view bytes);
std::string read_array(std::string_view bytes);
std::string read_archive(std::string_view bytes);
std::string read_picture(std::string_view bytes);

}  // namespace hone::fuzz
