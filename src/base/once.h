#pragma once

#include <future>
#include <map>
#include <mutex>

namespace hone {

// What is computed once for each key and kept. Thread safe: who asks for what another thread computes waits for it.
// What is thrown goes to all who wait, and is not kept: the next who asks computes again.
template <class Key, class Value>
class Once {
 public:
  template <class F>
  Value get(const Key& key, F&& compute) {
    std::promise<Value> promise;
    std::shared_future<Value> known;
    {
      const std::lock_guard lock(mutex_);
      const auto [found, is_new] = values_.try_emplace(key);
      if (is_new) found->second = promise.get_future().share();
      else known = found->second;
    }
    if (known.valid()) return known.get();
    try {
      Value value = compute();
      promise.set_value(value);
      return value;
    } catch (...) {
      {
        const std::lock_guard lock(mutex_);
        values_.erase(key);
      }
      promise.set_exception(std::current_exception());
      throw;
    }
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::shared_future<Value>> values_;
};

}  // namespace hone
