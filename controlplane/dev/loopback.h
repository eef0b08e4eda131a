// Networks and ports for clusters that run beside each other on one machine.
#pragma once

#include <cstdint>
#include <string>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion::dev {

/// A network <first>.<64-126>.<x>. that no other run has, held by a lock file for as long as this lives.
class Network {
 public:
  /// Errors: kRetry if none of many tries is free.
  /// first: 127 for loopback addresses, 10 for namespaces.
  static Result<Network> claim(int first = 127);
  Network(Network&& other) noexcept;
  Network& operator=(Network&& other) noexcept;
  ~Network();
  const std::string& prefix() const { return prefix_; }  // "127.80.41."
  /// Gives it back now, its file with it: for a process that ends without destructors.
  void release();

 private:
  Network(std::string prefix, int lock) : prefix_(std::move(prefix)), lock_(lock) {}
  std::string prefix_;
  int lock_ = -1;
};

/// Whether a server could listen there now. Source: bind() with SO_REUSEADDR, as servers do.
bool port_is_free(const std::string& address, std::uint32_t port);

/// Whether something accepts connections there, within `limit`.
bool accepts(const std::string& address, std::uint32_t port, Duration limit);

}  // namespace daarion::dev
