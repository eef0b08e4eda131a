// The blocks `services`, `capabilities` and `gpu` of a cluster file. Private to this folder.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controlplane/topology/section.h"

namespace daarion {

class ServicesReader {
 public:
  /// Errors of `node_of` are said by it.
  using NodeOf = std::function<std::optional<NodeId>(Section& section, const YAML::Node& at, const std::string& name, const std::string& what)>;
  ServicesReader(ParsedFile& out, NodeOf node_of) : out_(out), node_of_(std::move(node_of)) {}

  void service(const std::string& name, const YAML::Node& node);
  void chain(Section& top, const std::string& name, const YAML::Node& node);
  void gpu(const YAML::Node& node);
  /// After all of them: the GPU becomes a service of the nodes that are said to have one.
  void finish();

 private:
  void health(Section& one, ServiceSpec& service);
  void check(Section& section, ServiceCheck& check);
  void hooks(Section& one, ServiceSpec& service);
  void places(Section& one, ServiceSpec& service);
  std::optional<std::string> provider(Section& section, const YAML::Node& at, const std::string& what);

  ParsedFile& out_;
  NodeOf node_of_;
  std::optional<ServiceCheck> gpu_;
};

}  // namespace daarion
