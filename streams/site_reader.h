// What a service reads at its own site: the route table as it changes, and the streams of a rule as one.
//
// AS ONE. On an edge a message that was published there stands first in `<RULE>_<edge>`, and after it came back from the core in
// `<RULE>_MIRROR` too; all others stand in the mirror alone. A reader takes both and gives each message once, by its Nats-Msg-Id: an edge's own
// at once, also while the edge is cut off, and never again when the mirror has them. What has no id cannot be told from a repeat, and is given.
//
//   MESSAGE_node3    a1 a2          given: a1 a2
//   MESSAGE_MIRROR   b1 a1 b2 a2    given: b1 b2
//
// Each origin's messages come in their order; between origins there is none until the mirror has them.
//
// A STREAM OF SEVERAL REPLICAS. A consumer reads at a replica by chance. One that is behind begins where it ends, and one of a server older than
// 2.9.21 may count otherwise than the others after a cut (ADR 6): by numbers alone a message would be given twice, or never. So what is read anew
// begins some messages back, and further back if need be, where ids are found that came last: what stands before those was given, and what stands
// behind them and is none of them is new, whatever its number. Without ids, and where nothing of it is left, the number counts.
//
// PUT AGAIN. What a replica or a mirror lacked is put again minutes later, under its id (route_copies.h): a reader that had it knows the id, unless it
// was restarted meanwhile, for a position holds the newest ids only. Such a message is given, and marked: to lose it would be worse. Where it stands first,
// it is not what came last: an id counts as found only where it was stored since.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"
#include "streams/connection.h"

namespace daarion {

/// On a message that was put again: when it was stored first, ns since 1970; 0: it had no id before, so nobody knows it.
inline constexpr const char* kFirstStored = "Daarion-First-Stored";

/// Where a reader is: what it is given back after a restart.
struct SitePosition {
  std::map<std::string, std::uint64_t> next;  // stream -> the next sequence; one that is not in it is read from its first message
  std::set<std::string> owed;                 // ids that were given and come again by another stream
  std::vector<std::string> recent = {};       // ids that came last by the stream that every message comes by, oldest first, kOverlap of them
  std::int64_t since_ns = 0;                  // when that stream stored the oldest of them, ns since 1970; 0: not known
  bool operator==(const SitePosition&) const = default;
};

/// Which messages come for the first time. Pure.
class Repeats {
 public:
  /// `from`: where a reader was before. `remember`: ids that came by every stream, of which more repeats are known: those of publishers that tried again.
  explicit Repeats(const SitePosition& from = {}, std::size_t remember = kRemember);
  /// Whether it is to be given. `final`: it came by the stream that every message comes by, which stored it then.
  bool first(const std::string& id, bool final, std::int64_t stored_ns = 0);
  /// Whether all that was stored from then on and given is remembered.
  bool reaches(std::int64_t stored_ns) const { return stored_ns >= since_ns_; }
  const std::set<std::string>& owed() const { return owed_; }
  /// Whether a message of that id and time is one that came, and not an older one of the same id, behind which something else came that is not remembered.
  bool came(const std::string& id, std::int64_t stored_ns) const;
  /// The newest that came by the stream that every message comes by, oldest first: at most kOverlap. And since when.
  void add_to(SitePosition& position) const;
  std::size_t overlap() const { return std::min(order_.size(), kOverlap); }

  static constexpr std::size_t kOverlap = 256;
  static constexpr std::size_t kRemember = 1 << 16;

 private:
  std::set<std::string> owed_;
  std::set<std::string> recent_;
  std::deque<std::pair<std::string, std::int64_t>> order_;  // of recent_, oldest first, with when it was stored; 0: not known
  std::size_t remember_;
  std::int64_t since_ns_;
};

struct SiteMessage {
  std::string subject, payload, id;  // id: Nats-Msg-Id; empty: it has none
  std::string stream;                // that it came by
  std::uint64_t sequence = 0;        // there
  std::int64_t stored_ns = 0;        // when it was captured at that stream's site
  bool redelivered = false;          // it was put again, and may have been given before this reader was restarted: look its id up, if a repeat would hurt
};

/// Threads: one at a time.
class SiteReader {
 public:
  virtual ~SiteReader() = default;
  /// The next message that was not given before, or nothing within the limit. It goes on by itself after anything that passes: a server
  /// that is lost, an election, a stream that is not made yet. Errors: kFixInput if the server refuses what it asks.
  virtual Result<std::optional<SiteMessage>> next(Duration limit) = 0;
  /// Behind what next() gave last.
  virtual SitePosition position() const = 0;
};

/// `streams`: the last one is that which every message comes by (`<RULE>` in the core, `<RULE>_MIRROR` on an edge).
std::unique_ptr<SiteReader> read_site(std::shared_ptr<Connection> app, std::vector<std::string> streams, SitePosition from = {});

/// Tells each route table that it comes to know, as it was published: at once where there is one, then as they change. Threads: has one of its
/// own, which calls `tell`.
class TableFollower {
 public:
  virtual ~TableFollower() = default;
};
std::unique_ptr<TableFollower> follow_table(std::shared_ptr<Connection> app, std::function<void(const std::string&)> tell);

}  // namespace daarion
