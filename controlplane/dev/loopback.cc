#include "controlplane/dev/loopback.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <random>
#include <utility>

namespace daarion::dev {
namespace {

constexpr int kTries = 1000;

struct Socket {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  ~Socket() { if (fd >= 0) ::close(fd); }
};

sockaddr_in address_of(const std::string& address, std::uint32_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, address.c_str(), &out.sin_addr);
  return out;
}

std::string lock_path(const std::string& prefix) { return (std::filesystem::temp_directory_path() / ("daarion-net-" + prefix + "lock")).string(); }

/// Whether the lock is that of the file that is there now, and not of one that its last owner removed.
bool is_of(int lock, const std::string& path) {
  struct stat held{}, there{};
  return ::fstat(lock, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

}  // namespace

Result<Network> Network::claim(int first) {
  std::random_device chance;
  for (int i = 0; i < kTries; ++i) {
    const std::string prefix = std::to_string(first) + "." + std::to_string(64 + chance() % 63) + "." + std::to_string(chance() % 256) + ".";
    if (prefix.ends_with(".83.0.")) continue;  // `daarionctl dev`'s own
    const std::string path = lock_path(prefix);
    const int lock = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock >= 0 && ::flock(lock, LOCK_EX | LOCK_NB) == 0 && is_of(lock, path)) return Network(prefix, lock);
    if (lock >= 0) ::close(lock);
  }
  return fail(Remedy::kRetry, "claim a loopback network: all that were tried are in use; remove stale daarion-net-*.lock files");
}

Network::Network(Network&& other) noexcept : prefix_(std::move(other.prefix_)), lock_(std::exchange(other.lock_, -1)) {}
Network& Network::operator=(Network&& other) noexcept {
  std::swap(prefix_, other.prefix_);
  std::swap(lock_, other.lock_);
  return *this;
}
Network::~Network() {
  release();
}
void Network::release() {
  if (lock_ < 0) return;
  ::unlink(lock_path(prefix_).c_str());
  ::close(std::exchange(lock_, -1));
}

bool port_is_free(const std::string& address, std::uint32_t port) {
  const Socket s;
  const int on = 1;
  ::setsockopt(s.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in a = address_of(address, port);
  return ::bind(s.fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
}

bool accepts(const std::string& address, std::uint32_t port, Duration limit) {
  const Socket s;
  const sockaddr_in a = address_of(address, port);
  if (::connect(s.fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0) return true;
  if (errno != EINPROGRESS) return false;
  pollfd p{s.fd, POLLOUT, 0};
  if (::poll(&p, 1, static_cast<int>(std::max<std::int64_t>(1, to_ms(limit)))) != 1) return false;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(s.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

}  // namespace daarion::dev
