#include "controlplane/health/http_client.h"

#include <httplib.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace daarion {
namespace {
using Clock = std::chrono::steady_clock;

constexpr Duration kEarly = std::chrono::milliseconds(5);  // the library's timeout counts from its own last step, in whole ms
constexpr Duration kStopAgain = std::chrono::milliseconds(50);

/// Ends a call that goes on beyond its time: the library's own limits are for each of its reads, and a header may come byte by byte.
class CallEnd {
 public:
  CallEnd(httplib::Client& client, Clock::time_point end) : thread_([this, &client, end] { watch(client, end); }) {}
  ~CallEnd() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

 private:
  void watch(httplib::Client& client, Clock::time_point end) {
    std::unique_lock lock(mutex_);
    for (; !changed_.wait_until(lock, end, [this] { return over_; }); end = Clock::now() + kStopAgain) {
      lock.unlock();  // it may have to wait for the library
      client.stop();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};
}  // namespace

struct HttpClient::Handle {
  Handle(const std::string& address, std::uint32_t port) : client(address, static_cast<int>(port)) {}
  httplib::Client client;
};

HttpClient::HttpClient(const std::string& address, std::uint32_t port, bool keep) : handle_(std::make_unique<Handle>(address, port)) {
  handle_->client.set_keep_alive(keep);
}
HttpClient::~HttpClient() = default;

HttpReply HttpClient::call(const HttpCall& call, Duration limit) {
  const auto end = Clock::now() + limit;
  const auto us = std::max<std::int64_t>(std::chrono::duration_cast<std::chrono::microseconds>(limit).count(), 1);
  httplib::Client& client = handle_->client;
  client.set_connection_timeout(us / 1'000'000, us % 1'000'000);
  client.set_read_timeout(us / 1'000'000, us % 1'000'000);
  client.set_write_timeout(us / 1'000'000, us % 1'000'000);
  HttpReply out;
  bool enough = false;
  httplib::Request request;
  request.method = call.method;
  request.path = call.path;
  request.body = call.body;
  for (const auto& [name, value] : call.headers) request.headers.emplace(name, value);
  if (!call.body.empty()) request.headers.emplace("Content-Type", "application/json");
  request.response_handler = [&](const httplib::Response& response) {
    out.answer.status = response.status;
    out.answer.content_type = response.get_header_value("Content-Type");
    out.answer.location = response.get_header_value("Location");
    return true;
  };
  request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    out.late = Clock::now() > end;
    out.answer.body.append(data, std::min(size, call.most - out.answer.body.size()));
    enough = out.answer.body.size() >= call.most;
    return !out.late && !enough;
  };
  const auto result = [&] {
    const CallEnd at_last(client, end + limit);
    return client.send(request);
  }();
  if (!out.late && !enough && !result) {
    out.late = Clock::now() + kEarly >= end;
    out.error = httplib::to_string(result.error());
  }
  if (out.late) out.error = "no answer within " + std::to_string(to_ms(limit)) + " ms";
  return out;
}

}  // namespace daarion
