// PostgreSQL in the demo: its lease, the way there and back, its rows, and `why`.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/demo/demo.h"

namespace daarion::demo {
namespace {

constexpr double kClockMs = 2;          // stored times and durations are rounded to a millisecond each
constexpr std::size_t kTailRows = 10;   // that the replica never hears of

}  // namespace

void Demo::start_postgres() {
  need(test::make_probe_table(*cluster_, kOne));
  one_ = std::make_unique<dev::ProbeWriter>(cluster_->application(kOne), "at-node1");
  two_ = std::make_unique<dev::ProbeWriter>(cluster_->application(kTwo), "at-node2");
  report_.line("a writer at each PostgreSQL, straight at it, one row every 5 ms");
  need(cluster_->await_that("200 rows acknowledged by node1", seconds(20), cluster_->log_of(kOne, dev::Part::kPostgres), [&] { return one_->count() > kWarmRows; }));
  need(cluster_->await_that("node2's answer to its writer", seconds(20), cluster_->log_of(kTwo, dev::Part::kPostgres),
                            [&] { return two_->last_error().find("read-only") != std::string::npos; }));
  report_.truth("node2 refuses its writer: read-only", two_->count() == 0);
}

/// Bytes of the primary's log per row.
double Demo::bytes_per_row() {
  const auto c = need(cluster_->superuser(kOne, seconds(2)));
  const auto at = [&] { return std::strtod(need(c->query("select pg_current_wal_lsn() - '0/0'::pg_lsn", seconds(2)))[0][0].c_str(), nullptr); };
  const double bytes = at();
  const std::size_t rows = one_->count();
  need(cluster_->await_that("100 rows more", seconds(10), "", [&] { return one_->count() > rows + 100; }));
  return (at() - bytes) / double(one_->count() - rows);
}

/// node1's stream to node2 stands still: so there is something to lose, and something to rewind.
void Demo::hold_the_stream() {
  for (const dev::ProcessInfo& p : cluster_->processes(kOne, dev::Part::kPostgres))
    if (p.command.find("walsender") != std::string::npos) dev::send_signal(p.id, SIGSTOP);
  const std::size_t rows = one_->count();
  need(cluster_->await_that("rows that node2 does not hear of", seconds(5), "", [&] { return one_->count() >= rows + kTailRows; }));
}

void Demo::timeline() {
  need(cluster_->await(kTwo, "the completed promotion", seconds(10), [](const dev::ClusterView& v) { return v.holder_of(kPostgres) == "node2"; }));
  need(read_log());
  const LogEvent* decided = test::last_of<PromotionDecided>(log_);
  const LogEvent* completed = test::last_of<PromotionCompleted>(log_);
  if (!decided || !completed) throw Failed{"the log has no promotion"};
  decision_ = *decided;
  completion_ = *completed;
  const auto& d = std::get<PromotionDecided>(decision_.event.payload);
  const auto& c = std::get<PromotionCompleted>(completion_.event.payload);
  const double zero = double(test::wall_of(killed_)) / 1e6, at = double(decision_.stored_ns) / 1e6 - zero, done = double(completion_.stored_ns) / 1e6 - zero;
  double silent = 0, votes = 0;
  for (const CandidateEvidence& e : d.evidence.candidates)
    if (e.node == kOne) silent = at - double(e.beat_age_ms);
  for (const VoteEvidence& v : d.evidence.votes) votes = std::max(votes, at - double(v.over_ms));
  const double claimed = at + double(c.claimed_ms), promoted = claimed + double(c.promoted_ms);
  report_.step("the timeline, in ms after the kill");
  struct Moment {
    double when;
    const char* what;
    std::string how;
  };
  std::vector<Moment> moments;
  const auto show = [&](double when, const char* what, const std::string& how) { moments.push_back({when, what, how}); };
  show(silent, "silent", "node1's last beat that " + decision_.event.header.node.value + " heard");
  show(0, "killed", "SIGKILL to every process of node1");
  show(votes, "votes", std::to_string(d.evidence.votes.size()) + " of " + std::to_string(d.evidence.voters) + " voters have no promise to node1 left");
  show(at, "decided", "event " + std::to_string(decision_.sequence.value) + ", epoch " + std::to_string(decision_.event.header.epoch.value) + ": " + decision_.event.header.reason);
  show(claimed, "claimed", "a majority promised to node2's session");
  show(promoted, "promoted", "node2's PostgreSQL is open for writing");
  show(gap_ms_, "first write", "acknowledged to the writer at node2");
  show(done, "completed", "event " + std::to_string(completion_.sequence.value) + " is stored");
  std::ranges::stable_sort(moments, {}, &Moment::when);
  nlohmann::ordered_json lines = nlohmann::ordered_json::array();
  for (const Moment& m : moments) {
    char text[64];
    std::snprintf(text, sizeof text, "%+7.0f  %-11s ", m.when, m.what);
    report_.line(text + m.how);
    lines.push_back({{"ms", m.when}, {"what", m.what}, {"text", m.how}});
  }
  report_.keep("timeline", lines);
  // A writer that tries every 5 ms may be served before node2 itself has seen that its engine is open.
  report_.truth("in this order: killed, votes, decided, claimed, first write",
                votes >= 0 && at >= votes && claimed >= at && gap_ms_ + kClockMs >= claimed);
  report_.truth("a new epoch, for another node", d.to == kTwo && decision_.event.header.epoch.value >= 2);
}

void Demo::node1_is_a_replica() {
  need(cluster_->await(kTwo, "node1 streaming from node2", kRejoin, [](const dev::ClusterView& v) { return v.streams(kPostgres, "node1"); }));
  rejoin_ms_ = to_double_ms(node_now() - returned_);
  need(cluster_->await_that("node1's answer to its writer", seconds(10), "", [&] { return one_->last_error().find("read-only") != std::string::npos; }));
  report_.truth("node1 stays read-only: its writer gets nothing acknowledged", one_->first_after(returned_) == kNever);
  const auto c = need(cluster_->superuser(kOne, seconds(2)));
  report_.truth("node1's PostgreSQL is in recovery", need(c->query("select pg_is_in_recovery()", seconds(2)))[0][0] == "t");
  const LogEvent* rejoined = nullptr;
  (void)cluster_->await_that("ReplicaRejoined", seconds(10), "", [&] {
    if (!read_log()) return false;
    rejoined = test::last_of<ReplicaRejoined>(log_, completion_.sequence);
    return rejoined != nullptr;
  });
  const std::string method = rejoined ? std::get<ReplicaRejoined>(rejoined->event.payload).method : "nothing in the log";
  report_.line("PostgreSQL is back and streams after " + ms(rejoin_ms_) + ", by " + method);
  report_.truth("node1 rewinds what only it had, and follows node2", method == "rewind");
  report_.keep("rejoin", nlohmann::ordered_json{{"ms", rejoin_ms_}, {"method", method}});
}

void Demo::switchover_home() {
  need(cluster_->await_settled(kRejoin));
  report_.step("switchover home to node1");
  const Instant asked = node_now();
  need(test::switchover(*cluster_, kThree, kOne, "demo: home again"));
  need(cluster_->await_that("a row acknowledged by node1", kFailover, cluster_->log_of(kOne, dev::Part::kDaemon),
                            [&] { return one_->first_after(asked) != kNever; }));
  const Instant first = one_->first_after(asked);
  switch_ms_ = to_double_ms(dev::longest_gap({one_.get(), two_.get()}, asked, first).length());
  report_.line("asked to first row " + ms(to_double_ms(first - asked)) + ", without a writer for " + ms(switch_ms_));
  need(cluster_->await_settled(kRejoin));
}

void Demo::count_rows() {
  report_.step("rows acknowledged against rows present");
  one_->stop();
  two_->stop();
  const auto lost_one = need(dev::missing_rows(cluster_->application(kOne), *one_, seconds(5)));
  const auto lost_two = need(dev::missing_rows(cluster_->application(kOne), *two_, seconds(5)));
  lost_ = static_cast<std::size_t>(std::ranges::count_if(lost_one, [&](const dev::ProbeWrite& w) { return w.at <= killed_ + milliseconds(100); }));
  lost_later_ = lost_one.size() - lost_ + lost_two.size();
  const std::uint64_t bound = std::get<PromotionDecided>(decision_.event.payload).loss_bytes;
  const double lost_bytes = double(lost_) * row_bytes_;
  within_ = lost_bytes <= double(bound);
  report_.line(std::to_string(one_->count() + two_->count()) + " acknowledged: " + std::to_string(one_->count()) + " by node1, " + std::to_string(two_->count()) + " by node2");
  report_.line("lost by the failover: " + std::to_string(lost_) + " rows, about " + std::to_string(static_cast<long>(lost_bytes)) + " B; the decision announced at most " + std::to_string(bound) + " B");
  report_.truth("the loss of the failover is within the announced bound", within_);
  report_.truth("the switchover lost no row", lost_later_ == 0);
  report_.keep("rows", nlohmann::ordered_json{{"acknowledged", one_->count() + two_->count()}, {"lost_by_failover", lost_}, {"lost_bytes", lost_bytes},
                                              {"announced_bytes", bound}, {"lost_by_switchover", lost_later_}});
}

void Demo::why() {
  report_.step("why " + std::to_string(decision_.sequence.value));
  const auto said = need(test::explain(*cluster_, kThree, decision_.sequence));
  report_.line(said.kind() + " to " + said.to() + ", epoch " + std::to_string(said.epoch()) + ", by " + said.decider() + ": " + said.reason());
  for (const v1::VoteView& v : said.votes())
    report_.line("vote      " + v.voter() + ": promise over for " + ms(double(v.over_ms())) + ", highest epoch " + std::to_string(v.highest_epoch()));
  nlohmann::ordered_json verdicts = nlohmann::ordered_json::array();
  for (const v1::CandidateVerdict& c : said.candidates()) {
    report_.line("candidate " + c.node() + ": " + (c.eligible() ? "eligible" : "no") + " (" + c.rule() + ") " + c.detail());
    verdicts.push_back({{"node", c.node()}, {"eligible", c.eligible()}, {"rule", c.rule()}, {"detail", c.detail()}});
  }
  report_.keep("why", nlohmann::ordered_json{{"sequence", decision_.sequence.value}, {"to", said.to()}, {"agrees", said.agrees()}, {"candidates", verdicts}});
  report_.truth("every candidate has a verdict, and the same evidence gives the same decision again", said.candidates_size() == 2 && said.agrees());
}

}  // namespace daarion::demo
