// Processes that want a core and do nothing with it, for as long as the object lives, and no longer than this process.
#pragma once

#include <sys/types.h>

#include <vector>

namespace daarion::test {

class BusyLoops {
 public:
  /// So many for each core of the machine, at the given nice value. Source: fork; a nice value below 0 wants root.
  explicit BusyLoops(unsigned per_core, int nice = 0);
  ~BusyLoops();
  BusyLoops(const BusyLoops&) = delete;
  BusyLoops& operator=(const BusyLoops&) = delete;
  std::size_t count() const { return children_.size(); }

 private:
  std::vector<pid_t> children_;
};

}  // namespace daarion::test
