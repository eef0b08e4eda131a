#include "controlplane/drivers/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace daarion {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 1 << 20;  // all files here are a few KiB; more is not one of them

tl::unexpected<Error> failed(const std::string& what, const std::string& path, Remedy remedy = Remedy::kRetry) {
  return fail(remedy, what + " " + path + ": " + std::strerror(errno));
}

bool sync_path(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = fsync(fd) == 0;
  close(fd);
  return ok;
}

std::string parent_of(const std::string& path) { return fs::path(path).parent_path().string(); }

bool give(const std::string& path, const SystemUser& owner) {
  return geteuid() != 0 || chown(path.c_str(), owner.uid, owner.gid) == 0;
}

}  // namespace

bool exists(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

std::optional<std::string> read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string bytes;
  char buffer[8192];
  ssize_t n = 0;
  while ((n = read(fd, buffer, sizeof buffer)) > 0 && bytes.size() < kMaxFileBytes)
    bytes.append(buffer, static_cast<std::size_t>(n));
  close(fd);
  if (n < 0) return std::nullopt;
  return bytes;
}

Result<void> write_file(const std::string& path, const std::string& bytes, unsigned mode, const SystemUser& owner) {
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0 && (info.st_mode & 07777) == mode && read_file(path) == bytes) return {};
  const std::string fresh = path + ".tmp";
  unlink(fresh.c_str());
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return failed("write", fresh);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0) break;
    done += static_cast<std::size_t>(n);
  }
  const bool written =
      done == bytes.size() && fchmod(fd, mode) == 0 && (geteuid() != 0 || fchown(fd, owner.uid, owner.gid) == 0) && fsync(fd) == 0;
  const int cause = errno;
  close(fd);
  errno = cause;
  if (!written) return failed("write", fresh);
  if (rename(fresh.c_str(), path.c_str()) != 0) return failed("rename to", path);
  if (!sync_path(parent_of(path), O_RDONLY | O_DIRECTORY)) return failed("sync the folder of", path);
  return {};
}

Result<void> make_folder(const std::string& path, unsigned mode, const SystemUser& owner) {
  std::error_code error;
  if (const std::string parent = parent_of(path); !parent.empty()) fs::create_directories(parent, error);
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return failed("make folder", path, Remedy::kFixInput);
  if (chmod(path.c_str(), mode) != 0 || !give(path, owner)) return failed("own folder", path, Remedy::kFixInput);
  return {};
}

Result<void> remove_file(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path);
  sync_path(parent_of(path), O_RDONLY | O_DIRECTORY);
  return {};
}

Result<void> rename_file(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return failed("rename to", to);
  if (!sync_path(parent_of(to), O_RDONLY | O_DIRECTORY)) return failed("sync the folder of", to);
  return {};
}

Result<void> remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return fail(Remedy::kRetry, "remove " + path + ": " + error.message());
  return {};
}

Result<void> swap_folder(const std::string& fresh, const std::string& path) {
  const bool there = exists(path);
  // Exchanging is one step: no crash leaves the place empty. Not every file system can; then there are two.
  if (there && renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) return failed("put in place", path, Remedy::kFixInput);
    const std::string old = path + ".daarion-old";
    if (auto gone = remove_tree(old); !gone) return gone;
    if (rename(path.c_str(), old.c_str()) != 0) return failed("put aside", path, Remedy::kFixInput);
    if (rename(fresh.c_str(), path.c_str()) != 0) return failed("put in place", path, Remedy::kFixInput);
    rename(old.c_str(), fresh.c_str());
  } else if (!there && rename(fresh.c_str(), path.c_str()) != 0) {
    return failed("put in place", path, Remedy::kFixInput);
  }
  if (!sync_path(parent_of(path), O_RDONLY | O_DIRECTORY)) return failed("sync the folder of", path);
  return {};
}

}  // namespace daarion
