import { Router, type Request, type RequestHandler, type Response } from 'express'
import type { IncomingMessage } from 'node:http'
import type { Access } from '../access/access.ts'
import type { Identity } from '../access/credentials.ts'
import type { Decision } from '../access/question.ts'
import type { Verb } from '../shared/rbac-verb.ts'
import type { CaptureJob } from '../checkpoint/capture-job.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { Clock } from '../shared/clock.ts'
import { NotAuthenticatedError, NotFoundError } from '../shared/errors.ts'
import { identify, identifyOrRefuse } from './authenticate.ts'
import { principalOf } from './caller.ts'
import { otherMethods, unknownRoute } from './error-handler.ts'
import { forbiddenOrMissing, type Judge, type Wanted } from './judge.ts'
import { askAgain } from './long-answer.ts'
import type { Operation } from '../api/operation.ts'
import { operationList } from '../api/operations.ts'
import type { Permission } from '../api/permission.ts'
import type { Rates } from './rates.ts'
import type { HttpServices } from './services.ts'
import { VisibleRows } from './visible-rows.ts'

export interface AuthorizeOptions {
  readonly access: Access
  readonly judge: Judge
  readonly rates: Rates
  readonly services: {
    readonly checkpoints: Pick<HttpServices['checkpoints'], 'get' | 'namespaces'>
    readonly captures: Pick<HttpServices['captures'], 'get'>
  }
  readonly clock: Clock
}

/** The result of authorizing a request. */
interface Grant {
  readonly judge: Judge
  readonly checkpoint?: Checkpoint
  readonly job?: CaptureJob
  readonly rows?: VisibleRows
  /** Authenticates and authorizes the request again; rejects if access is now denied. */
  readonly again: () => Promise<number>
  readonly until: number
}

const grants = new WeakMap<IncomingMessage, Grant>()

/**
 * Guards every route except the kubelet's and admits requests that have the permission of their operation. The same
 * kind of router as the routes' own matches the paths; a path without an operation is answered here.
 */
export function authorize(options: AuthorizeOptions): RequestHandler {
  const { access } = options
  const router = Router({ caseSensitive: true, strict: true })
  for (const operation of operationList) {
    const { method, path, permission } = operation
    if (permission.kind !== 'kubelet') router[method](toPattern(path), admit(operation, options))
  }
  const refuseOthers = (refuse: RequestHandler): RequestHandler => {
    return async (req, res, next) => {
      await identifyOrRefuse(req, access)
      await refuse(req, res, next)
    }
  }
  for (const path of new Set(operationList.map((operation) => operation.path))) {
    router.all(toPattern(path), refuseOthers(otherMethods(methodsOf(path))))
  }
  router.use(refuseOthers(unknownRoute()))
  // Hides the router behind a function, because none of its routes sends a successful response.
  return (req, res, next) => router(req, res, next)
}

/** Lists the methods of a path for the `Allow` header. */
function methodsOf(path: string): readonly string[] {
  return (['get', 'post', 'put', 'delete'] as const)
    .filter((method) => operationList.some((operation) => operation.path === path && operation.method === method))
    .flatMap((method) => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]))
}

/** Returns the checkpoint in the path, after authorization. */
export function permittedCheckpoint(req: IncomingMessage): Checkpoint {
  return present(grants.get(req)?.checkpoint)
}

/** Returns the capture job in the path, after authorization. */
export function permittedJob(req: IncomingMessage): CaptureJob {
  return present(grants.get(req)?.job)
}

/** Returns the filter for the rows of this list that the caller may see. */
export function visibleRows(req: IncomingMessage): VisibleRows {
  return present(grants.get(req)?.rows)
}

/** Checks a further permission in a namespace or on the whole node. Throws NotAllowedError. */
export async function assertMayIn(req: IncomingMessage, verb: Verb, namespace: string): Promise<void> {
  const { judge } = present(grants.get(req))
  const wanted = { verb, isContent: false }
  await judge.assertAny(principalOf(req), judge.inNamespace(wanted, namespace), judge.onNode(wanted))
}

/** Reauthorizes a long response, first at `until`, and calls `end` as soon as access is denied. */
export function whileAllowed(
  req: Request,
  res: Response,
  { end, clock, ...allowed }: { readonly end: () => void; readonly clock: Clock; readonly until: number },
): void {
  const { until, again } = present(grants.get(req))
  askAgain(res, Math.min(until, allowed.until), { again, end, clock })
}

/** Converts a path template to an Express pattern such as `/v1/captures/:id`. Member names contain slashes. */
function toPattern(path: string): string {
  return path.replace('{name}', '*name').replaceAll(/\{(\w+)\}/g, ':$1')
}

/** Returns the value, or throws if the route reads a grant that its operation does not declare. */
function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('The operation of this route declares another permission')
  return value
}

function admit(
  { permission, counts = [], countsWithoutDigest = [] }: Operation,
  options: AuthorizeOptions,
): RequestHandler {
  if (permission.kind === 'open') return (_req, _res, next) => next('router')
  const { access, clock, judge, rates } = options
  return async (req, res, next) => {
    const identity = await identifyOrRefuse(req, access)
    const identifyAgain = async () => {
      const now = await identify(req, access)
      // Rejects a token that now belongs to another user.
      if (now !== undefined && now.principal.user === identity.principal.user) return now
      throw new NotAuthenticatedError('Cannot go on: the credentials are not good any more', {
        code: 'Unauthenticated',
      })
    }
    const { decision, decide, ...found } = await judgeRequest(req, { ...identity, identifyAgain }, permission, options)
    const again = async () => {
      const now = await identifyAgain()
      return Math.min(now.until, (await decide(now)).until)
    }
    const until = Math.min(identity.until, decision.until)
    grants.set(req, { judge, again, until, ...found })
    const isDigestUnknown = found.checkpoint !== undefined && found.checkpoint.sha256 === undefined
    for (const what of [...counts, ...(isDigestUnknown ? countsWithoutDigest : [])]) rates.count(req, res, what)
    const isContent = permission.kind === 'checkpoint' && permission.content === true
    const isLong = isContent || (permission.kind === 'node' && permission.isLong === true)
    if (isLong) whileAllowed(req, res, { end: () => res.destroy(), clock, until })
    next('router')
  }
}

type Found = Pick<Grant, 'checkpoint' | 'job' | 'rows'> & {
  readonly decision: Decision
  readonly decide: (identity: Identity) => Promise<Decision>
}

const NOTHING_ASKED: Decision = { isAllowed: true, until: Number.POSITIVE_INFINITY }

/** Authorizes a request for its permission. Throws NotAllowedError, NotFoundError or UnavailableError. */
async function judgeRequest(
  req: Request,
  identity: Identity & { readonly identifyAgain: () => Promise<Identity> },
  permission: Exclude<Permission, { readonly kind: 'open' }>,
  { judge, services }: AuthorizeOptions,
): Promise<Found> {
  const { principal } = identity
  switch (permission.kind) {
    case 'authenticated':
    case 'kubelet':
    case 'target': {
      return { decision: NOTHING_ASKED, decide: async () => NOTHING_ASKED }
    }
    case 'rows': {
      const identifyAgain = async () => (await identity.identifyAgain()).principal
      const named = namedNamespace(req.url)
      const rows = new VisibleRows({ judge, principal, identifyAgain, verb: permission.verb, named })
      const decide = async () => {
        const { until } = await rows.amongAgain(() => services.checkpoints.namespaces())
        return { isAllowed: true, until }
      }
      return { rows, decision: NOTHING_ASKED, decide }
    }
    case 'checkpoint': {
      const wanted = { verb: permission.verb, isContent: permission.content === true }
      const found = await unlessMissing(() => services.checkpoints.get(String(req.params['id'])))
      const { namespace, isTrusted } = found.value?.identity ?? { namespace: undefined, isTrusted: false }
      const decide = decider(judge, wanted, { what: 'checkpoint', namespace: isTrusted ? namespace : undefined })
      const decision = await decide(identity)
      return { checkpoint: found.value ?? rethrow(found.missing), decision, decide }
    }
    case 'job': {
      const wanted = { verb: permission.verb, isContent: false }
      const found = await unlessMissing(() => services.captures.get(String(req.params['id'])))
      const namespace = found.value?.captures[0]?.identity.namespace
      const decide = decider(judge, wanted, { what: 'capture', namespace })
      const decision = await decide(identity)
      return { job: found.value ?? rethrow(found.missing), decision, decide }
    }
    case 'node':
    case 'metrics': {
      break
    }
  }
  const question =
    permission.kind === 'metrics'
      ? judge.ofCoreNode('get', 'metrics')
      : judge.ofNode(permission.verb, permission.subresource)
  const decide = (now: Identity) => judge.assertAny(now.principal, question)
  return { decision: await decide(identity), decide }
}

/**
 * Returns a check that allows access by permission on the whole node or in the namespace. Objects that are missing or
 * have no namespace cost just as many authorizer queries. The response time therefore does not reveal whether an object
 * exists.
 */
function decider(
  judge: Judge,
  wanted: Wanted,
  { what, namespace }: { readonly what: string; readonly namespace: string | undefined },
): (identity: Identity) => Promise<Decision> {
  return async ({ principal }) => {
    const [onNode, inNamespace] = await Promise.allSettled([
      judge.mayAny(principal, judge.onNode(wanted)),
      judge.mayAny(principal, judge.inNamespace(wanted, namespace)),
    ])
    const counted = namespace === undefined ? [onNode] : [onNode, inNamespace]
    const allowed = counted.flatMap((outcome) =>
      outcome.status === 'fulfilled' && outcome.value.isAllowed ? [outcome.value] : [],
    )
    const [first] = allowed.toSorted((a, b) => b.until - a.until)
    if (first !== undefined) return first
    for (const outcome of [onNode, inNamespace]) if (outcome.status === 'rejected') throw outcome.reason
    throw forbiddenOrMissing(principal, wanted, what)
  }
}

async function unlessMissing<Value>(
  find: () => Value | Promise<Value>,
): Promise<{ readonly value?: Value; readonly missing?: NotFoundError }> {
  try {
    return { value: await find() }
  } catch (error) {
    if (error instanceof NotFoundError) return { missing: error }
    throw error
  }
}

function rethrow(error: NotFoundError | undefined): never {
  throw error ?? new Error('Neither found nor missing')
}

/** Reads the namespace from the query without validating it; the route rejects invalid values later. */
function namedNamespace(url: string): string | undefined {
  const mark = url.indexOf('?')
  const named = mark === -1 ? null : new URLSearchParams(url.slice(mark + 1)).get('namespace')
  return named === null || named === '' ? undefined : named
}
