#include "streams/meta_leader.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "streams/js_request.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

}  // namespace

std::string meta_leader(Connection& sys, Duration limit) {
  const auto link = sys.handles().link();
  const std::string inbox = new_inbox();
  natsSubscription* raw = nullptr;
  if (natsConnection_SubscribeSync(&raw, link->nc, inbox.c_str()) != NATS_OK) return {};
  Subscription answers;
  answers.take(link, raw);
  if (natsConnection_PublishRequestString(link->nc, "$SYS.REQ.SERVER.PING.JSZ", inbox.c_str(), "") != NATS_OK) return {};
  // Every server answers. A follower's word may be of a leader that is dead: only the leader's own counts.
  const auto end = Clock::now() + limit;
  while (Clock::now() < end) {
    natsMsg* raw_answer = nullptr;
    if (natsSubscription_NextMsg(&raw_answer, answers.get(), to_wait_ms(end - Clock::now())) != NATS_OK) return {};
    const MsgPtr message(raw_answer);
    const Json answer = Json::parse(data_of(message.get()), nullptr, false);
    if (!answer.is_object() || !answer.contains("data") || !answer.contains("server")) continue;
    if (!answer["data"].contains("meta_cluster")) return {};  // standalone
    const std::string leader = answer["data"]["meta_cluster"].value("leader", "");
    if (!leader.empty() && leader == answer["server"].value("name", "")) return leader;
  }
  return {};
}

Result<void> step_down_meta_leader(Connection& sys, Duration limit) {
  const auto done = js_request(sys, "$JS.API.META.LEADER.STEPDOWN", nullptr, limit);
  if (!done) return tl::unexpected(done.error());
  if (done->contains("error")) return fail(Remedy::kRetry, "step down the meta leader: " + js_error_text(*done));
  return {};
}

}  // namespace daarion
