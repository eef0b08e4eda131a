// What an operator's word of a node asks of the nats-servers: a drained node leads nothing, a retired one is counted no more. Pure.
//
//   drain node1                      node1's server leads APP/MESSAGE     -> its leader steps down: another replica leads
//   retire node4; node4 is stopped   the meta group counts node4's server -> it is taken out: it counts for no majority any more
//
// WHAT IS NEVER DONE. No lead is moved unless every server of the core was heard this moment: a leader hands over to whom it heard in the last 3 s,
// also to one that just died. Nothing is taken out that is planned, that was heard, that the meta leader calls current, or that a stream
// may need: a stream without a leader, or with another replica that is behind, may have its last good copy on the server that is gone.
//
// The meta group's own leader and the log's are steered by the core (core/steering.h), without this and sooner.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/observed_core.h"
#include "controlplane/drivers/nats/picture.h"

namespace daarion::nats {

using Intents = std::map<NodeId, MemberIntent>;  // of those that are not active

struct Step {
  RepairStep repair;
  std::vector<std::pair<std::string, std::string>> streams;  // account and name: their leaders step down
  std::string peer;                                          // a server's name: taken out of the meta group
};

/// The steps that are due, the first is the next. Pre: the words are believe()'s, of the moment `now`.
std::vector<Step> steps_of(const std::vector<Server>& planned, const std::vector<Word>& words, const Intents& intents, Instant now);

/// For `status`: how the server of a drained node is stopped with the least to notice, once it leads nothing. Lame duck ends a server, so it is a
/// person's to ask for.
std::vector<std::string> notes_of_rest(const std::vector<Server>& planned, const std::vector<Word>& words, const Intents& intents);

}  // namespace daarion::nats
