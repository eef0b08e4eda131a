#include "controlplane/drivers/nats/store.h"

#include <filesystem>
#include <vector>

namespace daarion {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kLeast = 28;  // bytes of a snapshot: nats-server's own bound, header and checksum
constexpr const char* kMeta = "_meta_";
constexpr const char* kAside = "meta.set-aside";

void add(std::string& done, const std::string& what) { done += (done.empty() ? "" : "; ") + what; }

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  if (fs::is_directory(folder))
    for (const fs::directory_entry& e : fs::directory_iterator(folder)) out.push_back(e.path());
  return out;
}

void mend_group(const fs::path& group, const fs::path& store, std::string& done) {
  std::size_t left = 0, gone = 0;
  for (const fs::path& snapshot : entries(group / "snapshots")) {
    if (fs::file_size(snapshot) >= kLeast) {
      ++left;
      continue;
    }
    fs::remove(snapshot);
    ++gone;
    add(done, "removed " + snapshot.string() + ", which is too short for a snapshot");
  }
  if (gone == 0 || left > 0 || group.filename() != kMeta) return;
  fs::remove_all(store / kAside);
  fs::rename(group, store / kAside);
  add(done, "set " + group.string() + " aside as " + (store / kAside).string() + ": the other servers send what it lacks");
}

}  // namespace

Result<std::string> mend_nats_store(const std::string& store_dir) {
  std::string done;
  try {
    const fs::path store(store_dir);
    if (fs::exists(store) && !fs::is_directory(store)) return fail(Remedy::kFixInput, "look at the store " + store_dir + ": it is no folder");
    for (const fs::path& account : entries(store / "jetstream"))
      for (const fs::path& group : entries(account / "_js_")) mend_group(group, store, done);
  } catch (const fs::filesystem_error& e) {
    return fail(Remedy::kFixInput, "mend the store " + store_dir + ": " + e.what());
  }
  return done;
}

}  // namespace daarion
