#include "streams/udp_beat_link.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "controlplane/dev/loopback.h"

namespace daarion {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kPort = 9352;

struct Heard {
  std::atomic<std::uint64_t> beat = 0, ack = 0, vote = 0;
  BeatLink::Handlers handlers() {
    return {.beat = [this](Beat b) { beat = b.counter; }, .ack = [this](Ack a) { ack = a.counter; }, .vote = [this](Vote v) { vote = static_cast<std::uint64_t>(v.over_ms); }};
  }
};

class UdpBeatLinkTest : public testing::Test {
 protected:
  std::string address(int n) const { return network_.prefix() + std::to_string(n); }
  NodeId node(int n) const { return NodeId("node" + std::to_string(n)); }
  UdpBeats config(int n, const std::string& secret = "s", const std::string& cluster = "c") const {
    UdpBeats out{.self = node(n), .address = address(n), .port = kPort, .peers = {}, .key = beat_key(secret, cluster)};
    for (int other = 1; other <= 3; ++other)
      if (other != n) out.peers.emplace_back(node(other), address(other));
    return out;
  }
  /// Repeats what is sent until the condition holds: a datagram may be lost.
  static bool until(const std::function<void()>& send, const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + seconds(10);
    while (!holds() && std::chrono::steady_clock::now() < end) {
      send();
      std::this_thread::sleep_for(milliseconds(5));
    }
    return holds();
  }
  const dev::Network network_ = dev::Network::claim().value();
};

TEST_F(UdpBeatLinkTest, BeatsAndVotesReachAllAndAnAckItsHolderAlone) {
  Heard one, two, three;
  auto a = make_udp_beat_link(config(1), one.handlers()), b = make_udp_beat_link(config(2), two.handlers()), c = make_udp_beat_link(config(3), three.handlers());
  ASSERT_TRUE(a && b && c);
  Beat big{.node = node(1), .counter = 7};
  big.suspects.assign(1500, NodeId("a-node-with-a-long-name"));  // some datagrams of Ethernet's size
  EXPECT_TRUE(until([&] { (*a)->send(big); (*a)->send(Vote{.voter = node(1), .over_ms = 9}); },
                    [&] { return two.beat == 7 && three.beat == 7 && two.vote == 9 && three.vote == 9; }));
  EXPECT_TRUE(until([&] { (*b)->send(Ack{.voter = node(2), .holder = node(1), .counter = 5}); }, [&] { return one.ack == 5; }));
  EXPECT_EQ(three.ack, 0u);
  EXPECT_EQ(one.beat, 0u) << "nobody hears itself";
}

TEST_F(UdpBeatLinkTest, WhoDoesNotHaveTheClustersKeyIsNotHeard) {
  Heard heard, other;
  auto own = make_udp_beat_link(config(1), heard.handlers());
  auto secret = make_udp_beat_link(config(2, "another"), other.handlers()), cluster = make_udp_beat_link(config(3, "s", "another"), other.handlers());
  ASSERT_TRUE(own && secret && cluster);
  for (const auto& link : {secret->get(), cluster->get()})
    for (int i = 0; i < 20; ++i) link->send(Beat{.node = node(2), .counter = 66});
  // Any byte of a good datagram changed, cut or added: caught here with a socket of ours, as somebody on the wire could.
  const int wire = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(kPort);
  inet_pton(AF_INET, address(4).c_str(), &at.sin_addr);
  ASSERT_EQ(bind(wire, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  UdpBeats to_wire = config(5);
  to_wire.peers = {{node(4), address(4)}};
  auto good = make_udp_beat_link(to_wire, other.handlers());
  std::string datagram(2000, '\0');
  ssize_t size = 0;
  ASSERT_TRUE(until([&] { (*good)->send(Beat{.node = node(5), .counter = 66}); }, [&] {
    if (size <= 0) size = recv(wire, datagram.data(), datagram.size(), MSG_DONTWAIT);
    return size > 0;
  }));
  datagram.resize(static_cast<std::size_t>(size));
  inet_pton(AF_INET, address(1).c_str(), &at.sin_addr);
  const auto give = [&](const std::string& bytes) { sendto(wire, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&at), sizeof at); };
  for (std::size_t i = 0; i < datagram.size(); ++i) {
    std::string changed = datagram;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    give(changed);
    give(datagram.substr(0, i));
    give(datagram + std::string(i + 1, 'x'));
  }
  Heard three;
  cluster->reset();
  auto honest = make_udp_beat_link(config(3), three.handlers());
  ASSERT_TRUE(honest);
  EXPECT_TRUE(until([&] { (*honest)->send(Beat{.node = node(3), .counter = 8}); }, [&] { return heard.beat != 0; }));
  EXPECT_EQ(heard.beat, 8u) << "what came before it was not heard";
  give(datagram);
  EXPECT_TRUE(until([] {}, [&] { return heard.beat == 66; })) << "the datagram itself was a good one";
  close(wire);
}

TEST_F(UdpBeatLinkTest, SaysWhatIsWrongWithItsAddress) {
  Heard heard;
  auto own = make_udp_beat_link(config(1), heard.handlers());
  const auto taken = make_udp_beat_link(config(1), heard.handlers());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().remedy, Remedy::kFixInput);
  EXPECT_NE(taken.error().message.find(address(1) + ":9352 (UDP): Address already in use"), std::string::npos) << taken.error().message;
  UdpBeats elsewhere = config(1);
  elsewhere.address = "192.0.2.1";  // nobody's: of a block for documentation
  const auto far = try_beat_port(elsewhere);
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error().remedy, Remedy::kRetry);
}

}  // namespace
}  // namespace daarion
