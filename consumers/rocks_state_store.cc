#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/memtablerep.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/write_batch.h>
#include <spdlog/spdlog.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <unordered_map>

#include "consumers/state_codec.h"
#include "consumers/state_store.h"
#include "controlplane/core/check.h"
#include "controlplane/core/fold.h"
#include "streams/codec.h"
#include "streams/wire.h"

namespace daarion {
namespace {

namespace fs = std::filesystem;

// Column families; each projection's keys are in one. "default" holds what belongs to all: where the fold is.
const std::array<std::string, 5> kFamilies = {"default", "membership", "replication", "promotion", "routing"};
constexpr const char* kMarkKey = "mark";
const std::string kHeadPrefix = "head/";  // of kHeads keys, used in turn
constexpr std::size_t kMemtableBuckets = 4096;   // of 8 bytes; beyond some keys per bucket a search costs again
constexpr std::size_t kMemtableLocks = 1;        // RocksDB's 10 000 are for readers beside the writer, and each write missed the cache in them
constexpr std::size_t kMemtableBytes = 8 << 20;  // the state is small: flushes are for the clock (60 s), not for space

std::size_t family_of(Table table) {
  switch (table) {
    case Table::kLog: case Table::kVoters: case Table::kTopology: case Table::kMember: return 1;
    case Table::kReplica: case Table::kObserved: return 2;
    case Table::kLease: case Table::kOperator: case Table::kRequest: return 3;
    case Table::kRoute: case Table::kService: case Table::kServiceHealth: return 4;
  }
  return 0;
}

struct HashOfKey {
  std::size_t operator()(const StateKey& key) const { return std::hash<std::string>()(key.name) ^ static_cast<std::size_t>(key.table); }
};

/// One key and value in the digest. Lengths go in, so that no bytes can move between key and value.
Digest hash_of(const std::string& key, const std::string& value) {
  thread_local std::string text;  // its memory is kept: a fold hashes with every event
  text.assign(std::to_string(key.size())).append(":").append(key).append(value);
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.high64, hash.low64};
}

void add(Digest& sum, const Digest& d) {
  sum.lo += d.lo;
  sum.hi += d.hi + (sum.lo < d.lo ? 1 : 0);
}
void subtract(Digest& sum, const Digest& d) {
  sum.hi -= d.hi + (sum.lo < d.lo ? 1 : 0);
  sum.lo -= d.lo;
}

/// Where the fold is, as the store holds it: schema, sequence, log time, ignored events and digest, each number 8 bytes big-endian, and the
/// 32 bytes of the chain.
constexpr std::size_t kMarkNumbers = 6, kMarkBytes = kMarkNumbers * 8 + ChainDigest::kSize;

void mark_bytes(const State& s, const Digest& digest, const ChainDigest& chain, std::string& out) {
  const std::array<std::uint64_t, kMarkNumbers> numbers{kStateSchema, s.applied.value, static_cast<std::uint64_t>(s.applied_ns), s.ignored,
                                                        digest.hi, digest.lo};
  out.resize(sizeof numbers);
  for (std::size_t i = 0; i < kMarkNumbers; ++i) wire::put_number(out.data() + 8 * i, numbers[i]);
  out.append(chain.bytes());
}

bool parse_mark(const std::string& bytes, State& s, FoldMark& mark, ChainDigest& chain) {
  if (bytes.size() != kMarkBytes) return false;
  std::array<std::uint64_t, kMarkNumbers> n{};
  for (std::size_t i = 0; i < kMarkNumbers; ++i) n[i] = wire::number_at(bytes.data() + 8 * i);
  if (n[0] != kStateSchema) return false;
  s.applied = mark.sequence = {n[1]};
  s.applied_ns = static_cast<std::int64_t>(n[2]);
  s.ignored = n[3];
  mark.digest = {n[4], n[5]};
  chain = ChainDigest::of_bytes(std::string_view(bytes).substr(sizeof n));
  return true;
}

std::string head_key(Sequence sequence) { return kHeadPrefix + std::to_string(sequence.value % kHeads); }

/// A head as one line of text: sequence, id, epoch, type, subject, and when it was stored, which stores of before do not have.
std::string head_text(const EventHead& head) {
  return std::to_string(head.sequence.value) + " " + to_text(head.id) + " " + std::to_string(head.epoch.value) + " " + head.type + " " + head.subject + " " + std::to_string(head.stored_ns);
}

bool parse_head(const std::string& text, EventHead& head) {
  std::istringstream in(text);
  std::string id;
  if (!(in >> head.sequence.value >> id >> head.epoch.value >> head.type >> head.subject) || !parse_id_text(id, head.id.hi, head.id.lo)) return false;
  if (!(in >> head.stored_ns)) head.stored_ns = 0;
  return true;
}

/// What RocksDB has to say goes to the daemon's log. Its own file would be on the disk that it may have to complain of: 7.8 as Debian builds it ends
/// the process (an assertion) when it writes a line after one that had no room.
class DaemonsLog final : public rocksdb::Logger {
 public:
  DaemonsLog() : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list values) override {
    std::array<char, 1024> line;
    std::vsnprintf(line.data(), line.size(), format, values);
    std::string_view text = line.data();
    while (text.ends_with('\n') || text.ends_with(' ')) text.remove_suffix(1);
    spdlog::warn("state store: {}", text);
  }
};

class RocksStateStore final : public StateStore {
 public:
  ~RocksStateStore() override { close(); }

  /// What is wrong with a folder that does not open. kNoRoom: or what else may be there later.
  enum class Fault { kBad, kLocked, kNoRoom };

  /// Empty: it opened and holds what it says. Otherwise why not.
  std::string try_open(const std::string& folder, Fault& fault) {
    folder_ = folder;
    const std::string why = open_database(fault);
    return why.empty() ? read_all() : why;
  }

  /// The state stays in memory, and its folder may be made again from it. After any failure, at once: RocksDB 7.8 then looks for room in a thread
  /// of its own, and a flush that waits beside that one waits for ever.
  void drop_database() {
    for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
    handles_.clear();
    db_.reset();
    heads_put_ = {};
  }

  void close() {
    // What has no room now has none at the end either: the log is folded on from the last flush that had.
    if (db_) (void)flush();
    drop_database();
    state_ = {};
    mark_ = {};
    chain_ = ChainDigest();
    hashes_.clear();
    heads_.clear();
  }

  void say_rebuilt(std::string why) { rebuilt_ = std::move(why); }

  const State& state() const override { return state_; }
  FoldMark mark() const override { return {mark_.sequence, mark_.digest, chain_.text()}; }
  const EventHeads& heads() const override { return heads_; }
  const std::string& rebuilt() const override { return rebuilt_; }

  Result<void> apply(std::span<const StoredMessage> messages) override {
    touched_.clear();
    Result<void> all;
    std::size_t left = messages.size();
    for (const StoredMessage& message : messages) {
      DAARION_CHECK(message.sequence.value == state_.applied.value + 1, "events are applied without a gap");
      all = decode_event(message, event_);
      if (!all) break;
      fold_into(state_, event_, touched_);
      chain_.add(message);
      if (left-- <= kHeads) remember(event_);
    }
    if (state_.applied != mark_.sequence) write();
    return all;
  }

  Result<void> flush() override {
    std::string why = db_ ? std::string{} : begin_anew();
    if (why.empty()) why = flush_database();
    if (why.empty()) return {};
    drop_database();
    return fail(Remedy::kRetry, "the folded state is not on disk: " + why + "; it goes on in memory, and a restart folds what is missing anew");
  }

 private:
  std::string open_database(Fault& fault) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.create_missing_column_families = true;
    options.atomic_flush = true;
    options.paranoid_checks = true;
    options.avoid_flush_during_shutdown = true;  // close() flushes while all is well; what failed is not tried once more
    options.info_log = std::make_shared<DaemonsLog>();
    options.max_open_files = 64;
    options.write_buffer_size = kMemtableBytes;
    // One thread writes, nothing reads but at the start: a value is overwritten where it is, and the memtable holds each key once.
    options.allow_concurrent_memtable_write = false;
    options.inplace_update_support = true;
    options.inplace_update_num_locks = kMemtableLocks;
    // Found by hash, not by search among all keys: a third of the cost of a write. Flushes sort.
    options.prefix_extractor.reset(rocksdb::NewNoopTransform());
    options.memtable_factory.reset(rocksdb::NewHashLinkListRepFactory(kMemtableBuckets));
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : kFamilies) families.emplace_back(name, rocksdb::ColumnFamilyOptions(options));
    rocksdb::DB* db = nullptr;
    std::error_code error;
    fs::create_directories(folder_, error);  // or RocksDB complains that it has to; what fails here fails there
    const rocksdb::Status opened = rocksdb::DB::Open(options, folder_, families, &handles_, &db);
    db_.reset(db);
    if (opened.ok()) return {};
    const std::string text = opened.ToString();
    const auto says = [&](const char* what) { return text.find(what) != std::string::npos; };
    // What the disk or the process lacks now says nothing of the folder. A file that is missing does.
    const bool lacks = says("No space left") || says("quota exceeded") || says("Too many open files") || says("Input/output error") || says("Permission denied");
    fault = lacks ? Fault::kNoRoom : opened.IsIOError() && says("lock") ? Fault::kLocked : Fault::kBad;
    return text;
  }

  /// A folder with the state as it is in memory, in place of the one that failed.
  std::string begin_anew() {
    std::error_code error;
    fs::remove_all(folder_, error);
    if (error) return error.message();
    Fault fault{};
    if (std::string why = open_database(fault); !why.empty()) return why;
    batch_.Clear();
    for (const StateKey& key : keys_of(state_)) {
      key_text(key, name_);
      encode_part(state_, key, value_);
      batch_.Put(handles_[family_of(key.table)], name_, value_);
    }
    put_mark();
    const rocksdb::Status done = put(batch_);
    return done.ok() ? std::string{} : done.ToString();
  }

  std::string flush_database() {
    rocksdb::FlushOptions options;
    options.wait = true;
    rocksdb::Status done = put_heads();
    if (done.ok()) done = db_->Flush(options, handles_);
    return done.ok() ? std::string{} : done.ToString();
  }

  /// One batch: the parts touched, and where the fold is. A crash at any byte leaves it whole or absent.
  void write() {
    std::ranges::sort(touched_);
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    batch_.Clear();
    for (const StateKey& key : touched_) {
      key_text(key, name_);
      rocksdb::ColumnFamilyHandle* family = db_ ? handles_[family_of(key.table)] : nullptr;
      const auto [at, is_new] = hashes_.try_emplace(key);
      if (!is_new) subtract(mark_.digest, at->second);
      if (!encode_part(state_, key, value_)) {
        hashes_.erase(at);
        if (db_) batch_.Delete(family, name_);
        continue;
      }
      at->second = hash_of(name_, value_);
      add(mark_.digest, at->second);
      if (db_) batch_.Put(family, name_, value_);
    }
    mark_.sequence = state_.applied;
    if (!db_) return;
    put_mark();
    if (!put(batch_).ok()) drop_database();  // the next flush says so
  }

  void put_mark() {
    mark_bytes(state_, mark_.digest, chain_, value_);
    batch_.Put(handles_[0], kMarkKey, value_);
  }

  void remember(const LogEvent& event) {
    EventHead head;
    if (heads_.size() >= kHeads) {
      head = std::move(heads_.front());  // for its memory
      heads_.pop_front();
    }
    head_of(event, head);
    heads_.push_back(std::move(head));
  }

  /// The heads go to the database before it is flushed, not with each event: what is not flushed does not outlive this process anyway.
  rocksdb::Status put_heads() {
    rocksdb::WriteBatch batch;
    for (const EventHead& head : heads_)
      if (head.sequence > heads_put_) batch.Put(handles_[0], head_key(head.sequence), head_text(head));
    if (batch.Count() == 0) return rocksdb::Status::OK();
    heads_put_ = heads_.back().sequence;
    return put(batch);
  }

  rocksdb::Status put(rocksdb::WriteBatch& batch) {
    rocksdb::WriteOptions options;
    options.disableWAL = true;  // the stream is the WAL
    return db_->Write(options, &batch);
  }

  std::string read_all() {
    rocksdb::ReadOptions options;
    options.verify_checksums = true;
    options.total_order_seek = true;  // all keys, not those of one hash
    std::string text;
    const rocksdb::Status got = db_->Get(options, handles_[0], kMarkKey, &text);
    if (!got.ok() && !got.IsNotFound()) return got.ToString();
    const bool empty = got.IsNotFound();
    if (!empty && !parse_mark(text, state_, mark_, chain_)) return "where its fold was cannot be read, or is of another state schema";
    Digest sum;
    for (std::size_t family = 1; family < handles_.size(); ++family) {
      const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, handles_[family]));
      for (it->SeekToFirst(); it->Valid(); it->Next()) {
        const std::string name = it->key().ToString(), value = it->value().ToString();
        const auto key = parse_key(name);
        if (!key || family_of(key->table) != family) return "it holds a key that is not ours: " + name;
        if (const auto read = decode_part(state_, *key, value); !read) return read.error().message;
        const Digest hash = hash_of(name, value);
        add(sum, hash);
        hashes_.emplace(*key, hash);
      }
      if (!it->status().ok()) return it->status().ToString();
    }
    if (empty && !hashes_.empty()) return "it holds a state but not where its fold was";
    read_heads(options);
    if (sum != mark_.digest) return "its content does not have the digest that it names";
    return {};
  }

  /// What cannot be read is not known: nothing else is made of heads than names.
  void read_heads(const rocksdb::ReadOptions& options) {
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, handles_[0]));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      EventHead head;
      const bool ours = it->key().starts_with(kHeadPrefix) && parse_head(it->value().ToString(), head);
      if (ours && head.sequence <= state_.applied && head.sequence.value + kHeads > state_.applied.value) heads_.push_back(std::move(head));
    }
    std::ranges::sort(heads_, {}, &EventHead::sequence);
    if (!heads_.empty()) heads_put_ = heads_.back().sequence;
  }

  std::string folder_;
  std::unique_ptr<rocksdb::DB> db_;  // null: it failed, and begins anew with the next flush
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  State state_;
  FoldMark mark_;      // without its chain, whose text is made when it is asked for
  std::unordered_map<StateKey, Digest, HashOfKey> hashes_;  // of every live key: the digest moves by differences
  LogEvent event_;                                  // being applied; its memory is kept, as that of those below
  EventHeads heads_;
  Sequence heads_put_;                              // the newest of them that the database has
  std::vector<StateKey> touched_;                   // by the batch being applied
  rocksdb::WriteBatch batch_;
  ChainDigest chain_;
  std::string name_, value_;
  std::string rebuilt_;
};

std::string move_aside(const std::string& folder, std::error_code& error) {
  for (int n = 1;; ++n) {
    const std::string to = folder + ".bad-" + std::to_string(n);
    if (fs::exists(to)) continue;
    fs::rename(folder, to, error);
    return to;
  }
}

}  // namespace

Result<std::unique_ptr<StateStore>> StateStore::open(const std::string& folder) {
  std::error_code error;
  fs::create_directories(fs::path(folder).parent_path(), error);
  auto store = std::make_unique<RocksStateStore>();
  RocksStateStore::Fault fault{};
  const std::string why = store->try_open(folder, fault);
  if (why.empty()) return store;
  store->drop_database();
  if (fault == RocksStateStore::Fault::kNoRoom) return fail(Remedy::kRetry, "open " + folder + ": " + why);
  if (fault == RocksStateStore::Fault::kLocked)
    return fail(Remedy::kFixInput, "open " + folder + ": another process has it; end the other daariond of this node first");
  store = std::make_unique<RocksStateStore>();
  if (!fs::exists(folder)) return fail(Remedy::kFixInput, "open " + folder + ": " + why);
  const std::string aside = move_aside(folder, error);
  if (error) return fail(Remedy::kFixInput, "move " + folder + " aside: " + error.message() + "; it is unusable: " + why);
  const std::string again = store->try_open(folder, fault);
  if (!again.empty()) return fail(Remedy::kFixInput, "open " + folder + ": " + again);
  store->say_rebuilt("the state store was unusable (" + why + "): moved to " + aside + ", rebuilt by replay of the log");
  return store;
}

Result<std::string> StateStore::set_aside(const std::string& folder) {
  std::error_code error;
  const std::string aside = folder + ".lost";
  fs::remove_all(aside, error);
  if (!error && fs::exists(folder)) fs::rename(folder, aside, error);
  if (error) return fail(Remedy::kRetry, "move " + folder + " aside: " + error.message());
  return aside;
}

Digest state_digest(const State& state) {
  Digest sum;
  for (const StateKey& key : keys_of(state)) add(sum, hash_of(key_text(key), *encode_part(state, key)));
  return sum;
}

}  // namespace daarion
