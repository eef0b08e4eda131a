#include "controlplane/node/ids.h"

#include <sys/random.h>
#include <time.h>

#include <fstream>

#include "controlplane/core/check.h"

namespace daarion {
namespace {

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  DAARION_CHECK(getrandom(&bits, sizeof bits, 0) == static_cast<ssize_t>(sizeof bits), "the kernel gives random bits");
  return bits;
}

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

/// 64 bits of the machine's id; 0 where there is none.
std::uint64_t machine_bits() {
  std::uint64_t hi = 0, lo = 0;
  parse_id_text(first_line("/etc/machine-id"), hi, lo);
  return hi ^ lo;
}

}  // namespace

template <class Id>
Id random_id() {
  return Id{random_bits(), random_bits() | 1};  // never all zero: that means none
}
template SessionId random_id<SessionId>();
template RunId random_id<RunId>();
template LogId random_id<LogId>();

EventId event_id(std::int64_t wall) {
  const std::uint64_t ms = static_cast<std::uint64_t>(wall / 1'000'000);
  return EventId{(ms << 16) | 0x7000 | (random_bits() & 0x0fff), 0x8000'0000'0000'0000 | (random_bits() >> 2)};
}

BootId boot_id() {
  BootId id;
  DAARION_CHECK(parse_id_text(first_line("/proc/sys/kernel/random/boot_id"), id.hi, id.lo), "the kernel has a boot id");
  return id;
}

InstanceId new_instance() {
  const std::uint64_t salt = random_bits() | 1;
  return InstanceId{salt, salt ^ machine_bits()};
}

bool made_here(const InstanceId& instance) { return (instance.hi ^ instance.lo) == machine_bits(); }

std::int64_t wall_time_ns() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

}  // namespace daarion
