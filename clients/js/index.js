// For services in JavaScript: the cluster's route table as it changes, where a subject goes, and a rule's messages at this node, each once.
//
//   const { connect } = require("nats");             // or any of nats.js's transports: only request, subscribe and publish are used
//   const { DaarionClient } = require("daarion-client");
//   const nc = await connect({ servers: "10.0.0.3:4222", user: "app", pass: secret });   // the node's own server
//   const client = await DaarionClient.start(nc, "node3");
//   client.resolve("message.received.helion").stream;
//   for await (const message of client.read("message")) work_on(message.subject, message.data);
//
// On an edge everything here goes on while the edge is cut off. The same in C++, with the same names: clients/cpp/daarion_client.h.
"use strict";

const { randomBytes } = require("node:crypto");

const kChanged = "cluster.route.changed";
const kTableStream = "KV_cluster_routes";
const kTableSubject = "$KV.cluster_routes.table";
const kHeartbeatNs = 500_000_000; // of a consumer; the server's default notices a lost one after 10 s
const kSilenceMs = 1500;          // without three of them the consumer is taken as gone
const kAgainMs = 250;             // after something could not be done
const kAskMs = 1000;
const kLookEveryMs = 5000;        // at the table, for announcements that were missed while nothing was connected
const kRemember = 1 << 16;        // ids that came by every stream: repeats of publishers that tried again
const kOverlap = 256;             // of those, how many a position holds
const kBack = [kOverlap, 4096, 65_536]; // how far back what came last is looked for after a new beginning: first, and where it was not found
const kRounds = 80;               // of looking all the way back, kAgainMs apart: a stream that was made anew never has it, and its numbers count then
const kFirstStored = "Daarion-First-Stored"; // on a message that was put again: when it was stored first, ns since 1970
const kClocksNs = 5_000_000_000n; // by how much the servers' may differ
const kNoSuchStream = 10059;
const kWaiting = 4096;            // messages that may wait for whoever reads; beyond it a consumer is given up, and made anew later

const decoder = new TextDecoder();

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks JetStream; null where nobody answers in time. */
async function ask(nc, subject, body) {
  try {
    const answer = await nc.request(subject, new TextEncoder().encode(JSON.stringify(body)), { timeout: kAskMs });
    return JSON.parse(decoder.decode(answer.data));
  } catch {
    return null;
  }
}

function isSubject(subject) {
  return subject.length > 0 && subject.split(".").every((token) => token.length > 0 && token !== "*" && token !== ">") && !/[\s\x00-\x1f\x7f]/.test(subject);
}

/** What could not be worked on: kept with its rule's messages, and never taken for work. */
function isDeadLetter(subject) {
  return subject.endsWith(".dlq");
}

/** Whether the pattern takes the subject: "*" is one token, a last ">" one or more. */
function matches(pattern, subject) {
  const wanted = pattern.split("."), tokens = subject.split(".");
  for (let i = 0; i < wanted.length; ++i) {
    if (wanted[i] === ">") return tokens.length > i;
    if (i >= tokens.length || (wanted[i] !== "*" && wanted[i] !== tokens[i])) return false;
  }
  return wanted.length === tokens.length;
}

/** One route table as it was published. */
class Table {
  constructor(json) {
    this.updated = json.updated; // the event that changed it last
    this._log = json.log_id ?? "";
    this._regressed = json.regressed ?? 0; // a log that lost events goes on at lower numbers
    this.rules = json.rules ?? [];
    this.nodes = json.nodes ?? [];
    this.services = json.services ?? [];
    this.capabilities = json.capabilities ?? [];
  }

  /** Whether it is an older one of the same log. By its own numbers: those of the bucket begin at 1 again when it is made anew. */
  _isBefore(other) {
    if (this._log !== other._log) return false;
    return this._regressed !== other._regressed ? this._regressed < other._regressed : this.updated < other.updated;
  }

  _node(id) {
    return this.nodes.find((node) => node.id === id);
  }

  /** The rule has one pattern for each member: the node's own differs from each of the others' in the node's token alone. */
  _isLocalTo(rule, pattern, id) {
    const tokens = pattern.split(".");
    const of = (i, other) => tokens.map((token, k) => (k === i ? other : token)).join(".");
    return tokens.some((token, i) => token === id && this.nodes.every((other) => rule.subjects.includes(of(i, other.id))));
  }

  /** Where a subject goes that is published on node `from`. Of all rules that take it, the first one counts. */
  resolve(subject, from) {
    const none = { cls: "uncovered", rule: "", stream: "", mirror: "", nodes: [], service: "", serviceNodes: [], capability: "", provider: "", deadLetter: false };
    const origin = this._node(from);
    if (!origin || !isSubject(subject)) return none;
    for (const rule of this.rules) {
      const pattern = rule.subjects.find((p) => matches(p, subject));
      if (pattern === undefined) continue;
      const edge = origin.site !== "core", replicated = rule.class === "replicated";
      const core = this.nodes.filter((n) => n.site === "core"), edges = this.nodes.filter((n) => n.site !== "core");
      const heard = replicated ? [...core, ...edges] : rule.class === "node_local" ? (this._isLocalTo(rule, pattern, from) ? [origin] : []) : edge ? [origin] : core;
      return {
        cls: rule.class, rule: rule.rule,
        stream: !replicated ? "" : edge ? `${rule.stream}_${from}` : rule.stream,
        mirror: replicated && edge ? rule.mirror : "",
        nodes: heard.map((n) => n.id),
        service: rule.service ?? "", serviceNodes: rule.service ? this.active(rule.service) : [],
        capability: rule.capability ?? "", provider: rule.capability ? this.provider(rule.capability) : "", deadLetter: isDeadLetter(subject),
      };
    }
    return none;
  }

  /** The streams that have a rule's messages at that node; the last one has all of them in the end. */
  streams(rule, at) {
    const found = this.rules.find((r) => r.rule === rule), node = this._node(at);
    if (!found || !node || !found.stream) return [];
    return node.site === "core" ? [found.stream] : [`${found.stream}_${at}`, found.mirror];
  }

  active(service) {
    return this.services.find((s) => s.name === service)?.active ?? [];
  }

  /** For this agent: its own chain's if it has one, else everybody's. "": nobody. */
  provider(capability, agent = "") {
    const of = (whose) => this.capabilities.find((c) => c.capability === capability && (c.agent ?? "") === whose);
    return (of(agent) ?? of(""))?.provider ?? "";
  }
}

/** Which messages come for the first time, by id. What has none cannot be told from a repeat. */
class Repeats {
  constructor({ next = {}, owed = [], recent = [], sinceNs } = {}) {
    const oldest = BigInt(sinceNs || 0);
    this.since = Object.keys(next).length === 0 ? -Infinity : oldest || Infinity; // what was stored from then on and given is remembered
    this.owed = new Set(owed);      // given, and to come again by the last stream
    this.recent = new Map(recent.map((id) => [id, oldest]));  // came by it, and when that stored them; in the order of coming
  }
  reaches(storedNs) {
    return storedNs >= this.since;
  }
  /** Whether a message of that id and time is one that came, and not an older one of the same id, behind which something else came that is forgotten. */
  came(id, storedNs) {
    return this.recent.has(id) && (this.since === Infinity || storedNs + kClocksNs >= this.since);
  }
  newest() {
    const last = [...this.recent].slice(-kOverlap);
    return { recent: last.map(([id]) => id), sinceNs: String(last[0]?.[1] ?? 0) };
  }
  first(id, final, storedNs = 0n) {
    if (!id) return true;
    if (this.recent.has(id)) return false;
    if (!final) {
      if (this.owed.has(id)) return false;
      this.owed.add(id);
      return true;
    }
    this.recent.set(id, storedNs);
    if (this.since === Infinity) this.since = storedNs;
    if (this.recent.size > kRemember) {
      this.recent.delete(this.recent.keys().next().value);
      const oldest = this.recent.values().next().value;
      if (oldest > this.since) this.since = oldest;
    }
    return !this.owed.delete(id);
  }
}

/**
 * A site's streams of one rule as one: each message once. An edge's own come at once, also while the edge is cut off, and not again when the mirror
 * has them. It goes on by itself after anything that passes. Iterate it; close() ends the iteration.
 */
class Reader {
  constructor(nc, streams, position = {}, { deadLetters = false } = {}) {
    this._nc = nc;
    this._deadLetters = deadLetters;
    this._repeats = new Repeats(position);
    this._tails = streams.map((stream) => ({ stream, next: position.next?.[stream] ?? 1, from: 1, until: 0, searching: false, tries: 0, rounds: 0, consumer: "", delivered: 0, caughtUp: false, heard: 0, again: 0, sub: null }));
    this._ready = [];
    this._next = Object.fromEntries(this._tails.map((t) => [t.stream, t.next])); // behind what was given
    this._closed = false;
    this._failed = null;
    this._wake = () => {};
    this._tending = this._tend();
  }

  /** Behind what was given last: give it to read() after a restart. */
  position() {
    return { next: { ...this._next }, owed: [...this._repeats.owed], ...this._repeats.newest() };
  }

  close() {
    this._closed = true;
    for (const tail of this._tails) this._drop(tail);
    this._wake();
    return this._tending;
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (this._ready.length > 0) {
          const { tail, overAgain, waiting } = this._ready.shift();
          const { firstStored, ...message } = waiting;
          const firstNs = /^\d{1,19}$/.test(firstStored ?? "") ? BigInt(firstStored) : 0n;
          message.redelivered = firstStored !== undefined && (firstNs === 0n || !this._repeats.reaches(firstNs - kClocksNs));
          if (!overAgain) this._next[tail.stream] = message.sequence + 1;
          const fresh = message.id ? this._repeats.first(message.id, tail === this._tails.at(-1), message.storedNs) : !overAgain;
          if (fresh && isDeadLetter(message.subject) === this._deadLetters) yield message;
          if (this._closed) return;
        }
        if (this._failed) throw this._failed;
        if (this._closed) return;
        await new Promise((resolve) => { this._wake = resolve; });
      }
    } finally {
      this.close();
    }
  }

  _drop(tail) {
    tail.consumer = "";
    tail.sub?.unsubscribe();
    tail.sub = null;
  }

  async _tend() {
    while (!this._closed && !this._failed) {
      for (const tail of this._tails) {
        const now = Date.now();
        if (tail.consumer && now > tail.heard + kSilenceMs) this._drop(tail);
        if (!tail.consumer && now >= tail.again && this._ready.length < kWaiting) await this._begin(tail);
        // What waits in the first is to be known before its repeats come.
        if (!tail.caughtUp) break;
      }
      await sleep(50);
    }
  }

  async _begin(tail) {
    this._drop(tail);
    const inbox = `_INBOX.${randomBytes(12).toString("hex")}`;
    tail.delivered = 0;
    tail.heard = Date.now();
    const sub = this._nc.subscribe(inbox, { callback: (err, message) => { if (!err && tail.sub === sub) this._take(tail, inbox, message); } });
    tail.sub = sub;
    // A replica that counts otherwise (nats-server before 2.9.21, after a cut) is seen by the ids of what was given last.
    this._ready = this._ready.filter((waiting) => waiting.tail !== tail);
    tail.next = this._next[tail.stream];
    tail.searching = tail === this._tails.at(-1) && this._repeats.recent.size > 0 && tail.next > 1 && tail.rounds < kRounds;
    tail.until = tail.searching ? tail.next : 0;
    tail.from = tail.searching ? Math.max(1, tail.next - kBack[tail.tries]) : tail.next;
    const config = { deliver_subject: inbox, deliver_policy: "by_start_sequence", opt_start_seq: tail.from, ack_policy: "none", max_deliver: 1,
                     idle_heartbeat: kHeartbeatNs, mem_storage: true, num_replicas: 1 };
    const answer = await ask(this._nc, `$JS.API.CONSUMER.CREATE.${tail.stream}`, { stream_name: tail.stream, config });
    tail.again = Date.now() + kAgainMs;
    if (tail.sub !== sub) return; // it was given up meanwhile
    if (!answer || answer.error) {
      this._drop(tail);
      const code = answer?.error?.err_code;
      tail.caughtUp ||= code === kNoSuchStream; // nothing waits there
      if (answer && code !== kNoSuchStream && answer.error.code !== 503) {
        this._failed = new Error(`read stream ${tail.stream}: ${answer.error.description} (${code})`);
        this._wake();
      }
      return;
    }
    tail.consumer = answer.name;
    tail.heard = Date.now();
    if ((answer.num_pending ?? 0) > 0) return;
    tail.caughtUp = true;
    if (tail.searching) this._notFound(tail);
  }

  /** What came last is not there: another consumer looks further back, or begins again a little later. */
  _notFound(tail) {
    const further = tail.from > 1 && tail.tries + 1 < kBack.length;
    tail.tries = further ? tail.tries + 1 : 0;
    if (further) tail.again = 0;
    else ++tail.rounds;
    this._drop(tail);
  }

  _take(tail, inbox, message) {
    tail.heard = Date.now();
    if (message.subject === inbox) { // a heartbeat: it says what the consumer has sent
      const last = message.headers?.get("Nats-Last-Consumer");
      if (last && Number(last) !== tail.delivered) this._drop(tail);
      return;
    }
    // $JS.ACK.<stream>.<consumer>.<times>.<sequence>.<nth>.<time>.<pending>; newer servers put domain and account before the stream.
    const tokens = (message.reply ?? "").split(".");
    const at = tokens.length === 9 ? 5 : 7;
    const sequence = Number(tokens[at]), nth = Number(tokens[at + 1]), pending = Number(tokens[at + 3]);
    if (nth !== ++tail.delivered || this._ready.length >= kWaiting) return this._drop(tail);
    const id = message.headers?.get("Nats-Msg-Id") ?? "";
    const storedNs = BigInt(tokens[at + 2]);
    if (tail.searching) {
      if (!this._repeats.came(id, storedNs)) return pending === 0 ? this._notFound(tail) : undefined; // it stands before what came last
      tail.searching = false;
      tail.tries = 0;
    }
    tail.rounds = 0;
    const overAgain = sequence < tail.until;
    if (!overAgain) tail.next = sequence + 1;
    if (pending === 0) tail.caughtUp = true;
    this._ready.push({ tail, overAgain, waiting: { subject: message.subject, data: message.data, id, stream: tail.stream, sequence,
                                        storedNs, firstStored: message.headers?.get(kFirstStored) || undefined } });
    this._wake();
  }
}

class DaarionClient {
  /** `nc`: a connection of nats.js to the node's own server, account APP. Waits for the first table. Rejects if none comes within `limitMs`. */
  static async start(nc, node, { limitMs = 10_000 } = {}) {
    const client = new DaarionClient(nc, node);
    for (const end = Date.now() + limitMs; !(await client._look()); await sleep(kAgainMs))
      if (Date.now() > end) throw new Error("wait for the cluster's route table: none came; see `daarionctl routes`");
    client._follow();
    return client;
  }

  constructor(nc, node) {
    this._nc = nc;
    this.node = node;
    this.table = null;
    this.onTable = () => {}; // called with each table that follows
    this._closed = false;
  }

  resolve(subject) {
    return this.table.resolve(subject, this.node);
  }

  /** A Reader of work, or of dead letters alone; null: the table has no such rule, or it keeps no messages. */
  read(rule, position, { deadLetters = false } = {}) {
    const streams = this.table.streams(rule, this.node);
    return streams.length === 0 ? null : new Reader(this._nc, streams, position, { deadLetters });
  }

  close() {
    this._closed = true;
    this._sub?.unsubscribe();
    clearInterval(this._timer);
  }

  _follow() {
    const look = () => { if (!this._closed) this._look(); };
    this._sub = this._nc.subscribe(kChanged, { callback: look });
    this._timer = setInterval(look, kLookEveryMs);
    look(); // what changed before the subscription
  }

  /** Whether there was a table. */
  async _look() {
    const answer = await ask(this._nc, `$JS.API.STREAM.MSG.GET.${kTableStream}`, { last_by_subj: kTableSubject });
    if (!answer?.message?.data) return false;
    const text = Buffer.from(answer.message.data, "base64").toString();
    if (text === this._text) return true;
    const table = new Table(JSON.parse(text));
    if (this.table && table._isBefore(this.table)) return true; // of two looks at once, the one that was answered late
    this._text = text;
    this.table = table;
    this.onTable(this.table);
    return true;
  }
}

module.exports = { DaarionClient, Reader, Repeats, Table };
