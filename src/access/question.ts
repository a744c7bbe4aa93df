import type { Verb } from '../shared/rbac-verb.ts'
import type { Principal } from './principal.ts'

/** API group of the agent's permissions. RBAC does not require it to be registered. */
export const GROUP = 'checkpoint-agent.dev'

/** One permission that a caller needs, in the terms of RBAC. */
export interface Question {
  readonly verb: Verb
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  /** Empty or absent for all namespaces, and for resources without a namespace. */
  readonly namespace?: string
  readonly name?: string
}

/** Formats the resource as a Role names it, such as `checkpoints/proxy`. */
export function resourceName({ resource, subresource }: Pick<Question, 'resource' | 'subresource'>): string {
  return subresource === undefined ? resource : `${resource}/${subresource}`
}

export interface Decision {
  readonly isAllowed: boolean
  /** Time to check the permission again, in milliseconds. */
  readonly until: number
}

/**
 * Decides by permissions alone. Throws UnavailableError (`AuthorizationUnavailable`) if the API
 * server cannot be reached.
 */
export interface Authorizer {
  /** Set if every caller may do everything, so that no check is needed. */
  readonly isOpen?: true
  readonly decide: (principal: Principal, question: Question) => Decision | Promise<Decision>
}
