import type { z } from 'zod'
import type { Permission } from './permission.ts'
import { problem } from './problem-schema.ts'

/** What the rate limits of a user count. */
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
  checkpoints: 'The checkpoint archives of this node',
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

/** Why a request can fail, by status. */
const PROBLEMS = {
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
