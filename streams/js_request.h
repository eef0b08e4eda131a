// Requests to nats-servers as JSON, to JetStream's API and to the account SYS: the client library's structs lack fields, and would drop them on update.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "streams/connection.h"

namespace daarion {

/// Sends `body` (null: nothing) to `subject` and returns the answer, which may say an error: see js_error_code().
/// Errors: kRetry, the request may have been carried out.
Result<nlohmann::json> js_request(Connection& connection, const std::string& subject, const nlohmann::json& body, Duration limit);

/// By an account SYS: each server says for itself how its JetStream is, and what routes it has.
inline constexpr const char* kAskJetStream = "$SYS.REQ.SERVER.PING.JSZ";
inline constexpr const char* kAskRoutes = "$SYS.REQ.SERVER.PING.ROUTEZ";

struct JsonRequest {
  std::string subject;
  nlohmann::json body;  // null: nothing is sent
};
/// Given each answer with its request's place; returns whether more are wanted.
using TakeAnswer = std::function<bool(std::size_t request, const nlohmann::json& answer)>;
/// Sends all of them at once, and hands every answer to `take` as it comes, until it wants no more or `limit` is over: a subject like that of
/// kAskJetStream is answered by every server for itself. An answer that is no JSON object is null: nobody listens there.
/// Errors: kRetry: they could not be sent.
Result<void> ask_together(Connection& connection, const std::vector<JsonRequest>& requests, const TakeAnswer& take, Duration limit);

/// "$JS.API", or that of another JetStream domain: "$JS.core.API".
std::string js_api(const std::string& domain);

/// "2026-11-24T01:02:03.123456789Z" in ns since 1970; 0 if it is no such text.
std::int64_t server_time_ns(const std::string& text);

/// Whether the stream's leader that gave this STREAM.INFO has heard a majority of its group, itself counted, in so short a time (nothing: about two
/// of raft's heartbeats): one that was cut off or frozen answers for up to 20 s of a log that goes on elsewhere.
bool in_touch(const nlohmann::json& info, std::optional<Duration> heard_within = {});

/// The "err_code" of a stream that does not exist.
inline constexpr int kNoSuchStream = 10059;
/// And of a message that a stream does not have.
inline constexpr int kNoMessage = 10037;
/// And of a group whose servers know no leader.
inline constexpr int kNobodyLeads = 10008;

/// The "err_code" of an answer; 0: it says no error.
int js_error_code(const nlohmann::json& answer);
/// "stream not found (10059)".
std::string js_error_text(const nlohmann::json& answer);
/// Whether the error passes by itself: no leader, no quorum, not enough servers yet.
bool js_error_passes(const nlohmann::json& answer);

}  // namespace daarion
