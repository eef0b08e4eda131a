// A TCP path between two servers that a test can cut and heal while both of them live.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace daarion::test {

class TcpLink {
 public:
  /// Listens on `from` and passes everything on to `to`: both "address:port" of IPv4.
  TcpLink(const std::string& from, const std::string& to);
  ~TcpLink();
  TcpLink(const TcpLink&) = delete;
  TcpLink& operator=(const TcpLink&) = delete;

  void cut() { cut_ = true; }     // open connections end, new ones are closed at once
  void heal() { cut_ = false; }

 private:
  struct Pair {
    int client = -1, server = -1;
  };
  void run();
  void accept_one();
  static bool pass(int from, int to);
  std::string to_;
  int listener_ = -1;
  std::vector<Pair> pairs_;
  std::atomic<bool> cut_ = false, closed_ = false;
  std::thread thread_;
};

}  // namespace daarion::test
