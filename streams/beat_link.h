// Beats, acks and votes between nodes. They may be late, lost, doubled or reordered; the core drops repeats by counter.
#pragma once

#include <functional>

#include "controlplane/core/messages.h"

namespace daarion {

/// Threads: send() from any thread, never blocks (a full queue drops the oldest); handlers run on the link's own threads.
class BeatLink {
 public:
  struct Handlers {
    std::function<void(Beat)> beat;
    std::function<void(Ack)> ack;
    std::function<void(Vote)> vote;
  };
  virtual ~BeatLink() = default;
  virtual void send(const Beat& beat) = 0;
  virtual void send(const Ack& ack) = 0;
  virtual void send(const Vote& vote) = 0;
};

}  // namespace daarion
