#include "controlplane/api/http_server.h"

#include <httplib.h>

#include <nlohmann/json.hpp>
#include <thread>

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;
using View = std::function<std::shared_ptr<const StatusView>()>;

constexpr std::size_t kThreads = 8;            // a slow client holds one; health must still be answered
constexpr std::size_t kMaxBody = 4096;         // nothing here takes a body
constexpr auto kTimeout = std::chrono::seconds(1);

void answer(httplib::Response& res, int code, const std::string& json) {
  res.status = code;
  res.set_header("Cache-Control", "no-store");
  res.set_content(json + "\n", "application/json");
}

const StatusView::Role* role_of(const StatusView& view, const std::string& resource) {
  const auto at = std::ranges::find(view.roles, ResourceId(resource), &StatusView::Role::resource);
  return at == view.roles.end() ? nullptr : &*at;
}

class Server : public HttpServer {
 public:
  explicit Server(View view) : view_(std::move(view)) {}
  ~Server() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  Result<void> listen(const std::string& bind, std::uint32_t port) {
    // httplib would set SO_REUSEPORT: two daemons would share one port without a word.
    server_.set_socket_options([](socket_t fd) {
      const int yes = 1;
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_read_timeout(kTimeout);
    server_.set_write_timeout(kTimeout);
    server_.set_keep_alive_max_count(100);
    server_.set_payload_max_length(kMaxBody);
    routes();
    if (!server_.bind_to_port(bind, static_cast<int>(port)))
      return fail(Remedy::kFixInput, "listen for HTTP on " + bind + ":" + std::to_string(port) +
                                         ": the port is taken or the address is not this machine's; set control.http_port or control.bind");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    return {};
  }

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
    server_.Get(R"(/([a-z0-9][a-z0-9_-]*)/(primary|replica|read-only))",
                [this](const httplib::Request& req, httplib::Response& res) { balance(req, res); });
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
    const bool yes = wanted == "primary" ? role->primary : wanted == "replica" ? replica : role->primary || replica;
    answer(res, yes ? 200 : 503, Json{{"primary", role->primary}, {"replica", role->replica}, {"lag_bytes", role->lag_bytes}}.dump());
  }

  View view_;
  httplib::Server server_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& bind, std::uint32_t port, View view) {
  auto server = std::make_unique<Server>(std::move(view));
  if (auto listening = server->listen(bind, port); !listening) return tl::unexpected(listening.error());
  return server;
}

}  // namespace daarion
