// One node's part in the services: the health of its own, their start and stop, and, as a voter, who is active and who provides what.
// As the node's core: inputs and the time in, outputs out; it runs beside it, so that nothing here can delay a lease.
//
// WHO IS ACTIVE IS ONE DECISION. A node says in the log when the health of a service of its own changed. Every voter folds that and makes the same
// decision of it; they take turns, and the first append of the service's next version wins. A node that becomes active runs its start command, one
// that is active no more its stop command.
//
// A NODE THAT IS CUT OFF cannot fold what the others decide. It gives up what moves (runs the stop command) once it has heard no majority of the
// voters for a lease less the time to fence; they move it once a majority has not heard the node for a whole lease. No lease is taken for it:
// with a stop command that takes longer than the fence budget, two may be active for as long.
//
// A COLD STANDBY is one with a start command: it is not looked at, its health is unknown, and it may take over all the same. From the start on, ill
// looks count for nothing until the first good one, or for as long as the command itself may take.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/core/beside.h"
#include "controlplane/core/health.h"
#include "controlplane/core/io.h"
#include "controlplane/core/services.h"

namespace daarion {

// ---- inputs
struct ServiceTick {};
struct ServicesFolded {
  std::shared_ptr<const State> state;
};
struct ServiceLooked {
  std::string service;
  HealthVerdict verdict;
};
struct ServiceHookEnded {
  std::string service;
  bool start = false;
  bool ok = false;
  std::string message;  // of a failure
};
struct ServiceAppended {
  AppendResult result;
};
using ServiceInput = std::variant<ServiceTick, ServicesFolded, ServiceLooked, ServiceHookEnded, Contact, ServiceAppended>;

// ---- outputs
struct RunServiceHook {
  std::string service;
  bool start = false;  // else stop
  bool operator==(const RunServiceHook&) const = default;
};
struct LookSoon {  // the last look was another than those before
  std::string service;
  bool operator==(const LookSoon&) const = default;
};
using ServiceOutput = std::variant<RunServiceHook, LookSoon, Append, Report>;

class ServiceCore {
 public:
  using Input = ServiceInput;
  using Output = ServiceOutput;
  using Tick = ServiceTick;
  using Folded = ServicesFolded;
  using Appended = ServiceAppended;
  explicit ServiceCore(NodeId self) : self_(std::move(self)) {}

  std::vector<ServiceOutput> step(const ServiceInput& input, Instant now);
  /// When step(ServiceTick) is due at the latest.
  Instant next_tick() const { return next_; }
  /// The services of this node that are to be looked at; new ones after a change of the topology.
  std::vector<ServiceSpec> own() const;
  /// What goes wrong here and no event says: a command that fails, a check that is broken.
  std::vector<std::string> warnings() const;

 private:
  struct Own {
    ServiceSpec spec;
    HealthFilter filter;
    bool hook_running = false;
    std::optional<bool> started;  // by the last command that ended well; nothing: none yet
    Instant hook_again{};         // after one that failed
    Instant grace{};              // ill looks before it count for nothing
    std::string hook_failed;
    Instant told{};               // telemetry
    bool cold() const { return !spec.start.empty() && spec.moves() && started != true && !hook_running; }
  };
  void on(const ServiceTick&, Instant) {}
  void on(const ServicesFolded& in, Instant now);
  void on(const ServiceLooked& in, Instant now);
  void on(const ServiceHookEnded& in, Instant now);
  void on(const Contact& in, Instant) { contact_.take(in); }
  void on(const ServiceAppended& in, Instant now);
  void advance(Instant now);
  void drive_hooks(const std::string& name, Own& own, Instant now);
  void say_health(const std::string& name, Own& own, Instant now);
  void tell(const std::string& name, Own& own, Instant now);
  void decide_services(Instant now);
  void decide_capabilities(Instant now);
  bool my_turn(const std::string& what, Instant now);
  void append(Payload payload, const ResourceId& resource, std::string reason, const EventId& cause, Instant now);

  const NodeId self_;
  std::shared_ptr<const State> state_ = std::make_shared<State>();
  KeptContact contact_;
  std::map<std::string, Own> own_;
  std::map<std::string, Instant> since_;  // since when each decision has been due
  Appends appends_{self_};
  Instant next_{};
  std::vector<ServiceOutput> out_;
};

}  // namespace daarion
