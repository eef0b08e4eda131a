#include "tests/guard/guard_pair.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "controlplane/node/clock.h"

namespace daarion::test {

namespace fs = std::filesystem;

bool until(const std::function<bool()>& what, Duration limit) {
  for (const Instant end = node_now() + limit; !what(); std::this_thread::sleep_for(std::chrono::milliseconds(2)))
    if (node_now() > end) return false;
  return true;
}

std::string text_of_file(const std::string& path) {
  std::ostringstream text;  // iterators would throw where a process ends while its file in /proc is read
  text << std::ifstream(path).rdbuf();
  return text.str();
}

Instant last_write(const std::string& path) {
  const std::string bytes = text_of_file(path);
  Instant last{};
  for (std::size_t i = 0; i + sizeof(std::int64_t) <= bytes.size(); i += sizeof(std::int64_t)) {
    std::int64_t ns = 0;
    std::memcpy(&ns, bytes.data() + i, sizeof ns);
    last = std::max(last, Instant(Duration(ns)));
  }
  return last;
}

GuardPair::~GuardPair() { end(); }

Result<void> GuardPair::connect() {
  {
    const std::lock_guard lock(mutex_);
    report_ = {};
  }
  auto opened = GuardClient::open(config_, [this](const GuardReport& r) {
    const std::lock_guard lock(mutex_);
    report_ = r;
    reported_ = node_now();
  });
  if (!opened) return tl::unexpected(opened.error());
  client_ = std::move(*opened);
  if (!until([&] { return report().connected; })) return fail(Remedy::kRetry, "the guard says nothing");
  return {};
}

bool GuardPair::end() {
  if (!client_ && !processes().empty()) (void)connect();
  if (client_) client_->end();
  client_.reset();
  return until([&] { return processes().empty(); });
}

GuardReport GuardPair::report() {
  const std::lock_guard lock(mutex_);
  return report_;
}

Instant GuardPair::reported() {
  const std::lock_guard lock(mutex_);
  return reported_;
}

std::optional<EndCause> GuardPair::end_of(const SessionId& session) {
  for (const SessionEnd& end : report().ended)
    if (end.session == session) return end.cause;
  return std::nullopt;
}

void GuardPair::arm(const SessionId& session, Instant deadline, std::uint64_t epoch) {
  client_->send({config_.resource, GuardCommand::Kind::kArm, session, Epoch{epoch}, deadline});
}

SessionId GuardPair::take(Duration length) {
  const SessionId session = report().next;
  arm(session, node_now() + length);
  return until([&] { return report().taken && report().taken->session == session; }) ? session : SessionId{};
}

std::vector<pid_t> GuardPair::processes(const std::string& comm) const {
  std::vector<pid_t> out;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code gone;
    const bool engine = fs::read_symlink(entry.path() / "cwd", gone) == config_.data_dir;
    const bool guard = text_of_file(entry.path() / "cmdline").find(config_.socket) != std::string::npos;
    if (!engine && !guard) continue;
    if (!comm.empty() && !text_of_file(entry.path() / "comm").starts_with(comm)) continue;
    out.push_back(std::stoi(pid));
  }
  return out;
}

std::vector<pid_t> GuardPair::engine() const {
  std::vector<pid_t> out;
  for (const pid_t pid : processes()) {
    std::error_code gone;
    if (fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", gone) == config_.data_dir) out.push_back(pid);
  }
  return out;
}

}  // namespace daarion::test
