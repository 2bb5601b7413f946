#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

// A driver of one GPU of compute capability 9.0 that computes nothing, at once, and notes what it is asked to do with
// streams. Device memory is the host's, and each kernel takes as long as any other. What an application would ask it
// for:
namespace hone::testing {

#define DRIVER __attribute__((visibility("default")))

DRIVER void* allocate(size_t bytes);
DRIVER void release(void* memory);
DRIVER void* create_stream();
DRIVER void destroy(void* stream);
DRIVER void begin_capture(void* stream);
DRIVER void end_capture(void* stream);

// "launch s1", "wait s1 e2", "record e2 s1", "graph s1", "copy s1", "synchronize e2", ...: streams and events are
// numbered as they are made; s0 is the default stream.
DRIVER std::vector<std::string>& calls();

// A graph, whose launches are numbered in the order of their capture. Events that take part in one are not noted.
struct Captured {
  int launches = 0;
  std::set<std::pair<int, int>> edges;  // the second waits for the first
  std::set<int> overlapping;            // may begin before the one ahead has ended
};
// That which was captured last.
DRIVER Captured& captured();
// Called with the parameters of each kernel that is launched and not captured.
DRIVER std::function<void(void** parameters)>& on_launch();

}  // namespace hone::testing
