// An address that takes connections and never accepts one: after a few the kernel drops who comes, and nothing is answered.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace daarion::test {

class BlackHole {
 public:
  BlackHole(const std::string& address, std::uint32_t port) : hole_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{.sin_family = AF_INET, .sin_port = htons(static_cast<std::uint16_t>(port)), .sin_addr = {}, .sin_zero = {}};
    EXPECT_EQ(inet_pton(AF_INET, address.c_str(), &at.sin_addr), 1);
    const int yes = 1;  // what listened there before may just have ended
    EXPECT_EQ(setsockopt(hole_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), 0);
    EXPECT_EQ(bind(hole_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(listen(hole_, 0), 0);
    for (int i = 0; i < 4; ++i) {
      waiting_.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      (void)connect(waiting_.back(), reinterpret_cast<sockaddr*>(&at), sizeof at);
    }
  }
  ~BlackHole() {
    for (const int fd : waiting_) close(fd);
    close(hole_);
  }
  BlackHole(const BlackHole&) = delete;
  BlackHole& operator=(const BlackHole&) = delete;

 private:
  const int hole_;
  std::vector<int> waiting_;
};

}  // namespace daarion::test
