// What stands before the cluster: HAProxy on a host, CloudFlare's load balancer for everybody. Pure: a cluster file in, text out.
//
// Both ask the daemons, and not the services: a daemon knows who is active, drained or ill by the log and by content (/<service>/active, /ready). So
// the daemons' HTTP must be reachable from there: control.bind.
#pragma once

#include <string>

#include "controlplane/core/result.h"
#include "controlplane/topology/cluster_file.h"

namespace daarion {

struct HaproxyWish {
  std::string bind = "127.0.0.1";  // where it listens; the ports are the services' own
  std::string region;              // nodes of other regions are asked only when none of this one serves (`eu` is also `eu-north`); empty: all alike
};
/// Errors: kFixInput where the daemons could not be asked, no node is of the region, or nothing is to be balanced.
Result<std::string> render_haproxy(const ClusterFile& file, const HaproxyWish& wish);

struct CloudflareWish {
  std::string service = "gateway";
  std::string hostname;  // the public name
};
/// The bodies of CloudFlare's API for one monitor, a pool per region, and the load balancer: one JSON document. Errors: kFixInput for a service that
/// is not declared or active nowhere, or where the daemons could not be asked.
Result<std::string> render_cloudflare(const ClusterFile& file, const CloudflareWish& wish);

}  // namespace daarion
