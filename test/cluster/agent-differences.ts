/** A row of the table "Intended differences" in docs/reference/kubelet-endpoint.md. */
export interface Difference {
  readonly what: string
  readonly kubelet: string
  readonly agent: string
  readonly why: string
  /** The tests that show it where the requests of `agent-requests.ts` do not. */
  readonly shownIn?: readonly string[]
}

export type DifferenceKey =
  | 'deadline'
  | 'caller'
  | 'in-flight'
  | 'concurrency'
  | 'rate'
  | 'disk'
  | 'paused'
  | 'name-taken'
  | 'long-name'
  | 'unseen'
  | 'gone'
  | 'names'
  | 'text'
  | 'runtime-gone'
  | 'archive'
  | 'credentials'
  | 'web-page'
  | 'request-id'
  | 'elsewhere'
  | 'methods'
  | 'bytes'
  | 'length'
  | 'malformed'

/** Every difference between the kubelet's answers and the agent's that is meant to be; any other fails a test. */
export const DIFFERENCES: Readonly<Record<DifferenceKey, Difference>> = {
  deadline: {
    what: 'the wait ends before the dump',
    kubelet:
      'sets a deadline on its call; containerd then leaves the container frozen indefinitely. If containerd sees the deadline first, the text ends in `stream terminated by RST_STREAM with error code: CANCEL`',
    agent: 'always the same answer; the capture continues, the container does not stay frozen, and the archive appears',
    why: 'this danger is why the agent exists',
    shownIn: ['test/cluster/agent-freeze.test.ts', 'test/e2e/freeze.test.ts'],
  },
  caller: {
    what: 'the caller disconnects',
    kubelet: 'cancels the call',
    agent: 'the capture continues',
    why: 'half a dump is worthless and freezes the container for as long',
    shownIn: ['test/agent/kubelet/kubelet-endpoint.test.ts'],
  },
  'in-flight': {
    what: 'a checkpoint of this container is in progress',
    kubelet: 'starts a second one on top; within the same second, both write to one file',
    agent: 'waits for its turn and returns an archive of its own; the wait counts toward the `timeout`',
    why: 'overlapping dumps fail, or damage each other',
    shownIn: ['test/e2e/load.test.ts'],
  },
  concurrency: {
    what: 'several containers at once',
    kubelet: 'all of them',
    agent: '`capture.concurrency` (1) at a time, and the others wait; a full queue is a 500',
    why: 'each dump uses disk and time of the same node',
    shownIn: ['test/e2e/load.test.ts'],
  },
  rate: {
    what: 'one user sends many requests in a minute',
    kubelet: 'accepts all',
    agent: '`server.limits.capturesPerMinute`, then a 500 with `Retry-After`',
    why: "one user's flood must not fill the queue for everybody",
    shownIn: ['test/http/rates.test.ts'],
  },
  disk: {
    what: 'not enough space on the disk',
    kubelet: 'fills it',
    agent: '500, before the container is touched',
    why: 'a full disk evicts pods',
    shownIn: ['test/e2e/disk-full.test.ts'],
  },
  paused: {
    what: 'the container is already paused',
    kubelet: 'asks the runtime: containerd takes a checkpoint, CRI-O fails',
    agent: '500, before the container is touched',
    why: 'another dump may have paused it; a second one would destroy that dump and hide who paused the container',
    shownIn: ['test/e2e/freeze.test.ts'],
  },
  'name-taken': {
    what: 'an archive with this name exists',
    kubelet: 'writes into the old file, even into one of the agent when both capture one container within a second',
    agent: 'uses the next free second',
    why: 'nothing is overwritten',
    shownIn: ['test/agent/capture/captures.test.ts'],
  },
  'long-name': {
    what: 'the archive name would be too long',
    kubelet: 'fails after the dump',
    agent: 'shortens the pod name and appends a digest',
    why: 'the dump has already been made',
  },
  unseen: {
    what: 'the pod or container exists in Kubernetes, but the runtime has not seen it yet',
    kubelet: '500',
    agent: '404',
    why: 'the agent asks the runtime, not the API server',
  },
  gone: {
    what: 'the pod was deleted less than a minute ago, and the runtime still has remains of it',
    kubelet: '404',
    agent: '500, container not found',
    why: 'the agent asks the runtime, not the API server',
    shownIn: ['test/cluster/agent-and-kubelet.test.ts'],
  },
  names: {
    what: 'names with control characters, backslashes or bytes that are not UTF-8',
    kubelet: 'unchanged',
    agent: 'escaped: `\\x1b`, `\\\\`, `\\xff`',
    why: 'an answer must not move a cursor',
  },
  text: {
    what: "the runtime's text",
    kubelet: 'whole',
    agent: 'cut in the middle beyond 8 KiB',
    why: 'CRI-O quotes its whole log',
    shownIn: ['test/runtime/failure-causes.test.ts'],
  },
  'runtime-gone': {
    what: 'the runtime does not answer',
    kubelet: "500, `rpc error: code = Unavailable desc = ` and the text of Go's gRPC library",
    agent: "500, the same prefix, then the text of Node's gRPC library",
    why: 'the libraries write these texts',
    shownIn: ['test/cluster/agent-restart.test.ts'],
  },
  archive: {
    what: 'the archive',
    kubelet: 'as the runtime wrote it',
    agent: 'verified to its end, synced, 0600, and under its final name only when complete',
    why: 'a file with that name can be trusted',
    shownIn: ['test/e2e/crash.test.ts'],
  },
  credentials: {
    what: 'permission',
    kubelet: '`create` on `nodes/checkpoint`',
    agent:
      'the same, or `create` on `checkpoints` of the group `checkpoint-agent.dev` in the namespace ([access](../concepts/access.md)); with mode `none`, everyone on the loopback address of the node',
    why: 'the kubelet has no permissions by namespace',
    shownIn: ['test/http/permissions.test.ts'],
  },
  'web-page': {
    what: 'a web page of another origin sends the request, with `server.auth.mode: none`',
    kubelet: 'answers those with a client certificate',
    agent: '403, `application/problem+json`; the same for a `Host` that is not a loopback name',
    why: 'a page in a browser on the node must not take checkpoints',
    shownIn: ['test/http/loopback-guard.test.ts'],
  },
  'request-id': {
    what: '`X-Request-Id`',
    kubelet: '–',
    agent: 'on each answer, and in the log',
    why: 'to find a request again',
    shownIn: ['test/cluster/agent-and-kubelet.test.ts'],
  },
  elsewhere: {
    what: 'a path beside the endpoint',
    kubelet: 'its other routes, or `404 page not found\\n`',
    agent: 'its own API; errors are `application/problem+json`',
    why: 'it is another program',
  },
  methods: {
    what: 'the method is CONNECT, or not an HTTP method',
    kubelet: '405, or a redirect',
    agent: '400, `application/problem+json`',
    why: "Node's HTTP parser has a list of methods",
  },
  bytes: {
    what: 'unescaped bytes above 127 in the path or query',
    kubelet: 'unchanged',
    agent: '400, `application/problem+json`',
    why: "no URL contains them, and Node's HTTP parser refuses them",
  },
  length: {
    what: 'request line and headers together',
    kubelet: 'up to 1 MiB',
    agent: 'up to 64 KiB, then 431',
    why: 'no name needs more, and each connection may use that much memory',
  },
  malformed: {
    what: 'the request is not valid HTTP/1.1',
    kubelet: "as Go's HTTP library reads it; 400 as text",
    agent: "as Node's HTTP parser reads it; 400 as `application/problem+json`",
    why: 'two parsers; no client sends such requests',
  },
}
