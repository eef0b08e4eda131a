// Who publishes, reads and listens on a rig while servers die and links are cut, and what is wrong at the end.
#pragma once

#include <functional>

#include "tests/routing/ear.h"
#include "tests/routing/route_rig.h"

namespace daarion::test {

/// The streams of the users' rules that replicate, and a subject of each.
inline const std::vector<std::string> kStreams = {"MESSAGE", "ATTACHMENT", "AGENT_RUN"};
inline const std::vector<std::string> kSubjects = {"message.received.helion", "attachment.created.image", "agent.run.requested.helion"};

/// Says what is local to each node and each site, from each node, for as long as it lives. Payloads count up.
class Whisperer {
 public:
  Whisperer(RouteRig& rig, std::chrono::milliseconds pace);
  ~Whisperer();
  int said() const { return said_; }  // of each class on each node: the number of the next one
  /// Of the connection by which it speaks at that node.
  const Remakings& remakings(const std::string& node) const { return remakings_.at(node); }

 private:
  void run(std::chrono::milliseconds pace);
  std::vector<std::string> names_;
  std::vector<std::shared_ptr<Connection>> links_;
  std::map<std::string, Remakings> remakings_;
  std::atomic<bool> closed_ = false;
  std::atomic<int> said_ = 0;
  std::thread thread_;
};

/// Two ears at each node: a service's, and one of a user whom no permission holds back, so that links and routes are judged by themselves.
class Ears {
 public:
  explicit Ears(const RouteRig& rig);
  /// Whether each ear at that node heard of number `from` or a later one, of both that are the node's own.
  bool hear(int node, int from) const { return newest(node) >= from; }
  /// What came where it may not come; and that what may come did, once each, but for what was said while the speaker's connection or the ear's was away.
  /// Returns how many messages leaked.
  int leaks(const Whisperer& whisperer) const;

 private:
  /// The newest number that each ear at that node heard of both that are the node's own.
  int newest(int node) const;
  const RouteRig& rig_;
  std::map<int, std::vector<std::unique_ptr<Ear>>> at_;
};

/// What services read of each rule at each site, from its beginning.
class Readers {
 public:
  explicit Readers(RouteRig& rig);
  /// Whether each gave as many as were sent of its subject.
  bool gave(const std::function<int(const std::string& subject)>& sent_of) const;
  struct Reader {
    std::string who, stream;
    std::unique_ptr<SiteConsumer> consumer;
  };
  const std::vector<Reader>& all() const { return all_; }

 private:
  std::vector<Reader> all_;
};

/// The nodes' keepers of the copies, at work for as long as this lives. nats-server 2.9.10 leaves replicas that differ when servers die (docs/adr/0009).
class Keepers {
 public:
  explicit Keepers(RouteRig& rig);
  ~Keepers();
  int mends() const { return mends_; }

 private:
  void run();
  const Duration every_;
  CopyKeepers keepers_;
  std::atomic<bool> closed_ = false;
  std::atomic<int> mends_ = 0;
  std::thread thread_;
};

/// What is wrong at the end, over all replicas, edges and readers.
struct Wrong {
  int lacking = 0;      // acknowledged, and not at a replica of the core, or neither in an edge's mirror nor beside it
  int lost = 0;         // acknowledged, and not given by a reader
  int given_twice = 0;
  int known_again = 0;  // given marked as put again, and known to the service
  int never_sent = 0;   // there or given, and never acknowledged
  int behind = 0;       // of what a replica has, ids that first stand behind a later one of their origin, or in another edge's own stream: what was put again
  int disorders = 0;    // given behind a later one of its origin, where each replica has it in its place
  std::string note;
};

/// Each message once at each reader and each origin's in its order, at every replica of the core, and at each edge. Pre: the publishers are joined, and
/// have a subject of each stream.
Wrong judge(RouteRig& rig, const Readers& readers, const std::vector<std::unique_ptr<Publisher>>& publishers);

}  // namespace daarion::test
