#include "controlplane/daariond/route_files.h"

#include <signal.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace daarion {
namespace {

std::string text_in(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Whether the process is the server of that folder: a pid file may be older than its machine's boot.
bool is_server(pid_t pid, const std::string& folder) { return text_in("/proc/" + std::to_string(pid) + "/cmdline").find(folder) != std::string::npos; }

/// The line of what a leaf link denies: a server takes it up only when it starts.
std::string link_line(const std::string& text) {
  const std::size_t at = text.find("DAARION_LEAF_DENIES");
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

}  // namespace

Result<std::string> keep_route_files(const ClusterFile& file, const NodeId& node, const std::string& folder, const RoutePlan& plan) {
  std::string done;
  for (const NatsServerPlan& server : nats_plan(file)) {
    if (server.node != node) continue;
    const std::string path = folder + "/" + routes_file_of(server), text = render_routes(plan, server), before = text_in(path);
    if (before == text) continue;
    const std::string fresh = path + ".new";
    std::ofstream(fresh, std::ios::trunc) << text;
    std::error_code error;
    std::filesystem::rename(fresh, path, error);
    if (error || text_in(path) != text)
      return fail(Remedy::kFixInput, "write " + path + ": " + (error ? error.message() : std::strerror(errno)) +
                                         "; give the daemon a folder it may write with --nats-dir");
    done += (done.empty() ? "" : "; ") + ("wrote " + path);
    const pid_t pid = std::atoi(text_in(folder + "/" + pid_file_of(server)).c_str());
    if (pid <= 1 || !is_server(pid, folder) || kill(pid, SIGHUP) != 0) continue;
    done += ", " + server.name + " reads it";
    if (!before.empty() && link_line(before) != link_line(text)) done += "; its leaf link denies as before until it is restarted";
  }
  return done;
}

}  // namespace daarion
