// Plays scripts and compares what happens with what they record.
//   daarion-scenarios FILE...             plays; differences are printed, exit 1
//   daarion-scenarios --update FILE...    writes what happened into the scripts: read the diff before you commit it
//
// A line that begins with "---- " is recorded output of the line before it; '#' begins a comment. Clauses end at ';'.
//
//   given postgres holder=node1 epoch=7; voters node1 node2 node3; members node1 node2
//     [; paused] [; limit bytes=N time_ms=N stale_ms=N] [; promotions N of N]
//     [; wish switchover|forced to=NODE [allow_data_loss]] [; stopped cleanly]
//   at 2.1s node1=silent; node2 replica lag 0; node3 witness [; votes node2 node3] | decide
//     What one decider sees, all of it: each "at" starts from the "given" anew. A silent node was heard last at 0. Without
//     "votes" every voter that is heard votes. After "lag N", in any order: contact_ms=N timeline=N priority=N intent=draining
//     engine=stopped identity=X nofailover no_session.
//
//   given cluster seed=1 [nodes=3]
//   at 6s kill node1 | story 4s
//     A simulated cluster without chance in its network; each "at" goes on from the one before it. Actions: kill, restart,
//     kill-daemon, start-daemon, kill-guard, crash-engine, cut, nominate (all of a NODE), heal, no-log-leader TIME, pause,
//     resume, fencing-confirmed (the newest holder's session), switchover FROM TO, failover FROM TO [allow_data_loss], nothing. The story is what the log and the engines say
//     in the time given.
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "controlplane/core/decider.h"
#include "controlplane/core/fold.h"
#include "tests/sim/world.h"

namespace {
using namespace daarion;
using std::chrono::milliseconds;
using Lines = std::vector<std::string>;

std::string trimmed(const std::string& s) {
  const auto from = s.find_first_not_of(" \t");
  return from == std::string::npos ? "" : s.substr(from, s.find_last_not_of(" \t") - from + 1);
}
Lines split(const std::string& s, char at) {
  Lines out;
  std::istringstream in(s);
  for (std::string part; std::getline(in, part, at);)
    if (!trimmed(part).empty()) out.push_back(trimmed(part));
  return out;
}
[[noreturn]] void bad(const std::string& what) { throw std::runtime_error("cannot read \"" + what + "\""); }

/// "key=value" gives value; anything else is not this key.
std::optional<std::string> value_of(const std::string& word, const std::string& key) {
  if (!word.starts_with(key + "=")) return std::nullopt;
  return word.substr(key.size() + 1);
}
std::uint64_t number(const std::string& s) {
  std::size_t used = 0;
  const auto n = s.empty() ? 0 : std::stoull(s, &used);
  if (s.empty() || used != s.size()) bad(s);
  return n;
}
Duration duration(const std::string& s) {
  if (s.size() < 2 || s.back() != 's') bad(s);
  return milliseconds(static_cast<std::int64_t>(std::stod(s.substr(0, s.size() - 1)) * 1000 + 0.5));
}
std::string seconds_text(Duration d) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(to_ms(d)) / 1000);
  return text;
}

// ---- what one decider sees
constexpr std::uint64_t kHolderAt = 1'000'000'000;  // the holder's last position, in bytes of its log
const ResourceId kPostgres("postgres");

std::uint64_t node_number(const NodeId& node) { return number(node.value.substr(4)); }

struct Given {
  NodeId holder;
  Epoch epoch;
  std::vector<NodeId> voters, members;
  bool paused = false, stopped_cleanly = false;
  LagLimits limits;
  std::uint32_t promotions = 0, max_promotions = 3;
  std::optional<SwitchoverRequested> wish;
};

Given read_given(const std::string& line) {
  Given g;
  for (const std::string& clause : split(line, ';')) {
    const Lines w = split(clause, ' ');
    for (const std::string& word : w) {
      if (auto v = value_of(word, "holder")) g.holder = NodeId(*v);
      if (auto v = value_of(word, "epoch")) g.epoch = Epoch{number(*v)};
      if (auto v = value_of(word, "bytes")) g.limits.bytes = number(*v);
      if (auto v = value_of(word, "time_ms")) g.limits.time_ms = number(*v);
      if (auto v = value_of(word, "stale_ms")) g.limits.staleness_ms = number(*v);
    }
    if (w[0] == "voters") for (std::size_t i = 1; i < w.size(); ++i) g.voters.emplace_back(w[i]);
    else if (w[0] == "members") for (std::size_t i = 1; i < w.size(); ++i) g.members.emplace_back(w[i]);
    else if (w[0] == "paused") g.paused = true;
    else if (w[0] == "stopped") g.stopped_cleanly = true;
    else if (w[0] == "promotions" && w.size() == 4) g.promotions = static_cast<std::uint32_t>(number(w[1])), g.max_promotions = static_cast<std::uint32_t>(number(w[3]));
    else if (w[0] == "wish" && w.size() >= 2) {
      g.wish = SwitchoverRequested{.from = g.holder, .forced = w[1] == "forced", .valid_ms = 60'000};
      for (const std::string& word : w) {
        if (auto v = value_of(word, "to")) g.wish->to = NodeId(*v);
        if (word == "allow_data_loss") g.wish->allow_data_loss = true;
      }
    } else if (w[0] != "postgres" && w[0] != "limit") bad(clause);
  }
  return g;
}

class DeciderScene {
 public:
  explicit DeciderScene(const Given& given) : given_(given), peers_(given.voters.at(0)) {
    spec_.cluster = "scenario";
    ResourceSpec postgres;
    postgres.id = kPostgres;
    postgres.leased = true;
    postgres.declared_primary = given.holder;
    postgres.members = given.members;
    postgres.max_lag = given.limits;
    spec_.resources.push_back(postgres);
    spec_.voters = given.voters;
    spec_.max_promotions = given.max_promotions;
    add(LogCreated{LogId{1, 1}, "scenario", {}}, {}, {});
    VoterSetChanged set;
    for (const NodeId& v : given.voters) set.voters.push_back({v, instance(v)});
    add(set, {}, {});
    add(PromotionDecided{.to = given.holder, .session = session(given.holder)}, given.holder, given.epoch);
    add(PromotionCompleted{.session = session(given.holder), .position = {1, Lsn{1}, "db"}}, given.holder, given.epoch);
    state_.leases[kPostgres].promotions_ns.assign(given.promotions, 0);
    if (given.stopped_cleanly)
      add(LeaseReleased{session(given.holder), EndCause::kReleased, true, {1, Lsn{kHolderAt}, "db"}}, given.holder, given.epoch);
    if (given.paused) add(Paused{}, {}, {});
    if (given.wish) add(*given.wish, given.holder, {});
  }

  Lines decide_at(Instant now, const Lines& clauses) {
    std::vector<NodeId> votes;
    bool votes_given = false;
    Decider decider(kPostgres);
    hear_holder(Instant{} + std::chrono::seconds(1000));
    advance(decider, Instant{} + std::chrono::seconds(1000));
    for (const std::string& clause : clauses) {
      const Lines w = split(clause, ' ');
      if (w[0] == "votes") {
        votes_given = true;
        votes.clear();
        for (std::size_t i = 1; i < w.size(); ++i) votes.emplace_back(w[i]);
      } else if (!w[0].ends_with("=silent")) {
        hear(NodeId(w[0]), w, now);
        if (!votes_given && std::ranges::find(given_.voters, NodeId(w[0])) != given_.voters.end()) votes.emplace_back(w[0]);
      }
    }
    for (const NodeId& v : votes)
      decider.on_vote({.voter = v, .instance = instance(v), .log = state_.log.log, .voter_set = state_.voters.id, .resource = kPostgres,
                       .highest = given_.epoch}, now);
    self_ = votes.empty() ? given_.voters[0] : *std::ranges::min_element(votes);
    const auto nomination = advance(decider, now);
    Lines out;
    std::string said = "votes postgres epoch=" + std::to_string(given_.epoch.value) + " by";
    for (const NodeId& v : votes) said += " " + v.value;
    out.push_back(votes.empty() ? "no votes" : said);
    if (nomination) {
      const Decision& d = nomination->decision;
      out.push_back("append PromotionDecided{epoch=" + std::to_string(d.epoch.value) + " to=" + d.to->value + " kind=" +
                    text_of(nomination->evidence.kind) + " loss<=" + std::to_string(d.loss_bytes) + " B \"" + d.reason + "\"}");
      if (!(decide(nomination->evidence) == d)) out.push_back("BROKEN: the decision made again from its evidence is another one");
      for (const Verdict& v : d.verdicts) out.push_back("  " + v.node.value + " " + v.rule + ": " + v.detail);
    } else if (decider.wait()) {
      out.push_back("waits for: " + decider.wait()->what);
      out.push_back("  unblock: " + decider.wait()->unblock);
    } else {
      out.push_back("nothing to decide");
    }
    return out;
  }

 private:
  static SessionId session(const NodeId& node) { return {1, node_number(node)}; }
  static InstanceId instance(const NodeId& node) { return {2, node_number(node)}; }

  void add(Payload payload, const NodeId& node, Epoch epoch) {
    LogEvent e;
    e.sequence = Sequence{state_.applied.value + 1};
    e.event.header.id = EventId{3, e.sequence.value};
    e.event.header.node = node;
    e.event.header.epoch = epoch;
    e.event.header.aggregate = aggregate_of(payload, node, node.empty() ? ResourceId{} : kPostgres);
    e.event.header.version = Version{state_.version_of(e.event.header.aggregate).value + 1};
    e.event.payload = std::move(payload);
    state_ = fold(std::move(state_), e);
  }
  Beat beat(const NodeId& node) {
    return {.node = node, .run = RunId{4, node_number(node)}, .counter = ++counter_, .instance = instance(node), .log = state_.log.log,
            .voter_set = state_.voters.id};
  }
  void hear_holder(Instant now) {
    Beat b = beat(given_.holder);
    b.claims = {{kPostgres, given_.epoch, session(given_.holder), spec_.lease.ttl}};
    b.engines.push_back({.resource = kPostgres, .state = EngineState::kPrimary, .position = {1, Lsn{kHolderAt}, "db"}});
    b.next = {{kPostgres, SessionId{9, node_number(given_.holder)}}};
    peers_.hear(b, now);
  }
  void hear(const NodeId& node, const Lines& w, Instant now) {
    if (w.size() >= 2 && w[1] == "primary") return hear_holder(now);
    Beat b = beat(node);
    if (w.size() >= 2 && w[1] == "replica") {
      EngineReport engine{.resource = kPostgres, .state = EngineState::kStandby, .position = {1, Lsn{kHolderAt}, "db"}};
      b.next = {{kPostgres, session(node)}};
      ResourceTags& tags = spec_.resources[0].tags[node];
      tags = {};
      for (std::size_t i = 2; i < w.size(); ++i) {
        if (w[i] == "lag" && i + 1 < w.size()) engine.position.lsn.value -= number(w[++i]);
        else if (auto v = value_of(w[i], "contact_ms")) engine.contact_age_ms = number(*v);
        else if (auto v = value_of(w[i], "timeline")) engine.position.timeline = number(*v);
        else if (auto v = value_of(w[i], "identity")) engine.position.identity = *v;
        else if (auto v = value_of(w[i], "priority")) tags.priority = static_cast<std::int32_t>(number(*v));
        else if (w[i] == "engine=stopped") engine.state = EngineState::kStopped;
        else if (w[i] == "intent=draining") state_.members[node].intent = MemberIntent::kDraining;
        else if (w[i] == "nofailover") tags.nofailover = true;
        else if (w[i] == "no_session") b.next.clear();
        else bad(w[i]);
      }
      b.engines.push_back(engine);
    } else if (w.size() != 2 || w[1] != "witness") {
      bad(w[0]);
    }
    peers_.hear(b, now);
  }
  std::optional<Decider::Nomination> advance(Decider& decider, Instant now) {
    DeciderContext c{.state = state_, .peers = peers_, .spec = spec_, .self = self_, .instance = instance(self_.empty() ? given_.voters[0] : self_),
                     .software = "scenario", .caught_up = true, .start = Instant{}, .live_wishes = {}};
    if (given_.wish) c.live_wishes = {kPostgres};
    return decider.advance(c, now);
  }

  Given given_;
  State state_;
  TopologySpec spec_;
  Peers peers_;
  NodeId self_;
  std::uint64_t counter_ = 0;
};

// ---- a small cluster
class ClusterScene {
 public:
  ClusterScene(std::uint64_t seed, int nodes) : world_(seed, knobs(nodes), false) {
    world_.listen([this](const std::string& what) { hear(what); });
    world_.boot();
  }

  Lines play(Instant at, const Lines& action, Duration length) {
    world_.run_until(at);
    story_.clear();
    began_ = world_.now();
    act(action);
    world_.run_until(at + length);
    Lines out = std::exchange(story_, {});
    std::string writers;
    for (const auto& host : world_.hosts())
      if (host->engine.writable()) writers += " " + host->id.value + " (epoch " + std::to_string(host->engine.epoch.value) + ")";
    out.push_back("writes:" + (writers.empty() ? " nobody" : writers));
    std::set<std::string> waits;
    for (const auto& host : world_.hosts())
      if (host->core)
        for (const Wait& wait : host->core->waits()) waits.insert("waits for: " + wait.what + "; unblock: " + wait.unblock);
    out.insert(out.end(), waits.begin(), waits.end());
    if (world_.checker().broken()) out.push_back("BROKEN: " + world_.checker().failure());
    return out;
  }

 private:
  static sim::Knobs knobs(int nodes) {
    sim::Knobs k;
    k.nodes = nodes;
    k.voters = nodes == 5 ? 5 : 3;
    return k;
  }
  /// Sequences and the order of what is not told would only make the story brittle.
  void hear(std::string what) {
    static const Lines kTold = {"writable", "fencing", "host lost", "engine crashed", "daemon killed", "guard killed", "host up",
                                "second host", "disk replaced"};
    bool told = std::ranges::any_of(kTold, [&](const std::string& word) { return what.find(word) != std::string::npos; });
    if (what.starts_with("stored ")) {
      what = what.substr(what.find(' ', 7) + 1);
      told = !what.starts_with("Member");
    }
    if (told) story_.push_back("+" + seconds_text(world_.now() - began_) + " s " + what);
  }
  sim::Host& host(const std::string& name) {
    for (auto& h : world_.hosts())
      if (h->id.value == name) return *h;
    bad(name);
  }
  void act(const Lines& w) {
    const std::string& verb = w.at(0);
    const NodeId by("node3");
    if (verb == "nothing") return;
    if (verb == "kill") return world_.kill_host(host(w.at(1)), true, false);
    if (verb == "restart") {
      host(w.at(1)).booted = world_.now();
      return world_.start_host(host(w.at(1)));
    }
    if (verb == "kill-daemon") return world_.kill_daemon(host(w.at(1)));
    if (verb == "start-daemon") return world_.start_daemon(host(w.at(1)));
    if (verb == "kill-guard") return world_.kill_guard(host(w.at(1)));
    if (verb == "crash-engine") return world_.crash_engine(host(w.at(1)));
    if (verb == "cut") {
      for (const auto& other : world_.hosts())
        if (other->id.value != w.at(1)) world_.cut(host(w[1]).index, other->index, true), world_.cut(other->index, host(w[1]).index, true);
      return;
    }
    if (verb == "replace-disk") return world_.replace_disk(host(w.at(1)));
    if (verb == "second-host") return static_cast<void>(world_.second_host(host(w.at(1))));
    if (verb == "heal") return world_.heal();
    if (verb == "no-log-leader") return world_.lose_log_leader(duration(w.at(1)));
    if (verb == "pause") return world_.append_by_hand(Paused{}, {}, {}, "operator:ann", by);
    if (verb == "resume") return world_.append_by_hand(Resumed{}, {}, {}, "operator:ann", by);
    if (verb == "fencing-confirmed")
      return world_.append_by_hand(FencingConfirmed{world_.reference().lease(kPostgres)->completed.session, "powered off"}, kPostgres, {}, "operator:ann", by);
    if (verb == "nominate") {
      const Epoch next{world_.reference().lease(kPostgres)->epoch.value + 1};
      return world_.append_by_hand(PromotionDecided{.to = host(w.at(1)).id, .session = host(w[1]).guard.next}, kPostgres, next, "operator:chance", by);
    }
    if (verb == "switchover" || verb == "failover")
      return world_.append_by_hand(SwitchoverRequested{.from = NodeId(w.at(1)), .to = NodeId(w.at(2)), .forced = verb == "failover",
                                                       .allow_data_loss = w.size() > 3, .valid_ms = 8000},
                                   kPostgres, {}, "operator:ann", by);
    bad(verb);
  }

  Instant began_{};
  Lines story_;
  sim::World world_;
};

// ---- scripts
Lines play(const Lines& script) {
  Lines out;
  std::unique_ptr<DeciderScene> decider;
  std::optional<Given> given;
  std::unique_ptr<ClusterScene> cluster;
  for (const std::string& line : script) {
    if (line.starts_with("---- ")) continue;
    out.push_back(line);
    if (trimmed(line).empty() || line.starts_with("#")) continue;
    if (line.starts_with("given cluster")) {
      std::uint64_t seed = 1, nodes = 3;
      for (const std::string& word : split(line, ' ')) {
        if (auto v = value_of(word, "seed")) seed = number(*v);
        if (auto v = value_of(word, "nodes")) nodes = number(*v);
      }
      given.reset();
      cluster = std::make_unique<ClusterScene>(seed, static_cast<int>(nodes));
    } else if (line.starts_with("given ")) {
      cluster.reset();
      given = read_given(line.substr(6));
    } else if (line.starts_with("at ") && line.find('|') != std::string::npos) {
      const std::string left = line.substr(3, line.find('|') - 3);
      const Lines told = split(line.substr(line.find('|') + 1), ' ');
      const Duration at = duration(left.substr(0, left.find(' ')));
      const std::string rest = left.substr(left.find(' '));
      Lines recorded;
      if (cluster && told.size() == 2 && told[0] == "story") {
        recorded = cluster->play(Instant{} + at, split(rest, ' '), duration(told[1]));
      } else if (given && told.size() == 1 && told[0] == "decide") {
        recorded = DeciderScene(*given).decide_at(Instant{} + std::chrono::seconds(1000) + at, split(rest, ';'));
      } else {
        bad(line);
      }
      for (const std::string& r : recorded) out.push_back("---- " + r);
    } else {
      bad(line);
    }
  }
  return out;
}

bool run_file(const std::string& path, bool update) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + " cannot be read");
  Lines script;
  for (std::string line; std::getline(in, line);) script.push_back(line);
  const Lines now = play(script);
  if (now == script) return true;
  if (update) {
    std::ofstream file(path, std::ios::trunc);
    for (const std::string& line : now) file << line << "\n";
    return true;
  }
  std::cout << path << ": what happened is not what is recorded (--update writes it)\n";
  for (std::size_t i = 0; i < std::max(now.size(), script.size()); ++i) {
    const std::string was = i < script.size() ? script[i] : "(end)", is = i < now.size() ? now[i] : "(end)";
    if (was == is) continue;
    std::cout << "  line " << i + 1 << "\n  recorded: " << was << "\n  happened: " << is << "\n";
    break;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  bool update = false, good = true, any = false;
  try {
    for (int i = 1; i < argc; ++i) {
      if (std::string(argv[i]) == "--update") {
        update = true;
        continue;
      }
      any = true;
      good = run_file(argv[i], update) && good;
    }
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 2;
  }
  return any && good ? 0 : 1;
}
