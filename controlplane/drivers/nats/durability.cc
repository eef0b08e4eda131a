#include "controlplane/drivers/nats/durability.h"

#include <array>
#include <cstdio>
#include <map>

#include "controlplane/drivers/words.h"

namespace daarion::nats {
namespace {

using Release = std::array<int, 3>;

struct Fault {
  Release first, fixed;  // from the one on, and before the other
  const char* what;
};

// Of nats-server's issues 3906 and 6888 (Jepsen); seen in none of our own runs, which use none of these.
constexpr Fault kFaults[] = {
    {{2, 9, 11}, {2, 9, 15}, "a restart may leave a cluster of it that does not recover; take 2.9.21 or later"},
    {{2, 10, 20}, {2, 10, 23}, "a crash of its process alone may lose whole streams; take 2.10.23 or later"},
};
// What was measured with 2.9.10 (docs/failure-modes.md: a server that is frozen or cut off).
constexpr Release kCountsWell{2, 9, 21};
constexpr Release kSyncIsSet{2, 10, 0}, kSyncsRaft{2, 10, 23};
constexpr Duration kDefaultSync = std::chrono::minutes(2);

std::optional<Release> version_of(const std::string& text) {
  Release out{};
  if (std::sscanf(text.c_str(), "%d.%d.%d", &out[0], &out[1], &out[2]) != 3) return std::nullopt;
  return out;
}

std::string told(const std::string& version, const std::vector<std::string>& nodes) { return "nats-server " + version + " of " + joined(nodes, nodes.size()); }

std::map<std::string, std::vector<std::string>> by_version(const std::vector<Keeping>& servers) {
  std::map<std::string, std::vector<std::string>> out;
  for (const Keeping& server : servers)
    if (version_of(server.version)) out[server.version].push_back(server.node);
  return out;
}

}  // namespace

std::vector<std::string> faults_of(const std::vector<Keeping>& servers) {
  std::vector<std::string> out;
  for (const auto& [version, nodes] : by_version(servers))
    for (const Fault& fault : kFaults)
      if (const Release v = *version_of(version); v >= fault.first && v < fault.fixed) out.push_back(told(version, nodes) + ": " + fault.what);
  return out;
}

std::vector<std::string> notes_of(const std::vector<Keeping>& servers) {
  std::vector<std::string> out;
  for (const auto& [version, nodes] : by_version(servers))
    if (*version_of(version) < kCountsWell)
      out.push_back(told(version, nodes) + ": a server that was frozen or cut off may lack acknowledged messages before 2.9.21; the daemons put them again in the streams "
                    "of `routing`, and in no others");
  std::vector<std::string> cannot, late, half;
  for (const Keeping& server : servers) {
    const auto version = version_of(server.version);
    if (!version) continue;
    if (*version < kSyncIsSet) cannot.push_back(server.node);
    else if (server.sync && *server.sync >= kDefaultSync) late.push_back(server.node);
    else if (*version < kSyncsRaft) half.push_back(server.node);
  }
  const std::string cut = ": one power cut of them all may take what was acknowledged in that time";
  if (!cannot.empty()) out.push_back("the servers of " + joined(cannot, cannot.size()) + " sync every 2 minutes, as all before 2.10 do" + cut);
  if (!late.empty()) out.push_back("the servers of " + joined(late, late.size()) + " sync every 2 minutes or more rarely" + cut + "; control.nats.sync_interval sets it");
  if (!half.empty())
    out.push_back("the servers of " + joined(half, half.size()) + " sync their rafts' logs every 2 minutes whatever sync_interval says, as all before 2.10.23 do");
  return out;
}

}  // namespace daarion::nats
