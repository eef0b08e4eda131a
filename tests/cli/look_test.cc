// What people read: tables as they stand, and what programs read: keys.
#include <thread>

#include "controlplane/api/metrics.h"
#include "tests/cli/fixture.h"

namespace daarion::test {
namespace {

void expect_keys(const nlohmann::json& object, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) EXPECT_TRUE(object.contains(key)) << key << " in " << object;
}

TEST_F(CliTest, StatusOfAHealthyCluster) {
  const Ran ran = ctl({"status"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(masked(ran.out), R"(cluster test  log 00000000  sequence 8  <hex>  quorum 3/3  status ok  (as node3 sees it)

   NODE   ROLE     STATE      INTENT  LAST HEARD  REGION  ADDRESS
   node1  primary  reachable  active  0 ms ago    region  host1
   node2  replica  reachable  active  0 ms ago    region  host2
   node3  replica  reachable  active  itself      region  host3

   RESOURCE  ENGINE      EPOCH  NODE   STATE      LAG          CANDIDATE  VERDICT
*  postgres  postgresql  1      node1  writable   -            -
   postgres  postgresql  1      node2  streaming  100 B, 0 ms  yes        eligible: 100 bytes and 0 ms behind

if node1 dies now: node2 in about 2.3 s, loss <= 100 B; tolerates 1 more failure
)");
}

TEST_F(CliTest, StatusAfterAFailoverIsDegradedAndNamesTheNextCommand) {
  cluster.fail_over();
  const Ran ran = ctl({"status"});
  EXPECT_EQ(ran.code, 4);
  EXPECT_EQ(masked(ran.out), R"(cluster test  log 00000000  sequence 11  <hex>  quorum 2/3  status degraded  (as node3 sees it)

   NODE   ROLE     STATE        INTENT  LAST HEARD  REGION  ADDRESS
?  node1  primary  unreachable  active  3 s ago     region  host1
   node2  replica  reachable    active  0 ms ago    region  host2
   node3  replica  reachable    active  itself      region  host3

   RESOURCE  ENGINE      EPOCH  NODE   STATE        LAG      CANDIDATE  VERDICT
*  postgres  postgresql  2      node2  writable     -        -
?  postgres  postgresql  2      node1  unreachable  unknown  no         unreachable: silent for 3000 ms, limit 2000 ms

if node2 dies now: nobody (node1: silent for 3000 ms, limit 2000 ms; node2: taken as dead); then: daarionctl failover postgres --to NODE --allow-data-loss --reason TEXT; tolerates no more failure
note: postgres: declared node1, log node2
HINT: daarionctl why-not postgres
)");
}

TEST_F(CliTest, StatusSaysWarningsWaitsAndPauses) {
  cluster.warnings = {"disk of node3 is nearly full\nreally\x1b[31m"};
  cluster.add(Paused{}, node(1), {}, {}, "migration");
  const Ran ran = ctl({"status"});
  EXPECT_EQ(ran.code, 0) << "maintenance is not degraded";
  EXPECT_NE(ran.out.find("status maintenance"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("writable, paused"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("if node1 dies now: nobody (automatic failover is paused); then: daarionctl resume --reason TEXT; "), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("warning: disk of node3 is nearly full?really?[31m\n"), std::string::npos) << ran.out;
  EXPECT_TRUE(ran.out.ends_with("HINT: daarionctl resume --reason \"...\"\n")) << ran.out;
  EXPECT_EQ(ran.out.find('\x1b'), std::string::npos) << "a stranger's text may not steer the terminal";
}

TEST_F(CliTest, StatusSaysWhoRunsWithAnotherClusterFileOnceAllShouldHaveIt) {
  cluster.node2_file = "another";
  const auto after = [&](int s) {
    for (int i = 0; i < s; ++i) cluster.pass(seconds(1)), cluster.beats(true, true);
    return ctl({"status"}).out;
  };
  EXPECT_EQ(after(59).find("cluster file"), std::string::npos) << "it is being given to them";
  EXPECT_NE(after(2).find("warning: not all nodes run with the same cluster file (node2; another: node3): give them the same one, and have it taken up: `systemctl reload daariond`\n"),
            std::string::npos) << after(0);
  cluster.node2_file = "hash";
  EXPECT_EQ(after(1).find("cluster file"), std::string::npos);
}

TEST_F(CliTest, StatusSaysWhatAnEngineLacksAndWhatAPersonShouldKnowOfIt) {
  cluster.node2_lacks = {"extension postgis (database shop)"};
  cluster.node2_problems = {"a restart of PostgreSQL is pending, for max_connections"};
  cluster.beats(true, true);
  const Ran ran = ctl({"status"});
  EXPECT_EQ(ran.code, 4) << "degraded";
  EXPECT_NE(ran.out.find("no         unfit: it lacks extension postgis (database shop)\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("if node1 dies now: nobody (node1: taken as dead; node2: it lacks extension postgis (database shop)); then: daarionctl failover postgres --to NODE"),
            std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("warning: postgres: node2 lacks extension postgis (database shop)\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("warning: postgres: node2: a restart of PostgreSQL is pending, for max_connections\n"), std::string::npos) << ran.out;
  const Ran one = ctl({"resource", "postgres"});
  EXPECT_NE(one.out.find("problem: node2: a restart of PostgreSQL is pending, for max_connections\n"), std::string::npos) << one.out;
  cluster.node2_lacks.clear();
  cluster.pass(seconds(3));
  cluster.beats(true, false);
  EXPECT_EQ(ctl({"status"}).out.find("warning: postgres: node2"), std::string::npos) << "what a silent node said is old";
}

TEST_F(CliTest, SaysHowTheEnginesAreWithTheCause) {
  cluster.node2_health = "it has not streamed from node1 for 12 s: no connection";
  cluster.node2_streams = false;
  cluster.beats(true, true);
  const Ran ran = ctl({"status"});
  EXPECT_EQ(ran.code, 4) << "degraded";
  EXPECT_NE(ran.out.find("warning: postgres: node2: it has not streamed from node1 for 12 s: no connection\n"), std::string::npos) << ran.out;
  EXPECT_NE(ctl({"resources"}).out.find("!  postgres  postgresql  1      node2  standby"), std::string::npos) << ctl({"resources"}).out;
  const auto seen = json({"resource", "postgres"});
  EXPECT_EQ(seen["replicas"][0]["health"], cluster.node2_health);
  EXPECT_EQ(seen["replicas"][0]["role"], "replica");
  EXPECT_EQ(seen["replicas"][0]["identity"], "db");
  EXPECT_EQ(seen["replicas"][0]["position"], "0/384 on timeline 1");
  EXPECT_EQ(seen["replicas"][0]["lag_known"], true);
  EXPECT_EQ(seen["holder_role"], "primary");
  EXPECT_EQ(seen["holder_position"], "0/3E8 on timeline 1");
  EXPECT_EQ(seen["holder_health"], "");
  const Ran one = ctl({"resource", "postgres"});
  EXPECT_NE(one.out.find("problem: node2: it has not streamed"), std::string::npos) << one.out;
  EXPECT_NE(one.out.find("node2  replica  -        0/384 on timeline 1  db\n"), std::string::npos) << one.out;
  cluster.pass(seconds(3));
  cluster.beats(true, false);
  EXPECT_EQ(json({"resource", "postgres"})["replicas"][0]["health"], "") << "what a silent node said is old";
}

TEST_F(CliTest, AHolderThatRefusesWritesIsNotWritable) {
  cluster.node1_health = "it refuses writes: its last dump failed; see /var/log/redis.log";
  cluster.beats(true, true);
  const Ran ran = ctl({"status"});
  EXPECT_EQ(ran.code, 4) << "degraded";
  EXPECT_NE(ran.out.find("*!  postgres  postgresql  1      node1  not writable  -            -          it refuses writes: its last dump failed"), std::string::npos) << ran.out;
  EXPECT_EQ(json({"resource", "postgres"})["writable"], false);
  EXPECT_NE(metrics_text(*cluster.view()).find("daarion_resource_writable{resource=\"postgres\"} 0\n"), std::string::npos);
}

TEST_F(CliTest, WarnsOnceNoReplicaCouldTakeOverForAWhile) {
  cluster.node2_lacks = {"extension postgis (database shop)"};
  cluster.beats(true, true);
  const std::string bare = "warning: postgres has no replica that could take over: node2: it lacks extension postgis (database shop)\n";
  EXPECT_EQ(ctl({"status"}).out.find(bare), std::string::npos) << "a failover and the rejoin after it pass";
  for (int i = 0; i < 15; ++i) {
    cluster.pass(seconds(1));
    cluster.beats(true, true);
  }
  EXPECT_NE(ctl({"status"}).out.find(bare), std::string::npos) << ctl({"status"}).out;
  cluster.node2_lacks.clear();
  cluster.node2_streams = false;
  cluster.beats(true, true);
  const std::string silent = "warning: no replica of postgres streams; see daarionctl resource postgres\n";
  const Ran now = ctl({"status"});
  EXPECT_EQ(now.out.find(bare), std::string::npos) << now.out;
  EXPECT_NE(now.out.find(silent), std::string::npos) << now.out;
  EXPECT_EQ(now.code, 4);
  cluster.node2_streams = true;
  cluster.beats(true, true);
  EXPECT_EQ(ctl({"status"}).code, 0) << ctl({"status"}).out;
  cluster.node2_streams = false;
  cluster.pass(seconds(1));
  cluster.beats(true, true);
  EXPECT_EQ(ctl({"status"}).out.find(silent), std::string::npos) << "counted anew";
}

TEST_F(CliTest, StatusAsJsonIsTheMappingOfTheMessage) {
  const auto status = json({"status"});
  expect_keys(status, {"schema_version", "status", "ready", "cluster", "log_id", "sequence", "digest", "feature_level", "quorum", "lease_margin_min_ms", "nodes",
                       "resources", "waits", "warnings"});
  expect_keys(status["quorum"], {"voters", "reachable", "failure_tolerance"});
  expect_keys(status["nodes"][0], {"id", "role", "state", "intent", "age_ms", "region"});
  expect_keys(status["resources"][0], {"id", "engine", "epoch", "holder", "writable", "replicas", "if_holder_dies"});
  expect_keys(status["resources"][0]["replicas"][0], {"node", "state", "lag_bytes", "lag_ms", "candidate", "verdict"});
  expect_keys(status["resources"][0]["if_holder_dies"], {"to", "expected_ms", "loss_bytes"});
  EXPECT_EQ(status, nlohmann::json::parse(cluster.view()->status_json)) << "HTTP and -o json say the same";
  EXPECT_EQ(json({"nodes"})["nodes"], status["nodes"]);
  EXPECT_EQ(json({"resources"})["resources"], status["resources"]);
  EXPECT_EQ(json({"resource", "postgres"}), status["resources"][0]);
}

TEST_F(CliTest, StatusSaysWhatOtherNodesWaitFor) {
  cluster.node2_waits = {{kPostgres, "another attempt to copy the data of node1, of which 4 failed; the last: no room", "daarionctl rejoin postgres node2 --reason TEXT", 41'000}};
  cluster.beats(true, true);
  const Ran ran = ctl({"status"});
  EXPECT_NE(ran.out.find("wait: node2: postgres: another attempt to copy the data of node1, of which 4 failed; the last: no room, since 2026-09-21T14:13:39.000Z"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("HINT: daarionctl rejoin postgres node2"), std::string::npos) << ran.out;
  EXPECT_EQ(json({"status"})["waits"][0]["node"], "node2");
  EXPECT_NE(metrics_text(*cluster.view()).find("daarion_waits 0\n"), std::string::npos) << "node3's own";
  cluster.pass(seconds(3));
  EXPECT_EQ(ctl({"status"}).out.find("wait: node2"), std::string::npos) << "what a silent node said is old";
}

TEST_F(CliTest, YamlQuotesWhatWouldReadAsSomethingElse) {
  const Ran ran = ctl({"status", "-o", "yaml"});
  EXPECT_NE(ran.out.find("\nlog_id: \"00000000-0000-004d-0000-000000000001\"\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\nnodes:\n  - id: node1\n    role: primary\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\nlease_margin_min_ms: null\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\nwaits: []\n"), std::string::npos) << ran.out;
}

TEST_F(CliTest, WatchRepeats) {
  const Ran ran = daarionctl_until(12, {"nodes", "-w", "0.1"}, {"DAARION_SERVER=" + address});
  std::size_t times = 0;
  for (std::size_t at = ran.out.find("NODE"); at != std::string::npos; at = ran.out.find("NODE", at + 1)) ++times;
  EXPECT_GE(times, 3u) << ran.out << ran.err;
}

TEST_F(CliTest, EventsAreTheNewestOrFromASequence) {
  const Ran all = ctl({"events"});
  EXPECT_EQ(std::ranges::count(all.out, '\n'), 8) << all.out;
  const Ran one = ctl({"watch", "--from", "8"});
  EXPECT_EQ(one.out, "     8  2026-09-21 14:13:28.000  PromotionCompleted    postgres e1     from 0/64 on timeline 1; claimed in 12 ms, promoted in 80 ms"
                     "  (the engine is open for writing)  by node:node1\n");
  const Ran member = ctl({"events", "--from", "4"});
  EXPECT_NE(member.out.find("MemberJoined          node1           primary at host1"), std::string::npos) << member.out;
  const Ran lines = ctl({"events", "--from", "7", "-o", "json"});
  const auto decided = nlohmann::json::parse(lines.out.substr(0, lines.out.find('\n')));
  expect_keys(decided, {"sequence", "time", "subject", "type", "id", "node", "actor", "reason", "cause", "resource", "epoch", "summary", "kind", "to"});
  EXPECT_EQ(decided["type"], "PromotionDecided");
  EXPECT_EQ(decided["kind"], "bootstrap");
  EXPECT_EQ(ctl({"events", "--from", "9"}).out, "") << "the next one is not there yet";
  expect_refusal(ctl({"events", "--from", "10"}), 2, {"1 to 8"});
  const Ran some = ctl({"events", "--from", "3", "--to", "5"});
  EXPECT_EQ(std::ranges::count(some.out, '\n'), 3) << some.out;
  EXPECT_EQ(ctl({"events", "--from", "3", "--to", "5", "--follow"}).out, some.out) << "it ends there";
  EXPECT_EQ(ctl({"events", "--from", "5", "--to", "3"}).out, "");
}

TEST_F(CliTest, EventsFollowWhatComes) {
  std::thread later([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    cluster.add(Paused{}, node(1), {}, {}, "migration");
  });
  const Ran ran = daarionctl_until(2, {"events", "--from", "8", "--follow"}, {"DAARION_SERVER=" + address});
  later.join();
  EXPECT_NE(ran.out.find("     9  2026-09-21 14:13:29.000  Paused                cluster         automatic failover is off  (migration)"), std::string::npos) << ran.out << ran.err;
}

TEST_F(CliTest, ReplayProvesTheDigest) {
  const Ran ran = ctl({"replay"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(masked(ran.out), "folded events 1 to 8 from nothing\ndigest  <hex>\nchain   <hex>\nequal to what node3 folded live\n");
  const auto done = json({"replay"});
  EXPECT_EQ(done["digest"], json({"status"})["digest"]);
  EXPECT_EQ(done["equal"], true);
  EXPECT_NE(ctl({"replay", "--to", "4"}).out.find("nothing to compare it with"), std::string::npos);
  expect_refusal(ctl({"replay", "--to", "9"}), 2, {"folded 8 events"});
}

TEST_F(CliTest, WhyTellsTheWholeDecision) {
  cluster.fail_over();
  const Ran ran = ctl({"why", "Postgres"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, R"(event 10: failover of postgres to node2, epoch 2
when       2026-09-21T14:13:30.000Z (log time)
reason     the lease of epoch 1 is over by 2 votes; node2 is 100 bytes behind
trigger    event 9, MemberUnreachable: silent for 2100 ms (node1 is silent)
decider    node2, daariond 0.1.0, for node:node2
votes      2 of 3 voters say that the promise is over; needed: 2
           VOTER  OVER SINCE  HEARD     HIGHEST EPOCH
           node2  40 ms       0 ms ago  1
           node3  35 ms       5 ms ago  1
candidates
              NODE   RULE         DETAIL                             LAG           ENGINE   LAST BEAT
              node1  unreachable  silent for 2100 ms, limit 2000 ms  0 B, 0 ms     primary  2.1 s ago
           *  node2  eligible     100 bytes and 15 ms behind         100 B, 15 ms  standby  10 ms ago
loss       at most 4.3 kB (node1 wrote up to 2 kB/s, last heard 2.1 s before)
today      this software decides the same from the same evidence
phases
           PHASE      AFTER    EVENT
           decided    +0 ms    10     the lease of epoch 1 is over by 2 votes; node2 is 100 bytes behind
           claimed    +33 ms   -      a majority of voters acknowledged the claim
           promoted   +153 ms  -      the engine is open for writing
           completed  +1 s     11     the engine is open for writing
)");
  EXPECT_EQ(ctl({"why", "10"}).out, ran.out);
  const auto why = json({"why", "10"});
  expect_keys(why, {"sequence", "time", "resource", "kind", "epoch", "to", "reason", "actor", "decider", "software", "loss_bytes", "votes", "candidates", "agrees",
                    "differences", "voters", "trigger", "phases"});
  EXPECT_EQ(why["loss_bytes"], 4300);
  EXPECT_EQ(why["candidates"][1]["rule"], "eligible");
}

TEST_F(CliTest, IncidentTellsOneStory) {
  cluster.fail_over();
  const Ran ran = ctl({"incident", "11"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, R"(node1 was lost: goes on, so far 4.1 s
began      2026-09-21T14:13:26.900Z (log time)
open       node1 has not been heard again
moved
           WHAT      FROM   TO     AFTER   STATE  LOSS AT MOST  WHY
           postgres  node1  node2  +4.100  done   4.3 kB        the lease of epoch 1 is over by 2 votes; node2 is 100 bytes behind
postgres to node2, event 10
           PHASE      AFTER   TOOK    EVENT
           free       +3.060  3 s     -      the first voter's promise is over
           decided    +3.100  40 ms   10     2 of 3 voters
           claimed    +3.133  33 ms   -      a majority of voters promised
           promoted   +3.253  120 ms  -      the engine is open for writing
           completed  +4.100  847 ms  11     in the log
           CANDIDATE  RULE         DETAIL                             LAG
           node1      unreachable  silent for 2100 ms, limit 2000 ms  0 B
           node2 *    eligible     100 bytes and 15 ms behind         100 B
story      (LED BY with ?: the newest event that could have)
           EVENT  AFTER   TYPE                OF        LED BY  WHAT                                                                                                                           BY
           9      +2.100  MemberUnreachable   -         -       silent for 2100 ms (node1 is silent)                                                                                           node1
           10     +3.100  PromotionDecided    postgres  9 ?     failover to node2, session 00000000, loss at most 4300 B (the lease of epoch 1 is over by 2 votes; node2 is 100 bytes behind)  node2
           11     +4.100  PromotionCompleted  postgres  10 ?    from 0/384 on timeline 2; claimed in 33 ms, promoted in 120 ms (the engine is open for writing)                                node2
)");
  EXPECT_EQ(ctl({"incident", "9"}).out, ran.out) << "any event of it";
  const auto story = json({"incident", "10"});
  EXPECT_EQ(story["node"], "node1");
  EXPECT_EQ(story["moves"][0]["to"], "node2");
  EXPECT_EQ(story["moves"][0]["loss_bytes"], 4300);
  EXPECT_EQ(story["over"], false);
  const std::string page = ctl({"-o", "markdown", "incident", "10"}).out;
  EXPECT_EQ(page, R"(# Incident: node1 was lost

Began 2026-09-21T14:13:26.900Z (log time); goes on, so far 4.1 s.

- Still open: node1 has not been heard again

## What moved

| WHAT | FROM | TO | AFTER | STATE | LOSS AT MOST | WHY |
|---|---|---|---|---|---|---|
| postgres | node1 | node2 | +4.100 | done | 4.3 kB | the lease of epoch 1 is over by 2 votes; node2 is 100 bytes behind |

### postgres to node2

| PHASE | AFTER | TOOK | EVENT |  |
|---|---|---|---|---|
| free | +3.060 | 3 s | - | the first voter's promise is over |
| decided | +3.100 | 40 ms | 10 | 2 of 3 voters |
| claimed | +3.133 | 33 ms | - | a majority of voters promised |
| promoted | +3.253 | 120 ms | - | the engine is open for writing |
| completed | +4.100 | 847 ms | 11 | in the log |

Who could have had it (`daarionctl why 10` makes the decision again):

| CANDIDATE | RULE | DETAIL | LAG |
|---|---|---|---|
| node1 | unreachable | silent for 2100 ms, limit 2000 ms | 0 B |
| node2 * | eligible | 100 bytes and 15 ms behind | 100 B |

## Timeline

Seconds since it began. LED BY with ?: the newest event that could have led to it.

| EVENT | AFTER | TYPE | OF | LED BY | WHAT | BY |
|---|---|---|---|---|---|---|
| 9 | +2.100 | MemberUnreachable | - | - | silent for 2100 ms (node1 is silent) | node1 |
| 10 | +3.100 | PromotionDecided | postgres | 9 ? | failover to node2, session 00000000, loss at most 4300 B (the lease of epoch 1 is over by 2 votes; node2 is 100 bytes behind) | node2 |
| 11 | +4.100 | PromotionCompleted | postgres | 10 ? | from 0/384 on timeline 2; claimed in 33 ms, promoted in 120 ms (the engine is open for writing) | node2 |
)");
  expect_refusal(ctl({"incident", "2"}), 2, {"TopologyChanged", "part of none", "daarionctl events"});
  expect_refusal(ctl({"incident", "99"}), 2, {"1 to 11"});
  expect_refusal(ctl({"-o", "markdown", "status"}), 2, {"markdown is for `daarionctl incident`"});
}

TEST_F(CliTest, IncidentTellsOfServicesToo) {
  cluster.serve();
  const Ran ran = ctl({"incident", "16"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(ran.out.starts_with("router failed on node1: goes on")) << ran.out;
  for (const char* part : {"open       router on node1 is not well again", "router  node1  node2  +2.000  done   -",
                           "router to node2, event 16\n           CANDIDATE  RULE      DETAIL", "node2 *    eligible  healthy", "16     +2.000  ServiceMoved"})
    EXPECT_NE(ran.out.find(part), std::string::npos) << part << "\n" << ran.out;
  EXPECT_NE(ctl({"incident", "16", "-o", "markdown"}).out.find("### router to node2"), std::string::npos);
}

TEST_F(CliTest, WhyTellsWhoServesAndWhoProvides) {
  cluster.serve();
  const Ran service = ctl({"why", "router"});
  EXPECT_EQ(service.code, 0) << service.err;
  EXPECT_TRUE(service.out.starts_with("event 16: service router to node2\nwhen       2026-09-21T14:13:36.000Z (log time)\n")) << service.out;
  for (const char* part : {"trigger    event 14, ServiceHealthChanged: broken: no answer within 1000 ms", "decider    node3, for node:node3\n", "places\n",
                           "node1  ill       broken: no answer within 1000 ms\n", "*  node2  eligible  healthy\n", "today      this software decides the same from the same evidence\n"})
    EXPECT_NE(service.out.find(part), std::string::npos) << part << "\n" << service.out;
  EXPECT_EQ(service.out.find("votes"), std::string::npos) << "nobody votes on a service";
  EXPECT_EQ(ctl({"why", "16"}).out, service.out);
  const std::string vision = ctl({"why", "vision"}).out;
  EXPECT_TRUE(vision.starts_with("event 18: capability vision to api:mistral\n")) << vision;
  for (const char* part : {"trigger    event 15, ServiceHealthChanged: broken: exit code 9", "gpu@node1    not_usable  broken: exit code 9\n", "*  api:mistral  usable", "decides the same"})
    EXPECT_NE(vision.find(part), std::string::npos) << part << "\n" << vision;
  EXPECT_TRUE(ctl({"why", "image"}).out.starts_with("event 19: capability image to nobody\n"));
  EXPECT_EQ(json({"why", "router"})["candidates"][1]["rule"], "eligible");
  expect_refusal(ctl({"why", "memory"}), 5, {"nothing was decided about memory yet"});
}

TEST_F(CliTest, WhyRefusesWhatIsNoDecision) {
  expect_refusal(ctl({"why", "8"}), 2, {"PromotionCompleted", "not a decision"});
  expect_refusal(ctl({"why", "99"}), 2, {"1 to 8"});
  expect_refusal(ctl({"why", "0"}), 2, {"begin at 1"});
  expect_refusal(ctl({"why", "99999999999999999999"}), 2, {"no sequence"});
  expect_refusal(ctl({"why", "postgers"}), 2, {"unknown resource postgers; did you mean postgres?"});
}

TEST_F(CliTest, WhyNotJudgesThisMoment) {
  const Ran ran = ctl({"why-not", "postgres"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("if the holder of postgres died now, node2 would be promoted"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("node1  holder    taken as dead"), std::string::npos) << ran.out;
  cluster.node2_lag = 950;
  cluster.beats(true, true);
  EXPECT_NE(ctl({"why-not", "postgres"}).out.find("950 bytes"), std::string::npos);
}

TEST_F(CliTest, StateOfAnyMoment) {
  const Ran ran = ctl({"state", "--at", "7"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(masked(ran.out), R"(state at sequence 7, 2026-09-21T14:13:27.000Z (log time)
cluster test  log <hex>
digest  <hex>
chain   <hex>

NODE   ROLE     REACHABLE  INTENT  CHANGED AT  SOFTWARE        REGION
node1  primary  yes        active  4           daariond 0.1.0  region
node2  replica  yes        active  5           daariond 0.1.0  region
node3  replica  yes        active  6           daariond 0.1.0  region

RESOURCE  EPOCH  NAMED  PHASE    BY         DECIDED AT  LAST COMPLETED  PAUSED
postgres  1      node1  decided  bootstrap  7           -               no

HINT: daarionctl state --at 7 -o json
)");
  const auto by_sequence = json({"state", "--at", "7"});
  expect_keys(by_sequence, {"schema_version", "sequence", "time", "digest", "chain", "state"});
  expect_keys(by_sequence["state"], {"log", "voters", "topology", "members", "leases", "replicas", "operators", "routes", "requests"});
  EXPECT_EQ(by_sequence["state"]["leases"]["postgres"]["phase"], "decided");
  EXPECT_EQ(json({"state", "--at", "2026-09-21T14:13:27Z"}), by_sequence);
  EXPECT_EQ(json({"state", "--at", "2026-09-21T16:13:27.9+02:00"}), by_sequence);
  EXPECT_EQ(json({"state"})["digest"], json({"status"})["digest"]);
  expect_refusal(ctl({"state", "--at", "9"}), 2, {"1 to 8"});
  expect_refusal(ctl({"state", "--at", "yesterday"}), 2, {"2026-11-24T01:02:03Z"});
  expect_refusal(ctl({"state", "--at", "2020-01-01T00:00:00Z"}), 2, {"no event at or before"});
}

TEST_F(CliTest, ConnectGoesToTheHolder) {
  EXPECT_EQ(ctl({"connect", "postgres", "--print"}).out, "psql 'host=host1 port=5432 target_session_attrs=read-write connect_timeout=5 dbname=postgres'\n");
  EXPECT_EQ(ctl({"connect", "postgres", "--print", "-U", "app", "-d", "shop", "--", "-c", "select 1"}).out,
            "psql 'host=host1 port=5432 target_session_attrs=read-write connect_timeout=5 user=app dbname=shop' -c 'select 1'\n");
  expect_refusal(ctl({"connect", "postgres", "--print", "-U", "a host=evil"}), 2, {"plain names"});
  cluster.fail_over();
  EXPECT_NE(ctl({"connect", "postgres", "--print"}).out.find("host=host2"), std::string::npos);
}

// ---- routes
TEST_F(CliTest, ResolveSaysWhereASubjectGoesAndWhy) {
  cluster.route();
  EXPECT_EQ(ctl({"resolve", "message.reaction.ch_222", "--from", "NODE3"}).out, R"(subject  message.reaction.ch_222, published on node3
class    replicated
rule     message
stream   MESSAGE_node3, and its mirror MESSAGE_MIRROR
nodes    node1, node2, node3
service  gateway
why      rule message takes message.>: captured by MESSAGE_node3 on node3, taken in by MESSAGE of the core, mirrored by every edge
)");
  EXPECT_EQ(ctl({"resolve", "node.metrics.cpu", "--from", "node1"}).out, R"(subject  node.metrics.cpu, published on node1
class    uncovered
why      no rule covers it; the nearest is node.node1.local.> of rule node_local
)");
  const auto found = json({"resolve", "node.node1.local.x", "--from", "node2"});
  expect_keys(found, {"schema_version", "subject", "from", "class", "rule", "stream", "mirror", "nodes", "service", "dead_letter", "reason", "sequence", "service_nodes", "service_readers",
                      "capability", "provider"});
  EXPECT_TRUE(found["nodes"].empty());
  expect_refusal(ctl({"resolve", "message.*"}), 2, {"resolve \"message.*\": no message can be published under it"});
  expect_refusal(ctl({"resolve", "a", "--from", "nod1"}), 2, {"unknown node nod1; did you mean node1?"});
}

TEST_F(CliTest, RoutesAreTheLogsTableAndAPlanIsWhatAFileWouldChange) {
  EXPECT_EQ(ctl({"routes"}).out.substr(0, 30), "no route table in the log yet\n");
  cluster.route();
  EXPECT_EQ(ctl({"routes"}).out, R"(route table 1, event 10
RULE        CLASS       STREAM   SERVICE  SUBJECTS
message     replicated  MESSAGE  gateway  message.>
node_local  node_local  -        -        node.node1.local.>, node.node2.local.>, node.node3.local.>
cache       edge_local  -        -        cache.invalidate.>
NODE   SITE   REGION
node1  core   region
node2  core   region
node3  node3  region
)");
  EXPECT_EQ(json({"routes"})["rules"][0]["max_age_s"], 604'800);
  const std::string file = std::string(DAARION_SOURCE_DIR) + "/tests/fixtures/cluster.yaml";
  const Ran plan = ctl({"routes", "--plan", file});
  EXPECT_EQ(plan.code, 0) << plan.err;
  for (const char* line : {"~ core: stream MESSAGE: max_bytes 10737418240, not 0\n", "+ core: stream AGENT_RUN captures agent.run.>\n",
                           "+ node3: stream ATTACHMENT_MIRROR mirrors ATTACHMENT\n", "+ leaf links deny attachment.>\n", "! restart the edges' nats-servers for what leaf links deny"})
    EXPECT_NE(plan.out.find(line), std::string::npos) << plan.out << "lacks " << line;
  expect_refusal(ctl({"routes", "--plan", std::string(DAARION_SOURCE_DIR) + "/tests/topology/bad/routes.yaml"}), 2, {"errors, the first: "});
  expect_refusal(ctl({"routes", "--plan", "/nonexistent"}), 2, {"read /nonexistent"});
}

// ---- services
TEST_F(CliTest, ServicesAndCapabilitiesSayWhoServesAndWhy) {
  EXPECT_EQ(ctl({"services"}).out, "no services are declared\n");
  EXPECT_EQ(ctl({"capabilities"}).out, "no capabilities are declared\n");
  cluster.serve();
  EXPECT_EQ(ctl({"services"}).out, R"(SERVICE  PORT  NODE    STATE    DECLARED  HEALTH   CAUSE
router   9102  !node1  standby  active    broken   no answer within 1000 ms
router   9102  *node2  active   standby   healthy  -
memory   8000  ?node1  active   active    unknown  -
memory   8000  ?node2  read     read      unknown  its check is broken; 404: there is no /health to GET
swapper  8890  !node1  active   active    broken   needs gpu, which is not well there
gpu      -     !node1  active   active    broken   exit code 9
HINT nobody serves swapper: see `daarionctl events`
)");
  EXPECT_EQ(ctl({"capabilities"}).out, R"(CAPABILITY  AGENT  PROVIDER     CHAIN                        CAUSE
image       -      -            !gpu@node1                   gpu@node1: broken: exit code 9
llm.chat    -      -            api:deepseek, api:mistral    -
llm.chat    sofia  -            api:claude                   -
stt         -      -            !swapper@node1, api:whisper  swapper@node1: broken: needs gpu, which is not well there
vision      -      api:mistral  !gpu@node1, *api:mistral     gpu@node1: broken: exit code 9
)");
  const auto router = json({"services"})["services"][0];
  EXPECT_EQ(router["active"], std::vector<std::string>{"node2"});
  EXPECT_EQ(router["moved"], 16);
  EXPECT_EQ(json({"capabilities"})["capabilities"][4]["provider"], "api:mistral");
  EXPECT_NE(ctl({"resolve", "pictures.new", "--from", "node1"}).out.find("service  router, active on node2\nprovider api:mistral, of vision\n"), std::string::npos)
      << ctl({"resolve", "pictures.new", "--from", "node1"}).out;
  EXPECT_NE(ctl({"events", "--from", "16"}).out.find("active on node2"), std::string::npos) << ctl({"events", "--from", "16"}).out;
}

}  // namespace
}  // namespace daarion::test
