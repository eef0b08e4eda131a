// One stream made or mended to its specification: what log and routes have in common. A stream is never deleted here.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "streams/connection.h"

namespace daarion {

inline constexpr std::int64_t kNs = 1'000'000'000;
inline constexpr std::int64_t kDuplicateWindowNs = 600 * kNs;  // longer than any retry; correctness does not rest on it: consumers drop repeats themselves
inline constexpr const char* kOnlyACopy = "it is a copy: delete it on this edge, and it is made anew";

/// Creates the stream that `wanted` names, or mends the settings of `wanted` that differ; others are left as they are. `if_refused`: what to
/// do about a stream that cannot be mended. Returns what was done, in words; empty: it is as wanted.
/// Errors: kRetry while JetStream has no leader or too few servers, or a mirror's origin cannot be reached; kFixInput if the stream differs
/// in what cannot be changed.
Result<std::string> provision_stream(Connection& connection, const nlohmann::json& wanted, const char* if_refused, Duration limit);

/// What other streams of a JetStream domain capture of these subjects, as "OTHER captures message.>": no stream can be made beside them. `own`: streams
/// that may. `limit`: of one request; `end`: of all. Errors: kRetry: not all of them could be looked at.
Result<std::vector<std::string>> captured_by_others(Connection& connection, const std::string& domain, const std::vector<std::string>& subjects, const std::set<std::string>& own,
                                                    Duration limit, std::chrono::steady_clock::time_point end = std::chrono::steady_clock::time_point::max());

/// Where a mirror or source finds its origin in another JetStream domain. `deliver`: messages come under it.
nlohmann::json external_of(const std::string& domain, const std::string& deliver);

}  // namespace daarion
