#include "controlplane/api/http_server.h"

#include <httplib.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "controlplane/api/json.h"
#include "controlplane/api/metrics.h"
#include "controlplane/api/service_views.h"
#include "controlplane/core/services.h"

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;
using View = std::function<std::shared_ptr<const StatusView>()>;

// SLOW CLIENTS. httplib's timeouts are per read: a client that sends one byte a second holds its thread for ever, and as many such
// clients as the pool has threads leave /health unanswered: a supervisor would then kill a healthy daemon. So a connection carries one
// request and is cut 2 s after a thread took it, whatever it does; threads are made as they are needed, up to 64; beyond that,
// connections wait in a queue of 64, and beyond that in the kernel's.
constexpr std::size_t kMaxThreads = 64;        // each holds a stack; who sends 32 stuck connections a second still wins
constexpr std::size_t kMaxQueued = 64;
constexpr int kBacklog = 128;
constexpr auto kConnectionLimit = std::chrono::seconds(2);
constexpr std::size_t kMaxBody = 4096;         // nothing here takes a body
constexpr auto kEndNoticed = std::chrono::milliseconds(100);  // how soon a waiting connection notices that the server ends

void answer(httplib::Response& res, int code, const std::string& json) {
  res.status = code;
  res.set_header("Cache-Control", "no-store");
  res.set_content(json + "\n", "application/json");
}

const StatusView::Role* role_of(const StatusView& view, const std::string& resource) {
  const auto at = std::ranges::find(view.roles, ResourceId(resource), &StatusView::Role::resource);
  return at == view.roles.end() ? nullptr : &*at;
}

/// Threads that are made as they are needed, and kept. Each runs one connection at a time.
class Workers final : public httplib::TaskQueue {
 public:
  ~Workers() override { shutdown(); }
  void enqueue(std::function<void()> job) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return jobs_.size() < kMaxQueued || ending_; });
    jobs_.push_back(std::move(job));
    if (idle_ < jobs_.size() && threads_.size() < kMaxThreads) threads_.emplace_back([this] { run(); });
    work_.notify_one();
  }
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    work_.notify_all();
    room_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      work_.wait(lock, [this] { return !jobs_.empty() || ending_; });
      --idle_;
      if (jobs_.empty()) return;
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      room_.notify_one();
      lock.unlock();
      job();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable work_, room_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

/// One connection, with an end: no read or write waits beyond it, or beyond the server's own end.
class BoundedStream final : public httplib::Stream {
 public:
  BoundedStream(socket_t fd, const std::atomic<bool>& ending) : fd_(fd), ending_(ending), end_(Clock::now() + kConnectionLimit) {}
  bool is_readable() const override { return at_ < have_ || ready(POLLIN); }
  bool is_writable() const override { return ready(POLLOUT); }
  ssize_t read(char* to, std::size_t size) override {
    if (at_ == have_) {
      if (!ready(POLLIN)) return -1;
      const ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got <= 0) return got;
      at_ = 0;
      have_ = static_cast<std::size_t>(got);
    }
    const std::size_t n = std::min(size, have_ - at_);
    std::copy_n(buffer_.data() + at_, n, to);
    at_ += n;
    return static_cast<ssize_t>(n);
  }
  ssize_t write(const char* from, std::size_t size) override {
    return ready(POLLOUT) ? send(fd_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}  // nothing here asks who it is
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return fd_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool ready(short what) const {
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now());
      if (ending_ || left.count() <= 0) return false;
      pollfd one{.fd = fd_, .events = what, .revents = 0};
      const int got = poll(&one, 1, static_cast<int>(std::min(left, kEndNoticed).count()));
      if (got > 0) return true;
      if (got < 0 && errno != EINTR) return false;
    }
  }
  socket_t fd_;
  const std::atomic<bool>& ending_;
  Clock::time_point end_;
  std::array<char, 4096> buffer_;
  std::size_t at_ = 0, have_ = 0;
};

/// httplib's server, one request per connection. It is extended in the way that its own SSLServer is.
class BoundedServer final : public httplib::Server {
 public:
  /// httplib lets 5 connections wait in the kernel: of a burst, the others would be told nothing and come again a second later.
  void widen() { ::listen(svr_sock_, kBacklog); }
  void end() {
    ending_ = true;
    stop();
  }

 private:
  bool process_and_close_socket(socket_t fd) override {
    BoundedStream stream(fd, ending_);
    bool closed = false;
    const bool ok = process_request(stream, true, closed, nullptr);
    shutdown(fd, SHUT_RDWR);
    close(fd);
    return ok;
  }
  std::atomic<bool> ending_{false};
};

class WebServer : public HttpServer {
 public:
  WebServer(View view, std::shared_ptr<RouteDesk> routes) : view_(std::move(view)), desk_(std::move(routes)) {}
  ~WebServer() override {
    server_.end();
    if (thread_.joinable()) thread_.join();
  }

  Result<void> listen(const std::string& bind, std::uint32_t port) {
    // httplib would set SO_REUSEPORT: two daemons would share one port without a word.
    server_.set_socket_options([](socket_t fd) {
      const int yes = 1;
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server_.new_task_queue = [] { return new Workers(); };
    server_.set_payload_max_length(kMaxBody);
    routes();
    port_ = port;
    const int any = port == 0 ? server_.bind_to_any_port(bind) : -1;
    if (any > 0) port_ = static_cast<std::uint32_t>(any);
    if (any <= 0 && (port == 0 || !server_.bind_to_port(bind, static_cast<int>(port))))
      return fail(Remedy::kFixInput, "listen for HTTP on " + bind + ":" + std::to_string(port) +
                                         ": the port is taken or the address is not this machine's; set control.http_port or control.bind");
    server_.widen();
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // a stop() before that would be lost
    return {};
  }
  std::uint32_t port() const override { return port_; }

 private:
  void routes() {
    const auto health = [](const httplib::Request&, httplib::Response& res) { answer(res, 200, R"({"status":"ok"})"); };
    const auto ready = [this](const httplib::Request&, httplib::Response& res) {
      const auto view = view_();
      answer(res, view->ready ? 200 : 503, Json{{"ready", view->ready}, {"reasons", view->reasons}}.dump());
    };
    for (const char* path : {"/health", "/healthz"}) server_.Get(path, health);
    for (const char* path : {"/ready", "/readyz"}) server_.Get(path, ready);
    server_.Get("/cluster/status", [this](const httplib::Request&, httplib::Response& res) { answer(res, 200, view_()->status_json); });
    server_.Get("/cluster/peers", [this](const httplib::Request&, httplib::Response& res) { answer(res, 200, view_()->peers_json); });
    server_.Get("/cluster/routes", [this](const httplib::Request&, httplib::Response& res) { answer(res, 200, to_json(route_table_of(*view_()->state))); });
    server_.Get("/cluster/services", [this](const httplib::Request&, httplib::Response& res) { answer(res, 200, to_json(service_list(*view_()->state))); });
    server_.Get("/cluster/capabilities", [this](const httplib::Request&, httplib::Response& res) { answer(res, 200, to_json(capability_list(*view_()->state))); });
    server_.Get("/cluster/route", [this](const httplib::Request& req, httplib::Response& res) {
      const auto view = view_();
      const auto found = desk_->route(*view->state, req.get_param_value("service"), req.get_param_value("region"), view->status->node(), req.get_param_value("mode") == "read");
      if (!found) return answer(res, 400, Json{{"error", found.error().message}}.dump());
      answer(res, found->nodes_size() == 0 ? 503 : 200, to_json(*found));
    });
    server_.Get("/cluster/resolve", [this](const httplib::Request& req, httplib::Response& res) {
      const auto view = view_();
      const std::string from = req.has_param("from") ? req.get_param_value("from") : view->status->node();
      const auto found = desk_->resolve(*view->state, req.has_param("subject") ? req.get_param_value("subject") : "", from);
      if (found) answer(res, 200, to_json(*found));
      else answer(res, 400, Json{{"error", found.error().message}}.dump());
    });
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& res) {
      res.set_header("Cache-Control", "no-store");
      res.set_content(metrics_text(*view_()), "text/plain; version=0.0.4; charset=utf-8");
    });
    server_.Get(R"(/([a-z0-9][a-z0-9_-]*)/(primary|replica|read-only))",
                [this](const httplib::Request& req, httplib::Response& res) { balance(req, res); });
    server_.Get(R"(/([a-z0-9][a-z0-9_-]*)/(active|read))", [this](const httplib::Request& req, httplib::Response& res) { serve(req, res); });
    server_.Options(R"(.*)", [](const httplib::Request&, httplib::Response& res) {
      res.set_header("Allow", "GET, HEAD, OPTIONS");
      res.status = 200;
    });
  }

  /// 200 if this node's engine has the role asked for, else 503: what HAProxy's checks read.
  void balance(const httplib::Request& req, httplib::Response& res) {
    const auto view = view_();
    const StatusView::Role* role = role_of(*view, req.matches[1]);
    if (role == nullptr) return answer(res, 404, Json{{"error", "no resource " + req.matches[1].str() + " on this node"}}.dump());
    const std::string wanted = req.matches[2];
    std::uint64_t limit = std::uint64_t(-1);
    if (req.has_param("lag")) {
      const std::string text = req.get_param_value("lag");
      char* end = nullptr;
      limit = std::strtoull(text.c_str(), &end, 10);
      if (text.empty() || *end != '\0') return answer(res, 400, Json{{"error", "lag is a number of bytes, not " + text}}.dump());
    }
    const bool replica = role->replica && role->lag_bytes <= limit;
    const bool yes = wanted == "primary" ? role->primary : role->balanced && (replica || (wanted == "read-only" && role->primary));
    answer(res, yes ? 200 : 503, Json{{"primary", role->primary}, {"replica", role->replica}, {"balanced", role->balanced}, {"lag_bytes", role->lag_bytes}}.dump());
  }

  /// 200 if requests of the service, or reads, can go to this node, else 503. Of what moves, a node that is alone knows who was active, and not who is:
  /// the others may have moved it, and two nodes would be asked. It runs the stop command at the same moment.
  void serve(const httplib::Request& req, httplib::Response& res) {
    const auto view = view_();
    const ServiceSpec* service = view->state->topology.spec.service(req.matches[1]);
    const auto place = place_of(*view->state, req.matches[1], NodeId(view->status->node()));
    if (service == nullptr || !place || place->declared == ServiceRole::kOff)
      return answer(res, 404, Json{{"error", "no service " + req.matches[1].str() + " on this node"}}.dump());
    const bool reads = req.matches[2] == "read", gives_up = !reads && view->alone && service->moves();
    Json said{{"state", text_of(place->role)}, {"health", text_of(place->health)}};
    if (gives_up) said["reason"] = "this node hears no majority of the voters: another one may be active";
    answer(res, gives_up || routed({*place}, reads).empty() ? 503 : 200, said.dump());
  }

  View view_;
  std::shared_ptr<RouteDesk> desk_;
  BoundedServer server_;
  std::uint32_t port_ = 0;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& bind, std::uint32_t port, View view, std::shared_ptr<RouteDesk> routes) {
  auto server = std::make_unique<WebServer>(std::move(view), std::move(routes));
  if (auto listening = server->listen(bind, port); !listening) return tl::unexpected(listening.error());
  return server;
}

}  // namespace daarion
