// The gRPC admin API as commands call it: the first server that answers, errors as exit codes.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/cli/globals.h"
#include "controlplane/topology/cluster_file.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

/// Where to ask, in order: --server, DAARION_SERVER, the nodes of --context or DAARION_CONFIG, else 127.0.0.1:9350.
/// Errors: kUsage if a server is no HOST:PORT or the cluster file does not read well.
Answer<std::vector<std::string>> candidates(const Globals& globals);

/// The cluster file of --context or DAARION_CONFIG. Errors: kUsage, naming what is missing or its first error.
Answer<ClusterFile> context_file(const Globals& globals);

using Deadline = std::chrono::steady_clock::time_point;

/// Threads: one. Every call ends by its limit: the globals' timeout, or `until` where there is one.
class AdminClient {
 public:
  virtual ~AdminClient() = default;
  /// Asks the candidates for their status, one after the other, each for at most 1 s; takes the first that answers.
  /// Errors: kUnreachable, naming what was tried.
  static Answer<std::unique_ptr<AdminClient>> connect(const Globals& globals);

  /// Takes the first that answers now; for a server that has gone away meanwhile.
  virtual Answer<void> reconnect() = 0;
  virtual const std::string& server() const = 0;
  /// As it was answered when the connection was made.
  virtual const v1::Status& first_status() const = 0;

  virtual Answer<v1::Status> call(const v1::GetStatusRequest&) = 0;
  virtual Answer<v1::ResourceStatus> call(const v1::GetResourceRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::SwitchoverRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::FailoverRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::PauseRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::ResumeRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::ConfirmFencingRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::GrantOverrideRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::DrainRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::UndrainRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::RetireRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::RejoinRequest&) = 0;
  virtual Answer<v1::Mutation> call(const v1::RestartRequest&) = 0;
  virtual Answer<v1::Explanation> call(const v1::ExplainRequest&) = 0;
  virtual Answer<v1::Explanation> call(const v1::ExplainNowRequest&) = 0;
  virtual Answer<v1::Incident> call(const v1::GetIncidentRequest&) = 0;
  virtual Answer<v1::StateAt> call(const v1::GetStateRequest&) = 0;
  virtual Answer<v1::Resolution> call(const v1::ResolveRequest&) = 0;
  virtual Answer<v1::RouteTable> call(const v1::GetRoutesRequest&) = 0;
  virtual Answer<v1::RoutePlan> call(const v1::PlanRoutesRequest&) = 0;
  virtual Answer<v1::ServiceList> call(const v1::ListServicesRequest&) = 0;
  virtual Answer<v1::CapabilityList> call(const v1::ListCapabilitiesRequest&) = 0;

  /// Calls `each` for every event until it returns false, the server ends the stream, or `until` (kNoEnd: never).
  /// Errors: kTimedOut at `until`; kUnreachable if the server has gone.
  virtual Answer<void> watch(const v1::WatchEventsRequest&, Deadline until, const std::function<bool(const v1::EventView&)>& each) = 0;
  /// The last progress, which is `done`; the others go to `each`. Has no limit in time: a log may be long.
  virtual Answer<v1::ReplayProgress> replay(const v1::ReplayRequest&, const std::function<void(const v1::ReplayProgress&)>& each) = 0;

  static constexpr Deadline kNoEnd = Deadline::max();
};

}  // namespace daarion
