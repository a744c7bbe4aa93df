import type { Verb } from '../shared/rbac-verb.ts'
import type { Principal } from './principal.ts'

/** The API group of this agent's permissions. RBAC needs no registration of it. */
export const GROUP = 'checkpoint-agent.dev'

/** One permission that somebody needs, in the words of RBAC. */
export interface Question {
  readonly verb: Verb
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  /** Empty or absent: all namespaces, or a resource that has none. */
  readonly namespace?: string
  readonly name?: string
}

/** `checkpoints/proxy`, as a Role names it. */
export function resourceName({ resource, subresource }: Pick<Question, 'resource' | 'subresource'>): string {
  return subresource === undefined ? resource : `${resource}/${subresource}`
}

export interface Decision {
  readonly isAllowed: boolean
  /** When to ask again, in milliseconds. */
  readonly until: number
}

/** Decides by permissions alone. Throws UnavailableError (`AuthorizationUnavailable`) where nobody can be asked. */
export interface Authorizer {
  /** Set where everybody may do everything, so that nobody need be asked. */
  readonly isOpen?: true
  readonly decide: (principal: Principal, question: Question) => Decision | Promise<Decision>
}
