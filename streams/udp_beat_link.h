// Beats, acks and votes from daemon to daemon, without any server between them: while the voters hear each other this way, all of NATS may
// restart at once and nobody is demoted.
//
// One datagram is one message: "DB", a version and a kind (one byte each), the protobuf bytes, and 16 bytes of HMAC-SHA256 over all of it
// under a key that only this cluster's nodes have. A datagram may be lost, late or doubled, as any message of a BeatLink: the core drops
// repeats by counter, and what a replayed old one says (a session ended, a claim of a lower epoch) is refused or still true.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/result.h"
#include "streams/beat_link.h"

namespace daarion {

using BeatKey = std::array<unsigned char, 32>;
/// From a secret that every node has, and the cluster's name: another cluster with the same secret is not heard.
BeatKey beat_key(const std::string& secret, const std::string& cluster);

struct UdpBeats {
  NodeId self;
  std::string address;                              // where this node listens; a name or a number
  std::uint32_t port = 0;                           // of every node; UDP
  std::vector<std::pair<NodeId, std::string>> peers;  // the other nodes' addresses
  BeatKey key{};
};

/// Errors, naming address and port: kFixInput if the port is taken, kRetry if the address is not this machine's. A peer whose name has no
/// address yet is looked up again.
Result<std::unique_ptr<BeatLink>> make_udp_beat_link(UdpBeats config, BeatLink::Handlers handlers);

/// Whether make_udp_beat_link could listen now; nothing is left behind. Errors: as there.
Result<void> try_beat_port(const UdpBeats& config);

/// Sends by each of several links.
std::unique_ptr<BeatLink> join_beat_links(std::vector<std::unique_ptr<BeatLink>> links);

}  // namespace daarion
