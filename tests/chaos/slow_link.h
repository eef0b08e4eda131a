// A slow and jittery cable: what netem would do, where the kernel has none.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "controlplane/core/types.h"
#include "controlplane/dev/netns.h"

namespace daarion::chaos {

/// While it lives, a node's cable is out of the bridge, and each frame is carried over by a thread, `delay` and up to `jitter` later, in
/// order. Open connections go on. Throws test::Failed.
class SlowLink {
 public:
  SlowLink(dev::NodeNetwork& network, const NodeId& node, Duration delay, Duration jitter, std::uint64_t seed);
  ~SlowLink();
  SlowLink(const SlowLink&) = delete;
  SlowLink& operator=(const SlowLink&) = delete;

 private:
  struct Frame {
    Instant due;
    std::vector<char> bytes;
  };
  struct Way {
    int from = -1, to = -1;
    Instant last{};  // frames stay in order
    std::deque<Frame> waiting;
  };
  void run();
  void take(Way& way);
  bool give(Way& way, Instant now);
  dev::NodeNetwork& network_;
  NodeId node_;
  Duration delay_, jitter_;
  std::mt19937_64 chance_;
  int cable_ = -1, bridge_ = -1;
  Way ways_[2];
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace daarion::chaos
