// Where it connects to, and what it says to input that cannot be right: one line, exit code 2, or 3 if nobody answers.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "tests/cli/fixture.h"
#include "tests/unit/temp_folder.h"

namespace daarion::test {
namespace {

const std::string kClusterFile = std::string(DAARION_SOURCE_DIR) + "/tests/fixtures/cluster.yaml";
const std::vector<std::string> kPasswords = {"DAARION_CONTROL_PASSWORD=c1", "DAARION_SYS_PASSWORD=s1", "DAARION_APP_PASSWORD=a1"};

/// A socket that takes connections into its backlog and never says a word: a frozen daemon.
class Frozen {
 public:
  Frozen() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to);
    listen(fd_, 8);
    socklen_t size = sizeof to;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&to), &size);
    address = "127.0.0.1:" + std::to_string(ntohs(to.sin_port));
  }
  ~Frozen() { close(fd_); }
  std::string address;

 private:
  int fd_;
};

TEST_F(CliTest, AsksTheFirstThatAnswers) {
  const Frozen frozen;
  const Ran ran = daarionctl({"nodes", "--server", "127.0.0.1:1", "--server", frozen.address, "--server", address});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(daarionctl({"nodes"}, {"DAARION_SERVER=127.0.0.1:1," + address}).code, 0);
  EXPECT_EQ(daarionctl({"--server", address, "nodes"}, {"http_proxy=http://127.0.0.1:1", "DAARION_SERVER=127.0.0.1:1"}).code, 0) << "a flag wins, a web proxy is not used";
}

TEST_F(CliTest, FindsNodesByTheClusterFile) {
  const TempFolder folder;
  const std::string path = folder / "cluster.yaml";
  std::ofstream(path) << "cluster: test\nnodes:\n  node1: {address: 127.0.0.1, role: primary}\ncontrol: {grpc_port: " << server->port()
                      << "}\nreplication:\n  PostgreSQL: {mode: primary-replica, primary: NODE1, replicas: [], sync: async}\n";
  EXPECT_EQ(daarionctl({"nodes", "--context", path}).code, 0) << daarionctl({"nodes", "--context", path}).err;
  EXPECT_EQ(daarionctl({"nodes"}, {"DAARION_CONFIG=" + path}).code, 0);
  expect_refusal(daarionctl({"nodes", "--context", folder / "none"}), 2, {"no such file"});
  std::ofstream(path) << "cluster: test\nnods: {}\n";
  expect_refusal(daarionctl({"nodes", "--context", path}), 2, {"cluster.yaml:1: error: ", "daarionctl lint"});
}

TEST(Usage, NobodyAnswersIsOneLineWithWhatWasTried) {
  const Frozen frozen;
  const Ran ran = daarionctl({"status", "--server", "127.0.0.1:1", "--server", frozen.address});
  EXPECT_EQ(ran.code, 3);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "daarionctl: no control plane answers: tried 127.0.0.1:1 (connection refused), " + frozen.address +
                         " (no answer in 1 s); start daariond there, or name a node with --server HOST:PORT, DAARION_SERVER or --context cluster.yaml\n");
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"nodes"}, {"resources"}, {"resource", "a"}, {"events"}, {"replay"}, {"why", "1"}, {"why-not", "a"}, {"state"}, {"connect", "a"}, {"pause", "--reason", "x"}})
    EXPECT_EQ(daarionctl(args, {"DAARION_SERVER=127.0.0.1:1"}).code, 3) << args[0];
}

struct Bad {
  std::vector<std::string> args;
  std::string says;
};
void PrintTo(const Bad& bad, std::ostream* out) {
  for (const std::string& a : bad.args) *out << a << " ";
}
class BadUsage : public testing::TestWithParam<Bad> {};
TEST_P(BadUsage, IsOneLineAndCode2) {
  const Ran ran = daarionctl(GetParam().args, {"DAARION_SERVER=127.0.0.1:1"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(std::ranges::count(ran.err, '\n'), 1) << ran.err;
  EXPECT_NE(ran.err.find(GetParam().says), std::string::npos) << ran.err;
  EXPECT_TRUE(ran.err.starts_with("daarionctl: ")) << ran.err;
}
INSTANTIATE_TEST_SUITE_P(
    Command, BadUsage,
    testing::Values(Bad{{}, "A subcommand is required"}, Bad{{"stauts"}, "unknown command stauts; did you mean status?"}, Bad{{"status", "--frob"}, "--frob"},
                    Bad{{"status", "-o", "xml"}, "xml not in {table,json,yaml,markdown}"}, Bad{{"status", "--timeout", "0"}, "--timeout"},
                    Bad{{"status", "--timeout", "soon"}, "soon"}, Bad{{"status", "-w", "0"}, "--watch"}, Bad{{"resource"}, "resource is required"},
                    Bad{{"pause"}, "--reason is required"}, Bad{{"switchover", "--reason", "x"}, "resource is required"}, Bad{{"drain", "--reason", "x"}, "node is required"},
                    Bad{{"pause", "--reason", "x", "--expect-seq", "-1"}, "--expect-seq"}, Bad{{"why"}, "what is required"},
                    Bad{{"events", "--from", "ten"}, "--from: ten is no sequence number"}, Bad{{"events", "--from", "-1"}, "--from"}, Bad{{"completion", "fish"}, "fish not in {bash,zsh}"}, Bad{{"render"}, "A subcommand is required"},
                    Bad{{"render", "nats"}, "--node is required"}, Bad{{"lint", "/nonexistent"}, "read /nonexistent"}, Bad{{"nats-prestart", "/nonexistent"}, "read /nonexistent"},
                    Bad{{"render", "nats", "--node", "node1"}, "no cluster file"}));
INSTANTIATE_TEST_SUITE_P(
    Server, BadUsage,
    testing::Values(Bad{{"status", "--server", "host:port"}, "no HOST:PORT"}, Bad{{"status", "--server", "a:0"}, "no HOST:PORT"}, Bad{{"status", "--server", "a:65536"}, "no HOST:PORT"},
                    Bad{{"status", "--server", ":9350"}, "no HOST:PORT"}, Bad{{"status", "--server", "http://a:9350"}, "no HOST:PORT"}, Bad{{"status", "--server", ""}, "no HOST:PORT"}));

TEST(Usage, HelpAndVersionAreNoErrors) {
  EXPECT_EQ(daarionctl({"--help"}).code, 0);
  EXPECT_EQ(daarionctl({"switchover", "--help"}).code, 0);
  EXPECT_NE(daarionctl({"--version"}).out.find("daarionctl 0."), std::string::npos);
}

TEST(Lint, AsTableJsonAndYaml) {
  const Ran table = daarionctl({"lint", kClusterFile});
  EXPECT_EQ(table.code, 0);
  EXPECT_TRUE(table.out.ends_with("0 errors, 2 warnings, 5 notes\n")) << table.out;
  EXPECT_EQ(daarionctl({"lint", kClusterFile, "--strict"}).code, 1);
  const auto json = nlohmann::json::parse(daarionctl({"lint", kClusterFile, "-o", "json"}).out);
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["file"], kClusterFile);
  EXPECT_EQ(json["warnings"], 2);
  EXPECT_TRUE(json["findings"][0].contains("rule"));
  const Ran subjects = daarionctl({"lint", kClusterFile, "--subjects", std::string(DAARION_SOURCE_DIR) + "/tests/fixtures/subjects.tsv"});
  EXPECT_EQ(subjects.code, 0) << subjects.out;
  EXPECT_NE(subjects.out.find("agent.runs.created is uncovered"), std::string::npos) << subjects.out;
  EXPECT_EQ(subjects.out.find("message.created is uncovered"), std::string::npos) << subjects.out;
  EXPECT_NE(daarionctl({"lint", kClusterFile, "-o", "yaml"}).out.find("\nfindings:\n  - severity: warning\n"), std::string::npos);
}

TEST(Render, WhatRoutesDenyStandsInOrBesideTheConfiguration) {
  const std::vector<std::string> nats = {"render", "nats", "--node", "node1", "--context", kClusterFile};
  const Ran whole = daarionctl(nats, kPasswords);
  EXPECT_NE(whole.out.find("max_file: " + std::to_string(20'000'000'000 + (65ull << 30))), std::string::npos) << "65 GiB of rules: JetStream reserves them";
  EXPECT_NE(whole.out.find("\nDAARION_ROUTES { import: {deny: [\"node.*.local.>\"]}, export: {deny: [\"node.*.local.>\"]} }\n"), std::string::npos) << whole.out;
  std::vector<std::string> with_dir = nats;
  with_dir.insert(with_dir.end(), {"--routes-dir", "/etc/nats"});
  const Ran beside = daarionctl(with_dir, kPasswords);
  EXPECT_EQ(beside.out.find("DAARION_ROUTES {"), std::string::npos);
  EXPECT_NE(beside.out.find("pid_file: \"/etc/nats/node1.pid\"\ninclude \"node1.routes.conf\"\n"), std::string::npos) << beside.out;
  const Ran part = daarionctl({"render", "routes", "--node", "node3", "--kind", "leaf", "--context", kClusterFile});
  EXPECT_EQ(part.code, 0) << part.err;
  EXPECT_NE(part.out.find("DAARION_LEAF_DENIES [\"cluster.>\", \"message.>\", \"attachment.>\", \"agent.run.>\", \"node.*.local.>\", \"cache.invalidate.>\"]"), std::string::npos)
      << part.out;
  EXPECT_NE(part.out.find("subscribe: {deny: [\"node.node1.local.>\", \"node.node2.local.>\"]}"), std::string::npos) << part.out;
}

TEST(Render, NatsOfANode) {
  const std::vector<std::string> core = {"render", "nats", "--node", "NODE1", "--context", kClusterFile};
  const Ran ran = daarionctl(core, kPasswords);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("server_name: node1\nlisten: \"10.0.0.1:4222\""), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("password: \"c1\""), std::string::npos);
  EXPECT_NE(ran.out.find("name: daarion-core"), std::string::npos);
  std::vector<std::string> named = kPasswords;
  named.push_back("NATS_CLUSTER_NAME=other");
  EXPECT_NE(daarionctl(core, named).out.find("name: other"), std::string::npos);
  EXPECT_NE(daarionctl({"render", "nats", "--node", "noda1", "--context", kClusterFile}, kPasswords).out.find("server_name: node1"), std::string::npos);
  EXPECT_NE(daarionctl({"render", "nats", "--node", "node3", "--kind", "witness", "--context", kClusterFile}, kPasswords).out.find("server_name: node3-witness"), std::string::npos);
}

TEST(Render, SecretsComeFromEnvironmentOrFilesOnly) {
  const std::vector<std::string> args = {"render", "nats", "--node", "node1", "--context", kClusterFile};
  const TempFolder folder;
  std::ofstream(folder / "control") << "from-file\n";
  std::vector<std::string> env = {"DAARION_CONTROL_PASSWORD_FILE=" + (folder / "control"), kPasswords[1], kPasswords[2]};
  EXPECT_NE(daarionctl(args, env).out.find("password: \"from-file\""), std::string::npos);
  env[0] = "DAARION_CONTROL_PASSWORD_FILE=" + (folder / "none");
  const Ran unreadable = daarionctl(args, env);
  EXPECT_EQ(unreadable.code, 2);
  EXPECT_NE(unreadable.err.find("cannot be read or is empty"), std::string::npos) << unreadable.err;
  const Ran none = daarionctl(args);
  EXPECT_EQ(none.code, 2);
  EXPECT_EQ(none.out, "");
  EXPECT_NE(none.err.find("DAARION_CONTROL_PASSWORD_FILE"), std::string::npos) << none.err;
  const Ran two = daarionctl({"render", "nats", "--node", "node3", "--context", kClusterFile}, kPasswords);
  EXPECT_EQ(two.code, 2);
  EXPECT_NE(two.err.find("--kind, witness and leaf"), std::string::npos) << two.err;
  const Ran unknown = daarionctl({"render", "nats", "--node", "node9", "--context", kClusterFile}, kPasswords);
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("unknown node node9; did you mean node1?"), std::string::npos) << unknown.err;
}

TEST_F(CliTest, CompletionKnowsCommandsOptionsAndNames) {
  const TempFolder folder;
  const std::string script = folder / "completion";
  std::ofstream(script) << daarionctl({"completion", "bash"}).out;
  const auto complete = [&](const std::string& words) {
    const std::string code = "source " + script + "; daarionctl() { " DAARIONCTL " \"$@\"; }; COMP_WORDS=(" + words +
                             "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _daarionctl; echo \"${COMPREPLY[*]}\"";
    const std::string command = "DAARION_SERVER=" + address + " bash -c '" + code + "'";
    FILE* pipe = popen(command.c_str(), "r");
    std::string out;
    for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) out += static_cast<char>(c);
    pclose(pipe);
    return out;
  };
  EXPECT_EQ(complete("daarionctl swi"), "switchover\n");
  EXPECT_EQ(complete("daarionctl switchover --allow"), "\n");
  EXPECT_EQ(complete("daarionctl failover --allow"), "--allow-data-loss\n");
  EXPECT_EQ(complete("daarionctl switchover pos"), "postgres\n");
  EXPECT_EQ(complete("daarionctl switchover postgres --to node"), "node1 node2 node3\n");
  EXPECT_EQ(complete("daarionctl drain node2"), "node2\n");
  EXPECT_EQ(complete("daarionctl status -o j"), "json\n");
  EXPECT_TRUE(daarionctl({"completion", "zsh"}).out.starts_with("#compdef daarionctl\n"));
}

}  // namespace
}  // namespace daarion::test
