import type { z } from 'zod'
import type { Permission } from './permission.ts'
import { problem } from './problem-schema.ts'

/** The kinds of calls that the rate limits of a user count. */
export type Rated = 'capture' | 'content' | 'inspection' | 'verify' | 'change' | 'access'

/** One route of the API: how it is called, what it needs and what it answers. */
export interface Operation {
  readonly id: string
  readonly tag: Tag
  readonly method: 'get' | 'post' | 'put' | 'delete'
  /** A path template as in OpenAPI: `/v1/captures/{id}`. */
  readonly path: string
  readonly summary: string
  /** The permission that the server checks before it calls the route. */
  readonly permission: Permission
  /** Rate limits that an allowed call counts against. */
  readonly counts?: readonly Rated[]
  /** Further rate limits while the digest of the checkpoint is unknown, because the call has to read the archive. */
  readonly countsWithoutDigest?: readonly Rated[]
  readonly description?: string
  readonly query?: z.ZodObject
  readonly headers?: readonly HeaderParameter[]
  readonly body?: z.ZodType
  /** Set where a request without a body means `{}`. */
  readonly isBodyOptional?: true
  readonly answers: Readonly<Record<number, Answer>>
}

export interface HeaderParameter {
  readonly name: string
  readonly description: string
}

export interface Answer {
  readonly description: string
  /** Absent where the answer is text or bytes. */
  readonly schema?: z.ZodType
  /** `application/json` where a schema is given and this is not. */
  readonly mediaType?: string
  /** Media types that the answer may have instead. */
  readonly otherMediaTypes?: readonly string[]
  readonly headers?: readonly string[]
}

/** The sections of the OpenAPI document, in its order. */
export const TAGS = {
  captures: 'Taking checkpoints: the jobs and their progress',
  checkpoints: 'List the checkpoint archives of this node',
  content: 'The bytes of archives and what is inside them',
  watch: 'Events about checkpoints and captures',
  containers: 'Running containers',
  node: 'This node and its agent',
  access: 'What the caller may do',
  retention: 'The retention policy, its plan and its sweeps',
  custody: 'The custody log and signed statements about archives',
  kubelet: "The kubelet's checkpoint endpoint",
  agent: 'Health, readiness, metrics and this document',
} as const satisfies Readonly<Record<string, string>>

export type Tag = keyof typeof TAGS

/** Operations of one resource by id. The keys become their ids, so an id and its name in code cannot differ. */
export function defineOperations<
  const ResourceTag extends Tag,
  const Definitions extends Readonly<Record<string, Omit<Operation, 'id' | 'tag'>>>,
>(tag: ResourceTag, definitions: Definitions): Defined<Definitions, ResourceTag> {
  return Object.fromEntries(
    Object.entries(definitions).map(([id, definition]) => [id, { id, tag, ...definition }]),
  ) as Defined<Definitions, ResourceTag>
}

type Defined<Definitions, ResourceTag> = {
  readonly [Id in keyof Definitions]: Definitions[Id] & { readonly id: Id; readonly tag: ResourceTag }
}

/** Reasons for failures by status. */
const PROBLEMS = {
  400: 'The request is invalid; the detail lists every mistake',
  401: 'The request has no valid credentials',
  403: 'The caller may not do this; `missingPermission` names the permission it lacks',
  404: 'The resource does not exist',
  409: 'The state does not allow this: the container is not running, a capture of it is in flight, the job has ended, the archive or the plan has changed, or a sweep is in progress',
  412: '`If-Match` does not name the current state of the checkpoint',
  413: 'The body is too large',
  415: 'The body is not JSON',
  416: 'The content has no such bytes; `Content-Range` gives its size',
  422: 'Inspecting this archive exceeds the limits for one archive',
  429: 'Too many requests at once or within a minute; `Retry-After` says when to try again',
  500: 'The runtime or the agent failed',
  501: 'The runtime of this node cannot take checkpoints',
  503: 'Temporarily unavailable: the API server cannot be asked for permissions, the queue is full, the runtime does not answer, or the agent is shutting down',
  507: 'There is no room for the archive',
} as const satisfies Readonly<Record<number, string>>

export const READ_PROBLEMS = [400, 401, 403, 500, 503] as const

/** Answers that are problems, by status. */
export function problems(...statuses: readonly (keyof typeof PROBLEMS)[]): Record<number, Answer> {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: PROBLEMS[status], schema: problem, mediaType: 'application/problem+json' },
    ]),
  )
}
