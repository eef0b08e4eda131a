// Looks at real things: an HTTP server, a port, commands.
#include "controlplane/health/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <thread>

#include "controlplane/health/round_trips.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {

using std::chrono::milliseconds;

class Server {
 public:
  Server() {
    server_.Get("/health", [](const httplib::Request&, httplib::Response& res) { res.set_content(R"({"status":"healthy","nats_connected":true})", "application/json"); });
    server_.Get("/slow", [this](const httplib::Request&, httplib::Response& res) {
      std::unique_lock lock(mutex_);
      ended_.wait(lock, [this] { return over_; });
      res.set_content("late", "text/plain");
    });
    port = static_cast<std::uint32_t>(server_.bind_to_any_port("127.0.0.1"));
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::sleep_for(milliseconds(1));
  }
  ~Server() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_all();
    server_.stop();
    thread_.join();
  }
  std::uint32_t port = 0;

 private:
  httplib::Server server_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::thread thread_;
};

ServiceSpec http(std::uint32_t port, const std::string& path) {
  ServiceSpec spec{.name = "x", .port = port};
  spec.check.target = path;
  spec.check.timeout = milliseconds(300);
  return spec;
}

TEST(Probe, LooksByHttp) {
  Server server;
  ServiceSpec spec = http(server.port, "/health");
  spec.check.expect = {{"nats_connected", "true"}};
  EXPECT_EQ(look_at(spec, "127.0.0.1"), HealthVerdict{.health = Health::kHealthy});
  EXPECT_TRUE(look_at(http(server.port, "/other"), "127.0.0.1").check_broken);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(look_at(http(server.port, "/slow"), "127.0.0.1"), (HealthVerdict{.health = Health::kBroken, .cause = "no answer within 300 ms"}));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(1500));
  EXPECT_TRUE(look_at(spec, "no-such-host.invalid").check_broken);
}

/// Answers a byte now and then, and never ends: each read of it is in time.
class Dripper {
 public:
  Dripper() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    bind(listener_, reinterpret_cast<const sockaddr*>(&at), size);
    listen(listener_, 4);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Dripper() {
    over_ = true;
    thread_.join();
    close(listener_);
  }
  std::uint32_t port = 0;

 private:
  void run() {
    pollfd waiting{.fd = listener_, .events = POLLIN, .revents = 0};
    while (!over_) {
      if (poll(&waiting, 1, 20) <= 0) continue;
      const int fd = accept(listener_, nullptr, nullptr);
      const std::string begin = "HTTP/1.1 200 OK\r\nX-Long: ";
      bool there = send(fd, begin.data(), begin.size(), MSG_NOSIGNAL) > 0;
      while (there && !over_) {
        std::this_thread::sleep_for(milliseconds(20));
        there = send(fd, "x", 1, MSG_NOSIGNAL) == 1;
      }
      close(fd);
    }
  }
  const int listener_ = socket(AF_INET, SOCK_STREAM, 0);
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

TEST(Probe, AHeaderThatNeverEndsIsNoAnswer) {
  std::future<HealthVerdict> looked;
  Dripper dripper;  // ends first
  const auto begun = std::chrono::steady_clock::now();
  looked = std::async(std::launch::async, [&] { return look_at(http(dripper.port, "/health"), "127.0.0.1"); });
  ASSERT_EQ(looked.wait_for(std::chrono::seconds(5)), std::future_status::ready) << "one service that does so would never be looked at again";
  EXPECT_EQ(looked.get(), (HealthVerdict{.health = Health::kBroken, .cause = "no answer within 300 ms"}));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(1500));
}

TEST(Probe, LooksByTcpAndSaysWhenNobodyIsThere) {
  std::uint32_t port = 0;
  {
    Server server;
    port = server.port;
    ServiceSpec spec{.name = "x", .port = port};
    spec.check.kind = ServiceCheck::Kind::kTcp;
    EXPECT_EQ(look_at(spec, "127.0.0.1").health, Health::kHealthy);
  }
  ServiceSpec spec = http(port, "/health");
  EXPECT_EQ(look_at(spec, "127.0.0.1"), (HealthVerdict{.health = Health::kBroken, .cause = "127.0.0.1:" + std::to_string(port) + ": Connection refused"}));
  spec.check.kind = ServiceCheck::Kind::kTcp;
  EXPECT_EQ(look_at(spec, "127.0.0.1").health, Health::kBroken);
}

TEST(Probe, LooksByCommand) {
  const test::TempFolder folder;
  const std::string script = folder / "probe";
  const auto says = [&](const std::string& text, const std::string& expected = "") {
    std::ofstream(script) << "#!/bin/sh\n" << text << "\n";
    chmod(script.c_str(), 0755);
    ServiceSpec spec{.name = "gpu"};
    spec.check = {.kind = ServiceCheck::Kind::kCommand, .target = script + " one", .text = expected, .timeout = milliseconds(500)};
    return look_at(spec, "127.0.0.1", {"DAARION_NODE=node1"});
  };
  EXPECT_EQ(says("echo GPU 0: $DAARION_NODE $1", "GPU 0: node1 one").health, Health::kHealthy);
  EXPECT_EQ(says("echo 'no device' >&2; exit 3"), (HealthVerdict{.health = Health::kBroken, .cause = "exit code 3: no device"}));
  EXPECT_EQ(says("exec sleep 60").cause, "no end of " + script + " within 500 ms");
  EXPECT_TRUE(says("exec /nonexistent/command").check_broken);
  ServiceSpec none{.name = "gpu"};
  none.check = {.kind = ServiceCheck::Kind::kCommand, .target = "/nonexistent/nvidia-smi -L"};
  EXPECT_TRUE(look_at(none, "127.0.0.1").check_broken);
}

/// Holds back the end of the process whose number it finds in a file, as a driver in the kernel would: until it ends itself. Its own session, so that
/// what kills the traced one's group does not end it.
class Tracer {
 public:
  explicit Tracer(const std::string& pid_file) {
    std::array<int, 2> told{};
    EXPECT_EQ(pipe2(told.data(), O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      setsid();
      alarm(20);  // without the bound that is tested, a test that fails and does not hang
      pid_t traced = 0;
      while (traced == 0) {
        std::ifstream in(pid_file);
        if (std::string line; std::getline(in, line) && !in.eof()) traced = std::atoi(line.c_str());
      }
      const char ok = ptrace(PTRACE_SEIZE, traced, nullptr, static_cast<long>(PTRACE_O_TRACEEXIT)) == 0 ? '1' : '0';
      if (write(told[1], &ok, 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(told[1]);
    told_ = told[0];
  }
  ~Tracer() { end(); }
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;
  bool holds() const {
    char ok = 0;
    return read(told_, &ok, 1) == 1 && ok == '1';
  }
  void end() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
    close(told_);
  }

 private:
  pid_t pid_ = 0;
  int told_ = -1;
};

int lines_of(const std::string& path) {
  std::ifstream in(path);
  return static_cast<int>(std::count(std::istreambuf_iterator<char>(in), {}, '\n'));
}

/// A probe whose process that counts, the shell or the program that it runs, does not end when it is killed.
void expect_left_behind(const std::string& body) {
  using Clock = std::chrono::steady_clock;
  const test::TempFolder folder;
  const std::string script = folder / "probe", pids = folder / "pids";
  std::ofstream(script) << "#!/bin/sh\n" << body << "\n";
  chmod(script.c_str(), 0755);
  ServiceSpec spec{.name = "gpu"};
  spec.check = {.kind = ServiceCheck::Kind::kCommand, .target = script + " " + pids, .interval = milliseconds(250), .timeout = milliseconds(1000)};
  Tracer tracer(pids);
  auto begun = Clock::now();
  const HealthVerdict late = look_at(spec, "127.0.0.1");
  const auto took = Clock::now() - begun;
  EXPECT_LT(took, milliseconds(2500)) << "it waited for the end of a process that cannot be killed";
  if (!tracer.holds()) GTEST_SKIP() << "this machine lets nobody trace";
  EXPECT_EQ(late.health, Health::kBroken);
  EXPECT_TRUE(late.cause.starts_with("no end of " + script + " within 1000 ms: process ")) << late.cause;
  if (took < milliseconds(1700)) {
    EXPECT_EQ(late.looks, 4u) << "it took the time of four; of a machine that stood still nobody knows";
  }
  begun = Clock::now();
  for (int i = 0; i < 3; ++i) {
    const HealthVerdict again = look_at(spec, "127.0.0.1");
    EXPECT_EQ(again.cause, late.cause);
    EXPECT_EQ(again.looks, 1u);
  }
  EXPECT_LT(Clock::now() - begun, milliseconds(500));
  EXPECT_EQ(lines_of(pids), 1) << "another was started beside it";
  ServiceSpec other = spec;
  other.check.target = "/bin/true";
  EXPECT_EQ(look_at(other, "127.0.0.1").health, Health::kHealthy) << "what hangs is that command alone";
  tracer.end();
  for (const auto end = Clock::now() + std::chrono::seconds(10); lines_of(pids) == 1 && Clock::now() < end;) look_at(spec, "127.0.0.1");
  EXPECT_EQ(lines_of(pids), 2) << "it was never run again";
}

TEST(Probe, ACommandThatCannotBeKilledIsLeftBehindAndNotStartedBesideItself) { expect_left_behind("echo $$ >> $1; exec sleep 60"); }

TEST(Probe, SoIsAProgramThatItsScriptWaitedFor) { expect_left_behind("sleep 60 & echo $! >> $1; wait"); }

TEST(RoundTrips, AreMeasuredByAnAnswerOrARefusalAndForgottenWithoutEither) {
  std::uint32_t port = 0;
  {
    Server server;
    port = server.port;
    ASSERT_TRUE(connect_time("127.0.0.1", port, milliseconds(500)));
  }
  ASSERT_TRUE(connect_time("127.0.0.1", port, milliseconds(500))) << "refused: it is there";
  EXPECT_FALSE(connect_time("no-such-host.invalid", port, milliseconds(500)));
  const RoundTripMeter meter({{NodeId("here"), "127.0.0.1"}, {NodeId("nowhere"), "no-such-host.invalid"}}, port, milliseconds(20));
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10); meter.newest().empty() && std::chrono::steady_clock::now() < end;)
    std::this_thread::sleep_for(milliseconds(1));
  const RoundTrips seen = meter.newest();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_TRUE(seen.contains(NodeId("here")));
  EXPECT_LT(seen.at(NodeId("here")), 500);
}

}  // namespace
}  // namespace daarion
