#include <atomic>
#include <thread>

#include "streams/api_responder.h"
#include "streams/mailbox.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

constexpr const char* kPrefix = "cluster.api.";
constexpr const char* kGroup = "cluster-api";
constexpr int kWorkers = 4;           // a verb that waits for the log must not hold up those that answer from memory
constexpr std::size_t kQuestionsQueued = 64;   // some ms of work; who waits longer than its own limit has given up
constexpr const char* kBusy = R"({"error":{"code":"RESOURCE_EXHAUSTED","message":"answer a request: too many are waiting on this node; try again"}})";

struct Request {
  std::shared_ptr<Connection> connection;
  std::string verb, body, reply;
};

class NatsApiResponder final : public ApiResponder {
 public:
  NatsApiResponder(const std::vector<std::shared_ptr<Connection>>& connections, ApiHandler handler) : handler_(std::move(handler)) {
    for (const auto& connection : connections) {
      Listener* listener = listeners_.emplace_back(std::make_unique<Listener>(connection, std::string(kPrefix) + ">", kGroup)).get();
      threads_.emplace_back([this, listener, connection] { hear(*listener, connection); });
    }
    for (int i = 0; i < kWorkers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~NatsApiResponder() override {
    closed_ = true;
    queue_.close();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void hear(Listener& listener, const std::shared_ptr<Connection>& connection) {
    while (!closed_) {
      const MsgPtr message = listener.next(kStepMs);
      if (!message || natsMsg_GetReply(message.get()) == nullptr) continue;
      Request request{connection, std::string(natsMsg_GetSubject(message.get())).substr(std::string(kPrefix).size()), data_of(message.get()),
                      natsMsg_GetReply(message.get())};
      if (!queue_.push(request)) answer(request, kBusy);
    }
    nats_ReleaseThreadMemory();
  }

  void work() {
    while (!closed_) {
      const auto request = queue_.pop(std::chrono::seconds(1));
      if (request) answer(*request, handler_(request->verb, request->body));
    }
    nats_ReleaseThreadMemory();
  }

  static void answer(const Request& request, const std::string& text) {
    const auto link = request.connection->handles().link();
    natsConnection_Publish(link->nc, request.reply.c_str(), text.data(), static_cast<int>(text.size()));
  }

  const ApiHandler handler_;
  Mailbox<Request> queue_{kQuestionsQueued};
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::atomic<bool> closed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<ApiResponder> make_nats_api_responder(const std::vector<std::shared_ptr<Connection>>& connections, ApiHandler handler) {
  return std::make_unique<NatsApiResponder>(connections, std::move(handler));
}

}  // namespace daarion
