// A cluster's nats-servers asked all at once, and what is read of their answers.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/drivers/nats/picture.h"
#include "streams/connection.h"

namespace daarion::nats {

/// What a server answers to kAskJetStream and to kAskRoutes. Errors: kRetry, naming what it lacks; the word is as it was then.
Result<void> read_jetstream(const nlohmann::json& answer, Word& word);
Result<void> read_routes(const nlohmann::json& answer, Word& word);

/// The words of those that answered: of the core by `sys`, its streams too if `streams`, and of the leaf nodes by `control`. Returns as soon as all
/// planned ones have answered. Bounded: about 900 ms.
/// Source: nats-server 2.9.10 and 2.15.1. Version, id, store and streams are all in the answer of JetStream; VARZ says nothing more that is looked at, and
/// LEAFZ has no names before 2.10.
std::vector<Word> look(Connection& sys, Connection& control, const std::vector<Server>& planned, bool streams);

}  // namespace daarion::nats
