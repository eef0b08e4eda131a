#include "tests/chaos/checker.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <thread>

#include "controlplane/api/event_line.h"
#include "controlplane/api/views.h"
#include "controlplane/node/clock.h"
#include "streams/message.h"
#include "tests/chaos/table.h"

namespace daarion::chaos {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Failed;
using test::need;

constexpr Duration kRecovers = seconds(60);   // without a hand; a rebuild of a replica takes a few seconds of it
constexpr Duration kSameEvent = seconds(20);
constexpr Duration kMustName = seconds(5);    // writes out for so long, and some node says what for
constexpr Duration kMirror = seconds(60);     // nats-server 2.9 tries again after seconds; beyond this it is stuck
constexpr Duration kTold = seconds(30);
constexpr Duration kNoticed = seconds(10);    // that the log is another one: looked at again when another server leads, and twice
constexpr Duration kMirrorAgain = milliseconds(200);
constexpr Duration kQuery = seconds(10);

double in_ms(Duration d) { return double(d.count()) / 1e6; }
std::string text(double ms) {
  char out[32];
  std::snprintf(out, sizeof out, "%.0f ms", ms);
  return out;
}

/// All nodes at one event: what differs, or nothing. `views`: as they were.
std::string nodes_differ(World& w, std::vector<dev::ClusterView>& views) {
  dev::LocalCluster& c = w.cluster();
  w.until("all nodes at the same event", kSameEvent, [&] {
    views.clear();
    for (const NodeId& node : c.nodes()) {
      const auto view = c.view(node);
      if (!view) return false;
      views.push_back(*view);
    }
    return std::ranges::all_of(views, [&](const dev::ClusterView& v) { return v.sequence == views[0].sequence; });
  });
  for (std::size_t i = 1; i < views.size(); ++i)
    if (views[i].digest != views[0].digest)
      return c.nodes()[0].value + " and " + c.nodes()[i].value + " differ at event " + std::to_string(views[0].sequence) + ": " + views[0].digest + " and " + views[i].digest +
             (views[i].chain == views[0].chain ? ", folded from the same bytes" : ", folded from other bytes");
  for (std::size_t i = 1; i < views.size(); ++i)
    if (views[i].chain != views[0].chain)
      return c.nodes()[0].value + " and " + c.nodes()[i].value + " folded other bytes up to event " + std::to_string(views[0].sequence) + ", to one digest";
  return "";
}

/// Whether some node says that it and another one have folded other events, or that it folds them anew.
bool difference_is_named(const std::vector<dev::ClusterView>& views) {
  return std::ranges::any_of(views, [](const dev::ClusterView& v) {
    return std::ranges::any_of(v.warnings, [](const std::string& said) { return said.starts_with("the digest of ") || said.starts_with("the log has lost events"); });
  });
}

/// All nodes and the edge's mirror, at one event: what differs, or nothing. `patience`: how long the nodes may take to become one. Two servers may keep
/// different tries of an append whatever the fault; it is to be named soon, and mended without a hand.
std::string digests_differ(World& w, Duration patience = {}) {
  dev::LocalCluster& c = w.cluster();
  std::vector<dev::ClusterView> views;
  const Instant begun = node_now();
  bool named = false;
  for (;;) {
    const std::string differs = nodes_differ(w, views);
    if (differs.empty()) break;
    named = named || difference_is_named(views);
    // The same bytes folded to two states are no server's doing.
    const bool other_bytes = std::ranges::any_of(views, [&](const dev::ClusterView& v) { return v.chain != views[0].chain; });
    const Duration limit = !other_bytes ? Duration{} : named ? kTold : kMustName;
    if (node_now() - begun > std::max(patience, limit)) return differs + (named ? "" : ", and no node names it");
    std::this_thread::sleep_for(kMirrorAgain);
  }
  if (named || node_now() - begun > seconds(1)) w.note("the nodes had one log again after " + text(in_ms(node_now() - begun)) + (named ? ", and had said that they differ" : ""));
  const Instant from = node_now();
  Result<test::LogRead> mirror = fail(Remedy::kRetry, "not asked");
  // A mirror whose link broke asks its origin again by itself, in NATS's own time; one that took what the log lost is made again.
  const auto is_copy = [&] { return mirror && to_text(mirror->digest) == views[0].digest; };
  while (!is_copy() && node_now() - from < kMirror) {
    mirror = test::read_mirror(c, w.edge(), Sequence{views[0].sequence});
    if (mirror && !is_copy()) std::this_thread::sleep_for(kMirrorAgain);
  }
  const std::string at = "event " + std::to_string(views[0].sequence), limit = " in " + std::to_string(to_ms(kMirror) / 1000) + " s: ";
  if (!mirror) return "the edge's mirror did not come to " + at + limit + mirror.error().message;
  if (!is_copy()) return "the edge's mirror did not become a copy of the log" + limit + "folded to " + at + " it is " + to_text(mirror->digest) + ", not " + views[0].digest;
  if (node_now() - from > seconds(2)) w.note("the edge's mirror was a copy up to " + at + " after " + text(in_ms(node_now() - from)));
  return "";
}

/// Whether each node's state is that of the log as it reads it now: another server may have come to lead it, with other events. Empty: all are, or are told to within the time.
std::string states_are_of_the_log(World& w) {
  std::string stale;
  const Instant begun = node_now();
  do {
    stale.clear();
    for (const NodeId& node : w.cluster().nodes()) {
      const auto replayed = test::replay(w.cluster(), node, w.head());
      if (!replayed) stale = node.value + ": " + replayed.error().message;
      else if (!replayed->live_digest().empty() && !replayed->equal()) stale = node.value + " folded another log than is there, up to event " + std::to_string(w.head().value);
    }
    if (stale.empty()) break;
    std::this_thread::sleep_for(kMirrorAgain);
  } while (node_now() - begun < kNoticed);
  if (node_now() - begun > seconds(1)) w.note("the nodes' states were those of the log after " + text(in_ms(node_now() - begun)));
  return stale;
}

/// Whether the replica has the rows of the holder and no other, up to those that the holder has now: what differs, or nothing.
std::string rows_differ(World& w) {
  const auto there = need(postgres::Connection::open(w.cluster().application(w.holder()), kQuery));
  const std::string select = "select count(*), coalesce(sum(n), 0) from daarion_probe where writer = ";
  for (const auto& newest : need(there->query("select writer, max(n) from daarion_probe group by writer", kQuery))) {
    const std::string rows = select + there->literal(newest[0]) + " and n <= " + newest[1];
    const auto of_holder = need(there->query(rows, kQuery))[0];
    std::string seen = "no answer";
    const auto same = w.cluster().await_that("the rows of the replica", seconds(10), "", [&] {
      const auto here = postgres::Connection::open(w.cluster().application(w.replica()), seconds(1));
      const auto answer = here ? (*here)->query(rows, kQuery) : fail(Remedy::kRetry, "");
      if (answer) seen = (*answer)[0][0] + " rows, sum " + (*answer)[0][1];
      return answer && (*answer)[0][0] == of_holder[0] && (*answer)[0][1] == of_holder[1];
    });
    if (!same) return w.replica().value + " streams, and its rows of " + newest[0] + " up to " + newest[1] + " differ: " + seen + "; " + w.holder().value + " has " + of_holder[0] + " rows, sum " + of_holder[1];
  }
  return "";
}

/// Where writes are out for long, a node must say what it waits for while they are.
bool wait_was_named(World& w, Instant from, Instant to) {
  std::vector<Instant> at{from};
  for (const dev::ProbeWriter* writer : w.writers())
    for (const dev::ProbeWrite& write : writer->writes_since(from))
      if (write.at < to) at.push_back(write.at);
  at.push_back(to);
  std::ranges::sort(at);
  const auto waits = w.waits_since(from);
  for (std::size_t i = 1; i < at.size(); ++i)
    if (at[i] - at[i - 1] > kMustName && std::ranges::none_of(waits, [&](const NamedWait& n) { return n.at > at[i - 1] && n.at < at[i]; })) return false;
  return true;
}

/// The first event that the two nodes read as other bytes. Pre: their chains differ at `head`.
Sequence first_difference(World& w, const NodeId& a, const NodeId& b, Sequence head) {
  std::uint64_t same = 0, differ = head.value;
  while (differ - same > 1) {
    const std::uint64_t at = same + (differ - same) / 2;
    const bool equal = need(test::replay(w.cluster(), a, Sequence{at})).chain() == need(test::replay(w.cluster(), b, Sequence{at})).chain();
    (equal ? same : differ) = at;
  }
  return {differ};
}

class Check {
 public:
  Check(World& world, const Kind& kind, Verdict& verdict) : w_(world), k_(kind), v_(verdict) {}

  void violation(const std::string& what, bool timing) {
    v_.violations.push_back(what);
    v_.timing_only = v_.timing_only && timing;
    w_.history().say("VIOLATION", k_.name + ": " + what);
  }

  void all(Instant from, Instant to, const NodeId& holder_then, LostRows& lost) {
    const dev::WriteGap gap = dev::longest_gap(w_.writers(), from, to);
    v_.outage_ms = in_ms(gap.length());
    v_.election_ms = std::min(in_ms(w_.leaderless_in(gap)), in_ms(kElection));
    if (v_.election_ms > 0) w_.note("the log had no leader for " + text(v_.election_ms) + " while nobody wrote");
    if (v_.outage_ms > k_.outage_ms + v_.election_ms)
      violation("writes were out for " + text(v_.outage_ms) + ", limit " + text(k_.outage_ms) + (v_.election_ms > 0 ? ", and " + text(v_.election_ms) + " without a leader of the log" : ""), true);
    if (!wait_was_named(w_, from, to)) violation("writes were out for more than 5 s, and no node said what it waits for", false);
    if (const std::string stale = states_are_of_the_log(w_); !stale.empty()) violation(stale, false);
    const Sequence head = w_.head();
    const auto events = log_of_fault(head);
    const Promotions p = promotions_of(events, test::wall_of(Instant{}));
    w_.note("log up to " + std::to_string(head.value) + ": " + summary_of(events));
    v_.promotions = p.decided;
    // What the log lost may have to be decided again.
    if (v_.promotions < static_cast<std::size_t>(k_.fewest_promotions) || v_.promotions > static_cast<std::size_t>(k_.most_promotions) + lost_decisions_)
      violation(std::to_string(v_.promotions) + " promotions, expected " + std::to_string(k_.fewest_promotions) + " to " + std::to_string(k_.most_promotions), true);
    writers(from, holder_then, p, lost);
    if (const std::string differs = digests_differ(w_, loses_ ? kTold : Duration{}); !differs.empty()) violation(differs, false);
    if (const std::string differs = rows_differ(w_); !differs.empty()) violation(differs, false);
    if (v_.violations.empty()) return;
    for (const LogEvent& e : events) {
      const std::string line = event_line(view_of(e, log_subject(e.event.header.aggregate, e.event.header.version)));
      w_.history().say("event", line.substr(0, line.size() - 1));
      if (const auto* decided = std::get_if<PromotionDecided>(&e.event.payload)) say(*decided);
    }
  }

 private:
  /// What a decision was made of, in short.
  void say(const PromotionDecided& decided) {
    const auto at = [](const Position& p) { return std::to_string(p.lsn.value) + " of timeline " + std::to_string(p.timeline); };
    const Evidence& e = decided.evidence;
    for (std::size_t i = 0; i < decided.verdicts.size() && i < e.candidates.size(); ++i) {
      const daarion::Verdict& verdict = decided.verdicts[i];
      const EngineReport& engine = e.candidates[i].engine;
      w_.history().say("event", "      " + verdict.node.value + ": " + verdict.rule + ", " + verdict.detail + "; its engine is " + text_of(engine.state) + " at " + at(engine.position) +
                                    ", seen " + std::to_string(engine.age_ms) + " ms before");
    }
    w_.history().say("event", "      the last holder is " + e.last_holder.value + " at " + at(e.last_position) + (e.final_position ? ", final" : ""));
  }

  /// The events of the fault: those of the log that are not among the remembered, by their ids, since a log that lost events has other
  /// numbers. What it lost happened all the same: it is judged with what the log holds now, in the order of time.
  std::vector<LogEvent> log_of_fault(Sequence head) {
    std::vector<LogEvent> events = w_.log_up_to(head);
    const std::vector<LogEvent> lost = w_.lost_from(events);
    if (w_.must_lose() && lost.empty()) violation("the log was to lose events, and lost none", false);
    loses_ = !lost.empty();
    lost_decisions_ = static_cast<std::size_t>(std::ranges::count_if(lost, [](const LogEvent& e) { return std::holds_alternative<PromotionDecided>(e.event.payload); }));
    if (!lost.empty()) {
      w_.note("lost:" + each_of(lost));
      w_.until_loss_is_told(kTold);
      events = w_.log_up_to(w_.head());
    }
    std::vector<LogEvent> fresh;
    std::ranges::copy_if(events, std::back_inserter(fresh), [&](const LogEvent& e) { return !w_.remembers(e); });
    // What came and was lost within the fault is remembered by nobody here: the nodes told of it, and fold the log anew.
    loses_ = loses_ || std::ranges::any_of(fresh, [](const LogEvent& e) { return std::holds_alternative<LogRegressed>(e.event.payload); });
    for (const std::string& what : epochs_given_again(fresh, lost)) violation(what, false);
    events.insert(events.end(), lost.begin(), lost.end());
    std::erase_if(events, [&](const LogEvent& e) { return w_.was_before(e); });
    std::ranges::stable_sort(events, {}, &LogEvent::stored_ns);
    return events;
  }

  void writers(Instant from, const NodeId& holder_then, const Promotions& p, LostRows& lost) {
    std::vector<NodeWrites> all;
    for (const char* node : {"node1", "node2"}) all.push_back({NodeId(node), w_.writer(NodeId(node)).writes_since(from)});
    const Strays strays = strays_of(all, holder_then, p.to);
    v_.strays = strays.count;
    v_.stray_ms = in_ms(strays.last - strays.first);
    if (strays.count > 0) {
      const std::string what = strays.node.value + " acknowledged " + std::to_string(strays.count) + " writes within " + text(v_.stray_ms) + " without an epoch";
      if (k_.stray_ms == 0) violation("two primaries: " + what, false);
      else if (v_.stray_ms > k_.stray_ms) violation(what + ", limit " + text(k_.stray_ms), false);
      else w_.note(what + " (a declared limit of this kind)");
    }
    std::size_t gone = 0;
    for (const NodeWrites& n : all)
      for (const dev::ProbeWrite& row : need(dev::missing_rows(w_.cluster().application(w_.holder()), w_.writer(n.node).name(), n.writes, kQuery))) {
        lost.emplace(w_.writer(n.node).name(), row.n);
        const bool stray = n.node == strays.node && std::ranges::find(strays.numbers, row.n) != strays.numbers.end();
        gone += stray ? 0 : 1;
      }
    v_.lost = gone;
    const double bytes = double(gone) * w_.row_bytes();
    if (gone > 0) {
      const std::string what = std::to_string(gone) + " acknowledged rows are gone, about " + std::to_string(static_cast<long>(bytes)) + " B; announced " + (p.loss_unknown ? "as unknown, at least " : "") +
                               std::to_string(p.loss_bytes) + " B";
      if (bytes > double(p.loss_bytes) && !p.loss_unknown) violation(what, false);
      else w_.note(what);
    }
  }

  World& w_;
  const Kind& k_;
  Verdict& v_;
  bool loses_ = false;               // the log lost events since the fault began
  std::size_t lost_decisions_ = 0;   // among them
};

}  // namespace

Verdict run_fault(World& w, const Kind& kind, std::uint64_t seed, std::size_t round, LostRows& lost) {
  Verdict v;
  v.kind = kind.name;
  Check check(w, kind, v);
  w.begin(Chance(seed, kind.name, round));
  w.remember();
  const NodeId holder = w.holder();
  const Instant from = node_now();
  w.history().say("fault", kind.name + ": " + kind.text + " (" + holder.value + " writes)");
  try {
    try {
      kind.run(w);
    } catch (const Failed& failed) {
      check.violation("the fault did not go as it should: " + failed.why, true);
      w.mend();
    }
    const Instant healed = node_now();
    if (const auto view = w.cluster().await_settled(kRecovers); !view) {
      check.violation("not whole without a hand: " + view.error().message, false);
      v.broken = true;
      return v;
    }
    v.recovery_ms = in_ms(w.begin(w.chance()) - healed);  // and who writes now, and that it does
    check.all(from, node_now(), holder, lost);
  } catch (const Failed& failed) {
    check.violation("not whole: " + failed.why, false);
    v.broken = true;
  }
  w.history().say("verdict", verdict_text(v));
  return v;
}

std::vector<std::string> check_end(World& w, const LostRows& lost) {
  std::vector<std::string> out;
  try {
    w.begin(w.chance());
    for (const dev::ProbeWriter* writer : w.writers()) {
      std::size_t gone = 0;
      for (const dev::ProbeWrite& row : need(dev::missing_rows(w.cluster().application(w.holder()), writer->name(), writer->writes(), kQuery))) gone += lost.contains({writer->name(), row.n}) ? 0 : 1;
      if (gone > 0) out.push_back(std::to_string(gone) + " rows of " + writer->name() + " are gone that were there after their fault");
    }
    if (const std::string differs = digests_differ(w); !differs.empty()) out.push_back(differs);
    const Sequence head = w.head();
    std::string digest, chain;
    const NodeId& first = w.cluster().nodes().front();
    for (const NodeId& node : w.cluster().nodes()) {
      const auto replayed = need(test::replay(w.cluster(), node, head));
      if (digest.empty()) digest = replayed.digest();
      if (chain.empty()) chain = replayed.chain();
      if (replayed.digest() != digest) out.push_back("the log of " + std::to_string(head.value) + " events replayed by " + node.value + " gives digest " + replayed.digest() + ", not " + digest);
      if (replayed.chain() != chain) out.push_back("the log of " + std::to_string(head.value) + " events replayed by " + node.value + " gives another chain than by " + first.value + ": their stored bytes differ, first at event " +
                                               std::to_string(first_difference(w, first, node, head).value));
      if (!replayed.live_digest().empty() && !replayed.equal())
        out.push_back(node.value + " folded " + std::to_string(head.value) + " events live to digest " + replayed.live_digest() + (replayed.live_digest() == replayed.digest() ? ", as replayed, with another chain" : ", replayed to " + replayed.digest()));
    }
    w.note("replayed " + std::to_string(head.value) + " events on every node: " + digest);
  } catch (const Failed& failed) {
    out.push_back("not whole at the end: " + failed.why);
  }
  for (const std::string& what : out) w.history().say("VIOLATION", what);
  return out;
}

}  // namespace daarion::chaos
