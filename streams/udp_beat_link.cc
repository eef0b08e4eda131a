#include "streams/udp_beat_link.h"

#include <netdb.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "streams/codec.h"

namespace daarion {
namespace {

enum class Kind : char { kBeat = 1, kAck = 2, kVote = 3 };
constexpr std::string_view kMagic("DB\x01", 3);  // the last byte is the version
constexpr std::size_t kHead = 4, kTag = 16;
constexpr std::size_t kLargest = 60'000;   // of a datagram: below what IP can carry; a beat has some kilobytes
constexpr int kPollMs = 50;                // how soon a link that ends lets go
constexpr Duration kLookUp = std::chrono::seconds(30);  // names may move
constexpr Duration kLookUpAgain = std::chrono::seconds(2);

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

/// `family` AF_UNSPEC: whatever there is.
std::optional<Address> look_up(const std::string& name, std::uint32_t port, int family) {
  addrinfo hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return std::nullopt;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  Address out;
  std::memcpy(&out.bytes, found->ai_addr, found->ai_addrlen);
  out.size = found->ai_addrlen;
  return out;
}

struct Bound {
  int fd = -1;
  int family = AF_UNSPEC;
};
Result<Bound> listen_on(const UdpBeats& config) {
  const std::string what = "listen for beats on " + config.address + ":" + std::to_string(config.port) + " (UDP): ";
  const auto own = look_up(config.address, config.port, AF_UNSPEC);
  if (!own) return fail(Remedy::kRetry, what + "the name has no address");
  const int family = own->bytes.ss_family;
  const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&own->bytes), own->size) == 0) return Bound{fd, family};
  const int error = errno;
  if (fd >= 0) close(fd);
  return fail(error == EADDRINUSE ? Remedy::kFixInput : Remedy::kRetry, what + std::strerror(error));
}

using Tag = std::array<unsigned char, kTag>;
Tag tag_of(const BeatKey& key, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> whole{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), whole.data(), &size);
  Tag out;
  std::copy_n(whole.begin(), kTag, out.begin());
  return out;
}

struct Peer {
  NodeId node;
  std::string name;
  std::optional<Address> address;
};

class UdpBeatLink final : public BeatLink {
 public:
  UdpBeatLink(UdpBeats config, int socket, int family, Handlers handlers)
      : config_(std::move(config)), socket_(socket), family_(family), handlers_(std::move(handlers)) {
    for (const auto& [node, name] : config_.peers) peers_.push_back({node, name, {}});
    threads_[0] = std::thread([this] { look_up_peers(); });
    threads_[1] = std::thread([this] { hear(); });
  }
  ~UdpBeatLink() override {
    closed_ = true;
    for (std::thread& thread : threads_) thread.join();
    close(socket_);
  }

  void send(const Beat& beat) override { post(Kind::kBeat, encode_beat(beat), {}); }
  void send(const Ack& ack) override { post(Kind::kAck, encode_ack(ack), ack.holder); }
  void send(const Vote& vote) override { post(Kind::kVote, encode_vote(vote), {}); }

 private:
  /// To one node, or to all. A full socket drops it: the next beat comes soon.
  void post(Kind kind, const std::string& message, const NodeId& to) {
    std::string bytes(kMagic);
    bytes += static_cast<char>(kind);
    bytes += message;
    const Tag tag = tag_of(config_.key, bytes);
    bytes.append(reinterpret_cast<const char*>(tag.data()), tag.size());
    if (bytes.size() > kLargest) return;
    const std::lock_guard lock(mutex_);
    for (const Peer& peer : peers_)
      if (peer.address && (to.empty() || to == peer.node))
        (void)sendto(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&peer.address->bytes), peer.address->size);
  }

  void look_up_peers() {
    while (!closed_) {
      bool all = true;
      for (std::size_t i = 0; i < peers_.size() && !closed_; ++i) {  // names do not change, only addresses: those under the lock
        const auto address = look_up(peers_[i].name, config_.port, family_);
        all = all && address;
        const std::lock_guard lock(mutex_);
        if (address) peers_[i].address = address;
      }
      const auto again = std::chrono::steady_clock::now() + (all ? kLookUp : kLookUpAgain);
      while (!closed_ && std::chrono::steady_clock::now() < again) std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
    }
  }

  void hear() {
    std::string bytes(kLargest + 1, '\0');
    while (!closed_) {
      pollfd ready{.fd = socket_, .events = POLLIN, .revents = 0};
      if (poll(&ready, 1, kPollMs) <= 0) continue;
      const ssize_t size = recv(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (size > 0) take(std::string_view(bytes).substr(0, static_cast<std::size_t>(size)));
    }
  }

  /// What is not of this cluster, or cannot be read, is dropped.
  void take(std::string_view bytes) {
    if (bytes.size() < kHead + kTag || bytes.size() > kLargest || !bytes.starts_with(kMagic)) return;
    const std::string_view said = bytes.substr(0, bytes.size() - kTag);
    const Tag tag = tag_of(config_.key, said);
    if (CRYPTO_memcmp(tag.data(), bytes.data() + said.size(), kTag) != 0) return;
    const std::string_view message = said.substr(kHead);
    switch (static_cast<Kind>(said[kMagic.size()])) {
      case Kind::kBeat:
        if (auto beat = decode_beat(message)) handlers_.beat(std::move(*beat));
        break;
      case Kind::kAck:
        if (auto ack = decode_ack(message)) handlers_.ack(std::move(*ack));
        break;
      case Kind::kVote:
        if (auto vote = decode_vote(message)) handlers_.vote(std::move(*vote));
        break;
    }
  }

  const UdpBeats config_;
  const int socket_;
  const int family_;
  const Handlers handlers_;
  std::mutex mutex_;  // guards the peers' addresses
  std::vector<Peer> peers_;
  std::atomic<bool> closed_ = false;
  std::array<std::thread, 2> threads_;  // last: they use all of the above
};

class JoinedLinks final : public BeatLink {
 public:
  explicit JoinedLinks(std::vector<std::unique_ptr<BeatLink>> links) : links_(std::move(links)) {}
  void send(const Beat& beat) override { all(beat); }
  void send(const Ack& ack) override { all(ack); }
  void send(const Vote& vote) override { all(vote); }

 private:
  void all(const auto& message) {
    for (const auto& link : links_) link->send(message);
  }
  std::vector<std::unique_ptr<BeatLink>> links_;
};

}  // namespace

BeatKey beat_key(const std::string& secret, const std::string& cluster) {
  const std::string what = "daarion beats of " + cluster;
  BeatKey key{};
  unsigned size = key.size();
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(what.data()), what.size(), key.data(), &size);
  return key;
}

Result<void> try_beat_port(const UdpBeats& config) {
  const auto bound = listen_on(config);
  if (!bound) return tl::unexpected(bound.error());
  close(bound->fd);
  return {};
}

Result<std::unique_ptr<BeatLink>> make_udp_beat_link(UdpBeats config, BeatLink::Handlers handlers) {
  const auto bound = listen_on(config);
  if (!bound) return tl::unexpected(bound.error());
  return std::make_unique<UdpBeatLink>(std::move(config), bound->fd, bound->family, std::move(handlers));
}

std::unique_ptr<BeatLink> join_beat_links(std::vector<std::unique_ptr<BeatLink>> links) { return std::make_unique<JoinedLinks>(std::move(links)); }

}  // namespace daarion
