// From a setup to the daemon's ports: which nats-servers this node talks to, in which order, and where it reads the log.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/daariond/observed_runner.h"
#include "controlplane/daariond/options.h"
#include "controlplane/node/daemon.h"
#include "controlplane/topology/render.h"
#include "streams/connection.h"
#include "streams/route_keeper.h"
#include "streams/udp_beat_link.h"

namespace daarion {

/// This node's connections. A core node reads the log itself; a node with a leaf server folds its local mirror, and goes on reading
/// while it is cut off.
struct Links {
  std::shared_ptr<Connection> near;    // its own core server first, then the others
  std::shared_ptr<Connection> far;     // another server first: one may freeze without anybody noticing at once
  std::shared_ptr<Connection> control; // appends and the JetStream API of the core
  std::shared_ptr<Connection> sys;     // account SYS of the core
  std::shared_ptr<Connection> leaf;    // its own leaf server; null: it has none
  std::shared_ptr<Connection> app;     // account APP of its site: its leaf server, or the core's
  std::vector<std::shared_ptr<Connection>> beats() const;
};

/// Begins to connect. Errors: kFixInput if an address is malformed.
Result<Links> open_links(const Setup& setup);

/// Waits a moment for NATS. Errors: kFixInput if a server refuses the password, kRetry if none answers.
Result<void> await_links(const Links& links, Duration limit);

/// How this node reads the log from a sequence on.
Result<std::unique_ptr<LogReader>> open_reader(const Links& links, Sequence from);

/// The beats from daemon to daemon, at the nodes' own addresses whatever the admin API is bound to. Port 0: none.
UdpBeats direct_beats(const Setup& setup);

/// Resources that this software cannot run are not led: `notes` says which.
TopologySpec led_spec(const Setup& setup, std::vector<std::string>& notes);

/// Looks at what each engine of this node needs: its programs, its password, and, if `data`, that what is in its data directory is ours.
/// Errors: kFixInput naming what is missing or whose the data are. Without `data` the run folder is made; otherwise nothing is changed.
Result<void> check_engines(const Setup& setup, const TopologySpec& spec, const Links& links, bool data);

/// Keeps this node's site in step with the routes of the log.
std::shared_ptr<RouteKeeper> make_routes(const Setup& setup, const Links& links);
/// What stands in a plan's way on the running NATS, asked from this node.
std::function<std::vector<std::string>(const RoutePlan&)> in_the_way_of(const Links& links);

/// The resources whose engine elects by itself, that this software can observe, and of which this node runs a part.
std::vector<ObservedSeat> observed_seats(const Setup& setup, const Links& links);

/// The nats-servers of this node.
std::vector<NatsServerPlan> own_servers(const Setup& setup);

/// The daemon's ports.
DaemonPorts make_ports(const Setup& setup, const TopologySpec& spec, const Links& links);

}  // namespace daarion
