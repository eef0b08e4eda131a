// The voter's record on disk: one small JSON file, replaced as a whole and synced, flocked for the process's life.
#pragma once

#include <string>

#include "controlplane/core/result.h"
#include "controlplane/core/voter.h"

namespace daarion {

class RecordFile {
 public:
  /// Locks `<path>.lock`. Errors: kFixInput if another process has it, naming the path.
  static Result<RecordFile> open(const std::string& path);
  /// Whether another process has it now.
  static bool in_use(const std::string& path);
  RecordFile(RecordFile&& other) noexcept;
  RecordFile& operator=(RecordFile&&) = delete;
  ~RecordFile();

  /// The record, or one with a new instance id where there is none, or where it was made on another machine.
  /// Errors: kFixInput if the file is there and cannot be read: a voter that forgot its promises must not answer.
  Result<VoterRecord> read() const;

  /// Replaces the file; on disk (file and folder synced) when it returns. Errors: kStop, naming the path and the cause.
  Result<void> write(const VoterRecord& record) const;

 private:
  RecordFile(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_ = -1;
};

/// The record as text, and back. Errors: kFixInput, naming what is missing or malformed.
std::string record_text(const VoterRecord& record);
Result<VoterRecord> parse_record(const std::string& text);

}  // namespace daarion
