#include "streams/nats_beat_link.h"

#include <atomic>
#include <thread>

#include "streams/codec.h"
#include "streams/mailbox.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

constexpr std::size_t kSaidQueued = 256;        // per connection: a few seconds' worth; what is older is stale

struct Outgoing {
  std::string subject;
  std::string bytes;
};

/// One connection: a thread that sends, so that a socket that is full holds up nobody else, and a thread that hears.
class Path {
 public:
  Path(std::shared_ptr<Connection> connection, const NodeId& self, const BeatLink::Handlers& handlers)
      : connection_(std::move(connection)), handlers_(handlers) {
    for (const std::string& subject : {std::string("cluster.beat.*"), "cluster.ack." + self.value, std::string("cluster.vote.*")}) {
      Listener* listener = listeners_.emplace_back(std::make_unique<Listener>(connection_, subject)).get();
      threads_.emplace_back([this, listener] { hear(*listener); });
    }
    threads_.emplace_back([this] { send_queued(); });
  }
  ~Path() {
    closed_ = true;
    queue_.close();
    for (std::thread& thread : threads_) thread.join();
  }
  void send(Outgoing message) { queue_.push_fresh(std::move(message)); }

 private:
  void send_queued() {
    while (!closed_) {
      const auto message = queue_.pop(std::chrono::seconds(1));
      if (!message || !connection_->connected()) continue;
      const auto link = connection_->handles().link();
      natsConnection_Publish(link->nc, message->subject.c_str(), message->bytes.data(), static_cast<int>(message->bytes.size()));
    }
    nats_ReleaseThreadMemory();
  }

  void hear(Listener& listener) {
    while (!closed_) {
      const MsgPtr message = listener.next(kStepMs);
      if (message) take(natsMsg_GetSubject(message.get()), data_of(message.get()));
    }
    nats_ReleaseThreadMemory();
  }

  /// What cannot be read is dropped: the next beat comes soon, and an unreadable ack is no ack.
  void take(const std::string& subject, const std::string& bytes) {
    if (subject.starts_with("cluster.beat.")) {
      if (auto beat = decode_beat(bytes)) handlers_.beat(std::move(*beat));
    } else if (subject.starts_with("cluster.ack.")) {
      if (auto ack = decode_ack(bytes)) handlers_.ack(std::move(*ack));
    } else if (auto vote = decode_vote(bytes)) {
      handlers_.vote(std::move(*vote));
    }
  }

  std::shared_ptr<Connection> connection_;
  const BeatLink::Handlers& handlers_;
  Mailbox<Outgoing> queue_{kSaidQueued};
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::atomic<bool> closed_ = false;
  std::vector<std::thread> threads_;
};

class NatsBeatLink final : public BeatLink {
 public:
  NatsBeatLink(const std::vector<std::shared_ptr<Connection>>& connections, const NodeId& self, Handlers handlers)
      : handlers_(std::move(handlers)) {
    for (const auto& connection : connections) paths_.push_back(std::make_unique<Path>(connection, self, handlers_));
  }
  void send(const Beat& beat) override { publish("cluster.beat." + beat.node.value, encode_beat(beat)); }
  void send(const Ack& ack) override { publish("cluster.ack." + ack.holder.value, encode_ack(ack)); }
  void send(const Vote& vote) override { publish("cluster.vote." + vote.voter.value, encode_vote(vote)); }

 private:
  void publish(const std::string& subject, const std::string& bytes) {
    for (const auto& path : paths_) path->send({subject, bytes});
  }
  const Handlers handlers_;
  std::vector<std::unique_ptr<Path>> paths_;
};

}  // namespace

std::unique_ptr<BeatLink> make_nats_beat_link(std::vector<std::shared_ptr<Connection>> connections, NodeId self, BeatLink::Handlers handlers) {
  return std::make_unique<NatsBeatLink>(connections, self, std::move(handlers));
}

}  // namespace daarion
