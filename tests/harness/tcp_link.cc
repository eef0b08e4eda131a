#include "tests/harness/tcp_link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace daarion::test {
namespace {

constexpr int kStepMs = 10;  // how soon a cut is carried out

sockaddr_in address_of(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1))));
  inet_pton(AF_INET, text.substr(0, colon).c_str(), &out.sin_addr);
  return out;
}

int open_socket() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  return fd;
}

}  // namespace

TcpLink::TcpLink(const std::string& from, const std::string& to) : to_(to), listener_(open_socket()) {
  const sockaddr_in at = address_of(from);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || ::listen(listener_, 16) != 0)
    throw std::runtime_error("cannot listen on " + from);
  thread_ = std::thread([this] { run(); });
}

TcpLink::~TcpLink() {
  closed_ = true;
  thread_.join();
  ::close(listener_);
}

void TcpLink::run() {
  const auto end = [](Pair& pair) { ::close(pair.client), ::close(pair.server), pair.client = -1; };
  while (!closed_) {
    std::vector<pollfd> waiting{{listener_, POLLIN, 0}};
    for (const Pair& pair : pairs_) waiting.insert(waiting.end(), {{pair.client, POLLIN, 0}, {pair.server, POLLIN, 0}});
    const bool any = ::poll(waiting.data(), waiting.size(), kStepMs) > 0;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      Pair& pair = pairs_[i];
      const bool to_server = any && waiting[1 + 2 * i].revents != 0, to_client = any && waiting[2 + 2 * i].revents != 0;
      if (cut_ || (to_server && !pass(pair.client, pair.server)) || (to_client && !pass(pair.server, pair.client))) end(pair);
    }
    std::erase_if(pairs_, [](const Pair& pair) { return pair.client < 0; });
    if (any && waiting[0].revents != 0) accept_one();
  }
  for (Pair& pair : pairs_) end(pair);
}

void TcpLink::accept_one() {
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = open_socket();
  const sockaddr_in at = address_of(to_);
  if (cut_ || ::connect(server, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    ::close(client);
    ::close(server);
    return;
  }
  pairs_.push_back({client, server});
}

/// False at the end of either side.
bool TcpLink::pass(int from, int to) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
  if (got <= 0) return false;
  for (ssize_t sent = 0; sent < got;) {
    const ssize_t n = ::send(to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += n;
  }
  return true;
}

}  // namespace daarion::test
