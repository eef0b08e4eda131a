// The cable's hub end leaves the bridge; a second veth pair takes its place there. Frames go between the two by packet sockets, with the
// kernel's own header about checksums and segments in front (PACKET_VNET_HDR): what it left undone on one side is done on the other.
#include "tests/chaos/slow_link.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "controlplane/dev/processes.h"
#include "controlplane/node/clock.h"
#include "tests/cluster/kit.h"

namespace daarion::chaos {
namespace {

constexpr std::size_t kLargest = 70'000;      // 64 KiB segments with their headers
constexpr std::size_t kMostWaiting = 20'000;  // beyond it frames are lost, as in any queue

int packet_socket(const char* interface) {
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
  const int one = 1;
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
  packet_mreq all{};
  all.mr_ifindex = at.sll_ifindex;
  all.mr_type = PACKET_MR_PROMISC;
  const bool made = fd >= 0 && at.sll_ifindex > 0 && ::setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) == 0 &&
                    ::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 && ::setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) == 0;
  // What is sent here must not be heard here.
  const bool quiet = made && ::setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) == 0;
  if (!quiet && fd >= 0) ::close(fd);
  return quiet ? fd : -1;
}

}  // namespace

SlowLink::SlowLink(dev::NodeNetwork& network, const NodeId& node, Duration delay, Duration jitter, std::uint64_t seed)
    : network_(network), node_(node), delay_(delay), jitter_(jitter), chance_(seed) {
  const std::string port = network.port_of(node);
  test::need(dev::run_to_end({"ip", "-n", network.hub(), "-batch", "-"},
                             "link add slow type veth peer name slow-hub\nlink set dev slow up\nlink set dev slow-hub up\nlink set dev " + port + " nomaster\nlink set dev slow-hub master hub\n"));
  dev::inside(network.hub(), [&] {
    cable_ = packet_socket(port.c_str());
    bridge_ = packet_socket("slow");
  });
  if (cable_ < 0 || bridge_ < 0) throw test::Failed{"open packet sockets on the link of " + node.value};
  ways_[0].from = ways_[1].to = cable_;
  ways_[0].to = ways_[1].from = bridge_;
  thread_ = std::thread([this] { run(); });
}

SlowLink::~SlowLink() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
  for (const int fd : {cable_, bridge_})
    if (fd >= 0) ::close(fd);
  (void)dev::run_to_end({"ip", "-n", network_.hub(), "-batch", "-"}, "link delete slow\nlink set dev " + network_.port_of(node_) + " master hub\n");
}

void SlowLink::take(Way& way) {
  std::vector<char> buffer(kLargest);
  for (ssize_t got; (got = ::recv(way.from, buffer.data(), buffer.size(), 0)) > 0;) {
    if (way.waiting.size() >= kMostWaiting) continue;
    const auto extra = jitter_.count() > 0 ? Duration(static_cast<std::int64_t>(chance_() % static_cast<std::uint64_t>(jitter_.count()))) : Duration{};
    way.last = std::max(way.last, node_now() + delay_ + extra);
    way.waiting.push_back({way.last, {buffer.data(), buffer.data() + got}});
  }
}

bool SlowLink::give(Way& way, Instant now) {
  while (!way.waiting.empty() && way.waiting.front().due <= now) {
    const Frame& frame = way.waiting.front();
    (void)::send(way.to, frame.bytes.data(), frame.bytes.size(), 0);
    way.waiting.pop_front();
  }
  return !way.waiting.empty();
}

void SlowLink::run() {
  while (!ending_) {
    int wait_ms = 20;
    for (Way& way : ways_)
      if (give(way, node_now())) wait_ms = std::min<int>(wait_ms, static_cast<int>(std::max<std::int64_t>(1, to_ms(way.waiting.front().due - node_now()))));
    pollfd waiting[2] = {{ways_[0].from, POLLIN, 0}, {ways_[1].from, POLLIN, 0}};
    if (::poll(waiting, 2, wait_ms) <= 0) continue;
    for (int i = 0; i < 2; ++i)
      if (waiting[i].revents != 0) take(ways_[i]);
  }
}

}  // namespace daarion::chaos
