import { z } from 'zod'
import * as api from './api-types.ts'
import * as captures from './capture-api-types.ts'
import * as checkpoints from './checkpoint-api-types.ts'
import * as contents from './content-api-types.ts'
import * as custody from './custody-api-types.ts'
import * as nodes from './node-api-types.ts'
import type { Permission } from './permission.ts'
import type { Rated } from './rates.ts'
import * as retention from './retention-api-types.ts'

/** One route as the OpenAPI document describes it. */
export interface Operation {
  readonly method: 'get' | 'post' | 'put' | 'delete'
  /** As in OpenAPI: `/v1/captures/{id}`. */
  readonly path: string
  readonly id: string
  readonly summary: string
  /** What its caller needs; `authorize.ts` asks for it before the route is called. */
  readonly permission: Permission
  /** What of its user it is counted as, once it is allowed. */
  readonly counts?: readonly Rated[]
  /** The same where the digest of the checkpoint is not known. */
  readonly countsWithoutDigest?: readonly Rated[]
  readonly description?: string
  readonly query?: z.ZodObject
  readonly headers?: readonly { readonly name: string; readonly description: string }[]
  readonly body?: z.ZodType
  /** Nothing at all is as good as `{}`. */
  readonly isBodyOptional?: true
  readonly answers: Readonly<Record<number, Answer>>
}

export interface Answer {
  readonly description: string
  /** Without one there is only text. */
  readonly schema?: z.ZodType
  readonly mediaType?: string
  /** Those that it may have instead. */
  readonly otherMediaTypes?: readonly string[]
  readonly headers?: readonly string[]
}

/** Why a request can fail: the statuses of `error-handler.ts`, in the words of this API. */
const PROBLEMS: Readonly<Record<number, string>> = {
  400: 'The request is wrong; the detail names everything that is',
  401: 'Nobody knows who the caller is',
  403: 'The caller may not do this; `missingPermission` says what it would need',
  404: 'There is no such thing',
  409: 'Not in this state: the container does not run, a capture of it is in flight, the job is over already, the archive or the plan is another one by now, a sweep is under way',
  412: 'The checkpoint is not the one that `If-Match` names any more',
  413: 'The body is too large',
  415: 'The body is not JSON',
  416: 'There are no such bytes; `Content-Range` says how many there are',
  422: 'To look into this archive costs more than one archive may',
  429: 'Too many at once, or within a minute; `Retry-After` says when to ask again',
  500: 'The runtime failed, or the agent did',
  501: 'The runtime of this node cannot take checkpoints',
  503: 'Not now: nobody can be asked what the caller may do, the queue is full, the runtime does not answer, the agent is ending',
  507: 'There is no room for the archive',
}

const READ_PROBLEMS = [400, 401, 403, 500, 503] as const

const IF_MATCH = { name: 'If-Match', description: 'The `ETag` of the checkpoint that is meant' }

const CONTENT_HEADERS = [
  { name: 'Range', description: 'One range of bytes; it goes before Accept-Encoding' },
  { name: 'If-Range', description: 'An `ETag`: without it being that one, the whole is sent' },
  { name: 'If-Match', description: 'An `ETag`: without it being that one, nothing is sent' },
  { name: 'If-None-Match', description: 'The `ETag` of what is there already' },
  { name: 'Accept-Encoding', description: '`zstd` or `gzip` compresses on the way' },
]

const CONTENT_ANSWER = {
  mediaType: 'application/octet-stream',
  headers: ['ETag', 'Content-Disposition', 'X-Archive-Sha256', 'X-Archive-State'],
}

/** What is encrypted, and what is packed as nobody knows, is only bytes. */
const ARCHIVE_ANSWER = {
  ...CONTENT_ANSWER,
  otherMediaTypes: ['application/x-tar', 'application/gzip', 'application/zstd'],
}

const CONTENT_PROBLEMS = [...READ_PROBLEMS, 404, 409, 412, 416, 429, 503]

export const operations: readonly Operation[] = [
  {
    method: 'post',
    path: '/checkpoint/{namespace}/{pod}/{container}',
    id: 'kubeletCheckpoint',
    summary: "The kubelet's endpoint",
    permission: { kind: 'kubelet' },
    description:
      'Takes a checkpoint and waits for it. Answers as the kubelet does, in status, text and media type. `timeout` is in ' +
      'seconds; the last one counts, and one below the configured minimum is raised to it. It ends the wait, not the capture.',
    query: z.object({ timeout: z.string().optional() }),
    answers: {
      200: { description: 'The archive is in place', schema: captures.kubeletResult },
      307: { description: 'The path is not canonical', headers: ['Location'] },
      400: { description: 'The path cannot be decoded', mediaType: 'text/plain' },
      401: { description: 'Nobody knows who the caller is', mediaType: 'text/plain' },
      403: { description: 'The caller may not do this', mediaType: 'text/plain' },
      404: { description: 'No such pod or container, or a timeout that is no number', mediaType: 'text/plain' },
      406: { description: 'The caller accepts no JSON', mediaType: 'text/plain' },
      500: {
        description: 'The checkpoint failed, the wait is over, or nobody can be asked what the caller may do',
        mediaType: 'text/plain',
      },
    },
  },
  {
    method: 'get',
    path: '/v1/node',
    id: 'getNode',
    summary: 'What this node is and can',
    permission: { kind: 'authenticated' },
    answers: { 200: { description: 'The node', schema: nodes.nodeResponse }, ...problems(...READ_PROBLEMS) },
  },
  {
    method: 'get',
    path: '/v1/containers',
    id: 'listContainers',
    summary: 'The running containers of this node',
    permission: { kind: 'rows', verb: 'list' },
    query: checkpoints.namespaceQuery,
    answers: {
      200: { description: 'The containers', schema: nodes.runningContainerList },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
  {
    method: 'post',
    path: '/v1/captures',
    id: 'createCapture',
    summary: 'Takes a checkpoint of a container, or of every running container of a pod',
    permission: { kind: 'target', verb: 'create' },
    description:
      'Answers at once with the job. With `wait=true`, or `Prefer: wait=N` for at most N seconds, it answers when the job has ' +
      'ended. `timeoutSeconds` and `Prefer` end the wait only, the shorter one counts, and the capture goes on. `pin` needs ' +
      'the permission to pin as well.',
    query: captures.captureQuery,
    headers: [{ name: 'Prefer', description: '`wait=N`: wait for at most N seconds' }],
    body: captures.captureRequest,
    answers: {
      201: {
        description: 'The caller waited, and the checkpoints are there',
        schema: captures.captureResult,
        headers: ['Preference-Applied'],
      },
      202: {
        description: 'The job is queued or running',
        schema: captures.captureJobResponse,
        headers: ['Location', 'Preference-Applied'],
      },
      ...problems(400, 401, 403, 404, 409, 413, 415, 429, 500, 501, 503, 507),
    },
  },
  {
    method: 'get',
    path: '/v1/captures',
    id: 'listCaptures',
    summary: 'Capture jobs, newest first',
    permission: { kind: 'rows', verb: 'get' },
    query: captures.captureListQuery,
    answers: { 200: { description: 'A page of jobs', schema: captures.captureJobList }, ...problems(...READ_PROBLEMS) },
  },
  {
    method: 'get',
    path: '/v1/captures/{id}',
    id: 'getCapture',
    summary: 'One capture job',
    permission: { kind: 'job', verb: 'get' },
    answers: {
      200: { description: 'The job', schema: captures.captureJobResponse },
      ...problems(...READ_PROBLEMS, 404),
    },
  },
  {
    method: 'delete',
    path: '/v1/captures/{id}',
    id: 'cancelCapture',
    summary: 'Takes a job out of the queue, or cancels it while it runs',
    permission: { kind: 'job', verb: 'delete' },
    description: 'Answers when the job has ended: it is `succeeded` where the runtime finished all the same.',
    answers: {
      200: { description: 'The job as it ended', schema: captures.captureJobResponse },
      ...problems(...READ_PROBLEMS, 404, 409),
    },
  },
  {
    method: 'get',
    path: '/v1/checkpoints',
    id: 'listCheckpoints',
    summary: 'The checkpoint archives of this node',
    permission: { kind: 'rows', verb: 'list' },
    description: 'All filters that are given must hold. `continue` belongs to the sort and the filters of its page.',
    query: checkpoints.checkpointListQuery,
    answers: {
      200: { description: 'A page of checkpoints', schema: checkpoints.checkpointList },
      ...problems(...READ_PROBLEMS),
    },
  },
  {
    method: 'get',
    path: '/v1/checkpoints/{id}',
    id: 'getCheckpoint',
    summary: 'One checkpoint',
    permission: { kind: 'checkpoint', verb: 'get' },
    headers: [{ name: 'If-None-Match', description: 'The `ETag` of an earlier answer' }],
    answers: {
      200: { description: 'The checkpoint', schema: checkpoints.checkpointResponse, headers: ['ETag'] },
      304: { description: 'It is as it was', headers: ['ETag'] },
      ...problems(...READ_PROBLEMS, 404),
    },
  },
  {
    method: 'delete',
    path: '/v1/checkpoints/{id}',
    id: 'deleteCheckpoint',
    summary: 'Remove an archive',
    permission: { kind: 'checkpoint', verb: 'delete' },
    counts: ['change'],
    description: 'Refused while it is pinned, read or written.',
    query: checkpoints.reasonQuery,
    headers: [IF_MATCH],
    body: checkpoints.actionRequest,
    isBodyOptional: true,
    answers: { 204: { description: 'It is gone' }, ...problems(...READ_PROBLEMS, 404, 409, 412, 413, 415, 429, 503) },
  },
  {
    method: 'put',
    path: '/v1/checkpoints/{id}/pin',
    id: 'pinCheckpoint',
    summary: 'Keep an archive until it is unpinned',
    permission: { kind: 'checkpoint', verb: 'update' },
    counts: ['change'],
    description:
      'Writes the marker `<archive>.keep`. What somebody else has pinned stays as it is, and so does a reason when no other is given.',
    query: checkpoints.reasonQuery,
    headers: [IF_MATCH],
    body: checkpoints.pinRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'The checkpoint, pinned', schema: checkpoints.checkpointResponse, headers: ['ETag'] },
      ...problems(...READ_PROBLEMS, 404, 409, 412, 413, 415, 429, 503),
    },
  },
  {
    method: 'delete',
    path: '/v1/checkpoints/{id}/pin',
    id: 'unpinCheckpoint',
    summary: 'Unpin an archive',
    permission: { kind: 'checkpoint', verb: 'update' },
    counts: ['change'],
    description: 'Removes a marker of this agent or of a person, never one that an operator manages.',
    query: checkpoints.reasonQuery,
    headers: [IF_MATCH],
    body: checkpoints.actionRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'The checkpoint, without a pin', schema: checkpoints.checkpointResponse, headers: ['ETag'] },
      ...problems(...READ_PROBLEMS, 404, 409, 412, 413, 415, 429, 503),
    },
  },
  {
    method: 'post',
    path: '/v1/checkpoints/{id}/verify',
    id: 'verifyCheckpoint',
    summary: 'Read an archive to its end and compare it with what is recorded',
    permission: { kind: 'checkpoint', verb: 'get' },
    counts: ['verify'],
    query: checkpoints.reasonQuery,
    body: checkpoints.actionRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'What was found; `intact` says it in one word', schema: checkpoints.verificationResponse },
      ...problems(...READ_PROBLEMS, 404, 409, 413, 415, 422, 429, 503),
    },
  },
  {
    method: 'get',
    path: '/v1/checkpoints/{id}/members',
    id: 'listCheckpointMembers',
    summary: 'What is in an archive, in its order',
    permission: { kind: 'checkpoint', verb: 'get' },
    counts: ['inspection'],
    description: 'Read from the archive each time. `continue` belongs to the file as it was.',
    query: contents.memberListQuery,
    answers: {
      200: { description: 'A page of members', schema: contents.memberList },
      ...problems(...READ_PROBLEMS, 404, 409, 422, 429, 503),
    },
  },
  {
    method: 'get',
    path: '/v1/checkpoints/{id}/archive',
    id: 'getCheckpointArchive',
    summary: 'Download an archive',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['content'],
    description:
      'HEAD gives the same headers. Compressed or encrypted, the answer has no length, no ranges and an `ETag` of its own. ' +
      'It ends early, as an error, when the file is replaced or removed meanwhile.',
    query: contents.contentQuery,
    headers: CONTENT_HEADERS,
    answers: {
      200: { ...ARCHIVE_ANSWER, description: 'The archive', headers: [...CONTENT_ANSWER.headers, 'Repr-Digest'] },
      206: {
        ...ARCHIVE_ANSWER,
        description: 'Part of it',
        headers: [...CONTENT_ANSWER.headers, 'Repr-Digest', 'Content-Range'],
      },
      304: { description: 'It is as it was', headers: ['ETag'] },
      ...problems(...CONTENT_PROBLEMS),
    },
  },
  {
    method: 'get',
    path: '/v1/checkpoints/{id}/members/{name}',
    id: 'getCheckpointMember',
    summary: 'The bytes of one member of an archive',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['content', 'inspection'],
    description:
      'Straight from the archive, packed or not. `name` is one of the list; its slashes may stand as they are.',
    query: contents.contentQuery,
    headers: CONTENT_HEADERS,
    answers: {
      200: { ...CONTENT_ANSWER, description: 'The content of the member' },
      206: { ...CONTENT_ANSWER, description: 'Part of it', headers: [...CONTENT_ANSWER.headers, 'Content-Range'] },
      304: { description: 'It is as it was', headers: ['ETag'] },
      ...problems(...CONTENT_PROBLEMS, 422),
    },
  },
  {
    method: 'get',
    path: '/v1/checkpoints/{id}/rootfs-diff',
    id: 'listRootfsDiff',
    summary: 'What the container had written over its image',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['inspection'],
    description: 'Read from the archive each time, nothing is unpacked. `continue` belongs to the file as it was.',
    query: contents.rootfsDiffQuery,
    answers: {
      200: { description: 'A page of changes', schema: contents.rootfsDiffResponse },
      ...problems(...READ_PROBLEMS, 404, 409, 422, 429, 503),
    },
  },
  {
    method: 'get',
    path: '/v1/watch',
    id: 'watch',
    summary: 'What happens to checkpoints and captures, as it happens',
    permission: { kind: 'rows', verb: 'list' },
    description:
      'Server-sent events that go on until one side ends them: `added` and `changed` with the checkpoint, `removed` with ' +
      '`{"id", "state": "gone"}`, `capture` with a capture job each time its state changes and twice a second while it is being written, and `resync` with `{}` where events were lost and the list has to be read anew.',
    query: checkpoints.namespaceQuery,
    headers: [
      { name: 'Last-Event-ID', description: 'The `id` of the last event that was seen: those after it come first' },
    ],
    answers: {
      200: { description: 'The events', mediaType: 'text/event-stream' },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
  {
    method: 'get',
    path: '/v1/checkpoints/{id}/manifest',
    id: 'getManifest',
    summary: 'A signed statement about an archive',
    permission: { kind: 'checkpoint', verb: 'get' },
    countsWithoutDigest: ['inspection'],
    description:
      'An in-toto statement in a DSSE envelope. docs/concepts/custody.md says what is in it and how to verify it offline.',
    answers: {
      200: { description: 'The envelope', schema: custody.dsseEnvelope },
      ...problems(...READ_PROBLEMS, 404, 409, 429),
    },
  },
  {
    method: 'get',
    path: '/v1/custody',
    id: 'listCustody',
    summary: 'Who did what to which archive',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    query: custody.custodyQuery,
    answers: { 200: { description: 'A page of entries', schema: custody.custodyPage }, ...problems(...READ_PROBLEMS) },
  },
  {
    method: 'get',
    path: '/v1/custody/verify',
    id: 'verifyCustody',
    summary: 'Whether the custody log is as it was written',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    description:
      'Reads all of it. `verdict` is `authentic` where every entry up to the end is covered by a head that the key of this agent signed.',
    query: custody.custodyVerifyQuery,
    answers: { 200: { description: 'What was found', schema: custody.custodyReport }, ...problems(...READ_PROBLEMS) },
  },
  {
    method: 'get',
    path: '/v1/custody/head',
    id: 'getCustodyHead',
    summary: 'How far the custody log has come, signed',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    description:
      'A DSSE envelope, as in `head.json`. Its payload has `node`, `seq`, `hash` and `time`. Keep it elsewhere: `checkpoint-agent verify-custody --head` finds by it that the end of a log is missing.',
    answers: {
      200: { description: 'The envelope', schema: custody.dsseEnvelope },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
  {
    method: 'get',
    path: '/v1/custody/export',
    id: 'exportCustody',
    summary: 'The custody log as it stands, one entry a line',
    permission: { kind: 'node', verb: 'get', subresource: 'custody', isLong: true },
    query: custody.custodyExportQuery,
    answers: {
      200: { description: 'The lines, with their hashes', mediaType: 'application/jsonl' },
      ...problems(...READ_PROBLEMS),
    },
  },
  {
    method: 'get',
    path: '/v1/access',
    id: 'getAccess',
    summary: 'What the caller may do',
    description: 'In the namespace, or in all of them where none is named, and on this node as a whole.',
    permission: { kind: 'authenticated' },
    counts: ['access'],
    query: nodes.accessQuery,
    answers: {
      200: { description: 'Each permission', schema: nodes.accessResponse },
      ...problems(400, 401, 429, 500, 503),
    },
  },
  {
    method: 'get',
    path: '/v1/retention',
    id: 'getRetention',
    summary: 'The retention policy in force, and the last sweep',
    permission: { kind: 'node', verb: 'get', subresource: 'retention' },
    answers: { 200: { description: 'The policy', schema: retention.retentionStatus }, ...problems(...READ_PROBLEMS) },
  },
  {
    method: 'post',
    path: '/v1/retention/plan',
    id: 'planRetention',
    summary: 'What the policy, or the given one, would remove now, and why',
    description: 'Removes nothing. `continue` belongs to a plan; where it is another one by now the answer is a 409.',
    permission: { kind: 'node', verb: 'create', subresource: 'retention' },
    query: retention.retentionPlanQuery,
    body: retention.retentionPlanRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'A page of the plan', schema: retention.retentionPlan },
      ...problems(...READ_PROBLEMS, 409, 413, 415, 503),
    },
  },
  {
    method: 'post',
    path: '/v1/retention/sweep',
    id: 'sweep',
    summary: 'Remove what the policy says',
    description: 'Answers when it is over. With `planId` only that very plan is carried out.',
    permission: { kind: 'node', verb: 'delete', subresource: 'retention' },
    body: retention.retentionSweepRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'What was done', schema: retention.sweepReport },
      ...problems(...READ_PROBLEMS, 409, 413, 415, 503),
    },
  },
  {
    method: 'get',
    path: '/v1/retention/history',
    id: 'listSweeps',
    summary: 'What the last sweeps did',
    permission: { kind: 'node', verb: 'get', subresource: 'retention' },
    query: retention.retentionHistoryQuery,
    answers: {
      200: { description: 'A page of reports', schema: retention.retentionHistory },
      ...problems(...READ_PROBLEMS),
    },
  },
  {
    method: 'get',
    path: '/healthz',
    id: 'getHealth',
    summary: 'Whether the agent is alive',
    permission: { kind: 'open' },
    answers: {
      200: { description: 'It is', schema: nodes.healthResponse },
      503: { description: 'It is not', schema: nodes.healthResponse },
      ...problems(400),
    },
  },
  {
    method: 'get',
    path: '/readyz',
    id: 'getReadiness',
    summary: 'Whether the agent can do its work',
    permission: { kind: 'open' },
    query: nodes.readinessQuery,
    answers: {
      200: { description: 'It can, perhaps not all of it', schema: nodes.readinessResponse },
      503: { description: 'It cannot', schema: nodes.readinessResponse },
      ...problems(400),
    },
  },
  {
    method: 'get',
    path: '/metrics',
    id: 'getMetrics',
    summary: 'Metrics for Prometheus',
    permission: { kind: 'metrics' },
    answers: {
      200: { description: "Prometheus' text format", mediaType: 'text/plain' },
      ...problems(...READ_PROBLEMS),
    },
  },
  {
    method: 'get',
    path: '/openapi.json',
    id: 'getOpenApi',
    summary: 'This document',
    permission: { kind: 'authenticated' },
    answers: {
      200: { description: 'An OpenAPI 3.1 document', schema: z.looseObject({ openapi: z.string() }) },
      ...problems(400, 401, 503),
    },
  },
]

function problems(...statuses: readonly number[]): Record<number, Answer> {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: PROBLEMS[status] ?? '', schema: api.problem, mediaType: 'application/problem+json' },
    ]),
  )
}
