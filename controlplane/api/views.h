// Events and decisions as people read them: the one place that turns the log's values into the API's messages.
#pragma once

#include <cstdint>
#include <string>

#include "controlplane/core/decider.h"
#include "controlplane/core/event.h"
#include "controlplane/core/result.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

inline constexpr std::uint32_t kViewSchema = 1;  // of routes and services in the API

/// RFC 3339 in UTC with milliseconds: "2026-11-24T01:02:03.456Z". Units: ns since 1970.
std::string time_text(std::int64_t ns);

/// "0/3000148 on timeline 2"
std::string position_text(const Position& position);

/// The payload in one line, without its name.
std::string summary_of(const Payload& payload);

/// What a promotion may lose, for a sentence: "at most 4300 B", or that it is not known.
std::string loss_text(const Evidence& evidence, std::uint64_t loss_bytes);

v1::EventView view_of(const LogEvent& event, const std::string& subject);

/// `why`: the decision as it was made, and whether this software makes the same one from the same evidence: of a promotion, of who serves, of
/// who provides a capability. Errors: kFixInput if the event is none of these, naming what it is.
Result<v1::Explanation> explain(const LogEvent& event);

/// `why` of who votes: a VoterSetChanged or OverrideGranted, with what the fold made of it in the state before. Errors: kFixInput if it is neither.
Result<v1::Explanation> explain_set(const LogEvent& event, const State& before);

/// A preview's text with the holder's own part said as what it is: "node1: never heard in this log" -> "node1: taken as dead".
std::string as_hypothesis(std::string text, const NodeId& holder, const std::string& says = "taken as dead");

/// `why-not`: the same rules on evidence of this moment, the holder taken as dead.
v1::Explanation explain_now(const Decider::Nomination& nomination);

}  // namespace daarion
