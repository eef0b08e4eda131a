#include "tests/harness/nats_servers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "controlplane/topology/render.h"

namespace daarion::test {
namespace {

constexpr int kClient = 4222, kRoute = 6222, kLeaf = 7422, kWitnessClient = 4223, kWitnessRoute = 6223;

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 256> buffer{};
  while (pipe && fgets(buffer.data(), buffer.size(), pipe)) out += buffer.data();
  if (pipe) pclose(pipe);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace

NatsServers::NatsServers(Options options) : options_(std::move(options)) {
  if (options_.binary.empty()) options_.binary = std::getenv("NATS_SERVER") ? std::getenv("NATS_SERVER") : "nats-server";
  version_ = output_of(options_.binary + " --version");
  if (version_.empty()) throw std::runtime_error(options_.binary + " does not run: install Debian's nats-server, or set NATS_SERVER");
  std::string folder = (std::filesystem::temp_directory_path() / "daarion-nats-XXXXXX").string();
  folder_ = mkdtemp(folder.data());
  auto network = dev::Network::claim();
  if (!network) throw std::runtime_error(network.error().message);
  network_ = std::move(*network);
  for (const NatsServerPlan& plan : nats_plan(file()))
    servers_.push_back({.name = plan.name, .address = plan.address, .client = plan.client, .config = folder_ + "/" + plan.name + ".conf", .pid = -1});
  for (int i = 0; options_.edges > 0 && options_.cuttable && i < linked(); ++i)
    links_.push_back(std::make_unique<TcpLink>(link_address(i), servers_[static_cast<std::size_t>(i)].address + ":" + std::to_string(kLeaf)));
  for (int i = 0; i < size(); ++i) write_config(i);
  for (int i = 0; i < size(); ++i) start(i);
}

NatsServers::~NatsServers() {
  for (int i = 0; i < size(); ++i) kill(i);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

ClusterFile NatsServers::file() const {
  ClusterFile file;
  file.spec.cluster = "test";
  const auto add = [&](const std::string& name, NodeRole role, bool votes) {
    file.spec.nodes.push_back({NodeId(name), network_->prefix() + std::to_string(file.spec.nodes.size() + 1), "", role});
    if (votes) file.spec.voters.emplace_back(name);
  };
  for (int i = 0; i < linked(); ++i) add("node" + std::to_string(i + 1), NodeRole::kReplica, true);
  for (int i = 0; i < options_.edges; ++i) add(i == 0 ? "edge" : "edge" + std::to_string(i + 1), NodeRole::kEdge, options_.witness && i == 0);
  if (options_.witness) file.spec.witness = NodeId("edge");
  file.spec.routes = options_.routes;
  file.nats = {.client = kClient, .route = kRoute, .leaf = kLeaf, .witness_client = kWitnessClient, .witness_route = kWitnessRoute};
  return file;
}

/// The configuration is the rendered one, but for the leaf's way to the core: that goes through links which a test can cut.
void NatsServers::write_config(int index) {
  const ClusterFile file = this->file();
  const NatsServerPlan plan = nats_plan(file).at(static_cast<std::size_t>(index));
  std::string text = render_nats(file, plan, {.control = password_, .sys = "test-sys", .app = "test-app"}, folder_ + "/" + plan.name, "core", folder_);
  std::ofstream(folder_ + "/" + routes_file_of(plan)) << render_routes(plan_routes(file.spec), plan);
  if (plan.kind == NatsServerPlan::Kind::kLeaf && options_.cuttable)
    for (int i = 0; i < linked(); ++i) {
      const std::string direct = servers_[static_cast<std::size_t>(i)].address + ":" + std::to_string(kLeaf);
      for (std::size_t at = text.find("@" + direct); at != std::string::npos; at = text.find("@" + direct, at + 1))
        text.replace(at + 1, direct.size(), link_address(i));
    }
  // nats-server 2.9.10 tells an edge of the core's other servers whatever `no_advertise` says: let those be links too, or a cut cuts nothing off.
  const std::string silent = "  no_advertise: true\n";
  if (const std::size_t at = text.find(silent); options_.edges > 0 && options_.cuttable && at != std::string::npos)
    text.replace(at, silent.size(), "  advertise: \"" + link_address(index) + "\"\n");
  if (login_limit_ > 0) text += "authorization { timeout: " + std::to_string(login_limit_) + " }\n";
  std::ofstream(servers_[static_cast<std::size_t>(index)].config) << text;
}

std::string NatsServers::link_address(int core) const { return network_->prefix() + std::to_string(101 + core) + ":" + std::to_string(kLeaf); }

void NatsServers::cut_edge() {
  for (const auto& link : links_) link->cut();
}
void NatsServers::heal_edge() {
  for (const auto& link : links_) link->heal();
}

void NatsServers::start(int index) {
  Server& server = servers_[static_cast<std::size_t>(index)];
  const std::string log = folder_ + "/" + server.name + ".log";
  const pid_t parent = getpid();
  server.pid = fork();
  if (server.pid != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(fd, 1);
  dup2(fd, 2);
  execlp(options_.binary.c_str(), options_.binary.c_str(), "-c", server.config.c_str(), nullptr);
  _exit(127);
}

void NatsServers::kill(int index) {
  Server& server = servers_[static_cast<std::size_t>(index)];
  if (server.pid <= 0) return;
  ::kill(server.pid, SIGKILL);
  ::waitpid(server.pid, nullptr, 0);
  server.pid = -1;
}

void NatsServers::set_password(const std::string& password) {
  password_ = password;
  for (int i = 0; i < size(); ++i) write_config(i);
}

void NatsServers::set_login_limit(double seconds) {
  login_limit_ = seconds;
  for (int i = 0; i < size(); ++i) write_config(i);
}

void NatsServers::freeze(int index) { ::kill(servers_[static_cast<std::size_t>(index)].pid, SIGSTOP); }
void NatsServers::thaw(int index) { ::kill(servers_[static_cast<std::size_t>(index)].pid, SIGCONT); }
bool NatsServers::runs(int index) const { return servers_[static_cast<std::size_t>(index)].pid > 0; }
std::string NatsServers::name(int index) const { return servers_[static_cast<std::size_t>(index)].name; }
std::string NatsServers::url(int index) const {
  const Server& server = servers_[static_cast<std::size_t>(index)];
  return "nats://" + server.address + ":" + std::to_string(server.client);
}

std::vector<std::string> NatsServers::warnings(int index) const {
  std::vector<std::string> out;
  std::ifstream log(folder_ + "/" + name(index) + ".log");
  for (std::string line; std::getline(log, line);)
    if (line.find("[WRN]") != std::string::npos || line.find("[ERR]") != std::string::npos) out.push_back(line);
  return out;
}

NatsEndpoint NatsServers::endpoint(std::vector<int> order, const std::string& name, Account account) const {
  NatsEndpoint out{.urls = {}, .user = kUser, .password = kPassword, .name = name};
  if (account == Account::kSys) out.user = kSysUser, out.password = "test-sys";
  if (account == Account::kApp) out.user = kAppUser, out.password = "test-app";
  if (account == Account::kRoutes) out.user = kRoutesUser, out.password = password_;
  for (const int i : order) out.urls.push_back(url(i));
  return out;
}

}  // namespace daarion::test
