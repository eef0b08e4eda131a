#include "streams/log_replicas.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

#include "streams/js_request.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kFollowerPlacements = 20;   // consumers made to find each of two followers once: all miss one once in 3000 times, and it is looked at later
constexpr int kDoubtsOfReplica = 2;
constexpr int kRemapFailed = 10075;  // the peer is out, and no other server could take its place
constexpr std::chrono::seconds kAgain{60};
// A server that was taken in is seen among the replicas some seconds later. To change the number again before that takes it out, and begins anew: so
// it went on for as long as the group was slow (twelve times in as many seconds).
constexpr std::chrono::seconds kTakenIn{10};

class NatsReplicaKeeper final : public ReplicaKeeper {
 public:
  NatsReplicaKeeper(std::shared_ptr<Connection> core, std::string stream, std::string own_server, int replicas)
      : core_(std::move(core)), stream_(std::move(stream)), own_server_(std::move(own_server)), replicas_(replicas) {}

  Result<std::string> tend(const EventHeads& events, Duration limit) override {
    const std::lock_guard lock(mutex_);
    events_ = events;
    if (events.empty() || !core_->connected()) return std::string();
    const auto info = js_request(*core_, "$JS.API.STREAM.INFO." + stream_, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    if (!info->contains("config") || !info->contains("cluster")) return std::string();
    const Json& cluster = (*info)["cluster"];
    if (cluster.value("leader", "") != own_server_ || replicas_ < 3) return std::string();
    const Json followers = cluster.value("replicas", Json::array());
    Json config = (*info)["config"];
    if (static_cast<int>(followers.size()) + 1 < replicas_) return Clock::now() < taken_in_ + kTakenIn ? std::string() : take_in(config, limit);
    std::string seen = std::to_string(events.front().sequence.value) + " ";
    std::map<std::string, bool> sound;  // by follower that is there: whether it has all events, as far as it was looked at
    for (const Json& f : followers) {
      const bool there = f.value("current", false) && !f.value("offline", false);
      seen += f.value("name", "") + (there ? "+" : "-");
      if (there) sound[f.value("name", "")] = false;
    }
    if (seen == seen_ && Clock::now() < again_ && doubts_.empty()) return std::string();
    if (auto looked = look(events, sound, limit); !looked) return tl::unexpected(looked.error());
    seen_ = std::move(seen);
    again_ = Clock::now() + kAgain;
    for (const auto& [name, is_sound] : sound) {
      if (is_sound) doubts_.erase(name);
      else if (++doubts_[name] >= kDoubtsOfReplica) return take_out(name, config, limit);
    }
    return std::string();
  }

  Result<bool> may_lead(Duration limit) override {
    const std::lock_guard lock(mutex_);
    if (events_.empty()) return true;
    const auto info = js_request(*core_, "$JS.API.STREAM.INFO." + stream_, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    std::map<std::string, bool> sound;
    if (info->contains("cluster"))
      for (const Json& f : (*info)["cluster"].value("replicas", Json::array()))
        if (!f.value("offline", false)) sound[f.value("name", "")] = false;
    if (auto looked = look(events_, sound, limit); !looked) return tl::unexpected(looked.error());
    return std::ranges::all_of(sound, [](const auto& follower) { return follower.second; });
  }

 private:
  /// Reads the events at each follower. One that could not be had is taken for sound: it is looked at later.
  Result<void> look(const EventHeads& events, std::map<std::string, bool>& sound, Duration limit) {
    std::map<std::string, bool> read;
    for (int i = 0; i < kFollowerPlacements && read.size() < sound.size(); ++i) {
      const auto link = core_->handles().link();
      const std::string inbox = new_inbox();
      natsSubscription* raw = nullptr;
      if (natsConnection_SubscribeSync(&raw, link->nc, inbox.c_str()) != NATS_OK) return fail(Remedy::kRetry, "look at the replicas of " + stream_);
      Subscription subscription;
      subscription.take(link, raw);
      const Json wanted = {{"stream_name", stream_},
                           {"config",
                            {{"deliver_subject", inbox},
                             {"deliver_policy", "by_start_sequence"},
                             {"opt_start_seq", events.front().sequence.value},
                             {"ack_policy", "none"},
                             {"replay_policy", "instant"},
                             {"inactive_threshold", 5'000'000'000}}}};
      const auto made = js_request(*core_, "$JS.API.CONSUMER.CREATE." + stream_, wanted, limit);
      if (!made) return tl::unexpected(made.error());
      const std::string at = made->contains("cluster") ? (*made)["cluster"].value("leader", "") : "";
      if (sound.contains(at) && !read.contains(at)) {
        if (const auto same = compare(subscription.get(), events, limit)) read[at] = *same;
      }
      (void)js_request(*core_, "$JS.API.CONSUMER.DELETE." + stream_ + "." + made->value("name", ""), nullptr, limit);
    }
    for (auto& [name, is_sound] : sound) is_sound = !read.contains(name) || read[name];
    return {};
  }

  /// Nothing: it did not give them all.
  static std::optional<bool> compare(natsSubscription* subscription, const EventHeads& events, Duration limit) {
    for (const EventHead& event : events) {
      natsMsg* raw = nullptr;
      jsMsgMetaData* raw_meta = nullptr;
      if (natsSubscription_NextMsg(&raw, subscription, to_wait_ms(limit)) != NATS_OK) return std::nullopt;
      const MsgPtr message(raw);
      if (natsMsg_GetMetaData(&raw_meta, raw) != NATS_OK) return std::nullopt;
      const MetaPtr meta(raw_meta);
      if (meta->Sequence.Stream != event.sequence.value) return std::nullopt;
      if (header_of(raw, "Nats-Msg-Id") != to_text(event.id)) return false;
    }
    return true;
  }

  Result<std::string> take_out(const std::string& server, Json& config, Duration limit) {
    const auto out = js_request(*core_, "$JS.API.STREAM.PEER.REMOVE." + stream_, {{"peer", server}}, limit);
    if (!out) return tl::unexpected(out.error());
    if (out->contains("error") && js_error_code(*out) != kRemapFailed)
      return fail(Remedy::kRetry, "take " + server + " out of " + stream_ + ": " + js_error_text(*out));
    doubts_.clear();
    const auto in = take_in(config, limit);
    return "the replica of " + stream_ + " at " + server + " held events that the log has lost: taken out; " + (in ? *in : in.error().message);
  }

  /// A group that lacks a server is filled only when the number changes.
  Result<std::string> take_in(Json& config, Duration limit) {
    seen_.clear();
    for (const int n : {replicas_ - 1, replicas_}) {
      config["num_replicas"] = n;
      const auto done = js_request(*core_, "$JS.API.STREAM.UPDATE." + stream_, config, limit);
      if (!done) return tl::unexpected(done.error());
      if (done->contains("error")) return fail(Remedy::kRetry, "set the replicas of " + stream_ + " to " + std::to_string(n) + ": " + js_error_text(*done));
    }
    taken_in_ = Clock::now();
    return "taken in to be copied anew";
  }

  std::shared_ptr<Connection> core_;
  std::string stream_, own_server_;
  int replicas_;
  std::mutex mutex_;                   // guards what follows
  EventHeads events_;
  std::string seen_;                   // leader's followers at the last look
  Clock::time_point again_{}, taken_in_{};
  std::map<std::string, int> doubts_;  // looks in a row that found another event there
};

}  // namespace

std::unique_ptr<ReplicaKeeper> make_replica_keeper(std::shared_ptr<Connection> core, std::string stream, std::string own_server, int replicas) {
  return std::make_unique<NatsReplicaKeeper>(std::move(core), std::move(stream), std::move(own_server), replicas);
}

}  // namespace daarion
