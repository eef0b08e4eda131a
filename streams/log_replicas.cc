#include "streams/log_replicas.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "streams/js_request.h"
#include "streams/log_stream.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kFollowerPlacements = 20;   // consumers made to find each of two followers once: all miss one once in 3000 times, and it is looked at later
constexpr int kDoubtsOfReplica = 2;
constexpr int kRemapFailed = 10075;  // the peer is out, and no other server could take its place
constexpr std::chrono::seconds kAgain{60};    // after a change,
constexpr std::chrono::seconds kSeldom{600};  // and without one
// Each look makes consumers, and with each of these every server writes its meta state anew: one that failed is not made again at once (measured: while
// one server's answers were lost, looks every 1.5 s left 400 consumers to be taken away), nor one without a doubt because a follower came or went.
constexpr std::chrono::seconds kAfterFailure{10};
constexpr std::chrono::seconds kApart{5};
constexpr std::chrono::seconds kAskedAgain{30};   // whether any may lead, of the same followers and events
constexpr int kFailedReads = 2;               // a follower that is a little behind: it is looked at the next time
// A server that was taken in is seen among the replicas some seconds later. To change the number again before that takes it out, and begins anew: so
// it went on for as long as the group was slow (twelve times in as many seconds).
constexpr std::chrono::seconds kTakenIn{10};
// A server that still has its copy by then does not mean to delete it.
constexpr std::chrono::seconds kStillThere{60};

class NatsReplicaKeeper final : public ReplicaKeeper {
 public:
  NatsReplicaKeeper(std::shared_ptr<Connection> core, std::shared_ptr<Connection> sys, std::string stream, std::string own_server, int replicas)
      : core_(std::move(core)), sys_(std::move(sys)), stream_(std::move(stream)), own_server_(std::move(own_server)), replicas_(replicas) {}

  Result<std::string> tend(const EventHeads& events, Duration limit) override {
    keep(events);
    const std::lock_guard lock(mutex_);
    if (rests_.exchange(false)) forget();
    if (events.empty() || !core_->connected()) return std::string();
    const auto info = js_request(*core_, "$JS.API.STREAM.INFO." + stream_, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    if (!info->contains("config") || !info->contains("cluster")) return std::string();
    const Json& cluster = (*info)["cluster"];
    if (cluster.value("leader", "") != own_server_ || replicas_ < 3) {
      forget();
      return std::string();
    }
    // What lacks the log's beginning is no measure of others: it is to hand over.
    if (info->value("state", Json::object()).value("first_seq", std::uint64_t{0}) > 1) return std::string();
    const Json followers = cluster.value("replicas", Json::array());
    Json config = (*info)["config"];
    std::string seen;
    std::vector<std::string> there;
    for (const Json& f : followers) {
      const bool is = f.value("current", false) && !f.value("offline", false);
      seen += f.value("name", "") + (is ? "+" : "-");
      if (is) there.push_back(f.value("name", ""));
    }
    // One of several replicas is touched only while every other one is whole: with another away the leader's would be the only copy.
    const bool all_whole = there.size() == followers.size();
    if (static_cast<int>(followers.size()) + 1 < replicas_) return all_whole ? fill(followers, config, limit) : std::string();
    missing_since_ = {};
    std::erase_if(doubts_, [&](const auto& d) { return std::ranges::find(there, d.first) == there.end(); });
    const bool doubts = std::ranges::any_of(doubts_, [](const auto& d) { return d.second < kDoubtsOfReplica; });
    if (seen == seen_ && Clock::now() < again_ && !doubts) return std::string();
    if (Clock::now() < not_before_) return std::string();
    not_before_ = Clock::now() + kAfterFailure;
    auto wrong = look(events, there, limit);
    if (!wrong) return tl::unexpected(wrong.error());
    not_before_ = Clock::now() + (wrong->empty() ? kApart : std::chrono::seconds(0));
    note_beginnings(events, there, *wrong, limit);
    again_ = Clock::now() + (seen == seen_ && doubts_.empty() ? kSeldom : kAgain);
    seen_ = std::move(seen);
    if (is_odd_one(*wrong) && leads_to(wrong->begin()->second.event, limit)) return step_down(wrong->begin()->second, limit);
    for (const std::string& name : there) {
      const auto at = wrong->find(name);
      if (at == wrong->end()) doubts_.erase(name);
      else if (++doubts_[name] >= kDoubtsOfReplica && all_whole && leads_to(at->second.event, limit)) return take_out(name, at->second, limit);
    }
    return std::string();
  }

  void rest(const EventHeads& events) override {
    keep(events);
    rests_ = true;
  }

  Result<bool> may_lead(Duration limit) override {
    const EventHeads events = kept();
    if (events.empty() || replicas_ < 3) return true;
    const auto info = js_request(*core_, "$JS.API.STREAM.INFO." + stream_, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    std::vector<std::string> there;
    if (info->contains("cluster"))
      for (const Json& f : (*info)["cluster"].value("replicas", Json::array()))
        if (!f.value("offline", false)) there.push_back(f.value("name", ""));
    const std::lock_guard lock(may_lead_mutex_);
    const bool news = there != asked_of_ || events.back().id != asked_event_;
    if (!news && Clock::now() < asked_at_ + kAskedAgain) return may_lead_;
    if (Clock::now() < asked_at_ + kApart) return false;
    asked_at_ = Clock::now();
    asked_of_.clear();
    const auto wrong = look(events, there, limit);
    if (!wrong) return tl::unexpected(wrong.error());
    asked_of_ = std::move(there);
    asked_event_ = events.back().id;
    return may_lead_ = wrong->empty();
  }

 private:
  void keep(const EventHeads& events) {
    const std::lock_guard lock(events_mutex_);
    events_ = events;
  }
  EventHeads kept() const {
    const std::lock_guard lock(events_mutex_);
    return events_;
  }
  void forget() {
    seen_.clear();
    doubts_.clear();
    missing_since_ = {};
  }

  /// What a follower has in the place of an event.
  struct Other {
    EventHead event;
    std::string found;      // the id and time of what is there; empty: nothing, it goes on with a later one
    std::uint64_t first = 1;  // where its copy begins
  };

  /// Whether all others agree on another event than the leader has: two to one, it is the leader's that never had a majority.
  bool is_odd_one(const std::map<std::string, Other>& wrong) const {
    if (static_cast<int>(wrong.size()) + 1 < replicas_) return false;
    const Other& first = wrong.begin()->second;
    return !first.found.empty() && std::ranges::all_of(wrong, [&](const auto& w) { return w.second.event.sequence == first.event.sequence && w.second.found == first.found; });
  }

  Result<std::string> step_down(const Other& other, Duration limit) {
    if (auto asked = step_down_stream_leader(*core_, stream_, limit); !asked) return tl::unexpected(asked.error());
    return "the other replicas of " + stream_ + " agree on another event " + std::to_string(other.event.sequence.value) + " than its leader here has (" + other.event.subject +
           "): it was asked to hand over";
  }

  /// By follower: the first event that it has another one for. One that could not be had is taken for sound: it is looked at later.
  Result<std::map<std::string, Other>> look(const EventHeads& events, const std::vector<std::string>& followers, Duration limit) {
    std::map<std::string, Other> wrong;
    std::set<std::string> read;
    int failed = 0;
    for (int i = 0; i < kFollowerPlacements && read.size() < followers.size() && failed < kFailedReads; ++i) {
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
                             {"headers_only", true},
                             {"inactive_threshold", 5'000'000'000}}}};
      const auto made = js_request(*core_, "$JS.API.CONSUMER.CREATE." + stream_, wanted, limit);
      if (!made) return tl::unexpected(made.error());
      const std::string at = made->contains("cluster") ? (*made)["cluster"].value("leader", "") : "";
      if (std::ranges::find(followers, at) != followers.end() && !read.contains(at)) {
        if (const auto other = compare(subscription.get(), events, limit); !other) ++failed;
        else if (read.insert(at).second && *other) wrong.emplace(at, **other);
      }
      (void)js_request(*core_, "$JS.API.CONSUMER.DELETE." + stream_ + "." + made->value("name", ""), nullptr, limit);
    }
    return wrong;
  }

  /// The first event that is another one there, if any is. Errors: it did not give them all.
  static std::optional<std::optional<Other>> compare(natsSubscription* subscription, const EventHeads& events, Duration limit) {
    for (auto event = events.begin(); event != events.end();) {
      natsMsg* raw = nullptr;
      jsMsgMetaData* raw_meta = nullptr;
      if (natsSubscription_NextMsg(&raw, subscription, to_wait_ms(limit)) != NATS_OK) return std::nullopt;
      const MsgPtr message(raw);
      if (natsMsg_GetMetaData(&raw_meta, raw) != NATS_OK) return std::nullopt;
      const MetaPtr meta(raw_meta);
      if (meta->Sequence.Stream < event->sequence.value) continue;  // a message that is no event
      if (meta->Sequence.Stream > event->sequence.value) return Other{*event, {}, 1};  // nothing is ever deleted from the log: it has a hole
      const std::string found = header_of(raw, "Nats-Msg-Id");
      if (!event->is(found, meta->Timestamp)) return Other{*event, found + " stored at " + std::to_string(meta->Timestamp), 1};
      ++event;
    }
    return std::optional<Other>();
  }

  /// Adds the followers whose copy does not begin with the log's first event, by their servers' own word: nothing is ever deleted from it.
  void note_beginnings(const EventHeads& events, const std::vector<std::string>& followers, std::map<std::string, Other>& wrong, Duration limit) {
    std::size_t answers = 0;
    (void)ask_together(*sys_, {JsonRequest{kAskJetStream, {{"accounts", true}, {"streams", true}}}}, [&](std::size_t, const Json& answer) {
      if (!answer.contains("server") || !answer.contains("data")) return true;
      const std::string name = answer["server"].value("name", "");
      if (std::ranges::find(followers, name) == followers.end()) return true;
      for (const Json& account : answer["data"].value("account_details", Json::array()))
        for (const Json& detail : account.value("stream_detail", Json::array()))
          if (detail.value("name", "") == stream_)
            if (const auto first = detail.value("state", Json::object()).value("first_seq", std::uint64_t{0}); first > 1) wrong.try_emplace(name, Other{events.front(), {}, first});
      return ++answers < followers.size();
    }, limit);
  }

  /// Whether the log has the event, by the word of its leader, at this moment.
  bool leads_to(const EventHead& event, Duration limit) const {
    const auto seen = make_nats_log_info(core_, stream_)->look(event, limit);
    return seen && seen->same;
  }

  /// Where a server is missing: takes one in as soon as there is one that says that it has no copy.
  Result<std::string> fill(const Json& followers, Json& config, Duration limit) {
    const auto now = Clock::now();
    if (now < taken_in_ + kTakenIn) return std::string();
    if (missing_since_ == Clock::time_point{}) missing_since_ = now;
    bool free = false, there = false;
    const auto in_group = [&](const std::string& server) {
      return server == own_server_ || std::ranges::any_of(followers, [&](const Json& f) { return f.value("name", "") == server; });
    };
    const auto asked = ask_together(*sys_, {JsonRequest{kAskJetStream, {{"accounts", true}, {"streams", true}}}}, [&](std::size_t, const Json& answer) {
      if (!answer.contains("server") || !answer.contains("data") || !answer["data"].contains("meta_cluster") || in_group(answer["server"].value("name", ""))) return true;
      (has_copy(answer["data"]) ? there : free) = true;
      return !free;
    }, limit);
    if (!asked) return tl::unexpected(asked.error());
    if (!free && !(there && now >= missing_since_ + kStillThere)) return std::string();
    return take_in(config, limit);
  }

  bool has_copy(const Json& jetstream) const {
    for (const Json& account : jetstream.value("account_details", Json::array()))
      for (const Json& detail : account.value("stream_detail", Json::array()))
        if (detail.value("name", "") == stream_) return true;
    return false;
  }

  Result<std::string> take_out(const std::string& server, const Other& wrong, Duration limit) {
    const auto out = js_request(*core_, "$JS.API.STREAM.PEER.REMOVE." + stream_, {{"peer", server}}, limit);
    if (!out) return tl::unexpected(out.error());
    if (out->contains("error") && js_error_code(*out) != kRemapFailed)
      return fail(Remedy::kRetry, "take " + server + " out of " + stream_ + ": " + js_error_text(*out));
    doubts_.clear();
    if (wrong.first > 1) return "the replica of " + stream_ + " at " + server + " begins with event " + std::to_string(wrong.first) + ": taken out, to be taken in again when its copy is gone";
    return "the replica of " + stream_ + " at " + server + (wrong.found.empty() ? " lacks event " + std::to_string(wrong.event.sequence.value) + " of" : " has another event " + std::to_string(wrong.event.sequence.value) + " than") +
           " the log (" + wrong.event.subject + "): taken out, to be taken in again when its copy is gone";
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
    return "a server was missing among the replicas of " + stream_ + ": taken in, to copy the log anew";
  }

  std::shared_ptr<Connection> core_, sys_;
  std::string stream_, own_server_;
  int replicas_;
  mutable std::mutex events_mutex_;    // guards what follows: rest() waits for no request
  EventHeads events_;
  std::atomic<bool> rests_ = false;
  std::mutex may_lead_mutex_;          // guards what follows: the newest answer, and to what
  Clock::time_point asked_at_{};
  std::vector<std::string> asked_of_;
  EventId asked_event_;
  bool may_lead_ = false;
  std::mutex mutex_;                   // guards what follows
  std::string seen_;                   // leader's followers at the last look
  Clock::time_point again_{}, not_before_{}, taken_in_{};
  Clock::time_point missing_since_{};  // the epoch of time: none is
  std::map<std::string, int> doubts_;  // looks in a row that found another event there
};

}  // namespace

std::unique_ptr<ReplicaKeeper> make_replica_keeper(std::shared_ptr<Connection> core, std::shared_ptr<Connection> sys, std::string stream, std::string own_server,
                                                   int replicas) {
  return std::make_unique<NatsReplicaKeeper>(std::move(core), std::move(sys), std::move(stream), std::move(own_server), replicas);
}

}  // namespace daarion
