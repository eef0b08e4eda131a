// What the tests on real servers share.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "streams/connection.h"
#include "streams/log_stream.h"
#include "streams/nats_handles.h"
#include "tests/harness/nats_servers.h"

namespace daarion::test {

inline std::shared_ptr<Connection> connect(const NatsServers& servers, std::vector<int> order,
                                           NatsServers::Account account = NatsServers::Account::kControl) {
  auto connection = Connection::open(servers.endpoint(std::move(order), "test", account));
  EXPECT_TRUE(connection) << connection.error().message;
  const auto up = (*connection)->wait_connected(std::chrono::seconds(10));
  EXPECT_TRUE(up) << up.error().message;
  return *connection;
}

/// Until it works or 30 s are over: a young cluster elects its leaders first.
inline Result<void> until_done(const std::function<Result<void>()>& what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (;;) {
    auto done = what();
    if (done || std::chrono::steady_clock::now() > end) return done;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

/// Whether it comes to be true within `limit`.
inline bool becomes(const std::function<bool()>& what, Duration limit = std::chrono::seconds(30)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!what()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

inline void provision(Connection& connection, int replicas, const std::vector<EdgeDomain>& edges = {}) {
  const auto done = until_done([&] { return provision_core_streams(connection, replicas, std::chrono::seconds(2), edges); });
  ASSERT_TRUE(done) << done.error().message;
}

inline std::string subject(std::uint64_t version) { return log_subject({"lease", "stub"}, {version}); }

/// Reads `count` messages, or fails after 20 s.
inline std::vector<StoredMessage> read(LogReader& reader, std::size_t count) {
  std::vector<StoredMessage> out;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (out.size() < count && std::chrono::steady_clock::now() < end) {
    auto next = reader.next(std::chrono::milliseconds(100));
    EXPECT_TRUE(next) << next.error().message;
    if (!next) break;
    if (*next) out.push_back(std::move(**next));
  }
  EXPECT_EQ(out.size(), count);
  return out;
}

/// One request over core NATS; empty if nobody answers.
inline std::string ask(Connection& connection, const std::string& subject, const std::string& body, std::int64_t limit_ms) {
  natsMsg* raw = nullptr;
  const auto link = connection.handles().link();
  if (natsConnection_Request(&raw, link->nc, subject.c_str(), body.data(), static_cast<int>(body.size()), limit_ms) != NATS_OK) return {};
  const MsgPtr answer(raw);
  return data_of(answer.get());
}

}  // namespace daarion::test
