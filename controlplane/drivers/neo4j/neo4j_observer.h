// Neo4j, seen whole from one node: the leader of every database, each member with its copies, what is not as declared; of Community the one instance
// and its dumps. It mends nothing: Neo4j's rafts elect, and what it needs otherwise (ENABLE SERVER, a store emptied) is named, for a person.
//
// Every member is asked by its own HTTP interface (client.h); one picture is made of their words (picture.h). The core decides which node speaks.
// NEO4J_USER (neo4j) and NEO4J_PASSWORD of the environment are sent where a password is set.
//
// Dumps (dump.h) are a process of their own in the view, which only its node can see: so that node speaks.
#pragma once

#include <memory>

#include "controlplane/drivers/neo4j/dump.h"
#include "controlplane/drivers/neo4j/picture.h"
#include "controlplane/drivers/observer.h"

namespace daarion {

/// Errors: kFixInput if the resource has no nodes.
Result<std::unique_ptr<Observer>> make_neo4j_observer(const ObserverConfig& config);

namespace neo4j {

/// What is said of dumps by whom: on the instance's own node what its Dumper knows, elsewhere that it is not known.
struct DumpSeen {
  bool known = false;  // seen from here
  bool runs = false;
  DumpRecord record;
  std::string trouble;
};

/// The resource as the core is told of it. `dump`: where one is configured. Pure.
ResourceView view_of(const Declared& declared, const Picture& picture, const std::optional<DumpSeen>& dump);

}  // namespace neo4j
}  // namespace daarion
