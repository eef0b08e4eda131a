#include "controlplane/drivers/redis/sentinel.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "controlplane/drivers/redis/sentinel_view.h"
#include "controlplane/drivers/redis/settings.h"

namespace daarion {

Result<std::unique_ptr<Observer>> make_sentinel_observer(const ObserverConfig& config) {
  return redis::needed_password("Redis with Sentinel").and_then([&](const std::string& password) { return redis::make_sentinel_with(config, password); });
}

namespace redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Steady = std::chrono::steady_clock;

// Five processes that swallow everything cost one second together.
constexpr milliseconds kActLimit{1000};
// The word that told of a change stays the source of what is seen for as long as it may take to settle.
constexpr seconds kWordLasts{1};
constexpr seconds kSwitched{10};
// Writes stand still until the old primary is a replica: Sentinel itself leaves it open for 8 s after it named the new one. Longer than is waited
// for, so that they do not go on there while anybody still may be elected.
constexpr milliseconds kPause{12'000};
constexpr milliseconds kCatchUp{1000};
constexpr milliseconds kCatchUpPoll{1};
// A sentinel reads a replica's priority with its INFO, every 10 s.
constexpr seconds kPrioritySeen{15};
constexpr seconds kFailedStays{30};
constexpr seconds kEmptiedStays{3600};

Fields fields_of(const Reply& list) {
  Fields out;
  for (std::size_t i = 0; i + 1 < list.list.size(); i += 2) out[list.list[i].text] = list.list[i + 1].text;
  return out;
}
std::vector<Fields> all_fields_of(const Reply& lists) {
  std::vector<Fields> out;
  for (const Reply& one : lists.list) out.push_back(fields_of(one));
  return out;
}

/// How much a word tells: where several come at once, the source is what explains the others.
int weight_of(const std::string& channel) {
  if (channel == "+switch-master") return 4;
  if (channel == "+odown") return 3;
  if (channel == "+sdown") return 2;
  return 1;
}

class SentinelObserver final : public Observer {
 public:
  SentinelObserver(ObserverConfig config, SentinelDeclared declared, std::string password)
      : config_(std::move(config)), declared_(std::move(declared)), password_(std::move(password)) {}

  ResourceView observe() override;
  bool await_word(Duration limit) override;
  Result<std::string> act(const ObservedAction& action) override;

 private:
  /// A switchover to a node that Sentinel would not take: it is asked once its sentinels know whom to prefer.
  struct Pending {
    NodeId from, to;
    Steady::time_point until;
    bool asked = false;
    bool preferred = false;  // `to` has kPreferred
  };

  Target target(const PeerAddress& at, bool sentinel) const {
    return {.host = at.host, .port = at.port, .user = sentinel || password_.empty() ? "" : kUser, .password = password_};
  }
  Result<std::vector<Reply>> ask(const PeerAddress& at, bool sentinel, const std::vector<Command>& commands) {
    return kept_.ask(target(at, sentinel), commands, kConnectLimit, kAskLimit);
  }
  ServerLook look_at_server(const PeerAddress& at);
  SentinelLook look_at_sentinel(const PeerAddress& at);
  const PeerAddress* peer(const NodeId& node) const;
  const PeerAddress* helper(const std::string& node) const;
  void hear(const Reply& message);
  void subscribe();
  void notice_emptied(const ServerLook& primary);
  std::vector<std::string> standing(const std::vector<SentinelProblem>& problems);
  void go_on_with_pending(const ResourceView& view);
  void end_pending(const std::string& failed);
  Result<void> ask_failover(const NodeId& from, const NodeId& to);
  Result<void> elect();
  Result<std::string> switch_over(const ObservedAction& action);
  Result<std::string> mend(const std::string& step, const std::string& node);
  Result<void> say(const PeerAddress& at, bool sentinel, const std::vector<Command>& commands);
  Result<void> monitor(const PeerAddress& sentinel, const PeerAddress& primary);
  std::vector<Command> settings() const;

  const ObserverConfig config_;
  const SentinelDeclared declared_;
  const std::string password_;
  KeptConnections kept_;
  std::unique_ptr<Connection> listening_;
  std::size_t listen_next_ = 0;
  std::string word_;
  Steady::time_point word_at_{};
  std::vector<ServerLook> servers_;     // of the newest look
  std::vector<SentinelLook> sentinels_;
  NodeId primary_;
  bool busy_ = false;
  std::map<std::string, Steady::time_point> since_;  // problems
  std::optional<Pending> pending_;
  std::string failed_;                  // why the last switchover came to nothing
  Steady::time_point failed_at_{};
  NodeId had_node_;                     // the primary as last seen, its run, and whether it had data
  std::string had_run_;
  bool had_data_ = false;
  std::string emptied_;
  Steady::time_point emptied_at_{};
};

const PeerAddress* SentinelObserver::peer(const NodeId& node) const {
  const auto at = std::ranges::find(config_.peers, node, &PeerAddress::node);
  return at == config_.peers.end() ? nullptr : &*at;
}
const PeerAddress* SentinelObserver::helper(const std::string& node) const {
  const auto at = std::ranges::find(config_.helpers, NodeId(node), &PeerAddress::node);
  return at == config_.helpers.end() ? nullptr : &*at;
}

// ---------------------------------------------------------------- looking

ServerLook SentinelObserver::look_at_server(const PeerAddress& at) {
  ServerLook out{.at = at, .answered = false, .why = {}, .info = {}, .config = {}};
  auto said = ask(at, false, {{"INFO"}, {"CONFIG", "GET", "save", "stop-writes-on-bgsave-error", "appendonly", "min-replicas-to-write", "replica-priority"}});
  if (!said) {
    out.why = said.error().message;
    return out;
  }
  out.answered = true;
  out.info = parse_info((*said)[0].text);
  out.config = fields_of((*said)[1]);
  return out;
}

SentinelLook SentinelObserver::look_at_sentinel(const PeerAddress& at) {
  SentinelLook out{.at = at, .answered = false, .why = {}, .id = {}, .version = {}, .monitors = false, .master = {}, .state = {}, .replicas = {}, .others = {}};
  const std::string& name = declared_.name;
  // Together, so that the address and the epoch are of the same moment.
  auto said = ask(at, true, {{"SENTINEL", "MYID"}, {"INFO"}, {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", name}, {"SENTINEL", "MASTER", name}, {"SENTINEL", "REPLICAS", name},
                             {"SENTINEL", "SENTINELS", name}});
  if (!said) {
    out.why = said.error().message;
    return out;
  }
  out.answered = true;
  out.id = (*said)[0].text;
  const Info info = parse_info((*said)[1].text);
  out.version = field(info, "redis_version");
  const Reply& master = (*said)[2];
  if (master.kind != Reply::Kind::kList || master.list.size() < 2) return out;
  out.monitors = true;
  out.master = master.list[0].text + ":" + master.list[1].text;
  out.state = fields_of((*said)[3]);
  out.state["tilt"] = field(info, "sentinel_tilt");
  out.replicas = all_fields_of((*said)[4]);
  out.others = all_fields_of((*said)[5]);
  return out;
}

ResourceView SentinelObserver::observe() {
  servers_.clear();
  sentinels_.clear();
  for (const PeerAddress& at : config_.peers) servers_.push_back(look_at_server(at));
  for (const PeerAddress& at : config_.helpers) sentinels_.push_back(look_at_sentinel(at));
  SentinelJudgement judged = judge_sentinel(declared_, servers_, sentinels_);
  ResourceView& view = judged.view;
  primary_ = view.primary;
  busy_ = judged.busy;
  for (const ServerLook& s : servers_)
    if (s.at.node == primary_ && s.answered) notice_emptied(s);
  go_on_with_pending(view);
  const auto now = Steady::now();
  if (!emptied_.empty() && now < emptied_at_ + kEmptiedStays) judged.problems.push_back({emptied_, {}});
  if (!failed_.empty() && now < failed_at_ + kFailedStays) judged.problems.push_back({failed_, {}});
  view.problems = standing(judged.problems);
  // A switchover under way is not to be mended.
  if (pending_) view.repairs.clear();
  view.source = "sentinel";
  if (!failed_.empty() && now < failed_at_ + kFailedStays) view.source = kSwitchoverFailed;
  else if (!word_.empty() && now < word_at_ + kWordLasts) view.source += " " + word_;
  return std::move(judged.view);
}

/// Problems that have stood for as long as each must.
std::vector<std::string> SentinelObserver::standing(const std::vector<SentinelProblem>& problems) {
  const auto now = Steady::now();
  std::map<std::string, Steady::time_point> since;
  std::vector<std::string> out;
  for (const SentinelProblem& problem : problems) {
    const auto known = since_.find(problem.text);
    const auto began = known == since_.end() ? now : known->second;
    since.emplace(problem.text, began);
    if (now - began >= problem.patience && std::ranges::find(out, problem.text) == out.end()) out.push_back(problem.text);
  }
  since_ = std::move(since);
  return out;
}

/// A primary that had data, restarted as the primary and has none: its replicas copied that.
void SentinelObserver::notice_emptied(const ServerLook& s) {
  if (field(s.info, "role") != "master" || field(s.info, "loading") == "1") return;
  const std::string run = field(s.info, "run_id");
  const bool data = std::ranges::any_of(s.info, [](const auto& entry) { return entry.first.starts_with("db") && entry.second.starts_with("keys="); });
  if (had_node_ == s.at.node && had_run_ != run && had_data_ && !data) {
    emptied_ = "redis of " + s.at.node.value + " restarted as the master and came back empty, and its replicas with it: restore a dump; start it with --replicaof " + std::string(kNobody) + " " +
               kNobodyPort + " so that it cannot happen again";
    emptied_at_ = Steady::now();
  } else if (data) {
    emptied_.clear();
  }
  had_node_ = s.at.node;
  had_run_ = run;
  had_data_ = data;
}

// ---------------------------------------------------------------- listening

void SentinelObserver::subscribe() {
  if (listening_ && listening_->alive()) return;
  listening_.reset();
  // Its own first: it is heard even when nothing else is.
  std::vector<PeerAddress> order = config_.helpers;
  std::ranges::stable_sort(order, {}, [&](const PeerAddress& p) { return p.node != config_.self; });
  if (order.empty()) return;
  const PeerAddress& at = order[listen_next_ % order.size()];
  auto made = Connection::open(target(at, true), kConnectLimit);
  if (made && (*made)->ask({"PSUBSCRIBE", "*"}, kAskLimit)) {
    listening_ = std::move(*made);
    listen_next_ = 0;
  } else {
    ++listen_next_;
  }
}

/// "pmessage", pattern, channel, "master redis 127.0.0.1 6379 ...".
void SentinelObserver::hear(const Reply& message) {
  if (message.list.size() < 4) return;
  const std::string& channel = message.list[2].text;
  const std::string& text = message.list[3].text;
  if (channel.empty() || (channel[0] != '+' && channel[0] != '-') || (" " + text + " ").find(" " + declared_.name + " ") == std::string::npos) return;
  const auto now = Steady::now();
  if (word_.empty() || now > word_at_ + kWordLasts || weight_of(channel) >= weight_of(word_)) word_ = channel, word_at_ = now;
}

bool SentinelObserver::await_word(Duration limit) {
  subscribe();
  if (!listening_) {
    std::this_thread::sleep_for(limit);
    return false;
  }
  bool heard = false;
  for (;;) {
    // All that is there: several come at once.
    auto message = listening_->listen(heard ? Duration{} : limit);
    if (!message) {
      listening_.reset();
      return true;
    }
    if (!*message) return heard;
    hear(**message);
    heard = true;
  }
}

// ---------------------------------------------------------------- acting

Result<void> SentinelObserver::say(const PeerAddress& at, bool sentinel, const std::vector<Command>& commands) {
  const auto c = kept_.reach(target(at, sentinel), kConnectLimit);
  if (!c) return tl::unexpected(c.error());
  for (const Command& command : commands)
    if (auto said = (*c)->ask(command, kActLimit); !said) return tl::unexpected(said.error());
  return {};
}

std::vector<Command> SentinelObserver::settings() const {
  std::vector<Command> out;
  if (!password_.empty()) {
    out.push_back({"SENTINEL", "SET", declared_.name, "auth-user", kUser});
    out.push_back({"SENTINEL", "SET", declared_.name, "auth-pass", password_});
  }
  for (const auto& [name, value] : sentinel_settings(declared_)) out.push_back({"SENTINEL", "SET", declared_.name, name, value});
  return out;
}

Result<void> SentinelObserver::monitor(const PeerAddress& sentinel, const PeerAddress& primary) {
  const auto look = std::ranges::find(sentinels_, sentinel.node, [](const SentinelLook& s) { return s.at.node; });
  std::vector<Command> commands;
  if (look != sentinels_.end() && look->monitors) commands.push_back({"SENTINEL", "REMOVE", declared_.name});
  commands.push_back({"SENTINEL", "MONITOR", declared_.name, primary.host, std::to_string(primary.port), std::to_string(declared_.quorum())});
  for (Command& command : settings()) commands.push_back(std::move(command));
  return say(sentinel, true, commands);
}

/// Asks a sentinel that names the primary: its own first.
Result<void> SentinelObserver::elect() {
  std::string why = "no sentinel answers";
  std::vector<PeerAddress> order;
  for (const SentinelLook& s : sentinels_)
    if (s.monitors) order.push_back(s.at);
  std::ranges::stable_sort(order, {}, [&](const PeerAddress& p) { return p.node != config_.self; });
  for (const PeerAddress& at : order) {
    auto asked = say(at, true, {{"SENTINEL", "FAILOVER", declared_.name}});
    if (asked) return {};
    why = asked.error().message;
  }
  if (why.starts_with("NOGOODSLAVE")) why += " (it is down, its link has been down for long, or its replica-priority is 0)";
  return fail(Remedy::kStepDown, why);
}

/// Writes stand still, a replica has all of them, then Sentinel is asked: so nothing that was acknowledged is lost.
Result<void> SentinelObserver::ask_failover(const NodeId& from, const NodeId& to) {
  const PeerAddress& at = *peer(from);
  if (auto paused = say(at, false, {{"CLIENT", "PAUSE", std::to_string(kPause.count()), "WRITE"}}); !paused) return paused;
  const auto go_on = [&](Result<void> failed) {
    (void)say(at, false, {{"CLIENT", "UNPAUSE"}});
    return failed;
  };
  const std::uint64_t end = number(look_at_server(at).info, "master_repl_offset");
  const auto has_all = [&] {
    return std::ranges::any_of(config_.peers, [&](const PeerAddress& p) {
      if (p.node == from || (!to.empty() && p.node != to)) return false;
      const ServerLook s = look_at_server(p);
      return s.answered && number(s.info, "slave_repl_offset") >= end;
    });
  };
  for (const auto until = Steady::now() + kCatchUp; !has_all(); std::this_thread::sleep_for(kCatchUpPoll))
    if (Steady::now() > until)
      return go_on(fail(Remedy::kStepDown, (to.empty() ? "no replica" : to.value) + " did not catch up in " + std::to_string(kCatchUp.count()) + " ms while writes stood still; see its lag in `daarionctl resource`"));
  if (auto asked = elect(); !asked) return go_on(asked);
  return {};
}

Result<std::string> SentinelObserver::switch_over(const ObservedAction& action) {
  if (pending_) return fail(Remedy::kStepDown, "a switchover to " + (pending_->to.empty() ? "another node" : pending_->to.value) + " is under way");
  observe();
  if (primary_ != action.from) return fail(Remedy::kStepDown, "its primary is " + (primary_.empty() ? "nobody" : primary_.value) + ", not " + action.from.value);
  if (busy_) return fail(Remedy::kStepDown, "Sentinel has a failover under way");
  const PeerAddress* from = peer(action.from);
  const PeerAddress* to = action.to.empty() ? nullptr : peer(action.to);
  if (from == nullptr || (!action.to.empty() && to == nullptr)) return fail(Remedy::kStepDown, action.to.value + " does not run it");
  failed_.clear();
  Pending pending{.from = action.from, .to = action.to, .until = Steady::now() + kPrioritySeen + kSwitched};
  bool others = false;
  for (const ServerLook& s : servers_) {
    if (s.at.node == action.from) continue;
    const auto has = s.config.find("replica-priority");
    const std::string priority = has == s.config.end() ? declared_.priorities.at(s.at.node) : has->second;
    if (s.at.node != action.to) others = others || s.answered;
    else if (!s.answered) return fail(Remedy::kStepDown, action.to.value + " does not answer: " + s.why);
    else if (priority == "0") return fail(Remedy::kStepDown, action.to.value + " has replica-priority 0, so Sentinel never takes it" + (declared_.priorities.at(s.at.node) == "0" ? "; it is tagged nofailover" : "; it is set as declared in a moment"));
    else pending.preferred = true;
  }
  if (to == nullptr || !others) {
    pending.preferred = false;
    if (auto asked = ask_failover(action.from, action.to); !asked) return tl::unexpected(asked.error());
    pending.asked = true;
    pending.until = Steady::now() + kSwitched;
    pending_ = std::move(pending);
    return "Sentinel is asked for it";
  }
  if (auto set = say(*to, false, {{"CONFIG", "SET", "replica-priority", kPreferred}}); !set) return tl::unexpected(set.error());
  pending_ = std::move(pending);
  return action.to.value + " is preferred; Sentinel is asked once its sentinels have read that";
}

void SentinelObserver::end_pending(const std::string& failed) {
  const Pending ended = *std::exchange(pending_, std::nullopt);
  const PeerAddress* now = peer(primary_);
  if (ended.asked && now != nullptr && primary_ != ended.from) {
    // It must not be open when the pause ends. Its clients are to look for the new one.
    (void)say(*peer(ended.from), false, {{"REPLICAOF", now->host, std::to_string(now->port)}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}});
  }
  if (ended.asked) (void)say(*peer(ended.from), false, {{"CLIENT", "UNPAUSE"}});
  if (ended.preferred) (void)say(*peer(ended.to), false, {{"CONFIG", "SET", "replica-priority", declared_.priorities.at(ended.to)}});
  if (failed.empty()) return;
  failed_ = std::string(kSwitchoverFailed) + ": " + failed;
  failed_at_ = Steady::now();
}

void SentinelObserver::go_on_with_pending(const ResourceView& view) {
  if (!pending_) return;
  if (!view.primary.empty() && view.primary != pending_->from) {
    const bool wanted = pending_->to.empty() || view.primary == pending_->to;
    return end_pending(wanted ? "" : view.primary.value + " was elected, not " + pending_->to.value);
  }
  if (Steady::now() > pending_->until) return end_pending(pending_->asked ? "Sentinel elected nobody in 10 s; its log says why" : "no sentinel has read the priority of " + pending_->to.value + " in 15 s");
  if (pending_->asked) return;
  // Asked is whoever prefers the wanted one already: the same that elect() asks.
  const PeerAddress& to = *peer(pending_->to);
  const auto prefers = [&](const SentinelLook& s) {
    return s.monitors && std::ranges::any_of(s.replicas, [&](const Fields& r) { return r.at("ip") == to.host && r.at("port") == std::to_string(to.port) && r.at("slave-priority") == kPreferred; });
  };
  if (!std::ranges::all_of(sentinels_, [&](const SentinelLook& s) { return !s.monitors || prefers(s); })) return;
  if (auto asked = ask_failover(pending_->from, pending_->to); !asked) return end_pending(asked.error().message);
  pending_->asked = true;
  pending_->until = Steady::now() + kSwitched;
}

Result<std::string> SentinelObserver::mend(const std::string& step, const std::string& node) {
  const PeerAddress* server = peer(NodeId(node));
  const PeerAddress* sentinel = helper(node);
  const PeerAddress* primary = peer(primary_);
  const auto done = [&](Result<void> result, std::string what) -> Result<std::string> {
    if (!result) return tl::unexpected(result.error());
    return what;
  };
  if (step == "monitor" && sentinel != nullptr && primary != nullptr)
    return done(monitor(*sentinel, *primary), "the sentinel of " + node + " monitors " + primary->node.value);
  if (step == "set" && sentinel != nullptr) return done(say(*sentinel, true, settings()), "the sentinel of " + node + " has what is declared");
  if (step == "reset" && sentinel != nullptr) return done(say(*sentinel, true, {{"SENTINEL", "RESET", declared_.name}}), "the sentinel of " + node + " begins to count anew");
  if (step == "follow" && server != nullptr && primary != nullptr)
    return done(say(*server, false, {{"REPLICAOF", primary->host, std::to_string(primary->port)}}), node + " follows " + primary->node.value);
  if (step == "open" && server != nullptr) return done(say(*server, false, {{"REPLICAOF", "NO", "ONE"}}), node + " is open for writing");
  if (step == "config" && server != nullptr)
    return done(say(*server, false, {{"CONFIG", "SET", "min-replicas-to-write", std::to_string(declared_.replicas_to_write)}}), node + " has what is declared");
  if (step == "priority" && server != nullptr)
    return done(say(*server, false, {{"CONFIG", "SET", "replica-priority", declared_.priorities.at(server->node)}}), node + " has the priority that is declared");
  if (step == "elect") return done(elect(), "Sentinel is asked for another primary");
  return fail(Remedy::kStepDown, "the step " + step + " is void by now");
}

Result<std::string> SentinelObserver::act(const ObservedAction& action) {
  if (action.repair.empty()) return switch_over(action);
  // What was due when it was decided may be done by now, or be wrong.
  const ResourceView now = observe();
  if (std::ranges::find(now.repairs, action.repair, &RepairStep::name) == now.repairs.end()) return fail(Remedy::kStepDown, "it is void by now");
  const std::size_t space = action.repair.find(' ');
  return mend(action.repair.substr(0, space), space == std::string::npos ? "" : action.repair.substr(space + 1));
}

std::string declared_text(const ObserverConfig& config, const std::string& name, std::string otherwise) {
  const auto at = config.declared.find(name);
  return at == config.declared.end() ? std::move(otherwise) : at->second;
}

}  // namespace

Result<std::unique_ptr<Observer>> make_sentinel_with(const ObserverConfig& config, const std::string& password) {
  const std::string id = config.resource.id.value;
  if (config.helpers.empty()) return fail(Remedy::kFixInput, "prepare " + id + ": mode sentinel needs `sentinels: 3`");
  SentinelDeclared declared{.resource = id, .name = declared_text(config, "master_name", id), .primary = config.resource.declared_primary, .sentinels = config.helpers.size(),
                            .replicas_to_write = replicas_to_write(config.resource)};
  for (const PeerAddress& p : config.peers) declared.priorities[p.node] = replica_priority(config.resource, p.node);
  Info texts(config.declared.begin(), config.declared.end());
  declared.down_after_ms = number(texts, "down_after_ms", declared.down_after_ms);
  declared.failover_timeout_ms = number(texts, "failover_timeout_ms", declared.failover_timeout_ms);
  return std::unique_ptr<Observer>(std::make_unique<SentinelObserver>(config, std::move(declared), password));
}

}  // namespace redis
}  // namespace daarion
