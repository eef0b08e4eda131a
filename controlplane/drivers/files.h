// Small files that must survive a crash, and folders that are the engine user's.
#pragma once

#include <optional>
#include <string>

#include "controlplane/core/result.h"
#include "controlplane/drivers/subprocess.h"

namespace daarion {

/// The file's bytes, at most 1 MiB; nothing if it cannot be read.
std::optional<std::string> read_file(const std::string& path);

/// Replaces a file so that a crash leaves the old or the new one whole: temporary file beside, fsync, rename, fsync of the folder.
/// A file that already has these bytes is left alone. Errors: kRetry with the system's word.
Result<void> write_file(const std::string& path, const std::string& bytes, unsigned mode, const SystemUser& owner);

/// Makes a folder and its parents; the last one gets `mode` and `owner`. Errors: kFixInput with the system's word.
Result<void> make_folder(const std::string& path, unsigned mode, const SystemUser& owner);

/// Removes a file; it may be missing.
Result<void> remove_file(const std::string& path);

/// Gives a file another name in the same file system, durably; what had that name is gone.
Result<void> rename_file(const std::string& from, const std::string& to);

/// Removes a folder and all in it; it may be missing. Symbolic links are removed, not followed.
Result<void> remove_tree(const std::string& path);

/// Puts folder `fresh` in place of `path` (missing, empty or full) and makes that durable; what was there is in `fresh` then, if
/// anything. Errors: kFixInput, e.g. if `path` is a mount point.
Result<void> swap_folder(const std::string& fresh, const std::string& path);

bool exists(const std::string& path);

}  // namespace daarion
