/** A row of the table "What is different on purpose" in docs/reference/kubelet-endpoint.md. */
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
    what: 'the wait is over',
    kubelet:
      'sets a deadline on its call; containerd leaves the container frozen for ever. Where containerd sees the deadline first, the text ends in `stream terminated by RST_STREAM with error code: CANCEL`',
    agent:
      'always the same answer, and the capture goes on, the container does not stay frozen, and the archive appears',
    why: 'the danger is the reason for this program',
    shownIn: ['test/cluster/agent-freeze.test.ts', 'test/e2e/freeze.test.ts'],
  },
  caller: {
    what: 'the caller goes away',
    kubelet: 'cancels the call',
    agent: 'the capture goes on',
    why: 'half a dump is worth nothing and costs the same pause',
    shownIn: ['test/agent/kubelet-endpoint.test.ts'],
  },
  'in-flight': {
    what: 'a checkpoint of that container is under way',
    kubelet: 'starts a second one on top; within the same second both write one file',
    agent: 'waits for its turn and gets an archive of its own; the wait counts against the `timeout`',
    why: 'overlapping dumps fail, or damage each other',
    shownIn: ['test/e2e/load.test.ts'],
  },
  concurrency: {
    what: 'several containers at once',
    kubelet: 'all of them',
    agent: '`capture.concurrency` (1) at a time, the others wait; a full queue is a 500',
    why: 'each needs disk and time of the same node',
    shownIn: ['test/e2e/load.test.ts'],
  },
  rate: {
    what: 'one user asks for many in a minute',
    kubelet: 'takes them all',
    agent: '`server.limits.capturesPerMinute`, then a 500 with `Retry-After`',
    why: "one user's flood must not fill the queue for all",
    shownIn: ['test/http/rates.test.ts'],
  },
  disk: {
    what: 'not enough room on the disk',
    kubelet: 'fills it',
    agent: '500, before the container is touched',
    why: 'a full disk evicts pods',
    shownIn: ['test/e2e/disk-full.test.ts'],
  },
  paused: {
    what: 'the container is paused already',
    kubelet: 'asks the runtime: containerd takes a checkpoint, CRI-O fails',
    agent: '500, before the container is touched',
    why: 'the pause may be of a dump that another one would destroy, and afterwards nobody could tell whose it was',
    shownIn: ['test/e2e/freeze.test.ts'],
  },
  'name-taken': {
    what: 'the name of the archive is taken',
    kubelet: "writes into the old file, the agent's too when both are asked for one container within a second",
    agent: 'takes the next free second',
    why: 'nothing is overwritten',
    shownIn: ['test/agent/captures.test.ts'],
  },
  'long-name': {
    what: 'the name of the archive would be too long',
    kubelet: 'fails after the dump',
    agent: "cuts the pod's name, with a digest at the end",
    why: 'the work is done by then',
  },
  unseen: {
    what: 'the pod or container exists in Kubernetes, and the runtime has not seen it yet',
    kubelet: '500',
    agent: '404',
    why: 'the agent asks the runtime, not the API server',
  },
  gone: {
    what: 'the pod was deleted less than a minute ago, and the runtime still has what is left of it',
    kubelet: '404',
    agent: '500, its container is not found',
    why: 'the agent asks the runtime, not the API server',
    shownIn: ['test/cluster/agent-and-kubelet.test.ts'],
  },
  names: {
    what: 'names with control characters, backslashes or bytes that are no UTF-8',
    kubelet: 'as they are',
    agent: 'escaped: `\\x1b`, `\\\\`, `\\xff`',
    why: 'an answer must not be able to move a cursor',
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
    kubelet: "500, `rpc error: code = Unavailable desc = ` and what Go's gRPC says",
    agent: "500, the same up to there, then what Node's gRPC says",
    why: 'neither text is made by us',
    shownIn: ['test/cluster/agent-restart.test.ts'],
  },
  archive: {
    what: 'the archive',
    kubelet: 'left as the runtime wrote it',
    agent: 'checked to its end, synced, 0600, under its final name only when whole',
    why: 'so that a file with that name can be trusted',
    shownIn: ['test/e2e/crash.test.ts'],
  },
  credentials: {
    what: 'who may',
    kubelet: '`create` of `nodes/checkpoint`',
    agent:
      "the same, and also `create` of `checkpoints` of the group `checkpoint-agent.dev` in the namespace ([access.md](../concepts/access.md)); without Kubernetes' word (mode `none`) everyone on the node's loopback address",
    why: 'the kubelet knows no rights in one namespace',
    shownIn: ['test/http/permissions.test.ts'],
  },
  'web-page': {
    what: 'a web page of another origin asks, with `server.auth.mode: none`',
    kubelet: 'answers, to those with a client certificate',
    agent: '403, `application/problem+json`; the same for a `Host` that is no loopback name',
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
    what: 'the method is CONNECT, or no method of HTTP',
    kubelet: '405, or a redirect',
    agent: '400, `application/problem+json`',
    why: "Node's HTTP parser has a list of methods",
  },
  bytes: {
    what: 'bytes above 127 in the path or query, not escaped',
    kubelet: 'as they are',
    agent: '400, `application/problem+json`',
    why: "no URL has them, and Node's HTTP parser refuses them",
  },
  length: {
    what: 'request line and headers together',
    kubelet: 'up to 1 MiB',
    agent: 'up to 64 KiB, then 431',
    why: 'no name needs more, and each connection may hold so much',
  },
  malformed: {
    what: 'the request is no HTTP/1.1, or not quite',
    kubelet: "as Go's HTTP reads it; 400 as text",
    agent: "as Node's HTTP parser reads it; 400 as `application/problem+json`",
    why: 'two parsers; no client sends such requests',
  },
}
