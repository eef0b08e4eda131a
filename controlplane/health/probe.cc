#include "controlplane/health/probe.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <sstream>

#include "controlplane/drivers/subprocess.h"
#include "controlplane/health/http_client.h"
#include "controlplane/health/judge.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr auto kStoodStill = std::chrono::milliseconds(800);  // beyond the limit: a process that does not end takes 500 of them
constexpr std::size_t kMostBody = 64 << 10;  // beyond it no health body goes; the rest is not read

std::string within(Duration limit) { return "within " + std::to_string(to_ms(limit)) + " ms"; }

HealthVerdict refused(const std::string& place, int error, Duration limit) {
  return service_broken(error == ETIMEDOUT ? place + ": no connection " + within(limit) : place + ": " + std::strerror(error));
}

/// Connects within the limit: 0, or an errno.
int try_connect(const addrinfo& to, Duration limit) {
  const int fd = socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  int error = connect(fd, to.ai_addr, to.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd one{.fd = fd, .events = POLLOUT, .revents = 0};
    int ready = 0;
    while ((ready = poll(&one, 1, static_cast<int>(to_ms(limit)))) < 0 && errno == EINTR) {
    }
    error = ETIMEDOUT;
    socklen_t size = sizeof error;
    if (ready > 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  close(fd);
  return error;
}

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;
/// Null, and why: getaddrinfo's code.
Addresses addresses_of(const std::string& address, std::uint32_t port, int& failed) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  failed = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &raw);
  return {failed == 0 ? raw : nullptr, &freeaddrinfo};
}

HealthVerdict look_tcp(const ServiceSpec& service, const std::string& address) {
  const std::string place = address + ":" + std::to_string(service.port);
  int failed = 0;
  const Addresses found = addresses_of(address, service.port, failed);
  if (!found) return check_broken("address " + address + ": " + gai_strerror(failed));
  const int error = try_connect(*found, service.check.timeout);
  return error == 0 ? HealthVerdict{.health = Health::kHealthy} : refused(place, error, service.check.timeout);
}

HealthVerdict look_http(const ServiceSpec& service, const std::string& address) {
  const ServiceCheck& check = service.check;
  HttpClient client(address, service.port);
  const HttpReply reply = client.call({.path = check.target, .headers = {{"Accept", "application/json, */*"}, {"User-Agent", "daariond"}}, .most = kMostBody}, check.timeout);
  if (reply.late) return service_broken("no answer " + within(check.timeout));
  const HttpAnswer& answer = reply.answer;
  // Nobody there, or a name that is none: said better by the plain connection.
  if (answer.status == 0)
    if (HealthVerdict there = look_tcp(service, address); there.health != Health::kHealthy) return there;
  if (answer.status == 0) return service_broken("no HTTP answer: " + reply.error);
  return judge_http(check, answer);
}

/// The verdict on a command that had to be killed, or of which one lives that was. One look that took the time of several counts as so many: with
/// one more of the same length, the GPU's chain would move after 2.6 s instead of 1.6. But where this process itself stood still, as with its
/// machine, nobody knows for how long the command did not answer.
HealthVerdict no_end(const ServiceCheck& check, const ToolCommand& command, Clock::duration took) {
  const pid_t stuck = left_behind(command.argv);
  HealthVerdict out = service_broken("no end of " + command.argv[0] + " " + within(command.limit) +
                                     (stuck == 0 ? "" : ": process " + std::to_string(stuck) + " was killed and does not end"));
  if (took >= check.timeout && took < check.timeout + kStoodStill) out.looks = static_cast<std::uint32_t>(std::max<std::int64_t>(1, check.timeout / std::max(check.interval, Duration{1})));
  return out;
}

HealthVerdict look_by_command(const ServiceSpec& service, const std::vector<std::string>& environment) {
  ToolCommand command;
  std::istringstream words(service.check.target);
  for (std::string word; words >> word;) command.argv.push_back(word);
  if (command.argv.empty()) return check_broken("no command");
  if (access(command.argv[0].c_str(), X_OK) != 0) return check_broken("command " + command.argv[0] + ": " + std::strerror(errno));
  command.environment = environment;
  command.environment.emplace_back(kPath);
  command.limit = service.check.timeout;
  command.may_be_left = true;
  auto user = find_user("");
  if (!user) return check_broken(user.error().message);
  command.user = std::move(*user);
  const auto begun = Clock::now();
  const auto ran = run_tool(command);
  if (!ran && ran.error().effect == Effect::kMaybe) return no_end(service.check, command, Clock::now() - begun);
  if (!ran) return check_broken(ran.error().message);
  return judge_command(service.check, ran->exit_code, ran->output, cause_in(ran->errors));
}

}  // namespace

std::optional<Duration> connect_time(const std::string& address, std::uint32_t port, Duration limit) {
  int failed = 0;
  const Addresses found = addresses_of(address, port, failed);
  if (!found) return std::nullopt;
  const auto begun = Clock::now();
  const int error = try_connect(*found, limit);
  if (error != 0 && error != ECONNREFUSED) return std::nullopt;
  return Clock::now() - begun;
}

HealthVerdict look_at(const ServiceSpec& service, const std::string& address, const std::vector<std::string>& environment) {
  switch (service.check.kind) {
    case ServiceCheck::Kind::kHttp: return look_http(service, address);
    case ServiceCheck::Kind::kTcp: return look_tcp(service, address);
    case ServiceCheck::Kind::kCommand: return look_by_command(service, environment);
  }
  return check_broken("no kind of check");
}

}  // namespace daarion
