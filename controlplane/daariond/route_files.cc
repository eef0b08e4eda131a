#include "controlplane/daariond/route_files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "controlplane/health/http_client.h"

namespace daarion {
namespace {

constexpr Duration kVarzAnswer = std::chrono::milliseconds(1500);  // of a monitor; a server that is busy takes some 100 ms

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

/// When a server started and read its configuration last, by the machine's clock, which is that of its files too. Units: ns.
struct Running {
  std::int64_t started_ns = 0, read_ns = 0;
};

/// "2026-03-01T10:00:00.123456789Z", as nats-server writes it; nothing: it is no such text.
std::optional<std::int64_t> utc_ns(const std::string& text) {
  std::tm tm{};
  int seconds_end = 0;
  if (std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &seconds_end) != 6 || !text.ends_with('Z')) return {};
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  const std::string fraction = text.substr(static_cast<std::size_t>(seconds_end));
  const double part = fraction.starts_with('.') ? std::strtod(("0" + fraction).c_str(), nullptr) : 0;
  return timegm(&tm) * 1'000'000'000LL + std::int64_t(part * 1e9);
}

/// Nothing: it does not run, or does not say so.
std::optional<Running> running(const NatsServerPlan& server) {
  if (server.monitor == 0) return {};
  const HttpReply reply = HttpClient(server.monitor_host(), server.monitor).call({.path = "/varz", .body = {}, .headers = {}}, kVarzAnswer);
  const auto said = nlohmann::json::parse(reply.answer.body, nullptr, false);
  if (!said.is_object() || said.value("server_name", "") != server.name) return {};
  const auto started = utc_ns(said.value("start", "")), read = utc_ns(said.value("config_load_time", ""));
  return started && read ? std::optional(Running{*started, *read}) : std::nullopt;
}

/// 0: there is no such file.
std::int64_t written_ns(const std::string& path) {
  struct stat st {};
  return stat(path.c_str(), &st) == 0 ? st.st_mtim.tv_sec * 1'000'000'000LL + st.st_mtim.tv_nsec : 0;
}

/// The kernel dates a file by its last tick, up to 10 ms ago: a server that had read what was there before within that tick would be taken to have read this. So its time is set, after it is in place.
Result<void> write(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  std::ofstream(fresh, std::ios::trunc) << text;
  std::error_code error;
  std::filesystem::rename(fresh, path, error);
  if (!error) std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), error);
  if (!error && text_in(path) == text) return {};
  return fail(Remedy::kFixInput, "write " + path + ": " + (error ? error.message() : std::strerror(errno)) + "; give the daemon a folder it may write with --nats-dir");
}

/// Remembers when what the leaf link denies changed last. Of a file that nobody remembers that of, it is taken as long ago.
Result<void> remember_denies(const std::string& path, const std::string& denies, bool changed) {
  const std::string before = text_in(path);
  if (before == denies) return {};
  if (const auto done = write(path, denies); !done) return done;
  const timespec never[2] = {};
  if (before.empty() && !changed) utimensat(AT_FDCWD, path.c_str(), never, 0);
  return {};
}

/// Has the server read its files if it did not since they were written, and says what it does not have all the same.
std::string bring_up(const NatsServerPlan& server, const std::string& folder, const std::string& path, const std::string& remembered, bool fresh, std::string& done) {
  const auto runs = running(server);
  std::string left;
  if (runs ? runs->read_ns < written_ns(path) : fresh) {
    const std::string pid_file = folder + "/" + pid_file_of(server);
    const pid_t pid = std::atoi(text_in(pid_file).c_str());
    const bool told = pid > 1 && is_server(pid, folder) && kill(pid, SIGHUP) == 0;
    if (told && fresh) done += ", " + server.name + " reads it";
    else if (told) left = server.name + " has not read " + path + "; its log says what it refuses";
    else if (runs) left = server.name + " has not read " + path + ", and " + pid_file + " names no process of it; reload it: systemctl reload, or nats-server --signal reload";
  }
  if (runs && runs->started_ns < written_ns(remembered))
    left += (left.empty() ? "" : "; ") + ("the leaf link of " + server.name + " denies as before until that server is restarted: what a new rule stores may be stored twice");
  return left;
}

}  // namespace

RouteWork keep_route_files(const ClusterFile& file, const NodeId& node, const std::string& folder, const RoutePlan& plan) {
  RouteWork out;
  std::string left;
  for (const NatsServerPlan& server : nats_plan(file)) {
    if (server.node != node) continue;
    const std::string path = folder + "/" + routes_file_of(server), remembered = folder + "/" + server.name + ".leaf-denies", text = render_routes(plan, server), before = text_in(path);
    const bool fresh = before != text;
    std::string done;
    if (server.kind == NatsServerPlan::Kind::kLeaf) out.left = remember_denies(remembered, link_line(text), !before.empty() && link_line(before) != link_line(text));
    if (out.left && fresh) out.left = write(path, text);
    if (!out.left) return out;
    if (fresh) done = "wrote " + path;
    const std::string more = bring_up(server, folder, path, remembered, fresh, done);
    if (!more.empty()) left += (left.empty() ? "" : "; ") + more;
    if (!done.empty()) out.done.push_back(done);
  }
  if (!left.empty()) out.left = fail(Remedy::kRetry, left);
  return out;
}

}  // namespace daarion
