// What health bodies say: those of the field as their README says, and what each rule of the judge can be wrong about.
#include "controlplane/health/judge.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "controlplane/topology/cluster_file.h"

namespace daarion {
namespace {

const std::string kFixtures = std::string(DAARION_SOURCE_DIR) + "/tests/fixtures/";

std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

HealthVerdict judge(const std::string& body, const std::map<std::string, std::string>& expect = {}, int status = 200) {
  ServiceCheck check;
  check.expect = expect;
  return judge_http(check, {.status = status, .content_type = "application/json", .body = body, .location = {}});
}

/// "router_nats_down.json degraded: nats_connected=false" of the README, for each of its files.
TEST(HealthFixtures, EachGivesTheVerdictThatItsReadmeStates) {
  const std::string readme = std::regex_replace(contents(kFixtures + "health/README.md"), std::regex(R"(\s+)"), " ");
  const std::regex stated(R"((\w+\.json) (healthy|degraded|maintenance)(?:: ([^·]+))?)");
  std::set<std::string> judged;
  for (auto at = std::sregex_iterator(readme.begin(), readme.end(), stated); at != std::sregex_iterator(); ++at) {
    const std::string file = (*at)[1], verdict = (*at)[2];
    std::string cause = (*at)[3];
    while (cause.ends_with(' ')) cause.pop_back();
    const int status = file == "edge_maintenance.json" ? 503 : 200;  // "All but the last came with HTTP 200"
    for (const int code : {status, 200}) {
      const HealthVerdict said = judge(contents(kFixtures + "health/" + file), {}, code);
      EXPECT_EQ(text_of(said.health), verdict) << file << ": " << said.cause;
      EXPECT_FALSE(said.check_broken) << file;
      EXPECT_NE(said.cause.find(cause), std::string::npos) << file << ": " << said.cause << ", stated " << cause;
      EXPECT_EQ(said.cause.empty(), verdict == "healthy") << said.cause;
    }
    judged.insert(file);
  }
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFixtures + "health")) files += entry.path().extension() == ".json" ? 1 : 0;
  EXPECT_EQ(judged.size(), files);
  EXPECT_EQ(files, 7u);
}

/// And with what the users' own cluster file expects of the service, the verdict is the same.
TEST(HealthFixtures, TheUsersExpectationsSayTheSame) {
  const ParsedFile parsed = parse_cluster_file(contents(kFixtures + "cluster.yaml"));
  const auto said = [&](const char* service, const char* file) { return judge(contents(kFixtures + "health/" + file), parsed.file.spec.service(service)->check.expect); };
  EXPECT_EQ(said("router", "router_nats_down.json"), (HealthVerdict{.health = Health::kDegraded, .cause = "nats_connected=false, expected true"}));
  EXPECT_EQ(said("router", "router_echo_only.json").health, Health::kDegraded);
  EXPECT_EQ(said("swapper", "swapper_no_model.json"), (HealthVerdict{.health = Health::kDegraded, .cause = "loaded_models=0, expected >0"}));
  EXPECT_EQ(said("memory", "standard.json").health, Health::kHealthy);
}

TEST(HealthJudge, ReadsWhatServicesSayOfThemselves) {
  EXPECT_EQ(judge(R"({"status":"OK","whatever":{"connected_since":3}})").health, Health::kHealthy);
  EXPECT_EQ(judge(R"({"status":"something new"})").health, Health::kHealthy) << "unknown words say nothing";
  EXPECT_EQ(judge(R"({"status":"error"})").health, Health::kBroken);
  EXPECT_EQ(judge(R"({"ok":false})").health, Health::kBroken);
  EXPECT_EQ(judge(R"({"ok":true,"matrix_reachable":false})").cause, "matrix_reachable=false");
  EXPECT_EQ(judge(R"({"database":{"connected":false}})").cause, "database.connected=false");
  EXPECT_EQ(judge(R"({"dependencies":{"database":"disconnected","cache":"connected"}})").cause, "dependencies.database=disconnected");
  EXPECT_EQ(judge(R"({"providers":["echo","mistral"]})").health, Health::kHealthy);
  EXPECT_EQ(judge(R"({"providers":[]})").health, Health::kDegraded);
  EXPECT_EQ(judge(R"({"status":"degraded","ok":false})").health, Health::kBroken) << "the worst counts";
}

TEST(HealthJudge, AFieldThatIsExpectedIsJudgedByThatAlone) {
  EXPECT_EQ(judge(R"({"nats_connected":false})", {{"nats_connected", "false"}}).health, Health::kHealthy);
  EXPECT_EQ(judge(R"({"status":"degraded"})", {{"status", "!=error"}}).health, Health::kHealthy);
  EXPECT_EQ(judge(R"({"a":{"b":[1,{"c":"x"}]}})", {{"/a/b/1/c", "x"}}).health, Health::kHealthy);
  EXPECT_EQ(judge(R"({"a":{"b":2}})", {{"a.b", ">1"}}).health, Health::kHealthy);
  EXPECT_EQ(judge(R"({"a":{"b":2}})", {{"a.c", ">1"}}).cause, "no field a.c, expected >1");
  EXPECT_EQ(judge(R"({"models":["qwen","llava"]})", {{"models", "llava"}}).health, Health::kHealthy);
  EXPECT_EQ(judge(R"({"models":["qwen","llava"]})", {{"models", ">2"}}).health, Health::kDegraded);
  EXPECT_EQ(judge(R"({"x":null})", {{"x", "!=null"}}).health, Health::kDegraded);
}

TEST(HealthJudge, TellsABrokenCheckFromABrokenService) {
  const auto answer = [](int status, const std::string& body, ServiceCheck check = {}, const std::string& type = "application/json") {
    return judge_http(check, {.status = status, .content_type = type, .body = body, .location = "/login"});
  };
  for (const int status : {301, 302, 401, 403, 404, 405, 410, 400}) EXPECT_TRUE(answer(status, "").check_broken) << status;
  for (const int status : {500, 502, 503, 504}) {
    EXPECT_FALSE(answer(status, "").check_broken) << status;
    EXPECT_EQ(answer(status, R"({"status":"healthy"})").health, Health::kBroken) << status;
  }
  EXPECT_EQ(answer(429, "").health, Health::kDegraded);
  EXPECT_TRUE(answer(200, "not json").check_broken) << "it says that it is JSON";
  EXPECT_TRUE(answer(200, "ready", {.expect = {{"ok", "true"}}}, "text/plain").check_broken) << "a field is expected of it";
  EXPECT_FALSE(answer(200, "Prometheus is Healthy.", {}, "text/plain").check_broken);
  EXPECT_TRUE(answer(200, "<!DOCTYPE html><html>", {}, "text/plain").check_broken) << "a front page for any path";
  EXPECT_EQ(answer(200, "<html>all is well</html>", {.text = "is well"}, "text/html").health, Health::kHealthy);
  EXPECT_EQ(answer(200, "x", {.text = "Healthy"}, "text/plain").health, Health::kDegraded);
  EXPECT_EQ(answer(204, "", {}, "").health, Health::kHealthy);
  EXPECT_EQ(answer(204, "", {.status = 200}, "").health, Health::kBroken);
  EXPECT_EQ(answer(302, "", {.status = 302}, "").health, Health::kHealthy);
}

TEST(HealthJudge, JudgesCommands) {
  EXPECT_EQ(judge_command({}, 0, "", "").health, Health::kHealthy);
  EXPECT_EQ(judge_command({}, 1, "", "no device").cause, "exit code 1: no device");
  EXPECT_EQ(judge_command({}, 1, "", "").health, Health::kBroken);
  EXPECT_TRUE(judge_command({}, 127, "", "").check_broken);
  EXPECT_EQ(judge_command({.text = "GPU 0"}, 0, "No devices were found", "").health, Health::kDegraded);
  EXPECT_EQ(shown("a\nb\xff"), "a?b?");
  EXPECT_EQ(shown(std::string(500, 'x')).size(), 120u);
}

}  // namespace
}  // namespace daarion
