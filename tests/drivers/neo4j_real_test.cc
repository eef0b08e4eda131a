// The same observer against a real Neo4j Community 5.26, from its artifacts of Maven Central. Nothing of it is Debian's, so it runs only where it is
// asked for, and is skipped in words elsewhere:
//
//   DAARION_NEO4J=FOLDER   with the jars (neo4j_jars.xml says how they come there)
//   DAARION_NEO4J=maven    they are fetched first, 130 MB, within three minutes, and kept in /var/tmp
//
// Java 17 is needed, of whatever origin. What docs/neo4j.md calls measured is measured here.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "controlplane/drivers/subprocess.h"
#include "tests/drivers/neo4j_rig.h"

namespace daarion::neo4j {
namespace {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;
using std::chrono::seconds;
using test::ms_of;

constexpr Duration kStart = seconds(120);  // a Java program on a machine that does something else: 15 s were seen on an idle one

std::string program(const std::string& name) {
  std::istringstream path(std::getenv("PATH") == nullptr ? "" : std::getenv("PATH"));
  for (std::string folder; std::getline(path, folder, ':');)
    if (access((folder + "/" + name).c_str(), X_OK) == 0) return folder + "/" + name;
  return "";
}

/// The folder of the jars; empty: `why`.
std::string jars(std::string& why) {
  const char* named = std::getenv("DAARION_NEO4J");
  if (named == nullptr || *named == '\0') return why = "DAARION_NEO4J is not set: no real Neo4j is tried (a folder with its jars, or `maven`)", "";
  if (program("java").empty()) return why = "there is no java", "";
  const std::string wanted = named, folder = wanted == "maven" ? "/var/tmp/daarion-neo4j-" + std::to_string(geteuid()) : wanted;
  const auto there = [&] { return fs::exists(folder + "/neo4j-5.26.0.jar") && fs::exists(folder + "/neo4j-server-5.26.0.jar"); };
  if (there()) return folder;
  if (wanted != "maven") return why = folder + " has no neo4j-5.26.0.jar", "";
  const std::string maven = program("mvn");
  if (maven.empty()) return why = "there is no mvn to fetch Neo4j with", "";
  auto user = find_user("");
  if (!user) return why = user.error().message, "";
  const auto fetched = run_tool({.argv = {maven, "-q", "-B", "-f", DAARION_SOURCE_DIR "/tests/drivers/neo4j_jars.xml", "dependency:copy-dependencies",
      "-DincludeScope=runtime", "-DoutputDirectory=" + folder},
                                 .environment = {"PATH=" + std::string(std::getenv("PATH")), "HOME=" + std::string(std::getenv("HOME") == nullptr ? "/"
                                     : std::getenv("HOME"))},
                                 .user = *user, .limit = seconds(180)});
  if (!fetched || fetched->exit_code != 0 || !there()) return why = "Maven Central gave nothing: " + (fetched ? cause_in(fetched->output)
      : fetched.error().message), "";
  return folder;
}

class Neo4jReal : public test::Neo4jRig {
 protected:
  void SetUp() override {
    std::string why;
    jars_ = jars(why);
    if (jars_.empty()) GTEST_SKIP() << why;
    Neo4jRig::SetUp();
  }
  void start_real() {
    settle(1);
    const auto begun = Steady::now();
    run(1, {program("java"), "-Xmx400m", "-cp", jars_ + "/*", "org.neo4j.server.CommunityEntryPoint"}, {"PATH=" + std::string(std::getenv("PATH"))});
    ASSERT_TRUE(until([&] { return ask(1, "GET", "/").answer.status == 200; }));
    std::printf("answers after %.1f s\n", ms_of(begun) / 1000);
  }
  bool until(const std::function<bool()>& condition) const {
    for (const auto end = Steady::now() + kStart; Steady::now() < end; std::this_thread::sleep_for(std::chrono::milliseconds(100)))
      if (condition()) return true;
    return condition();
  }
  std::string authorization() const override { return authorization_; }
  std::string dump_command() const { return program("java") + " -cp '" + jars_ +
      "/*' org.neo4j.cli.AdminTool database dump neo4j --overwrite-destination --to-path=" + base_; }
  std::map<std::string, std::string> dumping(const std::string& script) {
    std::ofstream(base_ + "/dump.sh") << "#!/bin/sh\nexport NEO4J_HOME=" << home(1) << " NEO4J_CONF=" << home(1) << "/conf\n" << script;
    chmod((base_ + "/dump.sh").c_str(), 0755);
    return {{"dump_exec", base_ + "/dump.sh"}, {"dump_file", base_ + "/neo4j.dump"}, {"dump_every_ms", "120000"}, {"dump_at_ms", at()}, {"dump_timeout_ms",
        "60000"}, {"dump_max_age_ms", "600000"}};
  }
  /// A period that begins in two seconds.
  static std::string at() {
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    return std::to_string((now + 2000) % 120'000);
  }

  std::string jars_, authorization_ = Neo4jRig::authorization();
};

TEST_F(Neo4jReal, CommunityIsWatchedDumpedRestartedAndKnownWhenItIsEmpty) {
  start_real();
  // A password that is wrong, then one that is to be changed, then the right one.
  observe("single", 1);
  look();
  EXPECT_NE(member(1).seen.health.find("it refuses the password of neo4j (401, Neo.ClientError.Security.Unauthorized"),
      std::string::npos) << member(1).seen.health;
  setenv("NEO4J_PASSWORD", "neo4j", 1);
  observe("single", 1);
  ASSERT_TRUE(until([&] { return look(), !member(1).seen.health.starts_with("GET / is answered"); }));
  EXPECT_NE(member(1).seen.health.find("must be changed before it is used"), std::string::npos) << member(1).seen.health;
  authorization_ = "Basic bmVvNGo6bmVvNGo=";
  const std::string changed = cypher(1, "system", std::string("ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO '") + kPassword + "'");
  EXPECT_NE(changed.find(R"("errors":[])"), std::string::npos) << changed;
  authorization_ = Neo4jRig::authorization();
  setenv("NEO4J_PASSWORD", kPassword, 1);
  observe("causal-cluster", 1);
  ASSERT_TRUE(until([&] { return look().primary == node(1); })) << member(1).seen.health;
  EXPECT_EQ(member(1).seen.version, "5.26.0 community");
  EXPECT_EQ(member(1).seen.health, "");
  EXPECT_EQ(member(1).seen.role, "instance");
  EXPECT_EQ(member(1).seen.identity.size(), 16u);
  EXPECT_NE(problems().find("Neo4j Community: clustering needs Enterprise"), std::string::npos) << problems();
  const std::string identity = member(1).seen.identity;
  std::uint64_t position = member(1).position.lsn.value;
  EXPECT_GT(position, 0u);
  EXPECT_NE(cypher(1, "neo4j", "CREATE (n:Kept {a: 1})").find(R"("errors":[])"), std::string::npos);
  look();
  EXPECT_GT(member(1).position.lsn.value, position);
  position = member(1).position.lsn.value;

  // What is assumed of it, and was measured.
  EXPECT_EQ(ask(1, "GET", "/dbms/cluster/status").answer.status, 404);
  EXPECT_NE(cypher(1, "system", "SHOW SERVERS").find("Unsupported administration command"), std::string::npos);
  EXPECT_NE(cypher(1, "system", "STOP DATABASE neo4j").find("Unsupported administration command"), std::string::npos);
  EXPECT_NE(cypher(1, "system", "SHOW DATABASE neo4j YIELD lastCommittedTxn").find(R"("row":[null])"), std::string::npos);
  double slowest = 0;
  for (int i = 0; i < 20; ++i) {
    const auto begun = Steady::now();
    look();
    slowest = std::max(slowest, ms_of(begun));
  }
  std::printf("a look takes %.0f ms at most\n", slowest);

  // A dump of what runs is refused; of what was stopped it is taken.
  observe("single", 1, 0, dumping(dump_command() + "\n"));
  ASSERT_TRUE(until([&] { return look(), !member(1, kDumpRole).seen.health.empty(); }));
  EXPECT_NE(member(1, kDumpRole).seen.health.find("failed: exit code 1"), std::string::npos) << member(1, kDumpRole).seen.health;
  const std::string pid = std::to_string(hosts_[1].first());
  fs::remove_all(base_ + "/state");
  observe("single", 1, 0, dumping("kill " + pid + "\nwhile [ -d /proc/" + pid + " ] && ! grep -q '^State:.Z' /proc/" + pid + "/status; do sleep 0.1; done\n" +
      dump_command() + "\n"));
  ASSERT_TRUE(until([&] { return look(), member(1).seen.health.starts_with("stopped for the dump"); })) << member(1, kDumpRole).seen.health;
  ASSERT_TRUE(until([&] { return look(), !member(1, kDumpRole).seen.identity.empty() || !member(1, kDumpRole).seen.health.empty(); }));
  EXPECT_EQ(member(1, kDumpRole).seen.health, "");
  EXPECT_GT(fs::file_size(base_ + "/neo4j.dump"), 0u);
  hosts_[1].kill_all();

  // Started again it is what it was; frozen it costs its time; killed and emptied it is another.
  start_real();
  observe("single", 1);
  ASSERT_TRUE(until([&] { return well(); })) << member(1).seen.health;
  EXPECT_EQ(member(1).seen.identity, identity);
  EXPECT_GE(member(1).position.lsn.value, position);
  hosts_[1].stop(SIGSTOP);
  const auto begun = Steady::now();
  look();
  EXPECT_LT(ms_of(begun), 2500);
  EXPECT_TRUE(until([&] { return look().primary.empty(); })) << "not all its threads stop at once: its last word may stand for a while";
  hosts_[1].stop(SIGCONT);
  EXPECT_TRUE(until([&] { return well(); })) << member(1).seen.health;
  hosts_[1].kill_all();
  fs::remove_all(home(1) + "/data");
  start_real();
  authorization_ = "Basic bmVvNGo6bmVvNGo=";
  (void)cypher(1, "system", std::string("ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO '") + kPassword + "'");
  ASSERT_TRUE(until([&] { return well(); })) << member(1).seen.health;
  EXPECT_NE(member(1).seen.identity, identity);
}

}  // namespace
}  // namespace daarion::neo4j
