#include "tests/harness/replicas.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <utility>

#include "streams/js_request.h"
#include "streams/nats_handles.h"
#include "streams/site_reader.h"

namespace daarion::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kConsumerAgain(50);
constexpr std::int64_t kReadWaitMs = 2000;

}  // namespace

std::string lacking_in(const std::set<std::string>& sent, const std::set<std::string>& seen) {
  std::map<std::string, std::pair<int, int>> lacking;
  for (const std::string& id : sent) {
    if (seen.contains(id)) continue;
    const int number = std::atoi(id.substr(id.rfind(' ') + 1).c_str());
    auto& [first, last] = lacking.try_emplace(id.substr(0, id.rfind(' ')), number, number).first->second;
    first = std::min(first, number), last = std::max(last, number);
  }
  std::string out;
  for (const auto& [origin, numbers] : lacking) out += (out.empty() ? " (" : ", ") + origin + " " + std::to_string(numbers.first) + " to " + std::to_string(numbers.second);
  return out.empty() ? out : out + ")";
}

void Tally::take(const std::string& id) {
  if (!seen.insert(id).second) {
    ++repeats;
    return;
  }
  const std::size_t space = id.rfind(' ');
  const int n = std::atoi(id.substr(space + 1).c_str());
  const auto [newest, first] = newest_.try_emplace(id.substr(0, space), n);
  if (!first && n < newest->second) {
    if (out_of_order.empty()) note = id + " behind its number " + std::to_string(newest->second);
    out_of_order.insert(id);
  }
  newest->second = std::max(newest->second, n);
}

/// A consumer of one replica is placed at any of the stream's: made until each had one.
std::map<std::string, Tally> read_each_replica(Connection& connection, const std::string& stream, std::size_t replicas, Duration limit) {
  std::map<std::string, Tally> out;
  for (const auto end = std::chrono::steady_clock::now() + limit; out.size() < replicas && std::chrono::steady_clock::now() < end;) {
    const auto link = connection.handles().link();
    const std::string inbox = new_inbox();
    natsSubscription* raw = nullptr;
    if (natsConnection_SubscribeSync(&raw, link->nc, inbox.c_str()) != NATS_OK) continue;
    natsSubscription_SetPendingLimits(raw, -1, -1);
    Subscription subscription;
    subscription.take(link, raw);
    const nlohmann::json config = {{"deliver_subject", inbox}, {"deliver_policy", "all"}, {"ack_policy", "none"}, {"headers_only", true},
                                   {"num_replicas", 1}, {"mem_storage", true}};
    const auto made = js_request(connection, "$JS.API.CONSUMER.CREATE." + stream, {{"stream_name", stream}, {"config", config}}, seconds(2));
    if (!made || made->contains("error")) {
      std::this_thread::sleep_for(kConsumerAgain);
      continue;
    }
    const std::string server = made->contains("cluster") ? (*made)["cluster"].value("leader", "") : "";
    if (!out.contains(server)) {
      Tally tally;
      bool whole = made->value("num_pending", 0) == 0;
      while (!whole) {
        natsMsg* got = nullptr;
        if (natsSubscription_NextMsg(&got, raw, kReadWaitMs) != NATS_OK) break;
        const MsgPtr message(got);
        const std::string id = header_of(got, "Nats-Msg-Id");
        if (!header_of(got, kFirstStored).empty()) tally.put_again.insert(id);
        tally.take(id);
        whole = std::string_view(natsMsg_GetReply(got)).ends_with(".0");  // nothing is pending behind it
      }
      if (whole) out.emplace(server, std::move(tally));
    }
    (void)js_request(connection, "$JS.API.CONSUMER.DELETE." + stream + "." + made->value("name", ""), nullptr, seconds(2));
  }
  return out;
}

}  // namespace daarion::test
