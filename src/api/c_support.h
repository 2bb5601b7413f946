#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>

#include "hone/engine.h"
#include "hone/hone_c.h"

// What the handles of the C API hold.
struct hone_engine {
  explicit hone_engine(hone::v0::Engine e) : engine(std::move(e)), inputs(engine.inputs()), outputs(engine.outputs()) {}

  hone::v0::Engine engine;
  std::vector<hone::v0::TensorInfo> inputs, outputs;
  std::once_flag once;
  std::string json;  // made when it is first asked for
};

struct hone_context {
  hone::v0::Context context;
  hone::v0::Dims dims;  // of the output handed out last
};

namespace hone::capi {

// Keeps the message for hone_last_error.
hone_code report(const v0::Status& status) noexcept;

// Runs f, which returns a v0::Status; nothing that it throws goes further.
template <class F>
hone_code guarded(F&& f) noexcept {
  try {
    return report(f());
  } catch (const std::bad_alloc&) {
    return report({v0::Code::device, "out of memory"});
  } catch (const std::exception& e) {
    return report({v0::Code::internal, e.what()});
  } catch (...) {
    return report({v0::Code::internal, "an unknown exception"});
  }
}

inline v0::Status null_argument(const char* what) {
  return {v0::Code::invalid, std::string(what) + " is a null pointer"};
}

// Reads a struct of the user's version of the header. Fields that this library does not know must be zero.
template <class T>
v0::Status read_struct(const T* from, T& to, const char* what, size_t least = sizeof(T)) {
  if (from == nullptr) return null_argument(what);
  if (from->size < least) return {v0::Code::invalid, std::string(what) + ": size is not set, use the INIT macro"};
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  if (std::any_of(bytes + std::min(from->size, sizeof(T)), bytes + from->size, [](unsigned char b) { return b != 0; }))
    return {v0::Code::unsupported, std::string(what) + " has fields set that this version of Hone does not know"};
  std::memcpy(&to, from, std::min(from->size, sizeof(T)));
  return {};
}

// Fills a struct of the user's version of the header, as far as it goes.
template <class T>
v0::Status write_struct(T from, T* to, const char* what, size_t least = sizeof(T)) {
  if (to == nullptr) return null_argument(what);
  if (to->size < least) return {v0::Code::invalid, std::string(what) + ": size is not set, use the INIT macro"};
  from.size = to->size;
  std::memcpy(to, &from, std::min(to->size, sizeof(T)));
  return {};
}

}  // namespace hone::capi
