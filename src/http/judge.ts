import { LOCAL_ROOT, type Principal } from '../access/principal.ts'
import { GROUP, resourceName, type Authorizer, type Decision, type Question } from '../access/question.ts'
import type { Verb } from '../shared/rbac-verb.ts'
import { NotAllowedError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'

const FOREVER: Decision = { isAllowed: true, until: Number.POSITIVE_INFINITY }

/** Asks the authorizer about the permissions that this API uses. */
export class Judge {
  readonly #authorizer: Authorizer
  readonly #nodeName: string

  constructor(authorizer: Authorizer, nodeName: string) {
    this.#authorizer = authorizer
    this.#nodeName = nodeName
  }

  /** Tells whether a principal may do everything without a query to the authorizer. */
  isUnlimited(principal: Principal): boolean {
    return principal === LOCAL_ROOT || this.#authorizer.isOpen === true
  }

  /** Tells whether any of the permissions is granted. Throws UnavailableError if none is granted and a query failed. */
  async mayAny(principal: Principal, ...questions: readonly Question[]): Promise<Decision> {
    if (this.isUnlimited(principal)) return FOREVER
    const outcomes = await Promise.allSettled(
      questions.map(async (question) => this.#authorizer.decide(principal, question)),
    )
    let best: Decision | undefined
    let failure: PromiseRejectedResult | undefined
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') failure ??= outcome
      else if (outcome.value.isAllowed && outcome.value.until >= (best?.until ?? 0)) best = outcome.value
    }
    if (best !== undefined) return best
    if (failure !== undefined) throw failure.reason
    return { isAllowed: false, until: 0 }
  }

  /** Requires any of the permissions. Throws NotAllowedError that names the first one. */
  async assertAny(principal: Principal, first: Question, ...others: readonly Question[]): Promise<Decision> {
    const decision = await this.mayAny(principal, first, ...others)
    if (!decision.isAllowed) throw forbidden(principal, first)
    return decision
  }

  /** Asks about the checkpoints of one namespace, or of all namespaces if none is given. */
  inNamespace({ verb, isContent }: Wanted, namespace: string | undefined): Question {
    return {
      verb,
      group: GROUP,
      resource: 'checkpoints',
      ...(isContent && { subresource: 'proxy' }),
      ...(namespace !== undefined && { namespace }),
    }
  }

  /** Asks about every checkpoint on this node, regardless of namespace. */
  onNode({ verb, isContent }: Wanted): Question {
    return this.ofNode(verb, isContent ? 'proxy' : 'checkpoints')
  }

  ofNode(verb: Verb, subresource: string): Question {
    return { verb, group: GROUP, resource: 'checkpointnodes', subresource, name: this.#nodeName }
  }

  /** Asks about a subresource of the core `nodes` resource: `nodes/metrics` or `nodes/checkpoint`. */
  ofCoreNode(verb: Verb, subresource: string): Question {
    return { verb, group: '', resource: 'nodes', subresource, name: this.#nodeName }
  }
}

export interface Wanted {
  readonly verb: Verb
  readonly isContent: boolean
}

export function forbidden({ user }: Principal, question: Question): NotAllowedError {
  const { verb, namespace, name } = question
  const where = namespace ? ` in namespace "${namespace}"` : name === undefined ? '' : ` of node "${name}"`
  return new NotAllowedError(
    `Cannot do this: "${escapeUnreadable(user)}" may not ${verb} ${resourceName(question)}${where}`,
    {
      code: 'Forbidden',
      hint: 'docs/concepts/access.md shows the Roles that allow it; GET /v1/access tells what you may do.',
      extra: { missingPermission: missingPermission(question) },
    },
  )
}

/**
 * Returns the same error for a missing object and for a forbidden one, so that it does not reveal whether the object
 * exists.
 */
export function forbiddenOrMissing({ user }: Principal, wanted: Wanted, what: string): NotAllowedError {
  const question = { verb: wanted.verb, group: GROUP, resource: 'checkpoints', ...(wanted.isContent && CONTENT) }
  return new NotAllowedError(
    `Cannot ${wanted.verb} this ${what}: it does not exist, or "${escapeUnreadable(user)}" may not ${wanted.verb} ${resourceName(question)} where it belongs`,
    {
      code: 'Forbidden',
      hint: 'GET /v1/access?namespace=... tells what you may do. Archives that belong to no namespace need checkpointnodes/....',
      extra: { missingPermission: missingPermission(question) },
    },
  )
}

const CONTENT = { subresource: 'proxy' }

function missingPermission(question: Question): Record<string, string> {
  const { verb, group, namespace, name } = question
  return {
    verb,
    group,
    resource: resourceName(question),
    ...(namespace !== undefined && namespace !== '' && { namespace }),
    ...(name !== undefined && { name }),
  }
}
