#include "tests/drivers/killed_daemon.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

namespace daarion::test {
namespace {

using Json = nlohmann::json;
using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

// One question and one answer at a time, each a packet. A command of an engine has some KiB.
constexpr std::size_t kPacket = 64 * 1024;

bool send_packet(int fd, const Json& words) {
  const std::string text = words.dump();
  return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

Json receive_packet(int fd) {
  std::array<char, kPacket> buffer;
  const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
  return got <= 0 ? Json() : Json::parse(buffer.data(), buffer.data() + got);
}

/// In the child.
class AskingHost final : public EngineHost {
 public:
  explicit AskingHost(int fd) : fd_(fd) {}
  Result<std::uint64_t> start(const EngineCommand& c) override {
    const Json answer = ask({{"what", "start"}, {"argv", c.argv}, {"environment", c.environment}, {"user", c.user}, {"directory", c.directory}, {"log_file", c.log_file}});
    if (answer.contains("error")) return fail(Remedy::kRetry, answer["error"]);
    return answer["incarnation"].get<std::uint64_t>();
  }
  Result<void> stop(int signal) override {
    const Json answer = ask({{"what", "stop"}, {"signal", signal}});
    if (answer.contains("error")) return fail(Remedy::kRetry, answer["error"]);
    return {};
  }
  Result<void> wait_empty(Duration limit) override {
    for (const auto end = Steady::now() + limit; running(); std::this_thread::sleep_for(milliseconds(2)))
      if (Steady::now() >= end) return fail(Remedy::kRetry, "wait for the engine's end: not in time", Effect::kMaybe);
    return {};
  }
  std::uint64_t incarnation() const override { return ask({{"what", "look"}})["incarnation"]; }
  bool running() const override { return ask({{"what", "look"}})["running"]; }

 private:
  Json ask(const Json& question) const {
    Json answer = send_packet(fd_, question) ? receive_packet(fd_) : Json();
    if (answer.is_null()) _exit(2);  // who asked for the work is gone
    return answer;
  }
  int fd_;
};

Json answer(DirectHost& host, const Json& asked) {
  if (asked["what"] == "start") {
    const auto started = host.start({.argv = asked["argv"], .environment = asked["environment"], .user = asked["user"], .directory = asked["directory"], .log_file = asked["log_file"]});
    return started ? Json{{"incarnation", *started}} : Json{{"error", started.error().message}};
  }
  if (asked["what"] == "stop") {
    const auto stopped = host.stop(asked["signal"]);
    return stopped ? Json::object() : Json{{"error", stopped.error().message}};
  }
  return {{"incarnation", host.incarnation()}, {"running", host.running()}};
}

}  // namespace

std::optional<bool> run_killed(DirectHost& host, const std::function<bool(EngineHost&)>& work, Duration limit) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return std::nullopt;
  const auto end = Steady::now() + limit;
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    AskingHost asking(ends[1]);
    _exit(work(asking) ? 0 : 1);
  }
  close(ends[1]);
  if (child < 0) return close(ends[0]), std::nullopt;
  for (auto now = Steady::now(); now < end; now = Steady::now()) {
    pollfd ready{ends[0], POLLIN, 0};
    const auto left = std::chrono::ceil<milliseconds>(end - now).count();
    if (poll(&ready, 1, static_cast<int>(std::min<std::int64_t>(left, 1000))) <= 0) continue;
    const Json asked = receive_packet(ends[0]);
    if (asked.is_null()) break;  // it is at its end
    if (!send_packet(ends[0], answer(host, asked))) break;
  }
  kill(child, SIGKILL);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) return std::nullopt;
  return WEXITSTATUS(status) == 0;
}

}  // namespace daarion::test
