#include "controlplane/drivers/nats/steps.h"

#include <algorithm>
#include <set>

#include "controlplane/drivers/words.h"
#include "streams/log_stream.h"

namespace daarion::nats {
namespace {

constexpr std::size_t kMostStreams = 3;                          // of streams, in one line
constexpr Duration kOff = std::chrono::seconds(30);            // a server that is retired may be restarted for the last time

struct Led {
  const Stream* says = nullptr;
  const Server* by = nullptr;
};

class Steps {
 public:
  Steps(const std::vector<Server>& planned, const std::vector<Word>& words, const Intents& intents) : planned_(planned), words_(words), intents_(intents) {
    for (const Server& server : planned_) {
      const Word* word = word_of(server.name);
      if (server.kind == Kind::kLeaf || word == nullptr || !word->streams) continue;
      for (const Stream& stream : *word->streams) {
        const auto name = std::pair(stream.account, stream.name);
        all_.insert(name);
        if (stream.leader == server.name) led_[name] = {&stream, &server};
      }
    }
  }

  bool rests(const Server& server) const { return intents_.contains(server.node); }
  std::vector<std::string> led_by(const Server& server) const {
    std::vector<std::string> out;
    for (const auto& [name, led] : led_)
      if (led.by == &server) out.push_back(name.first + "/" + name.second);
    return out;
  }
  const Word* word_of(const std::string& server) const {
    const auto at = std::ranges::find(words_, server, &Word::server);
    return at == words_.end() ? nullptr : &*at;
  }

  /// Whether every server of the core was heard at this look, with its streams.
  bool all_heard(Instant now) const {
    return std::ranges::all_of(planned_, [&](const Server& server) {
      const Word* word = word_of(server.name);
      return server.kind == Kind::kLeaf || (word != nullptr && word->at == now && word->answers && word->jetstream && word->streams);
    });
  }

  void leads(const Server& server, std::vector<Step>& out) const {
    Step step;
    std::vector<std::string> names;
    for (const auto& [name, led] : led_) {
      // The log's is handed over by who knows whether another one may lead it; those of other accounts the daemon cannot ask for.
      if (led.by != &server || name.second == kClusterLog || (name.first != "CONTROL" && name.first != "APP")) continue;
      const bool another = std::ranges::any_of(led.says->others, [&](const Replica& replica) {
        const auto at = std::ranges::find(planned_, replica.server, &Server::name);
        return replica.current && !replica.offline && at != planned_.end() && at->kind != Kind::kLeaf && !rests(*at);
      });
      if (!another) continue;
      step.streams.push_back(name);
      names.push_back(name.first + "/" + name.second);
    }
    if (names.empty()) return;
    step.repair = {.name = "move_leaders " + server.name,
                   .what = "let another server lead " + joined(names, kMostStreams) + ": " + server.node.value + " is drained", .patience = {}};
    out.push_back(std::move(step));
  }

  /// Whether a stream may need what that server has.
  bool needed(const std::string& peer) const {
    if (led_.size() != all_.size()) return true;
    return std::ranges::any_of(led_, [&](const auto& entry) {
      const std::vector<Replica>& others = entry.second.says->others;
      return std::ranges::find(others, peer, &Replica::server) != others.end() &&
             std::ranges::any_of(others, [&](const Replica& r) { return r.server != peer && (!r.current || r.offline); });
    });
  }

  void gone(std::vector<Step>& out) const {
    const auto leader = std::ranges::find_if(words_, [](const Word& word) { return !word.server.empty() && word.meta_leader == word.server; });
    if (leader == words_.end()) return;
    for (const auto& [node, intent] : intents_) {
      if (intent != MemberIntent::kRetired) continue;
      for (const std::string& name : {node.value, node.value + "-witness"}) {
        const auto peer = std::ranges::find(leader->meta_others, name, &Replica::server);
        const auto plan = std::ranges::find(planned_, name, &Server::name);
        const Word* word = word_of(name);
        // Of one that was killed 2.9 says for minutes no more than that it is not current. Under the same name the node's leaf may answer; it has no id.
        const bool heard = word != nullptr && !word->id.empty();
        if (peer == leader->meta_others.end() || (peer->current && !peer->offline) || heard || (plan != planned_.end() && plan->kind != Kind::kLeaf) || needed(name)) continue;
        out.push_back({.repair = {.name = "remove_peer " + name, .what = "take server " + name + " out of JetStream's meta group: " + node.value + " is retired", .patience = kOff},
                       .streams = {}, .peer = name});
      }
    }
  }

 private:
  const std::vector<Server>& planned_;
  const std::vector<Word>& words_;
  const Intents& intents_;
  std::map<std::pair<std::string, std::string>, Led> led_;     // by their leaders' own word
  std::set<std::pair<std::string, std::string>> all_;
};

}  // namespace

std::vector<Step> steps_of(const std::vector<Server>& planned, const std::vector<Word>& words, const Intents& intents, Instant now) {
  std::vector<Step> out;
  const Steps steps(planned, words, intents);
  if (intents.empty() || !steps.all_heard(now)) return out;
  for (const Server& server : planned)
    if (server.kind != Kind::kLeaf && steps.rests(server)) steps.leads(server, out);
  steps.gone(out);
  return out;
}

std::vector<std::string> notes_of_rest(const std::vector<Server>& planned, const std::vector<Word>& words, const Intents& intents) {
  std::vector<std::string> out;
  const Steps steps(planned, words, intents);
  for (const Server& server : planned) {
    const Word* word = steps.word_of(server.name);
    if (server.kind == Kind::kLeaf || !steps.rests(server) || word == nullptr || !word->streams) continue;
    std::vector<std::string> leads = steps.led_by(server);
    if (word->meta_leader == server.name) leads.insert(leads.begin(), "the meta group");
    out.push_back("server " + server.name + " of " + server.node.value + ", which is drained, " +
                  (leads.empty() ? "leads nothing: before its host is stopped, `nats-server --signal ldm=FOLDER/" + pid_file_of(server) +
                                       "` there (FOLDER: its daemon's --nats-dir) sends its clients to the others and ends it"
                                 : "leads " + joined(leads, kMostStreams)));
  }
  return out;
}

}  // namespace daarion::nats
