// What a service of the users does: it publishes with ids, and reads a rule's messages at its node.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "clients/cpp/daarion_client.h"

namespace daarion::test {

/// Whether `ctest -L routing-full` runs this, or ROUTING_FULL is set: `ctest -L routing` takes every label that has these letters in it.
bool full_size_is_asked_for();
inline constexpr const char* kFullSize = "full size: make routing-full, or ROUTING_FULL=1";

/// Each message until it is acknowledged, with the same Nats-Msg-Id, the next one of its subject after it. Payload and id are "<origin> <the subject's
/// first token> <n>", n from 0 in each subject. Subjects wait for nothing of each other's: one stream's election holds up no other's messages.
class Publisher {
 public:
  static constexpr std::chrono::milliseconds kPace{4};  // between one message of a subject and the next: it is the faults that are tested, not the rate
  /// `until`: it stops after `least` messages of each subject once this is true.
  Publisher(const NatsEndpoint& as, std::string origin, const std::vector<std::string>& subjects, int least, const std::atomic<bool>& until, std::chrono::milliseconds pace = kPace);
  ~Publisher();
  void join();
  int acked() const;  // of all subjects
  int acked_of(const std::string& subject) const;
  const std::string& origin() const { return origin_; }
  /// How long after `from` the first message of each subject was acknowledged, the soonest first; empty: of one none was yet.
  std::vector<double> first_after_ms(std::chrono::steady_clock::time_point from) const;
  /// The longest that one message took until the next of its subject was acknowledged, from `from` on.
  double longest_gap_ms(std::chrono::steady_clock::time_point from) const;

 private:
  struct Line {
    std::string subject;
    std::atomic<int> acked = 0;
    std::vector<std::chrono::steady_clock::time_point> done;  // when each was acknowledged
    std::thread thread;
  };
  void run(Line& line, int least, const std::atomic<bool>& until, std::chrono::milliseconds pace);
  bool put(const std::string& subject, const std::string& payload);
  std::shared_ptr<Connection> connection_;
  std::string origin_;
  mutable std::mutex mutex_;  // guards each line's done
  std::vector<std::unique_ptr<Line>> lines_;
};

/// Reads a rule's messages at its node, from their beginning on; now and then it is restarted where it was. What comes marked as put again it looks up in
/// all that it was given, as a service does that keeps its ids.
class SiteConsumer {
 public:
  using Open = std::function<std::unique_ptr<SiteReader>(const SitePosition&)>;
  explicit SiteConsumer(Open open);
  /// With the C++ client.
  SiteConsumer(std::unique_ptr<client::Client> client, const std::string& rule);
  ~SiteConsumer();
  const client::Client& client() const { return *client_; }
  std::size_t count() const;
  std::vector<std::string> given() const;  // ids, in the order of giving
  int known_again() const { return known_again_; }  // messages that came marked, and that it had
  std::string trouble() const;             // what the server refused; empty: nothing
  std::string first_repeat() const;        // the first that was given again unmarked, and where; empty: none was

 private:
  void run();
  void take(const SiteMessage& message, int starts);  // mutex_ is held
  std::unique_ptr<client::Client> client_;
  Open open_;
  std::atomic<bool> closed_ = false;
  std::atomic<int> known_again_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<std::string> given_;
  struct Where {
    std::string stream;
    std::uint64_t sequence = 0;
    std::int64_t stored_ns = 0;
    int starts = 0;  // of readers until then
    std::string text() const;
  };
  std::map<std::string, Where> where_;  // id -> where it was given
  std::string trouble_, first_repeat_;
  std::thread thread_;
};

/// How many of them are of that origin.
int count_of(const std::vector<std::string>& given, const std::string& origin);

/// What is wrong with what was given, in words: each acknowledged message once, each origin's in its order. Empty: nothing.
/// Pre: every publisher was joined, and has one subject.
std::string faults_of(const std::vector<std::string>& given, const std::vector<std::unique_ptr<Publisher>>& publishers);

}  // namespace daarion::test
