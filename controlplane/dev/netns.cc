#include "controlplane/dev/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "controlplane/dev/processes.h"

namespace daarion::dev {
namespace {

constexpr const char* kFolder = "/run/netns/";  // iproute2's

std::string names_file(const std::string& folder) { return folder + "/netns"; }
std::string lost_file(const std::string& folder) { return folder + "/netns.lost"; }

Result<void> run(const std::vector<std::string>& argv, const std::string& input = "") {
  const auto done = run_to_end(argv, input);
  if (!done) return tl::unexpected(done.error());
  return {};
}

}  // namespace

bool enter_netns(const std::string& netns) {
  const int fd = ::open((kFolder + netns).c_str(), O_RDONLY | O_CLOEXEC);
  const bool in = fd >= 0 && ::setns(fd, CLONE_NEWNET) == 0;
  if (fd >= 0) ::close(fd);
  return in;
}

bool inside(const std::string& netns, const std::function<void()>& what) {
  bool in = false;
  std::thread([&] {
    in = enter_netns(netns);
    if (in) what();
  }).join();
  return in;
}

Result<void> NodeNetwork::possible() {
  if (::geteuid() != 0) return fail(Remedy::kFixInput, "make network namespaces: only root may; run it as root, or without --netns");
  for (const char* program : {"ip", "nft"})
    if (!run({program, "-V"}))
      return fail(Remedy::kFixInput, std::string("make network namespaces: no program ") + program + "; install Debian's iproute2 and nftables (deploy/bootstrap)");
  // Root of a container may lack the right all the same.
  const std::string name = "daarion-try-" + std::to_string(::getpid());  // of this call alone: a process makes one cluster at a time
  if (auto made = run({"ip", "netns", "add", name}); !made) return fail(Remedy::kFixInput, "make network namespaces: " + made.error().message);
  const auto filter = run({"ip", "netns", "exec", name, "nft", "-f", "-"}, filter_text(NodeId("b"), {{NodeId("a"), NodeId("b"), 30}}, {{NodeId("a"), "10.0.0.1"}}));
  if (auto removed = run({"ip", "netns", "delete", name}); !removed) return removed;
  if (!filter) return fail(Remedy::kFixInput, "make network namespaces: nftables do not work here: " + filter.error().message);
  return {};
}

Result<NodeNetwork> NodeNetwork::make(const std::string& folder, const std::string& prefix, const std::map<NodeId, std::string>& addresses) {
  const auto routes = run_to_end({"ip", "-4", "route", "show", "match", prefix + "1"}, "");
  if (!routes) return tl::unexpected(routes.error());
  std::istringstream lines(*routes);
  for (std::string line; std::getline(lines, line);)
    if (!line.starts_with("default")) return fail(Remedy::kRetry, "make the network " + prefix + "0/24: this machine has a route there already: " + line);
  std::random_device chance;
  char tag[16];
  std::snprintf(tag, sizeof tag, "%08x", chance());
  NodeNetwork out(folder, tag, addresses);
  // The names first: what is half made can be removed.
  std::ofstream(names_file(folder), std::ios::trunc) << tag << "\n";
  if (auto made = out.make_links(prefix); !made) {
    (void)out.remove();
    return tl::unexpected(made.error());
  }
  return out;
}

Result<void> NodeNetwork::make_links(const std::string& prefix) {
  const std::string outside = "dh" + tag_;
  std::string machine = "netns add " + hub() + "\n";
  for (const auto& [node, address] : addresses_) machine += "netns add " + name_of(node) + "\n";
  machine += "link add " + outside + " type veth peer name outside netns " + hub() + "\naddress add " + prefix + "254/24 dev " + outside + "\nlink set " + outside + " up\n";
  std::string bridge = "link add name hub type bridge\nlink set dev hub up\nlink set dev outside master hub up\n";
  for (const auto& [node, address] : addresses_)
    bridge += "link add " + port_of(node) + " type veth peer name eth0 netns " + name_of(node) + "\nlink set dev " + port_of(node) + " master hub up\n";
  if (auto made = run({"ip", "-batch", "-"}, machine); !made) return made;
  if (auto made = run({"ip", "-n", hub(), "-batch", "-"}, bridge); !made) return made;
  for (const auto& [node, address] : addresses_)
    if (auto made = run({"ip", "-n", name_of(node), "-batch", "-"}, "link set dev lo up\naddress add " + address + "/24 dev eth0\nlink set dev eth0 up\n"); !made) return made;
  return lose({});
}

std::optional<NodeNetwork> NodeNetwork::of(const std::string& folder, const std::map<NodeId, std::string>& addresses) {
  std::string tag;
  if (!(std::ifstream(names_file(folder)) >> tag)) return std::nullopt;
  return NodeNetwork(folder, tag, addresses);
}

Result<void> NodeNetwork::remove() {
  Result<void> out;
  std::error_code error;
  const std::string outside = "dh" + tag_;
  if (std::filesystem::exists("/sys/class/net/" + outside, error)) out = run({"ip", "link", "delete", outside});
  // All with the tag: tests hang others into the hub.
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, error))
    if (const std::string name = entry.path().filename().string(); name.starts_with("daarion-" + tag_ + "-")) names.push_back(name);
  for (const std::string& name : names)
    if (auto removed = run({"ip", "netns", "delete", name}); !removed && out) out = removed;
  if (out)
    for (const std::string& file : {names_file(folder_), lost_file(folder_)}) std::filesystem::remove(file, error);
  return out;
}

std::string filter_text(const NodeId& node, const std::vector<LostPackets>& packets, const std::map<NodeId, std::string>& addresses) {
  std::map<NodeId, int> percent;
  for (const LostPackets& p : packets)
    if (p.to == node) percent[p.from] = p.percent;
  std::string out = "add table ip daarion\nadd chain ip daarion arrives { type filter hook input priority 0; policy accept; }\nflush chain ip daarion arrives\n";
  for (const auto& [from, n] : percent) {
    const auto at = addresses.find(from);
    if (at == addresses.end() || n <= 0) continue;
    out += "add rule ip daarion arrives ip saddr " + at->second + (n >= 100 ? "" : " numgen random mod 100 < " + std::to_string(n)) + " drop\n";
  }
  return out;
}

Result<void> NodeNetwork::lose(const std::vector<LostPackets>& packets) {
  for (const auto& [node, address] : addresses_)
    if (auto set = run({"ip", "netns", "exec", name_of(node), "nft", "-f", "-"}, filter_text(node, packets, addresses_)); !set) return set;
  std::ofstream file(lost_file(folder_), std::ios::trunc);
  for (const LostPackets& p : packets) file << p.from.value << " " << p.to.value << " " << p.percent << "\n";
  return {};
}

std::vector<LostPackets> NodeNetwork::lost() const {
  std::vector<LostPackets> out;
  std::ifstream file(lost_file(folder_));
  LostPackets p;
  while (file >> p.from.value >> p.to.value >> p.percent) out.push_back(p);
  return out;
}

Result<void> NodeNetwork::plug(const NodeId& node, bool in) { return run({"ip", "-n", hub(), "link", "set", "dev", port_of(node), in ? "up" : "down"}); }

}  // namespace daarion::dev
