// The log on real servers: append, read, repair, and what happens when servers die meanwhile.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "streams/js_request.h"
#include "streams/log_replicas.h"
#include "streams/log_stream.h"
#include "streams/nats_appender.h"
#include "streams/nats_beat_link.h"
#include "streams/nats_handles.h"
#include "streams/nats_log_reader.h"
#include "tests/integration/helpers.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = AppendResult::Outcome;

TEST(LogStream, IsMadeAndMendedAndNeverMadeAnew) {
  const NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  const auto appender = make_nats_appender(connection);
  ASSERT_EQ(appender->append(subject(1), "one", {1, 1}, seconds(5)).outcome, Outcome::kStored);
  // Somebody turns direct gets off, and lets messages be dropped.
  const std::string damaged = R"({"name":"CLUSTER_LOG","subjects":["cluster.log.>"],"retention":"limits","storage":"file","num_replicas":1,)"
                              R"("republish":{"src":"cluster.log.>","dest":"cluster.events.>"},"max_msgs":1000,"discard":"old","deny_delete":true,"deny_purge":true,"allow_direct":false})";
  natsMsg* answer = nullptr;
  ASSERT_EQ(natsConnection_Request(&answer, connection->handles().link()->nc, "$JS.API.STREAM.UPDATE.CLUSTER_LOG", damaged.data(),
                                   static_cast<int>(damaged.size()), 2000), NATS_OK);
  const auto config = [](natsMsg* m) { return data_of(m); };
  const std::string said = config(MsgPtr(answer).get());
  ASSERT_NE(said.find("\"max_msgs\":1000"), std::string::npos) << said;
  ASSERT_TRUE(provision_core_streams(*connection, 1, seconds(2)));
  ASSERT_EQ(natsConnection_Request(&answer, connection->handles().link()->nc, "$JS.API.STREAM.INFO.CLUSTER_LOG", nullptr, 0, 2000), NATS_OK);
  const MsgPtr mended(answer);
  EXPECT_NE(config(mended.get()).find("\"max_msgs\":-1"), std::string::npos) << config(mended.get());
  EXPECT_NE(config(mended.get()).find("\"allow_direct\":true"), std::string::npos);
  EXPECT_NE(config(mended.get()).find("cluster.events."), std::string::npos);
  const auto info = make_nats_log_info(connection);
  const auto head = info->head(seconds(2));
  ASSERT_TRUE(head);
  EXPECT_TRUE(head->exists);
  EXPECT_EQ(head->head.value, 1u);
}

TEST(Appender, FirstOfAVersionWinsAndARepeatIsTheSameEvent) {
  const NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  const auto appender = make_nats_appender(connection);
  const AppendResult first = appender->append(subject(1), "ours", {7, 1}, seconds(5));
  EXPECT_EQ(first.outcome, Outcome::kStored);
  const AppendResult again = appender->append(subject(1), "ours", {7, 1}, seconds(5));
  EXPECT_EQ(again.outcome, Outcome::kStored);
  EXPECT_EQ(again.sequence, first.sequence);
  const AppendResult other = appender->append(subject(1), "theirs", {8, 1}, seconds(5));
  EXPECT_EQ(other.outcome, Outcome::kConflict);
  EXPECT_EQ(other.sequence, first.sequence);
}

/// A refused append is published all the same: the servers count it, and some count wrong later (docs/adr/0006).
TEST(Appender, WhereAnotherIsNothingIsPublished) {
  const NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  const auto appender = make_nats_appender(connection);
  natsSubscription* raw = nullptr;
  ASSERT_EQ(natsConnection_SubscribeSync(&raw, connection->handles().link()->nc, "cluster.log.>"), NATS_OK);
  const std::unique_ptr<natsSubscription, void (*)(natsSubscription*)> published(raw, natsSubscription_Destroy);
  const AppendResult ours = appender->append_if_free(subject(1), "ours", {7, 1}, seconds(5));
  EXPECT_EQ(ours.outcome, Outcome::kStored);
  const auto another = make_nats_appender(connection);
  const AppendResult theirs = another->append_if_free(subject(1), "theirs", {8, 1}, seconds(5));
  EXPECT_EQ(theirs.outcome, Outcome::kConflict);
  EXPECT_EQ(theirs.sequence, ours.sequence);
  EXPECT_EQ(another->append_if_free(subject(1), "ours", {7, 1}, seconds(5)).outcome, Outcome::kStored) << "a repeat";
  EXPECT_EQ(another->append_if_free(subject(2), "next", {9, 1}, seconds(5)).outcome, Outcome::kStored);
  for (const int n : {1, 2}) {
    natsMsg* message = nullptr;
    ASSERT_EQ(natsSubscription_NextMsg(&message, raw, 2000), NATS_OK);
    EXPECT_EQ(natsMsg_GetSubject(MsgPtr(message).get()), subject(n));
  }
}

/// The leader is there, and takes what is published; it is alone, and can store nothing.
TEST(Appender, ALeaderThatHearsNobodyIsGivenNothing) {
  NatsServers servers({.size = 3});
  const auto connection = connect(servers, {0, 1, 2});
  provision(*connection, 3);
  const auto appender = make_nats_appender(connection);
  ASSERT_EQ(appender->append_if_free(subject(1), "one", {7, 1}, seconds(10)).outcome, Outcome::kStored);
  const std::string leader = stream_leader(*connection, kClusterLog, seconds(5));
  int led_by = 3;
  for (int i = 0; i < 3; ++i)
    if (servers.name(i) == leader) led_by = i;
  ASSERT_LT(led_by, 3) << leader;
  const auto alone = connect(servers, {led_by});
  const auto to_leader = make_nats_appender(alone);
  natsSubscription* raw = nullptr;
  ASSERT_EQ(natsConnection_SubscribeSync(&raw, alone->handles().link()->nc, "cluster.log.>"), NATS_OK);
  const std::unique_ptr<natsSubscription, void (*)(natsSubscription*)> published(raw, natsSubscription_Destroy);
  for (int i = 0; i < 3; ++i)
    if (i != led_by) servers.freeze(i);
  const auto silent_for = std::chrono::steady_clock::now() + seconds(3);
  while (std::chrono::steady_clock::now() < silent_for)
    if (!js_request(*alone, "$JS.API.STREAM.INFO.CLUSTER_LOG", nullptr, milliseconds(200)).map([](const auto& info) { return in_touch(info); }).value_or(false)) break;
  EXPECT_EQ(to_leader->append_if_free(subject(2), "in vain", {8, 1}, seconds(1)).outcome, Outcome::kUnknown);
  natsMsg* message = nullptr;
  EXPECT_EQ(natsSubscription_NextMsg(&message, raw, 100), NATS_TIMEOUT) << "it was published all the same";
  const MsgPtr none(message);
  for (int i = 0; i < 3; ++i)
    if (i != led_by) servers.thaw(i);
  EXPECT_EQ(appender->append_if_free(subject(2), "two", {9, 1}, seconds(20)).outcome, Outcome::kStored);
}

TEST(Appender, ManyInFlightGetTheAnswersThatEachWouldGetAlone) {
  constexpr std::uint64_t kMany = 3000;  // more than are sent without an answer
  NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  const auto appender = make_nats_appender(connection);
  const AppendResult theirs = appender->append(subject(7), "theirs", {8, 1}, seconds(5));
  const AppendResult before = appender->append(subject(9), "ours", {7, 9}, seconds(5));
  std::vector<AppendItem> items;
  for (std::uint64_t i = 1; i <= kMany; ++i) items.push_back({subject(i), "ours", {7, i}});
  const auto results = appender->append_all(items, seconds(20));
  ASSERT_EQ(results.size(), items.size());
  std::set<std::uint64_t> sequences;
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    const AppendResult& r = results[i - 1];
    ASSERT_EQ(r.outcome, i == 7 ? Outcome::kConflict : Outcome::kStored) << i;
    sequences.insert(r.sequence.value);
  }
  EXPECT_EQ(results[6].sequence, theirs.sequence);
  EXPECT_EQ(results[8].sequence, before.sequence) << "a repeat is the same event";
  EXPECT_EQ(sequences.size(), kMany);
  EXPECT_EQ(make_nats_log_info(connection)->head(seconds(2))->head.value, kMany) << "each is in the log once";

  servers.kill(0);
  EXPECT_EQ(appender->append_all({{subject(kMany + 1), "late", {9, 1}}}, milliseconds(300))[0].outcome, Outcome::kUnknown);
}

TEST(Appender, SaysUnknownWhenNobodyAnswersAndFindsTheTruthLater) {
  NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  const auto appender = make_nats_appender(connection);
  servers.kill(0);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(appender->append(subject(1), "late", {1, 1}, milliseconds(1500)).outcome, Outcome::kUnknown);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(4));
  servers.start(0);
  const AppendResult after = appender->append(subject(1), "late", {1, 1}, seconds(20));
  EXPECT_EQ(after.outcome, Outcome::kStored) << "whether stored then or now, it is ours";
  EXPECT_EQ(after.sequence.value, 1u);
}

TEST(Connection, NamesWhatIsWrong) {
  const NatsServers servers({.size = 1});
  (void)connect(servers, {0});
  NatsEndpoint wrong = servers.endpoint({0}, "wrong");
  wrong.password = "no";
  auto refused = Connection::open(wrong);
  ASSERT_TRUE(refused);
  const auto why = (*refused)->wait_connected(seconds(3));
  ASSERT_FALSE(why);
  EXPECT_EQ(why.error().remedy, Remedy::kFixInput) << why.error().message;
  EXPECT_NE(why.error().message.find(servers.url(0)), std::string::npos);
  auto nobody = Connection::open({.urls = {"nats://127.0.0.1:1"}, .user = {}, .password = {}, .name = "nobody"});
  ASSERT_TRUE(nobody);
  const auto silence = (*nobody)->wait_connected(milliseconds(300));
  ASSERT_FALSE(silence);
  EXPECT_EQ(silence.error().remedy, Remedy::kRetry);
  EXPECT_NE(silence.error().message.find("127.0.0.1:1"), std::string::npos);
}

/// All that the first server says to a client that says nothing.
std::string greeting_of(const NatsServers& servers) {
  std::string said;
  (void)until_done([&]() -> Result<void> {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const std::string url = servers.url(0);
    const auto host = url.find("//") + 2, port = url.rfind(':');
    sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(port + 1)))), .sin_addr = {}, .sin_zero = {}};
    ::inet_pton(AF_INET, url.substr(host, port - host).c_str(), &to.sin_addr);
    const bool open = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    std::array<char, 4096> some{};
    for (ssize_t n = 0; open && (n = ::read(fd, some.data(), some.size())) > 0;) said.append(some.data(), static_cast<std::size_t>(n));
    ::close(fd);
    if (!open) return fail(Remedy::kRetry, "not there yet");
    return {};
  });
  return said;
}

/// A server too busy to read a greeting in time says "Authentication Timeout", and the library gives the connection up as if it had been refused.
TEST(Connection, TakesABusyServerForNoRefusal) {
  NatsServers servers({.size = 1});
  servers.kill(0);
  servers.set_login_limit(0.000001);
  servers.start(0);
  ASSERT_NE(greeting_of(servers).find("Authentication Timeout"), std::string::npos) << "the server does not do what this is about";
  const auto connection = Connection::open(servers.endpoint({0}, "patient"));
  ASSERT_TRUE(connection);
  const auto up = (*connection)->wait_connected(milliseconds(2500));  // it is tried anew each second
  ASSERT_FALSE(up);
  EXPECT_EQ(up.error().remedy, Remedy::kRetry) << up.error().message;
  servers.kill(0);
  servers.set_login_limit(0);
  servers.start(0);
  const auto back = until_done([&] { return (*connection)->wait_connected(milliseconds(100)); });
  EXPECT_TRUE(back) << back.error().message;
}

/// The library gives a connection up for ever when it is refused; a rolling change of passwords must not cut a daemon off.
TEST(Connection, ComesBackWhenItsPasswordIsAcceptedAgain) {
  NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  const auto reader = make_nats_log_reader({connection}, kClusterLog, {1});
  servers.kill(0);
  servers.set_password("changed");
  servers.start(0);
  const auto refused = until_done([&]() -> Result<void> {
    const auto up = connection->wait_connected(milliseconds(1));
    if (up || up.error().remedy != Remedy::kFixInput) return fail(Remedy::kRetry, "not refused yet");
    return {};
  });
  ASSERT_TRUE(refused);
  std::this_thread::sleep_for(milliseconds(500));  // the second refusal, after which the library closes
  servers.kill(0);
  servers.set_password(NatsServers::kPassword);
  servers.start(0);
  const auto back = until_done([&] { return connection->wait_connected(milliseconds(100)); });
  ASSERT_TRUE(back) << back.error().message;
  const auto appended = make_nats_appender(connection)->append(subject(1), "after", {1, 1}, seconds(20));
  ASSERT_EQ(appended.outcome, Outcome::kStored);
  EXPECT_EQ(read(*reader, 1).at(0).payload, "after");
}

/// A server may answer pings and pass no answers on: who waits there leaves it, says so, and is told at the next one; a lone lost answer moves nobody.
TEST(Connection, LeavesAServerThatPassesNoAnswersOn) {
  const NatsServers deaf({.size = 1}), sound({.size = 1});
  const char* question = "cluster.test.question";
  const auto at_deaf = connect(deaf, {0}), at_sound = connect(sound, {0});
  Listener takes_it(at_deaf, question);  // and never answers: without it the server would say at once that nobody is there
  natsSubscription* raw = nullptr;
  const auto answer = [](natsConnection* nc, natsSubscription*, natsMsg* asked, void*) {
    const MsgPtr message(asked);
    natsConnection_PublishString(nc, natsMsg_GetReply(asked), "{}");
  };
  ASSERT_EQ(natsConnection_Subscribe(&raw, at_sound->handles().link()->nc, question, answer, nullptr), NATS_OK);
  Subscription answers;
  answers.take(at_sound->handles().link(), raw);
  ASSERT_EQ(natsConnection_Flush(at_sound->handles().link()->nc), NATS_OK);
  ASSERT_EQ(natsConnection_Flush(at_deaf->handles().link()->nc), NATS_OK);
  NatsEndpoint both = deaf.endpoint({0}, "test");
  both.urls.push_back(sound.url(0));
  std::vector<std::string> said;
  both.leaves = [&](const std::string& done) { said.push_back(done); };
  const auto connection = Connection::open(both);
  ASSERT_TRUE(connection && (*connection)->wait_connected(seconds(10)));
  const auto ask = [&] { return js_request(**connection, question, nullptr, milliseconds(200)).has_value(); };
  EXPECT_FALSE(ask());
  EXPECT_FALSE(ask());
  EXPECT_TRUE(said.empty()) << "no longer than answers are lost with a leader";
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(becomes(ask, seconds(20)));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(10));
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], "requests at " + deaf.url(0) + " have no answer (" + question + "): asking " + sound.url(0) + " from now on");
}

TEST(Connection, PrintsNoPassword) {
  auto nobody = Connection::open({.urls = {"nats://someone:s3cret@127.0.0.1:1"}, .user = {}, .password = {}, .name = "nobody"});
  ASSERT_TRUE(nobody);
  const auto why = (*nobody)->wait_connected(milliseconds(50));
  ASSERT_FALSE(why);
  EXPECT_EQ(why.error().message.find("s3cret"), std::string::npos) << why.error().message;
  EXPECT_NE(why.error().message.find("nats://127.0.0.1:1"), std::string::npos);
}

TEST(LogReader, CatchesUpThenFollowsWithoutGapOrRepeat) {
  const NatsServers servers({.size = 1});
  const auto a = connect(servers, {0}), b = connect(servers, {0});
  provision(*a, 1);
  const auto appender = make_nats_appender(a);
  for (std::uint64_t i = 1; i <= 300; ++i) ASSERT_EQ(appender->append(subject(i), "e" + std::to_string(i), {1, i}, seconds(5)).sequence.value, i);
  const auto reader = make_nats_log_reader({a, b}, kClusterLog, {1});
  auto seen = read(*reader, 300);
  for (std::uint64_t i = 301; i <= 400; ++i) appender->append(subject(i), "e" + std::to_string(i), {1, i}, seconds(5));
  for (auto& message : read(*reader, 100)) seen.push_back(message);
  for (std::uint64_t i = 1; i <= seen.size(); ++i) {
    EXPECT_EQ(seen[i - 1].sequence.value, i);
    EXPECT_EQ(seen[i - 1].subject, subject(i));
    EXPECT_EQ(seen[i - 1].payload, "e" + std::to_string(i));
    EXPECT_GT(seen[i - 1].stored_ns, 1'700'000'000'000'000'000) << "JetStream's own time";
  }
  // From the middle, on another connection: the same bytes and the same times, however they came.
  const auto other = make_nats_log_reader({b}, kClusterLog, {250});
  const auto again = read(*other, 151);
  for (std::size_t i = 0; i < again.size(); ++i) EXPECT_EQ(again[i], seen[249 + i]);
}

EventHead head_at(std::uint64_t sequence, const EventId& id, std::int64_t stored_ns = 0) { return {{sequence}, id, {}, {}, {}, stored_ns}; }

TEST(LogInfo, TellsWhetherAnEventStandsInItsPlace) {
  const NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  ASSERT_EQ(make_nats_appender(connection)->append(subject(1), "one", {1, 1}, seconds(5)).outcome, Outcome::kStored);
  const auto info = make_nats_log_info(connection);
  const auto there = info->look(head_at(1, {1, 1}), seconds(2)), other = info->look(head_at(1, {1, 2}), seconds(2)), beyond = info->look(head_at(10, {1, 10}), seconds(2));
  ASSERT_TRUE(there && other && beyond);
  EXPECT_TRUE(there->same);
  EXPECT_FALSE(other->same);
  EXPECT_FALSE(beyond->same);
  EXPECT_EQ(beyond->head, Sequence{1});
  // Another try of the same append has its id, and another time.
  const auto stored = make_nats_log_reader({connection}, kClusterLog, {1})->next(seconds(2));
  ASSERT_TRUE(stored && *stored);
  const auto same = info->look(head_at(1, {1, 1}, (*stored)->stored_ns), seconds(2)), again = info->look(head_at(1, {1, 1}, (*stored)->stored_ns + 1), seconds(2));
  ASSERT_TRUE(same && again);
  EXPECT_TRUE(same->same);
  EXPECT_FALSE(again->same);
  EXPECT_FALSE(make_nats_log_info(connection, "NO_SUCH_STREAM")->look(head_at(1, {1, 1}), seconds(2))) << "no stream is no word on an event";
  // A reader beyond the end waits.
  const auto next = make_nats_log_reader({connection}, kClusterLog, {10})->next(milliseconds(300));
  ASSERT_TRUE(next);
  EXPECT_FALSE(next->has_value());
}

/// Two servers may each keep another try of one append: the same id in the same place, stored at another time.
TEST(LogReplicas, AreComparedByIdAndByTime) {
  const NatsServers servers({.size = 3});
  const auto connection = connect(servers, {0, 1, 2});
  provision(*connection, 3);
  const auto appender = make_nats_appender(connection);
  for (std::uint64_t n = 1; n <= 3; ++n) ASSERT_EQ(appender->append(subject(static_cast<int>(n)), "event", {1, n}, seconds(20)).outcome, Outcome::kStored);
  EventHeads heads;
  const auto reader = make_nats_log_reader({connection}, kClusterLog, {1});
  for (std::uint64_t n = 1; n <= 3; ++n) {
    const auto stored = reader->next(seconds(5));
    ASSERT_TRUE(stored && *stored);
    heads.push_back(head_at(n, {1, n}, (*stored)->stored_ns));
  }
  const auto agree = [&](const EventHeads& with) {
    const auto keeper = make_replica_keeper(connection, nullptr, kClusterLog, {}, 3);
    keeper->rest(with);
    const auto all = keeper->may_lead(seconds(2));
    return all && *all;
  };
  EXPECT_TRUE(becomes([&] { return agree(heads); })) << "followers have what the leader has, and when";
  heads[1].stored_ns += 1;
  EXPECT_FALSE(agree(heads));
  heads[1].stored_ns = 0;
  EXPECT_TRUE(becomes([&] { return agree(heads); })) << "not known: as a store of before has it";
}

/// A leader that hears no other server may be one that was cut off: the log may go on elsewhere.
TEST(LogInfo, ALeaderAloneSaysNothingOfWhatIsLost) {
  NatsServers servers({.size = 3});
  const auto connection = connect(servers, {0, 1, 2});
  provision(*connection, 3);
  ASSERT_EQ(make_nats_appender(connection)->append(subject(1), "one", {1, 1}, seconds(20)).outcome, Outcome::kStored);
  const auto info = make_nats_log_info(connection);
  ASSERT_TRUE(becomes([&] {
    const auto beyond = info->look(head_at(10, {1, 10}), seconds(2));
    return beyond && !beyond->same;
  })) << "a majority is there";
  const std::string leader = stream_leader(*connection, kClusterLog, seconds(2));
  int kept = 0;
  for (int s = 0; s < 3; ++s)
    if (servers.name(s) == leader) kept = s;
  const auto alone = connect(servers, {kept});
  for (int s = 0; s < 3; ++s)
    if (s != kept) servers.kill(s);
  std::this_thread::sleep_for(seconds(3));
  const auto of_alone = make_nats_log_info(alone)->look(head_at(10, {1, 10}), seconds(1));
  EXPECT_FALSE(of_alone) << "it leads on for some 10 s, and hears nobody";
}

TEST(LogReader, AnEdgeReadsItsMirrorWithTheSameBytesAndTimes) {
  const NatsServers servers({.size = 1, .edges = 1});
  const auto core = connect(servers, {0}), edge = connect(servers, {1});
  provision(*core, 1);
  const auto done = until_done([&] { return provision_edge_mirrors(*edge, "core", NodeId("edge"), seconds(2)); });
  ASSERT_TRUE(done) << done.error().message;
  const auto appender = make_nats_appender(core);
  for (std::uint64_t i = 1; i <= 100; ++i) ASSERT_EQ(appender->append(subject(i), "e" + std::to_string(i), {1, i}, seconds(5)).outcome, Outcome::kStored);
  const auto at_core = make_nats_log_reader({core}, kClusterLog, {1});
  const auto at_edge = make_nats_log_reader({edge}, kLogMirror, {1});
  EXPECT_EQ(read(*at_core, 100), read(*at_edge, 100));
}

/// Three servers, one appender and one reader while the stream's leader is killed: nothing that was acknowledged is missing.
TEST(LogReader, LosesNothingWhenTheLeaderDies) {
  NatsServers servers({.size = 3});
  const auto a = connect(servers, {0, 1, 2}), b = connect(servers, {1, 2, 0});
  provision(*a, 3);
  const auto reader = make_nats_log_reader({a, b}, kClusterLog, {1});
  const auto appender = make_nats_appender(b);
  std::string leader;
  const auto found = until_done([&]() -> Result<void> {
    leader = stream_leader(*a, kClusterLog, seconds(1));
    if (leader.empty()) return fail(Remedy::kRetry, "no leader");
    return {};
  });
  ASSERT_TRUE(found);
  std::uint64_t stored = 0;
  for (std::uint64_t i = 1; i <= 60; ++i) {
    if (i == 20)
      for (int s = 0; s < 3; ++s)
        if (servers.name(s) == leader) servers.kill(s);
    const AppendResult result = appender->append(subject(i), "e" + std::to_string(i), {1, i}, seconds(30));
    ASSERT_EQ(result.outcome, Outcome::kStored) << i;
    EXPECT_EQ(result.sequence.value, i);
    stored = i;
  }
  const auto seen = read(*reader, stored);
  for (std::uint64_t i = 1; i <= seen.size(); ++i) EXPECT_EQ(seen[i - 1].payload, "e" + std::to_string(i));
}

TEST(BeatLink, ReachesTheOtherNodeAlsoWhenOneServerIsFrozen) {
  NatsServers servers({.size = 3});
  const auto a1 = connect(servers, {0, 1, 2}), a2 = connect(servers, {1, 2, 0}), b1 = connect(servers, {1, 0, 2}), b2 = connect(servers, {2, 1, 0});
  std::atomic<std::uint64_t> heard = 0, acked = 0;
  const auto one = make_nats_beat_link({a1, a2}, NodeId("node1"), {.beat = [](Beat) {}, .ack = [&](Ack ack) { acked = ack.counter; }, .vote = [](Vote) {}});
  std::unique_ptr<BeatLink> two;
  two = make_nats_beat_link({b1, b2}, NodeId("node2"),
                            {.beat = [&](Beat beat) { if (beat.node.value == "node1") heard = beat.counter; }, .ack = [](Ack) {}, .vote = [](Vote) {}});
  const auto reaches = [&](std::uint64_t counter) {
    const auto end = std::chrono::steady_clock::now() + seconds(10);
    while ((heard < counter || acked < counter) && std::chrono::steady_clock::now() < end) {
      one->send(Beat{.node = NodeId("node1"), .counter = counter});
      two->send(Ack{.voter = NodeId("node2"), .holder = NodeId("node1"), .counter = counter});
      std::this_thread::sleep_for(milliseconds(10));
    }
    return heard == counter && acked == counter;
  };
  ASSERT_TRUE(reaches(1));
  servers.freeze(0);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(reaches(2));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(1400)) << "the lease leaves 1.48 s";
  servers.thaw(0);
}

}  // namespace
}  // namespace daarion
