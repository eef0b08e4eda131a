// What our append and fold cost beside the bare library doing the same work, in one run: ratios, not absolute times.
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <chrono>
#include <cstdio>
#include <string_view>
#include <thread>

#include "consumers/state_codec.h"
#include "consumers/state_store.h"
#include "controlplane/core/fold.h"
#include "controlplane/node/priority.h"
#include "streams/codec.h"
#include "streams/log_stream.h"
#include "streams/nats_appender.h"
#include "streams/nats_handles.h"
#include "streams/nats_log_reader.h"
#include "tests/harness/figures.h"
#include "tests/harness/nats_servers.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr int kRounds = 6;              // of each kind, one after the other: noise of the machine hits both
constexpr std::uint64_t kAppends = 300; // per round
constexpr std::uint64_t kPipelined = 10'000;  // per round
constexpr int kManyRounds = 9;          // of all kinds; the ratio is that of one round, its median of all: the machine's pace changes
constexpr std::size_t kEvents = 60'000;
constexpr std::size_t kKeys = 2'000;
constexpr std::size_t kBytes = 300;     // per event
constexpr std::size_t kBatch = 4096;

bool failed(const char* why) {
  std::printf("FAILED: %s\n", why);
  return false;
}

double seconds_since(Clock::time_point begun) { return std::chrono::duration<double>(Clock::now() - begun).count(); }

Event event_of(std::uint64_t i) {
  const NodeId node("member" + std::to_string(i % kKeys));
  MemberJoined payload{.region = "r" + std::to_string(i), .address = "10.0.0.1", .software = "bench", .instance = {1, i + 1}, .boot = {2, i + 1}};
  Event event{.header = {.id = {3, i + 1}, .node = node, .actor = "operator:bench", .reason = "a", .wall_time_ns = 1, .aggregate = {"member", node.value},
                         .version = {i / kKeys + 1}},
              .payload = payload};
  event.header.reason.append(kBytes - std::min(kBytes, encode_event(event).size()), 'x');
  return event;
}

/// What ours sends with every append: id and expectation.
jsPubOptions headers_of(const std::string& id) {
  jsPubOptions options{};
  jsPubOptions_Init(&options);
  options.MsgId = id.c_str();
  options.ExpectNoMessage = true;
  return options;
}

bool raw_append(Connection& connection, const std::string& subject, const std::string& payload, const std::string& id) {
  jsPubOptions options = headers_of(id);
  jsPubAck* ack = nullptr;
  const natsStatus s = js_Publish(&ack, connection.handles().link()->js, subject.c_str(), payload.data(), static_cast<int>(payload.size()), &options, nullptr);
  jsPubAck_Destroy(ack);
  return s == NATS_OK;
}

/// Three servers with the streams in place.
struct Core {
  test::NatsServers servers{{.size = 3}};
  std::shared_ptr<Connection> connection = Connection::open(servers.endpoint({0, 1, 2}, "bench")).value();
  bool ready() const {
    const auto end = Clock::now() + seconds(30);
    while (!provision_core_streams(*connection, 3, seconds(2)))
      if (Clock::now() > end) return false;
    return true;
  }
};

AppendItem item_of(std::uint64_t n) {
  const Event event = event_of(n);
  return {log_subject({"lease", "bench"}, {n + 1}), encode_event(event), event.header.id};
}

bool bench_append(const Core& core) {
  const auto appender = make_nats_appender(core.connection);
  std::vector<double> ours, raw;
  std::uint64_t n = 0;
  for (int round = 0; round < 2 * kRounds; ++round)
    for (std::uint64_t i = 0; i < kAppends; ++i, ++n) {
      const AppendItem item = item_of(n);
      const std::string id = to_text(item.id);
      const auto begun = Clock::now();
      if (round % 2 == 0 ? !raw_append(*core.connection, item.subject, item.payload, id)
                         : appender->append(item.subject, item.payload, item.id, seconds(5)).outcome != AppendResult::Outcome::kStored)
        return false;
      (round % 2 == 0 ? raw : ours).push_back(seconds_since(begun) * 1e6);
    }
  test::say_machine(core.servers.version());
  test::say({.name = "append_raw_us", .value = test::median(raw), .unit = "us", .samples = raw});
  test::say({.name = "append_us", .value = test::median(ours), .unit = "us", .samples = ours});
  const double ratio = test::median(ours) / test::median(raw);
  return test::say({.name = "append_ratio", .value = ratio, .unit = "x", .samples = {}, .limit = "<=1.15", .ok = ratio <= 1.15});
}

/// The library's own loop: publish all, wait for all answers. `bare`: without headers.
bool raw_pipeline(Connection& connection, const std::vector<AppendItem>& items, bool bare) {
  jsCtx* js = connection.handles().link()->js;
  for (const AppendItem& item : items) {
    const std::string id = to_text(item.id);
    jsPubOptions options = headers_of(id);
    natsStatus s = NATS_TIMEOUT;  // of a full window, for 200 ms: then it is tried again
    while (s == NATS_TIMEOUT)
      s = js_PublishAsync(js, item.subject.c_str(), item.payload.data(), static_cast<int>(item.payload.size()), bare ? nullptr : &options);
    if (s != NATS_OK) return false;
  }
  jsPubOptions wait{};
  jsPubOptions_Init(&wait);
  wait.MaxWait = 60'000;
  return js_PublishAsyncComplete(js, &wait) == NATS_OK;
}

bool bench_pipelined(const Core& core) {
  const auto appender = make_nats_appender(core.connection);
  std::vector<double> ours, raw, bare, ratios;
  std::uint64_t n = 1'000'000;
  for (int round = 0; round < kManyRounds; ++round) {
    for (std::vector<double>* kind : {&raw, &ours, &bare}) {
      std::vector<AppendItem> items;
      for (std::uint64_t i = 0; i < kPipelined; ++i) items.push_back(item_of(n++));
      const auto begun = Clock::now();
      if (kind == &ours) {
        for (const AppendResult& result : appender->append_all(items, seconds(60)))
          if (result.outcome != AppendResult::Outcome::kStored) return failed("an append of ours was not stored");
      } else if (!raw_pipeline(*core.connection, items, kind == &bare)) {
        return failed("the library's publisher gave up");
      }
      kind->push_back(double(kPipelined) / seconds_since(begun));
    }
    ratios.push_back(ours.back() / raw.back());
  }
  test::say({.name = "append_pipelined_raw", .value = test::median(raw), .unit = "events/s", .samples = raw});
  test::say({.name = "append_pipelined_bare", .value = test::median(bare), .unit = "events/s", .samples = bare});
  test::say({.name = "append_pipelined", .value = test::median(ours), .unit = "events/s", .samples = ours});
  const double ratio = test::median(ratios);
  return test::say({.name = "append_pipelined_ratio", .value = ratio, .unit = "x", .samples = ratios, .limit = ">=0.9", .ok = ratio >= 0.9});
}

bool bench_appends() {
  const Core core;
  if (!core.ready()) return false;
  const bool one = bench_append(core);
  return bench_pipelined(core) && one;
}

/// Puts the whole log into a fresh stream, many in flight.
bool fill(Connection& connection, const std::vector<StoredMessage>& log) {
  for (const StoredMessage& m : log)
    if (js_PublishAsync(connection.handles().link()->js, m.subject.c_str(), m.payload.data(), static_cast<int>(m.payload.size()), nullptr) != NATS_OK) return false;
  jsPubOptions wait{};
  jsPubOptions_Init(&wait);
  wait.MaxWait = 60'000;
  return js_PublishAsyncComplete(connection.handles().link()->js, &wait) == NATS_OK;
}

double raw_consumer(Connection& connection) {
  jsSubOptions options{};
  jsSubOptions_Init(&options);
  options.Stream = kClusterLog;
  options.Ordered = true;
  options.Config.DeliverPolicy = js_DeliverAll;
  natsSubscription* raw = nullptr;
  const auto begun = Clock::now();
  const auto link = connection.handles().link();
  if (js_SubscribeSync(&raw, link->js, "cluster.log.>", nullptr, &options, nullptr) != NATS_OK) return 0;
  Subscription subscription;
  subscription.take(link, raw);
  for (std::size_t i = 0; i < kEvents; ++i) {
    natsMsg* m = nullptr;
    if (natsSubscription_NextMsg(&m, raw, 5000) != NATS_OK) return 0;
    natsMsg_Destroy(m);
  }
  return double(kEvents) / seconds_since(begun);
}

/// The keys and values that the fold writes, event by event, in bare batches of the given size.
double raw_batches(const std::string& folder, const std::vector<std::pair<std::string, std::string>>& puts, std::size_t batch_size) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 8 << 20;
  rocksdb::DB* raw = nullptr;
  if (!rocksdb::DB::Open(options, folder, &raw).ok()) return 0;
  const std::unique_ptr<rocksdb::DB> db(raw);
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  const auto begun = Clock::now();
  for (std::size_t i = 0; i < puts.size();) {
    rocksdb::WriteBatch batch;
    for (const std::size_t end = std::min(puts.size(), i + batch_size); i < end; ++i) batch.Put(puts[i].first, puts[i].second);
    if (!db->Write(write, &batch).ok()) return 0;
  }
  return double(puts.size()) / seconds_since(begun);
}

double fold_all(const std::string& folder, const std::shared_ptr<Connection>& connection, std::size_t batch_size) {
  auto store = StateStore::open(folder).value();
  const auto begun = Clock::now();
  const auto reader = make_nats_log_reader({connection}, kClusterLog, {1});
  for (std::size_t applied = 0; applied < kEvents;) {
    const auto messages = reader->read(batch_size, seconds(5));
    if (!messages || messages->empty() || !store->apply(*messages)) return 0;
    applied += messages->size();
  }
  return double(kEvents) / seconds_since(begun);
}

/// On a thread that is preferred, as the daemon's is (Daemon::run_fold). The bare loops run as they come, which is their best: a preferred reader
/// keeps the processor from the server that it reads from.
double our_fold(const std::string& folder, const std::shared_ptr<Connection>& connection, std::size_t batch_size) {
  double rate = 0;
  std::thread([&] {
    prefer_this_thread();
    rate = fold_all(folder, connection, batch_size);
  }).join();
  return rate;
}

bool bench_fold() {
  const test::NatsServers servers({.size = 1});
  const auto connection = Connection::open(servers.endpoint({0}, "bench")).value();
  const auto end = Clock::now() + seconds(30);
  while (!provision_core_streams(*connection, 1, seconds(2)))
    if (Clock::now() > end) return false;
  std::vector<StoredMessage> log;
  std::vector<std::pair<std::string, std::string>> puts;
  State state;
  std::vector<StateKey> touched;
  for (std::uint64_t i = 0; i < kEvents; ++i) {
    const Event event = event_of(i);
    log.push_back({.sequence = {i + 1}, .stored_ns = 1, .subject = log_subject(event.header.aggregate, event.header.version), .payload = encode_event(event)});
    fold_into(state, {.sequence = {i + 1}, .stored_ns = 1, .event = event}, touched);
    puts.emplace_back(key_text(touched.back()), *encode_part(state, touched.back()));
    touched.clear();
  }
  if (!fill(*connection, log)) return false;
  const test::TempFolder folder;
  std::vector<double> consumer, coalesced, single, batches, singles, many, one;
  for (int round = 0; round < kManyRounds; ++round) {
    const std::string n = std::to_string(round);
    consumer.push_back(raw_consumer(*connection));
    batches.push_back(raw_batches(folder / ("raw" + n), puts, kBatch));
    singles.push_back(raw_batches(folder / ("raw1" + n), puts, 1));
    coalesced.push_back(our_fold(folder / ("ours" + n), connection, kBatch));
    single.push_back(our_fold(folder / ("ours1" + n), connection, 1));
    many.push_back(coalesced.back() / std::min(consumer.back(), batches.back()));
    one.push_back(single.back() / std::min(consumer.back(), singles.back()));
  }
  test::say_machine(servers.version());
  const auto rate = [](const char* name, const std::vector<double>& samples) {
    test::say({.name = name, .value = test::median(samples), .unit = "events/s", .samples = samples});
  };
  rate("fold_raw_consumer", consumer);
  rate("fold_raw_batches", batches);
  rate("fold_raw_single_writes", singles);
  rate("fold_coalesced", coalesced);
  rate("fold_single", single);
  const auto ratio = [](const char* name, const std::vector<double>& of_rounds) {
    const double value = test::median(of_rounds);
    return test::say({.name = name, .value = value, .unit = "x", .samples = of_rounds, .limit = ">=0.6", .ok = value >= 0.6});
  };
  const bool a = ratio("fold_coalesced_ratio", many);
  const bool b = ratio("fold_single_ratio", one);
  return a && b;
}

}  // namespace
}  // namespace daarion

/// "append" or "fold" alone; both without an argument.
int main(int argc, char** argv) {
  const std::string_view only = argc > 1 ? argv[1] : "";
  const bool append = only == "fold" || daarion::bench_appends();
  const bool fold = only == "append" || daarion::bench_fold();
  return append && fold ? 0 : 1;
}
