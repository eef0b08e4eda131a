// Network namespaces for a local cluster: a host's network for each node, so that links between nodes can be cut, lossy or slow.
//
//   this machine --- dh<tag> [prefix.254] ---+
//                                            | daarion-<tag>-hub: one bridge
//   daarion-<tag>-node1: eth0 [prefix.1] ----+
//   daarion-<tag>-node2: eth0 [prefix.2] ----+
//
// The machine's own network gets one interface, with an address of the made network, and no route but to that network: tools and clients
// reach the nodes through it. Filters sit in the nodes' namespaces, at the receiver, so that a sender learns nothing. <folder>/netns has
// the names: whoever opens the folder later goes on with them, or removes them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion::dev {

/// What `from` sends does not arrive at `to`: so many packets of a hundred.
struct LostPackets {
  NodeId from, to;
  int percent = 100;
  bool operator==(const LostPackets&) const = default;
};

class NodeNetwork {
 public:
  /// Errors: kFixInput in one line, if namespaces cannot be made here: not root, or a program is missing.
  static Result<void> possible();
  /// Makes the namespaces. `addresses`: of each node, all in `prefix`0/24. Pre: possible().
  /// Errors: kRetry if that network is routed already.
  static Result<NodeNetwork> make(const std::string& folder, const std::string& prefix, const std::map<NodeId, std::string>& addresses);
  /// Nothing if the folder has none.
  static std::optional<NodeNetwork> of(const std::string& folder, const std::map<NodeId, std::string>& addresses);
  /// Removes them, whatever is left of them. Idempotent.
  Result<void> remove();

  std::string name_of(const NodeId& node) const { return "daarion-" + tag_ + "-" + node.value; }
  std::string hub() const { return "daarion-" + tag_ + "-hub"; }
  /// The bridge's end of a node's cable, in hub().
  std::string port_of(const NodeId& node) const { return "to-" + node.value.substr(0, 12); }

  /// Replaces all filters. Repeats of a pair: the last one counts.
  Result<void> lose(const std::vector<LostPackets>& packets);
  std::vector<LostPackets> lost() const;
  /// Pulls a node's cable out of the bridge, or puts it back.
  Result<void> plug(const NodeId& node, bool in);

 private:
  NodeNetwork(std::string folder, std::string tag, std::map<NodeId, std::string> addresses)
      : folder_(std::move(folder)), tag_(std::move(tag)), addresses_(std::move(addresses)) {}
  Result<void> make_links(const std::string& prefix);
  std::string folder_, tag_;
  std::map<NodeId, std::string> addresses_;
};

/// The rules of one node's filter, for nft. Pure.
std::string filter_text(const NodeId& node, const std::vector<LostPackets>& packets, const std::map<NodeId, std::string>& addresses);

/// Runs `what` in a thread of its own inside a namespace; false if there is no such namespace.
bool inside(const std::string& netns, const std::function<void()>& what);

/// Moves the calling thread into a namespace. For a child between fork and exec.
bool enter_netns(const std::string& netns);

}  // namespace daarion::dev
