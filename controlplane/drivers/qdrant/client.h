// Qdrant's REST interface, as far as its cluster is concerned. Every call is bounded; the key is sent, and neither kept in a message nor logged.
// Source: the published OpenAPI (docs/qdrant.md lists what is assumed beyond it).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/drivers/qdrant/plan.h"
#include "controlplane/health/http_client.h"

namespace daarion::qdrant {

struct Target {
  NodeId node;
  std::string host;
  std::uint32_t port = 6333;
  std::string api_key;  // empty: none is sent
};

/// One member's Qdrant. Threads: one at a time.
class Client {
 public:
  explicit Client(Target target);
  /// What it says of the cluster and of every collection, asked within `limit` altogether. Never fails: what goes wrong is in the view.
  PeerView look(Duration limit);
  /// Has one step done; returns when the cluster has agreed to it, not when a transfer is over. Errors: kFixInput if it is refused (the server's
  /// word); kRetry, effect kMaybe, if no answer came.
  Result<void> run(const Step& step, Duration limit);
  const Target& target() const { return target_; }

 private:
  Result<std::string> ask(const HttpCall& call, Duration limit);
  const Target target_;
  HttpClient http_;
};

/// All members. Threads: one at a time.
class Members {
 public:
  /// `addresses`: of every node of the cluster, as picture_of.
  Members(const std::vector<Target>& targets, std::map<NodeId, std::string> addresses);
  /// Asks all of them at once, and waits for none longer than `limit`.
  Picture look(Duration limit);
  const std::vector<PeerView>& words() const { return words_; }  // of the newest look
  /// Through the member whose word the picture is. Errors: as Client::run.
  Result<void> run(const Step& step, const Picture& picture, Duration limit);

 private:
  std::vector<std::unique_ptr<Client>> clients_;
  const std::map<NodeId, std::string> addresses_;
  std::vector<PeerView> words_;
};

/// The same, from the text of an answer. Errors: kRetry, naming the field that is missing or of another type.
Result<void> read_cluster(const std::string& text, PeerView& view);
Result<std::vector<std::string>> read_names(const std::string& text);
Result<CollectionParams> read_params(const std::string& text);
/// Fills shards, transfers, resharding.
Result<void> read_placement(const std::string& text, CollectionSeen& seen);
/// What {"status":{"error":...}} says; the beginning of the text if it is none.
std::string error_in(const std::string& text);
/// The body of a step for POST /collections/{name}/cluster. Pre: it is not kRemovePeer.
std::string body_of(const Step& step);

}  // namespace daarion::qdrant
