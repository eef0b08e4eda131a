#include "controlplane/api/incident_view.h"
#include "controlplane/api/log_views.h"

#include <gtest/gtest.h>

#include <set>

#include <nlohmann/json.hpp>

#include "consumers/state_store.h"
#include "streams/codec.h"
#include "tests/api/fake_cluster.h"
#include "tests/unit/sim_log.h"

namespace daarion {
namespace {

/// A log that never grows.
class ListReader final : public LogReader {
 public:
  ListReader(const std::vector<StoredMessage>& log, Sequence from) : log_(log), next_(from.value) {}
  Result<std::span<StoredMessage>> read(std::size_t, Duration) override {
    if (next_ > log_.size()) return std::span<StoredMessage>{};
    one_ = log_[next_++ - 1];
    return std::span(&one_, 1);
  }
  void heard_head(Sequence) override {}

 private:
  const std::vector<StoredMessage>& log_;
  std::uint64_t next_;
  StoredMessage one_;
};

OpenReader reader_of(const std::vector<StoredMessage>& log) {
  return [&log](Sequence from) -> Result<std::unique_ptr<LogReader>> { return std::make_unique<ListReader>(log, from); };
}

TEST(FoldLog, GivesTheStateOfEveryMoment) {
  const std::vector<StoredMessage> log = test::sim_log(3);
  State expected;
  for (const StoredMessage& m : log) {
    expected = fold(std::move(expected), *decode_event(m));
    const auto folded = fold_log(reader_of(log), {.sequence = m.sequence}, {});
    ASSERT_TRUE(folded) << folded.error().message;
    ASSERT_EQ(folded->state, expected);
    const auto by_time = fold_log(reader_of(log), {.sequence = {log.size()}, .time_ns = m.stored_ns}, {});
    ASSERT_TRUE(by_time);
    ASSERT_GE(by_time->state.applied, m.sequence) << "events of the same nanosecond belong to it";
    ASSERT_LE(by_time->state.applied_ns, m.stored_ns);
  }
}

TEST(FoldLog, EndsWhenNobodyWaitsAndWhenTheLogIsSilent) {
  const std::vector<StoredMessage> log = test::sim_log(3);
  EXPECT_FALSE(fold_log(reader_of(log), {.sequence = {log.size()}}, [] { return true; }));
  const auto beyond = fold_log(reader_of(log), {.sequence = {log.size() + 1}}, {});
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().remedy, Remedy::kRetry);
  const auto before = fold_log(reader_of(log), {.sequence = {log.size()}, .time_ns = -1}, {});
  ASSERT_FALSE(before);
  EXPECT_EQ(before.error().remedy, Remedy::kFixInput);
}

TEST(StateJson, HasEveryTableOfSimulatedClusters) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const std::vector<StoredMessage> log = test::sim_log(seed);
    const auto folded = fold_log(reader_of(log), {.sequence = {log.size()}}, {});
    ASSERT_TRUE(folded);
    const auto json = nlohmann::json::parse(state_json(folded->state));
    EXPECT_EQ(json["members"].size(), folded->state.members.size());
    EXPECT_EQ(json["leases"].size(), folded->state.leases.size());
    EXPECT_EQ(json["log"]["log"], to_text(folded->state.log.log));
    EXPECT_EQ(json["requests"].size(), folded->state.requests.size());
    for (const auto& [resource, lease] : folded->state.leases) {
      EXPECT_EQ(json["leases"][resource.value]["epoch"], lease.epoch.value);
      EXPECT_EQ(json["leases"][resource.value]["ended"].size(), lease.ended.size());
    }
  }
}

TEST(ExplainAt, EveryDecisionOfSimulatedClustersHasPhases) {
  std::size_t completed = 0, triggered = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::vector<StoredMessage> log = test::sim_log(seed);
    for (const StoredMessage& m : log) {
      const Payload payload = decode_event(m)->event.payload;
      const bool decided = std::holds_alternative<PromotionDecided>(payload);
      const bool of_voters = std::holds_alternative<VoterSetChanged>(payload) || std::holds_alternative<OverrideGranted>(payload);
      const auto why = explain_at(reader_of(log), m.sequence, {log.size()});
      ASSERT_EQ(why.has_value(), decided || of_voters);
      if (!decided) continue;
      ASSERT_GE(why->phases_size(), 1);
      EXPECT_EQ(why->phases(0).name(), "decided");
      completed += why->phases(why->phases_size() - 1).name() == "completed";
      triggered += why->has_trigger();
      EXPECT_TRUE(!why->has_trigger() || why->trigger().sequence() < m.sequence.value);
    }
  }
  EXPECT_GT(completed, 20u);
  EXPECT_GT(triggered, 10u);
}

TEST(ExplainAt, EveryChangeOfTheVotersSaysWhoGaveItsWordAndWhatTheFoldMadeOfIt) {
  std::size_t changes = 0, with_words = 0, overrides = 0, refused = 0;
  for (std::uint64_t seed = 1; seed <= 400 && (overrides < 3 || with_words < 10 || refused < 1); ++seed) {
    const std::vector<StoredMessage> log = test::sim_log(seed);
    State before;
    for (const StoredMessage& m : log) {
      const auto event = decode_event(m);
      const State after = fold(before, *event);
      const auto* change = std::get_if<VoterSetChanged>(&event->event.payload);
      const auto* granted = std::get_if<OverrideGranted>(&event->event.payload);
      if (change != nullptr || granted != nullptr) {
        const auto why = explain_at(reader_of(log), m.sequence, {log.size()});
        ASSERT_TRUE(why) << why.error().message;
        const bool taken = after.voters.id == event->event.header.id;
        EXPECT_EQ(why->phases(0).name(), taken ? "taken" : "refused") << "seed " << seed << " event " << m.sequence.value;
        EXPECT_EQ(why->kind(), change ? "voter_set" : "override");
        std::set<std::string> stay;
        for (const v1::CandidateVerdict& c : why->candidates())
          if (c.eligible()) stay.insert(c.node());
        if (taken) {
          EXPECT_EQ(stay.size(), after.voters.voters.size());
        }
        ++changes;
        with_words += change && !change->words.empty() ? 1 : 0;
        overrides += granted && taken ? 1 : 0;
        refused += taken ? 0 : 1;
      }
      before = after;
    }
  }
  EXPECT_GT(changes, 20u);
  EXPECT_GE(with_words, 10u);
  EXPECT_GE(overrides, 3u);
  EXPECT_GE(refused, 1u);
}

TEST(IncidentAt, EveryFailoverOfSimulatedClustersIsAStory) {
  std::size_t stories = 0, over = 0, promoted = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::vector<StoredMessage> log = test::sim_log(seed);
    for (const StoredMessage& m : log) {
      const LogEvent event = *decode_event(m);
      const auto* decided = std::get_if<PromotionDecided>(&event.event.payload);
      if (decided == nullptr || decided->kind == DecisionKind::kBootstrap || decided->kind == DecisionKind::kKeep) continue;
      if (decided->evidence.last_holder.empty()) continue;  // said by hand: it names nobody who lost anything
      const auto found = incident_at(reader_of(log), m.sequence, {log.size()});
      ASSERT_TRUE(found) << "seed " << seed << " event " << m.sequence.value << ": " << found.error().message;
      ++stories;
      over += found->over();
      std::set<std::uint64_t> before;
      std::int64_t last_ms = 0;
      for (const v1::IncidentStep& step : found->steps()) {
        EXPECT_GE(step.after_ms(), last_ms);
        last_ms = step.after_ms();
        EXPECT_TRUE(step.led_by() == 0 || before.contains(step.led_by())) << "only what came before leads to anything";
        before.insert(step.event().sequence());
        const auto same = incident_at(reader_of(log), {step.event().sequence()}, {log.size()});
        ASSERT_TRUE(same) << same.error().message;
      }
      EXPECT_TRUE(before.contains(m.sequence.value));
      for (const v1::IncidentMove& move : found->moves()) {
        std::uint64_t phase_ms = 0;
        for (const v1::Phase& p : move.phases()) {
          EXPECT_GE(p.after_ms() + 1, phase_ms) << p.name() << " of event " << move.sequence() << " of seed " << seed;
          phase_ms = p.after_ms();
          promoted += p.name() == "promoted";
        }
      }
    }
  }
  EXPECT_GT(stories, 20u);
  EXPECT_GT(over, 10u);
  EXPECT_GT(promoted, 20u);
}

TEST(ParseTime, ReadsRfc3339AndNothingElse) {
  EXPECT_EQ(parse_time("2026-09-21T14:13:20Z"), 1'790'000'000'000'000'000);
  EXPECT_EQ(parse_time("2026-09-21T14:13:20.123456789Z"), 1'790'000'000'123'456'789);
  EXPECT_EQ(parse_time("2026-09-21t16:13:20+02:00"), 1'790'000'000'000'000'000);
  EXPECT_EQ(parse_time("2026-09-21 09:43:20.5-04:30"), 1'790'000'000'500'000'000);
  EXPECT_EQ(parse_time("2028-02-29T00:00:00Z"), 1'835'395'200'000'000'000);
  for (const char* bad : {"", "yesterday", "2026-09-21", "2026-09-21T14:13:20", "2026-09-21T14:13Z", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-09-21T24:00:00Z",
                          "2026-09-21T14:13:20.Z", "2026-09-21T14:13:20Zx", "2026-09-21T14:13:20+2:00", "2026/09/21T14:13:20Z", "99999-01-01T00:00:00Z"})
    EXPECT_FALSE(parse_time(bad)) << bad;
}

}  // namespace
}  // namespace daarion
