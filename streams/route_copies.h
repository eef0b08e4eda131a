// Whether what a rule replicates still goes on: an edge's mirrors, and what the core's streams take in of the edges. nats-server says "lag 0" of a copy
// that will never get another message; measured with 2.9.10, where not said otherwise:
//
//   an origin that was made anew (an edge's disk was replaced; also 2.15.1)   it counts from 1 again, and whoever copies it takes nothing below
//   or lost its newest messages (power loss)                                  where it was: those messages would never come
//   a message with a header Nats-Expected-* (a publisher's)                   whoever sources it stands still there for ever; a mirror passes it by,
//                                                                             and a new mirror stands still
//
// A SOURCE is brought on by whoever's server leads the core's stream. nats-server finds where it was by the newest message that says in
// Nats-Stream-Source where it came from. So what it cannot take is put there by hand, as it would have put it, without the header that stopped it; then
// the source is taken out and in again, and goes on behind that. Later servers refuse that header, and know an origin that was made anew. What it passed by
// is found by the numbers in that header (source_numbers.h), and put under its id.
//
// A MIRROR that counts otherwise than its origin lacks what it passed by: that is found by ids, and published on its edge, where readers find it, once
// each. One that stands still is a copy: it is deleted, and made again. So is one whose origin was made anew, and since what it has may be nowhere else,
// that is kept aside before, in <RULE>_MIRROR_ASIDE_<time>. Where a message with such a header is next, a new mirror would stand still there too: the core
// puts the message again without it, and deletes it where it was.
//
// REPLICAS of a core stream can differ after its leader was frozen or cut off (ADR 6): each may lack messages that were acknowledged and that the others
// have. What not every replica has is put again under its id once that is too old to be taken for a repeat. Nothing is taken away from any replica.
//
// WITHOUT A Nats-Msg-Id a message can be told from no other: it is not looked for, and where an origin was made anew it may come twice.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/routing.h"
#include "streams/connection.h"
#include "streams/route_streams.h"

namespace daarion {

/// One copy as it was last looked at.
struct CopyView {
  std::string stream, origin;           // "MESSAGE_MIRROR" of "MESSAGE", or "MESSAGE" of "MESSAGE_node3"
  NodeId edge;
  std::optional<std::uint64_t> behind;  // messages; nothing: its origin does not answer
  bool stands_still = false;
};

/// Threads: one for tend(), any for views(). Blocks for requests of at most `limit` each, and goes on at the next call where that takes long.
class CopyKeeper {
 public:
  virtual ~CopyKeeper() = default;
  /// Looks at the copies of this site, and mends. A mirror that was deleted is to be made again by apply_edge_routes().
  virtual RouteWork tend(const RoutePlan& plan, Duration limit) = 0;
  /// Of those that this node looks after: an edge its mirrors, the core's leader its sources.
  virtual std::vector<CopyView> views() const = 0;
};

/// Above nats-server's own tries (10 s) and an election; what moves within it is left alone.
inline constexpr Duration kCopyStill = std::chrono::seconds(25);

/// `app`: account APP of the own site, as the user that may change streams.
std::unique_ptr<CopyKeeper> make_mirror_copies(std::shared_ptr<Connection> app, NodeId self, std::string core_domain, Duration still = kCopyStill);
std::unique_ptr<CopyKeeper> make_source_copies(std::shared_ptr<Connection> app, NodeId self, Duration still = kCopyStill);

}  // namespace daarion
