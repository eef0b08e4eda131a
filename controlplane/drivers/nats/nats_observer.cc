#include "controlplane/drivers/nats/nats_observer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <thread>

#include "controlplane/drivers/nats/client.h"
#include "controlplane/drivers/nats/steps.h"
#include "controlplane/topology/render.h"
#include "streams/log_stream.h"
#include "streams/meta_leader.h"

namespace daarion {
namespace nats {
namespace {

// A server goes through all of its streams for them, every node asks, and what is told of streams has stood for longer than this anyway.
constexpr Duration kStreams = std::chrono::seconds(5);
// While nobody answers, this node is what is cut off, or the log is gone with the servers: what it could say would only come out once they are back, and
// be wrong then.
constexpr Duration kBlind = std::chrono::seconds(30);
constexpr Duration kAct = std::chrono::seconds(4);  // the core's actions may take five

Instant steady_now() { return Instant{std::chrono::steady_clock::now().time_since_epoch()}; }

bool takes_preference(const std::string& version) {
  int major = 0, minor = 0;
  return std::sscanf(version.c_str(), "%d.%d", &major, &minor) == 2 && (major > 2 || (major == 2 && minor >= 11));
}

class NatsObserver : public Observer {
 public:
  explicit NatsObserver(std::shared_ptr<const NatsAccess> access) : access_(std::move(access)) {}

  void told(const std::map<NodeId, MemberIntent>& intents) override { intents_ = intents; }
  ResourceView observe() override {
    const Instant begun = steady_now();
    const bool streams = !streams_asked_ || begun - *streams_asked_ >= kStreams;
    if (streams) streams_asked_ = begun;
    std::vector<Word> heard = look(*access_->sys, *access_->control, access_->servers, streams);
    const Instant now = steady_now();
    if (std::ranges::any_of(heard, [](const Word& word) { return !word.id.empty(); })) answered_ = now;
    else if (answered_ && now - *answered_ < kBlind) {
      steps_.clear();
      view_.repairs.clear();  // nothing is done on an old word
      return view_;
    }
    if (!access_->control->connected()) hold_leafs(heard, now);
    const auto refused = access_->sys->wait_connected({});
    const std::vector<Word> words = believe(history_, heard, now);
    const std::vector<Server> planned = remaining(words);
    view_ = view_of(planned, history_, words, now);
    if (!refused && refused.error().remedy == Remedy::kFixInput)
      for (MemberView& m : view_.members)
        if (m.seen.health == "no answer") m.seen.health += ": " + refused.error().message;
    // Of all that are planned: a retired node that still votes by its file is missed, and never taken out.
    steps_ = steps_of(access_->servers, words, intents_, now);
    for (const Step& step : steps_) view_.repairs.push_back(step.repair);
    std::ranges::copy(notes_of_rest(access_->servers, words, intents_), std::back_inserter(view_.notes));
    return view_;
  }
  bool await_word(Duration limit) override {
    std::this_thread::sleep_for(limit);
    return false;
  }
  Result<std::string> act(const ObservedAction& action) override {
    if (!action.repair.empty()) return run(action.repair);
    if (action.from != view_.primary) return fail(Remedy::kStepDown, "the meta group's leader is not on " + action.from.value + " any more");
    std::string preferred;
    if (!action.to.empty()) {
      const auto to = std::ranges::find_if(access_->servers, [&](const Server& s) { return s.kind != Kind::kLeaf && s.node == action.to; });
      if (to == access_->servers.end()) return fail(Remedy::kStepDown, action.to.value + " has no server of the core");
      if (!std::ranges::all_of(history_.words, [](const auto& word) { return word.second.id.empty() || takes_preference(word.second.version); }))
        return fail(Remedy::kStepDown, "a nats-server before 2.11 hands over to whom it likes; ask without --to");
      preferred = to->name;
    }
    if (auto done = step_down_meta_leader(*access_->sys, kAct, preferred); !done) return tl::unexpected(done.error());
    return "asked the meta group's leader on " + action.from.value + " to hand over";
  }

 private:
  /// A step of the last view.
  Result<std::string> run(const std::string& name) {
    const auto step = std::ranges::find_if(steps_, [&](const Step& s) { return s.repair.name == name; });
    if (step == steps_.end()) return fail(Remedy::kStepDown, name + ": it is not due any more");
    streams_asked_.reset();  // what it did shows in the streams
    if (!step->peer.empty()) {
      if (auto done = remove_meta_peer(*access_->sys, step->peer, kAct); !done) return tl::unexpected(done.error());
      return step->repair.what;
    }
    const Instant end = steady_now() + kAct;
    for (const auto& [account, stream] : step->streams) {
      Connection* connection = account == "CONTROL" ? access_->control.get() : account == "APP" ? access_->app.get() : nullptr;
      if (connection == nullptr) return fail(Remedy::kStepDown, "the daemon may not ask for stream " + stream + " of account " + account);
      const Duration left = end - steady_now();
      if (left <= Duration{}) return fail(Remedy::kRetry, "hand over " + account + "/" + stream + ": no time is left, it is asked again");
      if (auto done = step_down_stream_leader(*connection, stream, left, kCoreDomain); !done) return tl::unexpected(done.error());
    }
    return step->repair.what;
  }
  /// While this node cannot ask them, leaf nodes are as they were.
  void hold_leafs(std::vector<Word>& heard, Instant now) const {
    for (const Server& server : access_->servers)
      if (const auto at = history_.words.find(server.name); server.kind == Kind::kLeaf && at != history_.words.end() && now - at->second.at < kHeld)
        heard.push_back(at->second);
  }
  /// Without the retired whose servers are off.
  std::vector<Server> remaining(const std::vector<Word>& words) const {
    std::vector<Server> out = access_->servers;
    std::erase_if(out, [&](const Server& server) {
      const auto intent = intents_.find(server.node);
      return intent != intents_.end() && intent->second == MemberIntent::kRetired && std::ranges::find(words, server.name, &Word::server) == words.end();
    });
    return out;
  }

  const std::shared_ptr<const NatsAccess> access_;
  Intents intents_;
  History history_;
  std::optional<Instant> streams_asked_, answered_;
  ResourceView view_;
  std::vector<Step> steps_;  // of that view
};

}  // namespace
}  // namespace nats

Result<std::unique_ptr<Observer>> make_nats_observer(const ObserverConfig& config) {
  if (!config.nats) return fail(Remedy::kFixInput, "observe " + config.resource.id.value + ": there are no connections to its servers");
  return std::unique_ptr<Observer>(std::make_unique<nats::NatsObserver>(config.nats));
}

}  // namespace daarion
