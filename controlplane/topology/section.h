// One mapping of the YAML file, read key by key: unknown and repeated keys and wrong types are said with line, key and the nearest
// known key. Private to this folder.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/topology/cluster_file.h"

namespace daarion {

class Section {
 public:
  /// `path` is what messages call it, e.g. "control"; empty for the file itself.
  Section(const YAML::Node& node, std::string path, ParsedFile& out);
  /// Says which keys nobody asked for.
  ~Section();
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  bool has(const std::string& key);
  YAML::Node node(const std::string& key);   // undefined if absent
  int line(const std::string& key) const;

  void text(const std::string& key, std::string& to);
  void number(const std::string& key, std::uint32_t& to, std::uint32_t least, std::uint32_t most);
  void duration(const std::string& key, Duration& to);
  void size(const std::string& key, std::uint64_t& to);
  void list(const std::string& key, const std::function<void(const YAML::Node&)>& each);
  void map(const std::string& key, const std::function<void(const std::string& name, const YAML::Node&)>& each);
  void error(const std::string& rule, const YAML::Node& at, const std::string& message);
  std::string called(const std::string& key) const;
  ParsedFile& out() { return out_; }

 private:
  std::string scalar(const std::string& key);
  YAML::Node node_;
  std::string path_;
  ParsedFile& out_;
  std::set<std::string> known_;
};

int line_of(const YAML::Node& node);
/// The known word nearest to `word`, or nothing if none is near.
std::string nearest(const std::string& word, const std::set<std::string>& known);

}  // namespace daarion
