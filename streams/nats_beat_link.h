#pragma once

#include <memory>
#include <vector>

#include "streams/beat_link.h"
#include "streams/connection.h"

namespace daarion {

/// Beats, acks and votes over core NATS, on every connection given (two, to different servers): one may freeze.
/// Beats go to cluster.beat.<node>, acks to cluster.ack.<holder>, votes to cluster.vote.<voter>.
std::unique_ptr<BeatLink> make_nats_beat_link(std::vector<std::shared_ptr<Connection>> connections, NodeId self, BeatLink::Handlers handlers);

}  // namespace daarion
