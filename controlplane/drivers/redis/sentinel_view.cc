#include "controlplane/drivers/redis/sentinel_view.h"

#include <algorithm>
#include <optional>
#include <set>

#include "controlplane/core/write_refusal.h"
#include "controlplane/drivers/redis/redis_driver.h"
#include "controlplane/drivers/redis/settings.h"
#include "controlplane/drivers/words.h"

namespace daarion::redis {
namespace {

using std::chrono::seconds;

// Sentinels say hello every 2 s, and after a switch all of them name the new master by then.
constexpr Duration kHello = seconds(3);
constexpr Duration kKnown = seconds(12);     // until all have heard of each other, and of replicas: those they read every 10 s
constexpr Duration kSplit = seconds(5);      // before a sentinel that is apart is told
constexpr Duration kReset = seconds(30);     // before a sentinel is made to forget: it cannot vote until it has heard of the others again
constexpr Duration kRestarted = seconds(1);  // before another is elected: a replica's next answer may tell more
constexpr Duration kAll = seconds(5);        // before one of several restarted ones is opened
constexpr Duration kAbsent = seconds(30);    // before one is opened although others do not answer
constexpr Duration kPreferredFor = seconds(30);  // before somebody's preference is taken for left over: longer than any switchover
constexpr Duration kFollows = seconds(10);   // before a replica of somebody else is told: Sentinel does that too

bool has_flag(const Fields& fields, const std::string& flag) {
  const auto at = fields.find("flags");
  return at != fields.end() && ("," + at->second + ",").find("," + flag + ",") != std::string::npos;
}
std::string value(const Fields& fields, const std::string& name) {
  const auto at = fields.find(name);
  return at == fields.end() ? "" : at->second;
}
std::string address_in(const Fields& fields) { return value(fields, "ip") + ":" + value(fields, "port"); }
bool is_primary(const ServerLook& s) { return field(s.info, "role") == "master"; }
bool follows_nobody(const ServerLook& s) { return field(s.info, "master_host") == kNobody && field(s.info, "master_port") == kNobodyPort; }
std::string upstream_of(const ServerLook& s) { return field(s.info, "master_host") + ":" + field(s.info, "master_port"); }
bool has_data(const ServerLook& s) {
  return std::ranges::any_of(s.info, [](const auto& entry) { return entry.first.starts_with("db") && entry.second.starts_with("keys="); });
}
std::uint64_t offset_of(const ServerLook& s) { return number(s.info, is_primary(s) ? "master_repl_offset" : "slave_repl_offset", number(s.info, "master_repl_offset")); }

class Judge {
 public:
  Judge(const SentinelDeclared& d, const std::vector<ServerLook>& servers, const std::vector<SentinelLook>& sentinels) : d_(d), servers_(servers), sentinels_(sentinels) {}

  SentinelJudgement run() {
    out_.view.elected_by = "Sentinel";
    elect();
    for (const ServerLook& s : servers_) server(s);
    for (const SentinelLook& s : sentinels_) sentinel(s);
    together();
    if (!out_.busy) {
      mend_sentinels();
      mend_servers();
    }
    std::ranges::stable_sort(out_.view.repairs, {}, [](const RepairStep& step) { return rank_of(step.name); });
    return std::move(out_);
  }

 private:
  /// Roles first: a sentinel that is told of a primary without its replicas could elect nobody for the next 10 s.
  static int rank_of(const std::string& step) { return step.starts_with("open ") || step == "elect" ? 0 : step.starts_with("follow ") ? 1 : 2; }
  void problem(std::string text, Duration patience = {}) { out_.problems.push_back({std::move(text), patience}); }
  void repair(std::string name, std::string what, Duration patience = {}) { out_.view.repairs.push_back({std::move(name), std::move(what), patience}); }
  const ServerLook* server_at(const std::string& address) const {
    const auto at = std::ranges::find(servers_, address, [](const ServerLook& s) { return address_text(s.at); });
    return at == servers_.end() ? nullptr : &*at;
  }

  static bool leads(const SentinelLook& s) { return has_flag(s.state, "failover_in_progress"); }

  /// Whom the newest election named; without any sentinel's word, who alone is open.
  void elect() {
    std::uint64_t newest = 0;
    std::map<std::string, std::size_t> said;
    // Who leads a failover says the new epoch and the new address before the switch is done.
    const bool others = std::ranges::any_of(sentinels_, [](const SentinelLook& s) { return s.monitors && !leads(s); });
    for (const SentinelLook& s : sentinels_) {
      if (!s.monitors) continue;
      out_.busy = out_.busy || leads(s);
      if (others && leads(s)) continue;
      ++said[s.master];
      ++naming_;
      const std::uint64_t epoch = number(s.state, "config-epoch");
      if (named_.empty() || epoch > newest || (epoch == newest && said[s.master] > said[named_])) named_ = s.master, newest = epoch;
    }
    agreeing_ = named_.empty() ? 0 : said[named_];
    out_.view.election = newest;
    std::vector<const ServerLook*> open;
    for (const ServerLook& s : servers_)
      if (s.answered && is_primary(s)) open.push_back(&s);
    if (named_.empty() && open.size() == 1) named_ = address_text(open.front()->at);
    if (named_.empty() && open.size() > 1) {
      std::vector<std::string> who;
      for (const ServerLook* s : open) who.push_back(s->at.node.value);
      problem(joined(who) + " take writes and no sentinel monitors any: make all but one a replica (redis-cli REPLICAOF), the one with the wanted data stays");
    }
    primary_ = server_at(named_);
    if (primary_ != nullptr) out_.view.primary = primary_->at.node;
    else if (!named_.empty()) problem("sentinels name " + named_ + " as the master, which is no declared node: add it to the cluster file, or switch over to a declared one");
  }

  const char* word_of_sentinels(const ServerLook& s) const {
    bool down = false;
    for (const SentinelLook& from : sentinels_) {
      if (!from.monitors) continue;
      std::vector<const Fields*> told{&from.state};
      for (const Fields& f : from.replicas) told.push_back(&f);
      for (const Fields* f : told) {
        if (address_in(*f) != address_text(s.at)) continue;
        if (has_flag(*f, "o_down")) return "objectively down";
        down = down || has_flag(*f, "s_down");
      }
    }
    return down ? "subjectively down" : nullptr;
  }

  void server(const ServerLook& s) {
    const bool elected = &s == primary_;
    MemberView m;
    m.seen = {.node = s.at.node, .role = elected ? "primary" : "replica", .state = EngineState::kUnresponsive, .identity = field(s.info, "master_replid"),
              .version = field(s.info, "redis_version"), .health = ""};
    if (s.answered) {
      const bool loads = field(s.info, "loading") == "1";
      m.seen.state = loads ? EngineState::kStarting : is_primary(s) ? EngineState::kPrimary : EngineState::kStandby;
      m.seen.health = loads ? "it loads its data" : is_primary(s) ? health_of_open(s, elected) : health_of_replica(s, elected);
      m.position = {.timeline = out_.view.election, .lsn = {offset_of(s)}, .identity = m.seen.identity};
    } else {
      m.seen.health = "no answer: " + s.why;
    }
    if (const char* word = word_of_sentinels(s)) m.seen.health = word + (s.answered ? std::string(", though it answers") : "");
    if (primary_ != nullptr && primary_->answered && is_primary(*primary_))
      for (const ReplicaLag& lag : replica_lags(primary_->info, peers()))
        if (lag.node == s.at.node) m.lag_known = true, m.lag_bytes = lag.lag_bytes, m.lag_ms = lag.lag_ms;
    out_.view.members.push_back(std::move(m));
    if (!s.answered) return;
    if (value(s.config, "save").empty() && value(s.config, "appendonly") == "no" && s.config.contains("save"))
      problem("redis of " + s.at.node.value + " keeps nothing on disk: as the master, restarted within " + std::to_string(d_.down_after_ms) +
              " ms, it would come back empty and empty its replicas; set `save` or `appendonly`, or start it with --replicaof " + kNobody + " " + kNobodyPort);
    if (number(s.config, "min-replicas-to-write") != d_.replicas_to_write) {
      problem("redis of " + s.at.node.value + " has min-replicas-to-write " + value(s.config, "min-replicas-to-write") + ", declared is " + std::to_string(d_.replicas_to_write), kKnown);
      repair("config " + s.at.node.value, "set min-replicas-to-write " + std::to_string(d_.replicas_to_write) + " on " + s.at.node.value);
    }
    priority(s);
  }
  /// It comes before the offset in Sentinel's election: one that is left over from a switchover, or was set by hand, elects who has less.
  void priority(const ServerLook& s) {
    const auto wanted = d_.priorities.find(s.at.node);
    const std::string has = value(s.config, "replica-priority");
    if (wanted == d_.priorities.end() || has.empty() || has == wanted->second) return;
    // Another daemon may be in the midst of a switchover.
    const Duration patience = has == kPreferred ? kPreferredFor : Duration{};
    problem("redis of " + s.at.node.value + " has replica-priority " + has + ", declared is " + wanted->second, std::max(patience, kKnown));
    repair("priority " + s.at.node.value, "set replica-priority " + wanted->second + " on " + s.at.node.value, patience);
  }
  std::string health_of_open(const ServerLook& s, bool elected) {
    if (!elected && !named_.empty()) return "it takes writes, and it is not the primary";
    if (field(s.info, "rdb_last_bgsave_status") == "err") return dump_failed(s.config);
    if (d_.replicas_to_write > 0 && number(s.info, "min_slaves_good_slaves", d_.replicas_to_write) < d_.replicas_to_write)
      return std::string(kRefusesWrites) + ": fewer than " + std::to_string(d_.replicas_to_write) + " replicas are near";
    return {};
  }
  std::string health_of_replica(const ServerLook& s, bool elected) const {
    if (elected) return follows_nobody(s) ? "it restarted, and takes no writes until it or another is elected" : "it is a replica of " + upstream_of(s);
    if (follows_nobody(s)) return "it restarted, and follows nobody yet";
    if (!named_.empty() && upstream_of(s) != named_) return "it follows " + upstream_of(s);
    if (field(s.info, "master_sync_in_progress") == "1") return "it copies from " + name_at(named_);
    return field(s.info, "master_link_status") == "up" ? "" : "its link to " + name_at(upstream_of(s)) + " is down";
  }
  std::string name_at(const std::string& address) const {
    const ServerLook* s = server_at(address);
    return s == nullptr ? address : s->at.node.value;
  }
  std::vector<PeerAddress> peers() const {
    std::vector<PeerAddress> out;
    for (const ServerLook& s : servers_) out.push_back(s.at);
    return out;
  }

  void sentinel(const SentinelLook& s) {
    MemberView m;
    m.seen = {.node = s.at.node, .role = "sentinel", .state = s.answered ? EngineState::kStandby : EngineState::kUnresponsive, .identity = s.id, .version = s.version, .health = ""};
    if (!s.answered) m.seen.health = "no answer: " + s.why;
    else if (!s.monitors) m.seen.health = "it monitors nothing called " + d_.name;
    // One that has not heard of the newest election yet will in a moment.
    else if (s.master != named_ && !leads(s) && number(s.state, "config-epoch") >= out_.view.election) m.seen.health = "it names " + name_at(s.master) + " as the master";
    else if (value(s.state, "tilt") == "1") m.seen.health = "it is in TILT: its clock jumped or it stood still, and it decides nothing for 30 s";
    out_.view.members.push_back(std::move(m));
  }

  /// What is wrong with all of them together.
  void together() {
    std::vector<std::string> silent;
    std::map<std::string, std::vector<std::string>> camps;
    std::map<std::string, std::set<std::string>> on_host;  // ids of living ones, by address
    for (const SentinelLook& s : sentinels_) {
      if (!s.answered) silent.push_back(s.at.node.value);
      if (s.monitors) camps[s.master].push_back(s.at.node.value);
      if (s.answered) on_host[s.at.host].insert(s.id);
      for (const Fields& other : s.others)
        if (!has_flag(other, "s_down") && !has_flag(other, "disconnected")) on_host[value(other, "ip")].insert(value(other, "runid"));
    }
    const std::size_t answering = sentinels_.size() - silent.size();
    if (answering < d_.quorum())
      problem(std::to_string(answering) + " of " + std::to_string(d_.sentinels) + " sentinels answer: nothing can fail over; start redis-sentinel on " + joined(silent));
    if (camps.size() > 1) {
      std::string text;
      for (const auto& [master, who] : camps) text += (text.empty() ? "" : ", ") + joined(who) + " name" + (who.size() == 1 ? "s " : " ") + name_at(master);
      problem("the sentinels disagree about the master: " + text + "; clients get the one or the other" +
                  (agreeing_ >= d_.quorum() ? "; the others are told" : "; no majority names the same, so look which has the data, and SENTINEL REMOVE and MONITOR on the others"),
              kHello);
    }
    for (const auto& [host, ids] : on_host)
      if (ids.size() > 1) problem(std::to_string(ids.size()) + " sentinels run on " + host + ": they fall together; move all but one to other hosts", kHello);
  }

  void mend_sentinels() {
    const bool sure = agreeing_ >= d_.quorum() || (naming_ == agreeing_ && primary_ != nullptr && primary_->answered && is_primary(*primary_));
    const std::size_t replicas = primary_ != nullptr && primary_->answered ? number(primary_->info, "connected_slaves") : 0;
    const auto follows = std::ranges::count_if(servers_, [&](const ServerLook& s) { return s.answered && &s != primary_; });
    const Duration first = replicas < static_cast<std::size_t>(follows) ? kKnown : Duration{};
    bool all_answer = sentinels_.size() == d_.sentinels;
    for (const SentinelLook& s : sentinels_) all_answer = all_answer && s.monitors && s.master == named_;
    for (const SentinelLook& s : sentinels_) {
      if (!s.answered) continue;
      const std::string node = s.at.node.value;
      if (!s.monitors || s.master != named_) {
        if (sure && primary_ != nullptr)
          repair("monitor " + node, "have the sentinel of " + node + " monitor " + primary_->at.node.value, s.monitors ? kSplit : first);
        continue;
      }
      for (const auto& [name, wanted] : sentinel_settings(d_))
        if (const std::string has = value(s.state, name); !has.empty() && has != wanted) {
          problem("the sentinel of " + node + " has " + name + " " + has + ", declared is " + wanted, kKnown);
          repair("set " + node, "set what is declared at the sentinel of " + node);
          break;
        }
      if (const std::uint64_t known = number(s.state, "num-slaves"); known < replicas)
        problem("the sentinel of " + node + " knows " + std::to_string(known) + " of " + std::to_string(replicas) + " replicas and could elect no other: can it log in to the servers?", kKnown);
      const std::uint64_t others = number(s.state, "num-other-sentinels");
      if (others + 1 > d_.sentinels) {
        problem("the sentinel of " + node + " counts " + std::to_string(others) + " others, and " + std::to_string(d_.sentinels - 1) +
                    " are declared: one that is gone for good raises the majority; SENTINEL RESET " + d_.name + " forgets it",
                kKnown);
        if (all_answer && word_of_primary() == nullptr) repair("reset " + node, "have the sentinel of " + node + " forget sentinels that are gone", kReset);
      } else if (others + 1 < d_.sentinels && all_answer) {
        problem("the sentinel of " + node + " knows " + std::to_string(others) + " of " + std::to_string(d_.sentinels - 1) + " others: can it reach the master, where they meet?", kKnown);
      }
    }
  }
  const char* word_of_primary() const { return primary_ == nullptr ? nullptr : word_of_sentinels(*primary_); }

  void mend_servers() {
    if (primary_ == nullptr) {
      if (named_.empty() && naming_ == 0) bootstrap();
      return;
    }
    if (!primary_->answered) return;
    if (!is_primary(*primary_)) {
      if (follows_nobody(*primary_) && (naming_ == 0 || agreeing_ >= d_.quorum())) restarted();
      return;
    }
    if (naming_ > 0 && agreeing_ < d_.quorum()) return;
    for (const ServerLook& s : servers_) {
      if (&s == primary_ || !s.answered || (!is_primary(s) && upstream_of(s) == named_)) continue;
      if (has_data(s) && !has_data(*primary_)) {
        problem(s.at.node.value + " has data and the primary " + primary_->at.node.value + " has none, so it is not told to follow: that would empty it; `daarionctl switchover " +
                d_.resource + "` to it, or redis-cli FLUSHALL there first");
        continue;
      }
      repair("follow " + s.at.node.value, "have " + s.at.node.value + " follow " + primary_->at.node.value, is_primary(s) ? kHello : follows_nobody(s) ? Duration{} : kFollows);
    }
  }

  /// The elected one restarted, and came back as a replica of nobody.
  void restarted() {
    const ServerLook* stayed = nullptr;
    const ServerLook* furthest = primary_;
    bool all = true;
    for (const ServerLook& s : servers_) {
      all = all && s.answered;
      if (!s.answered || &s == primary_ || is_primary(s)) continue;
      if (!follows_nobody(s) && (stayed == nullptr || offset_of(s) > offset_of(*stayed))) stayed = &s;
      if (offset_of(s) > offset_of(*furthest)) furthest = &s;
    }
    const std::string node = primary_->at.node.value;
    const bool emptied = !has_data(*primary_) && stayed != nullptr && has_data(*stayed);
    if (stayed != nullptr && naming_ > 0 && (emptied || offset_of(*stayed) >= offset_of(*primary_)))
      repair("elect", "ask for another primary than " + node + ", which restarted", kRestarted);
    else if (furthest != primary_ && naming_ > 0)
      repair("elect", "ask for another primary than " + node + ", which is behind " + furthest->at.node.value, kAll);
    else
      repair("open " + node, "open " + node + " again: nobody has more than it", all ? kAll : kAbsent);
  }

  /// Nobody was ever elected: the declared one is opened, unless another alone has data.
  void bootstrap() {
    const ServerLook* declared = nullptr;
    std::vector<const ServerLook*> full;
    bool all = !servers_.empty();
    for (const ServerLook& s : servers_) {
      all = all && s.answered && field(s.info, "loading") != "1";
      if (s.at.node == d_.primary) declared = &s;
      if (s.answered && has_data(s)) full.push_back(&s);
    }
    if (!all || declared == nullptr) return;
    const ServerLook* one = full.size() == 1 ? full.front() : declared;
    if (full.size() > 1)
      return problem("nobody was elected yet and several have data: open the wanted one with redis-cli REPLICAOF NO ONE, the others will copy it and lose theirs");
    repair("open " + one->at.node.value, "open " + one->at.node.value + (one == declared ? ", the declared primary" : ", which alone has data"));
  }

  const SentinelDeclared& d_;
  const std::vector<ServerLook>& servers_;
  const std::vector<SentinelLook>& sentinels_;
  SentinelJudgement out_;
  std::string named_;                    // "ip:port"; empty: nobody
  std::size_t naming_ = 0, agreeing_ = 0;  // sentinels that name somebody; that name this one
  const ServerLook* primary_ = nullptr;  // the named one, if it is declared
};

}  // namespace

std::string address_text(const PeerAddress& at) { return at.host + ":" + std::to_string(at.port); }

Fields sentinel_settings(const SentinelDeclared& d) {
  return {{"quorum", std::to_string(d.quorum())}, {"down-after-milliseconds", std::to_string(d.down_after_ms)},
          {"failover-timeout", std::to_string(d.failover_timeout_ms)}, {"parallel-syncs", "1"}};
}

SentinelJudgement judge_sentinel(const SentinelDeclared& declared, const std::vector<ServerLook>& servers, const std::vector<SentinelLook>& sentinels) {
  return Judge(declared, servers, sentinels).run();
}

}  // namespace daarion::redis
