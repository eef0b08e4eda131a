// How answers are printed: tables for people, JSON and YAML for programs. What comes from the log is text of strangers: control
// characters in it never reach the terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/api/event_line.h"
#include "controlplane/cli/globals.h"

namespace google::protobuf {
class Message;
}

namespace daarion {

/// Columns as wide as their widest cell, two spaces apart, upper-case headings; the last column is never padded.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : rows_{std::move(headings)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() < 2; }
  std::string text(const std::string& indent = "") const;
  /// The same for a document.
  std::string markdown() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// "0 B", "512 B", "4.1 kB", "17 MB": rounded up, a bound never looks smaller than it is.
std::string bytes_text(std::uint64_t bytes);
/// "250 ms", "2.3 s", "3 min 5 s", "2 h 3 min", "4 d 5 h".
std::string ms_text(std::int64_t ms);

/// "-" for what is empty.
std::string or_dash(const std::string& text);

/// JSON text in the form asked for: indented JSON, or YAML. Pre: the form is not "table".
std::string data_text(const std::string& form, const std::string& json);
/// Prints `json` and true if the form is json or yaml; false if it is a table's turn.
bool print_data(const Globals& globals, const std::string& json);
bool print_data(const Globals& globals, const google::protobuf::Message& message);
/// The same for one of many: a JSON object per line, or a YAML document.
bool print_one_of_many(const Globals& globals, const google::protobuf::Message& message);

/// Lines of text of strangers: each is cleaned as a whole, so that no text can make a line of its own.
class Lines {
 public:
  void add(const std::string& line) { text_ += clean(line) + "\n"; }
  void add(const Table& table, const std::string& indent = "") { text_ += table.text(indent); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// fputs to stdout, flushed: watchers see a line when it is there.
void print(const std::string& text);

}  // namespace daarion
