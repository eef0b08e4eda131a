// Two plain redis-servers and three sentinels, as Debian has them: what Redis does without us, on the same machine in the same minute.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/dev/loopback.h"
#include "controlplane/dev/probe_writer.h"

namespace daarion::bench {

/// Host 1 and 2: a server and a sentinel each; host 3: a sentinel. Throws test::Failed. Its end ends every process.
class SentinelAlone {
 public:
  explicit SentinelAlone(int down_after_ms);
  ~SentinelAlone();
  SentinelAlone(const SentinelAlone&) = delete;
  SentinelAlone& operator=(const SentinelAlone&) = delete;

  /// The master's host is lost, server and sentinel. Returns the ms until a row is acknowledged again; then it is back as a replica.
  double lose_host();
  /// Its server alone.
  double kill_server();

 private:
  std::string folder(int host) const;
  redis::Target server(int host) const;
  redis::Target sentinel(int host) const;
  void start_server(int host, int master);
  void start_sentinel(int host);
  int settle();
  double measure(int master, Instant killed);

  int down_after_ms_;
  std::unique_ptr<dev::Network> network_;
  std::string base_;
  std::vector<std::unique_ptr<dev::ProbeWriter>> writers_;
};

}  // namespace daarion::bench
