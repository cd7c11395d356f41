/**
 * Everything that harness and agent say to each other, in one place. The C side's tables are generated from this file by
 * `scripts/generate_wire.ts`.
 *
 * Ids of processes, streams, files, watches and calls are drawn by the harness from one counter per connection, so that an
 * event can never arrive before its subject is known. Paths, names and arguments are bytes.
 *
 * @module
 */
import {
  big,
  bin,
  binOrInt,
  bool,
  int,
  list,
  map,
  optional,
  type Shape,
  str,
  type ValueOf,
} from "./schema.ts";

/** Version of this protocol; both ends must have the same. */
export const PROTOCOL_VERSION = 1;

/** Fixed numbers of the protocol that both sides compile in. */
export const LIMITS = {
  /** Bytes of a frame's header. */
  HEADER_SIZE: 16,
  /** Longest payload of a frame. */
  MAX_PAYLOAD: 1024 * 1024 - 16,
  /** Payload of one data frame, at most: small enough that other frames get a turn. */
  MAX_DATA: 128 * 1024,
  /** Credit that each direction of a stream has when it is opened. */
  INITIAL_CREDIT: 256 * 1024,
  /** Deepest nesting of MessagePack values. */
  MAX_DEPTH: 8,
  /** Bytes of `data` in one `fileRead` or `fileWrite`. */
  MAX_FILE_IO: 512 * 1024,
  /** Bytes of all buffers of one system call. */
  MAX_SYSCALL_BYTES: 768 * 1024,
  /** Longest path, as PATH_MAX of linux/limits.h. */
  MAX_PATH: 4096,
  /** Bytes of the secret that both ends share. */
  SECRET_SIZE: 32,
  /** Bytes of nonces and epochs. */
  NONCE_SIZE: 16,
  /** Bytes of a proof (HMAC-SHA256). */
  PROOF_SIZE: 32,
} as const;

/** The 16 bytes that begin a conversation; on a byte pipe without connections everything before them is stale. */
export const SYNC_MAGIC: Uint8Array = new TextEncoder().encode("BELLJAR\x01sync\r\n\x1a\n");

/** What a frame is. */
export const FrameKind = {
  hello: 1,
  request: 2,
  reply: 3,
  error: 4,
  data: 5,
  credit: 6,
  event: 7,
  cancel: 8,
  close: 9,
} as const;

/** First words of the harness. `proof` is HMAC-SHA256(secret, "host" ‖ epoch ‖ nonce). */
export const HOST_HELLO = {
  proto: int,
  version: str,
  epoch: bin,
  nonce: bin,
  proof: bin,
} satisfies Shape;

/** Answer of the agent. `proof` is HMAC-SHA256(secret, "agent" ‖ epoch ‖ nonce). */
export const AGENT_HELLO = {
  proto: int,
  version: str,
  nonce: bin,
  proof: bin,
  pid: int,
  arch: str,
  kernel: str,
  role: str,
  caps: list(str),
} satisfies Shape;

/** Payload of an error frame. */
export const ERROR = {
  /** Kind of failure: `errno`, `format`, `unknownOp`, `noSuchId`, `cancelled`, `spawn`, `workerGone`, `limit`. */
  code: str,
  /** Number of errno.h, 0 when there is none. */
  errno: int,
  op: str,
  path: optional(bin),
  /** Step of a spawn that failed: `exec`, `cwd`, `user`, `fork`, `limits`, `cgroup`, `pty`. */
  stage: optional(str),
  detail: optional(str),
} satisfies Shape;

const STAT = {
  type: int,
  mode: int,
  size: big,
  uid: int,
  gid: int,
  nlink: int,
  ino: big,
  dev: big,
  rdev: big,
  blocks: big,
  blockSize: int,
  atimeNs: big,
  mtimeNs: big,
  ctimeNs: big,
} satisfies Shape;

const MEMBER = {
  pid: int,
  ppid: int,
  pgid: int,
  state: str,
  command: bin,
  startTicks: big,
} satisfies Shape;

const CALL = {
  nr: int,
  /** Up to six values; a slot named in `ptrs` is overwritten by a buffer's address. */
  args: list(big),
  bufs: optional(list(binOrInt)),
  /** Argument slot per buffer; -1 for a buffer that is only nested. */
  ptrs: optional(list(int)),
  /** Triples parent, child, offset: the child's address is written into the parent. */
  nested: optional(list(list(int))),
  /** Files whose descriptor fills an argument: pairs slot, file id. */
  files: optional(list(list(int))),
} satisfies Shape;

const CALL_RESULT = { ret: big, errno: int, outs: list(bin) } satisfies Shape;

const NONE = {} satisfies Shape;

/** Every operation: what is asked and what is answered. */
export const OPS = {
  ping: { request: NONE, reply: NONE },
  /** Figures of the agent itself, for tests and diagnosis. */
  counters: {
    request: NONE,
    reply: {
      fds: int,
      threads: int,
      procs: int,
      streams: int,
      files: int,
      workers: int,
      rssKb: int,
      signalsSent: int,
      requests: int,
      zombies: int,
      controlOps: int,
    },
  },

  // Processes. Whatever principal forks, pipes, exit and signals belong to the main agent.
  spawn: {
    request: {
      proc: int,
      argv: list(bin),
      /** `KEY=value` each. */
      env: optional(list(bin)),
      clearEnv: optional(bool),
      cwd: optional(bin),
      /** Name or number. */
      user: optional(str),
      /** Stream ids; a missing one is /dev/null. The same id for both outputs merges them. */
      stdin: optional(int),
      stdout: optional(int),
      stderr: optional(int),
      /** Columns and rows of a terminal that takes the place of all three (data on `stdin` and `stdout`). */
      pty: optional(list(int)),
      /** Pairs resource (RLIMIT_ number), limit; soft and hard. */
      limits: optional(list(list(big))),
    },
    reply: { pid: int },
  },
  /** `target`: 0 the leader, 1 its process group, 2 every member of its cgroup or all descendants. */
  procSignal: { request: { proc: int, sig: int, target: int }, reply: { count: int } },
  procStatus: {
    request: { proc: int },
    reply: { running: bool, stopped: bool, code: optional(int), sig: optional(int), alive: int },
  },
  procMembers: { request: { proc: int }, reply: { members: list(map(MEMBER)) } },
  procResize: { request: { proc: int, cols: int, rows: int }, reply: NONE },
  /** Forgets a process that has ended and whose members are gone or shall be left alone. */
  procRelease: { request: { proc: int }, reply: NONE },
  /**
   * Goes on with a process that an earlier conversation has started, in a machine that was saved. Of its streams those are
   * answered that have not ended; they begin with fresh credit.
   */
  procAttach: { request: { proc: int, streams: list(int) }, reply: { streams: list(int) } },
  processes: {
    request: { stream: int },
    /** The stream carries one MessagePack map per process: see {@linkcode PROCESS_ENTRY}. */
    reply: { count: int },
  },

  // Files.
  readFile: {
    request: { path: bin, stream: int, offset: optional(int), length: optional(int) },
    reply: { size: int },
  },
  writeFile: {
    request: {
      path: bin,
      stream: int,
      mode: optional(int),
      append: optional(bool),
      createNew: optional(bool),
      /** Create the folders above it. */
      parents: optional(bool),
    },
    reply: { size: int },
  },
  stat: { request: { path: bin, follow: bool }, reply: STAT },
  /** The stream carries one MessagePack map per entry: see {@linkcode DIR_ENTRY}. */
  readDir: { request: { path: bin, stream: int }, reply: { count: int } },
  /** The stream carries each matching path as a MessagePack bin. */
  glob: { request: { pattern: bin, stream: int }, reply: { count: int } },
  mkdir: { request: { path: bin, mode: int, recursive: bool }, reply: NONE },
  remove: { request: { path: bin, recursive: bool }, reply: NONE },
  rename: { request: { path: bin, to: bin }, reply: NONE },
  symlink: { request: { path: bin, to: bin }, reply: NONE },
  readLink: { request: { path: bin }, reply: { to: bin } },
  realPath: { request: { path: bin }, reply: { to: bin } },
  link: { request: { path: bin, to: bin }, reply: NONE },
  chmod: { request: { path: bin, mode: int }, reply: NONE },
  chown: { request: { path: bin, uid: int, gid: int, follow: bool }, reply: NONE },
  truncate: { request: { path: bin, size: int }, reply: NONE },
  /** Nanoseconds since the epoch. */
  utime: { request: { path: bin, atimeNs: big, mtimeNs: big, follow: bool }, reply: NONE },
  mknod: { request: { path: bin, mode: int, dev: big }, reply: NONE },
  statfs: {
    request: { path: bin },
    reply: {
      type: big,
      blockSize: big,
      blocks: big,
      free: big,
      available: big,
      files: big,
      filesFree: big,
      nameMax: big,
    },
  },
  getXattr: { request: { path: bin, name: bin, follow: bool }, reply: { data: bin } },
  setXattr: { request: { path: bin, name: bin, data: bin, follow: bool }, reply: NONE },
  listXattr: { request: { path: bin, follow: bool }, reply: { names: list(bin) } },
  removeXattr: { request: { path: bin, name: bin, follow: bool }, reply: NONE },

  // Open files. `flags` are those of open(2) on the guest's architecture.
  fileOpen: { request: { file: int, path: bin, flags: int, mode: int }, reply: { fd: int } },
  /** A missing `offset` reads at the file's own position. */
  fileRead: { request: { file: int, length: int, offset: optional(int) }, reply: { data: bin } },
  fileWrite: { request: { file: int, data: bin, offset: optional(int) }, reply: { size: int } },
  /** `whence` as lseek(2): 0 start, 1 current, 2 end. */
  fileSeek: { request: { file: int, offset: int, whence: int }, reply: { offset: int } },
  fileSync: { request: { file: int }, reply: NONE },
  fileStat: { request: { file: int }, reply: STAT },
  fileTruncate: { request: { file: int, size: int }, reply: NONE },
  fileClose: { request: { file: int }, reply: NONE },

  /** Events `watch` follow, under the id of the watch. `mask` as in inotify(7). */
  watch: { request: { watch: int, path: bin, mask: int }, reply: NONE },
  unwatch: { request: { watch: int }, reply: NONE },

  // System calls, on the principal's own thread, in order.
  syscall: { request: CALL, reply: CALL_RESULT },
  /** Answers when the call has begun on a thread of its own; the event `syscall` follows under the id `call`. */
  syscallAsync: { request: { call: int, ...CALL }, reply: { tid: int } },
  /** `state`: 0 running, 1 blocked, 2 done; `nr` is the system call that it sits in, -1 when unknown. */
  syscallState: { request: { call: int }, reply: { state: int, nr: int, wchan: bin } },
  syscallCancel: { request: { call: int }, reply: NONE },
  readMem: { request: { addr: big, length: int }, reply: { data: bin } },

  // Workers: `worker` is the principal number that later frames carry in their header.
  workerSpawn: {
    request: {
      worker: int,
      uid: optional(int),
      gid: optional(int),
      groups: optional(list(int)),
      /** Numbers of linux/capability.h that stay; missing: all that the uid leaves. */
      caps: optional(list(int)),
      cwd: optional(bin),
      umask: optional(int),
      /** CLONE_NEW* flags or'ed together. */
      unshare: optional(int),
      env: optional(list(bin)),
    },
    reply: { pid: int },
  },
  /** Ends the worker's own process; its children are untouched. */
  workerClose: { request: { worker: int }, reply: NONE },
  workerSignal: { request: { worker: int, sig: int }, reply: NONE },

  /**
   * Connects to a server behind the guest's loopback interface. What comes on `stdin` goes to it, its bytes come on
   * `stdout`; both exist from the answer on, and each ends by itself.
   */
  connect: { request: { port: int, stdin: int, stdout: int }, reply: NONE },

  // The machine.
  clockGet: { request: NONE, reply: { realtimeNs: big, monotonicNs: big, boottimeNs: big } },
  clockSet: { request: { realtimeNs: big }, reply: NONE },
  /** New identity of a clone; answered before anything else is. `macs` are pairs of old and new address, 6 bytes each. */
  clone: {
    request: {
      epoch: bin,
      secret: bin,
      seed: bin,
      realtimeNs: big,
      hostname: optional(str),
      machineId: optional(str),
      macs: optional(list(list(bin))),
    },
    reply: NONE,
  },
  /** Ends the conversation on this connection and leaves the agent waiting for {@linkcode SYNC_MAGIC}: before a snapshot. */
  quiesce: { request: NONE, reply: NONE },
  setHostname: { request: { hostname: str }, reply: NONE },
  /** Adds entropy to the kernel's random number generator and reseeds it. */
  reseed: { request: { seed: bin }, reply: NONE },
  /** Kernel messages of at most this level are pushed as events `kmsg`; -1 ends it. */
  kmsg: { request: { level: int }, reply: NONE },
  /** `how`: poweroff, reboot or halt. Answered before it happens. */
  shutdown: { request: { how: str }, reply: NONE },
} as const satisfies Record<string, { request: Shape; reply: Shape }>;

/** Name of an operation. */
export type OpName = keyof typeof OPS;
/** What an operation is asked with. */
export type OpRequest<K extends OpName> = ValueOf<(typeof OPS)[K]["request"]>;
/** What an operation answers. */
export type OpReply<K extends OpName> = ValueOf<(typeof OPS)[K]["reply"]>;

/** Every event, by the name in its key `ev`. The header's id says what it is about. */
export const EVENTS = {
  /** A process ended; `alive` members of its cgroup or group are left. */
  exit: { code: optional(int), sig: optional(int), alive: int },
  /** No member of an ended process' cgroup or group is left. */
  empty: NONE,
  stopped: { sig: int },
  continued: NONE,
  watch: { mask: int, name: bin, cookie: int },
  syscall: CALL_RESULT,
  workerExit: { code: optional(int), sig: optional(int) },
  /** The agent listens on vsock. */
  serving: { cid: int, port: int },
  /** A message of the kernel. */
  kmsg: { level: int, text: bin },
  /** The power button was pressed. */
  powerButton: NONE,
  /** The agent proper was lost and started again by PID 1. */
  restarted: { code: optional(int), sig: optional(int) },
} as const satisfies Record<string, Shape>;

/** Name of an event. */
export type EventName = keyof typeof EVENTS;
/** What an event carries. */
export type EventPayload<K extends EventName> = ValueOf<(typeof EVENTS)[K]>;
/** An event with its name in `ev`. */
export type AgentEvent = { [K in EventName]: { ev: K } & EventPayload<K> }[EventName];

/** An entry of the stream that `readDir` fills. `type` as in `d_type` of readdir(3). */
export const DIR_ENTRY = { name: bin, type: int, ino: big } satisfies Shape;

/** An entry of the stream that `processes` fills. */
export const PROCESS_ENTRY = {
  pid: int,
  ppid: int,
  pgid: int,
  sid: int,
  state: str,
  command: bin,
  threads: int,
  uid: int,
  wchan: bin,
  /** Number of the system call it is blocked in, -1 when running or unknown. */
  syscall: int,
  fds: int,
  startTicks: big,
} satisfies Shape;

/** Payload of a close frame: why the stream ended; errno 0 is its regular end. */
export const CLOSE = { errno: optional(int) } satisfies Shape;
