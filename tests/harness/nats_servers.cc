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

namespace daarion::test {
namespace {

constexpr int kClient = 4222, kRoute = 6222, kLeaf = 7422;

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
  const int total = options_.size + (options_.edge ? 1 : 0);
  for (int i = 0; i < total; ++i) {
    const bool edge = i >= options_.size;
    servers_.push_back({.name = edge ? "edge" : "node" + std::to_string(i + 1), .address = network_->prefix() + std::to_string(i + 1),
                        .config = folder_ + "/" + std::to_string(i) + ".conf", .pid = -1});
  }
  for (int i = 0; i < total; ++i) write_config(i);
  for (int i = 0; i < total; ++i) start(i);
}

NatsServers::~NatsServers() {
  for (int i = 0; i < size(); ++i) kill(i);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void NatsServers::write_config(int index) {
  const Server& server = servers_[static_cast<std::size_t>(index)];
  const bool edge = index >= options_.size;
  std::ofstream out(server.config);
  out << "server_name: " << server.name << "\nlisten: \"" << server.address << ":" << kClient << "\"\nping_interval: \"5s\"\nping_max: 2\n"
      << "jetstream { store_dir: \"" << folder_ << "/" << server.name << "\", domain: " << (edge ? "edge" : "core")
      << ", max_mem: 64MB, max_file: 1GB }\n"
      << "system_account: SYS\naccounts {\n  SYS { users [{user: sys, password: test-sys}] }\n"
      << "  CONTROL { jetstream: enabled, users [{user: " << kUser << ", password: " << password_ << "}],\n"
      << "    exports [{stream: \"cluster.events.>\"}, {service: \"cluster.api.>\"}] }\n"
      << "  APP { jetstream: enabled, users [{user: app, password: test-app}],\n"
      << "    imports [{stream: {account: CONTROL, subject: \"cluster.events.>\"}}, {service: {account: CONTROL, subject: \"cluster.api.>\"}}] }\n}\n";
  if (edge) {
    out << "leafnodes { reconnect: 1, remotes [{ urls: [";
    for (int i = 0; i < options_.size; ++i)
      out << (i ? ", " : "") << "\"nats://" << kUser << ":" << password_ << "@" << servers_[static_cast<std::size_t>(i)].address << ":" << kLeaf << "\"";
    out << "], account: CONTROL }] }\n";
    return;
  }
  out << "leafnodes { listen: \"" << server.address << ":" << kLeaf << "\", no_advertise: true }\n";
  if (options_.size == 1) return;
  out << "cluster { name: core, listen: \"" << server.address << ":" << kRoute << "\", routes: [";
  for (int i = 0; i < options_.size; ++i)
    out << (i ? ", " : "") << "\"nats://" << servers_[static_cast<std::size_t>(i)].address << ":" << kRoute << "\"";
  out << "] }\n";
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

void NatsServers::freeze(int index) { ::kill(servers_[static_cast<std::size_t>(index)].pid, SIGSTOP); }
void NatsServers::thaw(int index) { ::kill(servers_[static_cast<std::size_t>(index)].pid, SIGCONT); }
bool NatsServers::runs(int index) const { return servers_[static_cast<std::size_t>(index)].pid > 0; }
std::string NatsServers::name(int index) const { return servers_[static_cast<std::size_t>(index)].name; }
std::string NatsServers::url(int index) const {
  return "nats://" + servers_[static_cast<std::size_t>(index)].address + ":" + std::to_string(kClient);
}

NatsEndpoint NatsServers::endpoint(std::vector<int> order, const std::string& name) const {
  NatsEndpoint out{.urls = {}, .user = kUser, .password = kPassword, .name = name};
  for (const int i : order) out.urls.push_back(url(i));
  return out;
}

}  // namespace daarion::test
