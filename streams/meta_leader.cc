#include "streams/meta_leader.h"

#include "streams/js_request.h"

namespace daarion {

using Json = nlohmann::json;

std::string meta_leader(Connection& sys, Duration limit) {
  std::string found;
  // Every server answers. A follower's word may be of a leader that is dead: only the leader's own counts.
  (void)ask_together(sys, {JsonRequest{kAskJetStream, nullptr}}, [&](std::size_t, const Json& answer) {
    if (!answer.contains("data") || !answer.contains("server")) return true;
    if (!answer["data"].contains("meta_cluster")) return false;  // standalone
    const std::string leader = answer["data"]["meta_cluster"].value("leader", "");
    if (leader != answer["server"].value("name", "")) return true;
    found = leader;
    return found.empty();
  }, limit);
  return found;
}

Result<void> step_down_meta_leader(Connection& sys, Duration limit, const std::string& preferred) {
  Json wish;
  if (!preferred.empty()) wish["placement"]["preferred"] = preferred;
  const auto done = js_request(sys, "$JS.API.META.LEADER.STEPDOWN", wish, limit);
  if (!done) return tl::unexpected(done.error());
  if (done->contains("error")) return fail(Remedy::kRetry, "step down the meta leader: " + js_error_text(*done));
  return {};
}

Result<void> remove_meta_peer(Connection& sys, const std::string& server, Duration limit) {
  const auto done = js_request(sys, "$JS.API.SERVER.REMOVE", {{"peer", server}}, limit);
  if (!done) return tl::unexpected(done.error());
  if (done->contains("error")) return fail(Remedy::kRetry, "take server " + server + " out of the meta group: " + js_error_text(*done));
  return {};
}

}  // namespace daarion
