// Which threads of a daemon go first on a busy machine.
#pragma once

namespace daarion {

/// For a thread that a failover waits for, one after the other: each wakes a dozen times within its few milliseconds, and on a busy machine
/// each time behind whoever runs. Not real-time: such threads also work without end (catch-up). What it starts, processes and threads,
/// does not inherit it. Where it is not allowed nothing changes.
void prefer_this_thread();

/// Threads that are made while it lives are preferred: of a library or a layer that does not know of this.
class PreferredChildren {
 public:
  PreferredChildren();
  ~PreferredChildren();
  PreferredChildren(const PreferredChildren&) = delete;
  PreferredChildren& operator=(const PreferredChildren&) = delete;

 private:
  int before_ = 0;
};

}  // namespace daarion
