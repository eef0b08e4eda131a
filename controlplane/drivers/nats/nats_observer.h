// The nats-servers of a cluster observed: core, witness and leaf nodes, JetStream's meta group and its streams (picture.h).
//
// LITTLE IS MENDED HERE. Streams, mirrors and replicas have keepers of their own (streams/route_keeper.h, edge_mirrors.h, log_replicas.h), which run where
// what they mend is, and the meta group's leader is steered off nodes with leases (core/steering.h). What is told here is what none of these can do. What
// is done here follows from an operator's word of a node (steps.h): a drained one leads no stream, a retired one that is off is taken out of the meta group.
#pragma once

#include <memory>
#include <vector>

#include "controlplane/drivers/nats/picture.h"
#include "controlplane/drivers/observer.h"
#include "streams/connection.h"

namespace daarion {

/// What the daemon has of NATS anyway, and lends.
struct NatsAccess {
  std::shared_ptr<Connection> sys, control;  // accounts SYS and CONTROL of the core
  std::shared_ptr<Connection> app;           // account APP, as the user that may change streams; of the core, or a leaf of it. Null: none
  std::vector<nats::Server> servers;
};

/// Errors: kFixInput if nothing is lent.
Result<std::unique_ptr<Observer>> make_nats_observer(const ObserverConfig& config);

}  // namespace daarion
