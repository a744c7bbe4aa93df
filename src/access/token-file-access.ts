import { hash } from 'node:crypto'
import type { Principal } from './principal.ts'
import { GROUP, type Authorizer, type Decision, type Question } from './question.ts'
import type { TokenPermission, TokenUser } from './token-file.ts'

/** Authenticates and authorizes the users of a token file, for nodes without Kubernetes. */
export class TokenFileAccess implements Authorizer {
  readonly #current: () => readonly TokenUser[]
  #known: readonly TokenUser[] = []
  #byHash: ReadonlyMap<string, { readonly user: TokenUser; readonly principal: Principal }> = new Map()
  #byPrincipal = new WeakMap<object, TokenUser>()

  constructor(current: () => readonly TokenUser[]) {
    this.#current = current
  }

  authenticate(token: string): Principal | undefined {
    this.#refresh()
    return this.#byHash.get(hash('sha256', token, 'hex'))?.principal
  }

  /**
   * Denies everything to a principal from an earlier version of the file; its caller has to
   * authenticate again.
   */
  decide(principal: object, question: Question): Decision {
    this.#refresh()
    const user = this.#byPrincipal.get(principal)
    return { isAllowed: user !== undefined && isAllowed(user, question), until: 0 }
  }

  #refresh(): void {
    const users = this.#current()
    if (users === this.#known) return
    this.#known = users
    this.#byPrincipal = new WeakMap()
    this.#byHash = new Map(
      users.map((user) => {
        const principal = { user: user.name, groups: user.groups }
        this.#byPrincipal.set(principal, user)
        return [user.tokenSha256, { user, principal }]
      }),
    )
  }
}

/** Permission in the token file for a verb, for resources that belong to a namespace. */
const BY_RESOURCE: Readonly<Record<string, Readonly<Record<string, TokenPermission>>>> = {
  checkpoints: { get: 'get', list: 'list', watch: 'list', create: 'create', update: 'update', delete: 'delete' },
  'checkpoints/proxy': { get: 'content' },
}

const BY_NODE_RESOURCE: Readonly<Record<string, Readonly<Record<string, TokenPermission>>>> = {
  'checkpointnodes/checkpoints': BY_RESOURCE['checkpoints'] ?? {},
  'checkpointnodes/proxy': BY_RESOURCE['checkpoints/proxy'] ?? {},
}

/** Permissions for the node's own resources, which namespaces do not limit. */
const OF_NODE: Readonly<Record<string, Readonly<Record<string, TokenPermission>>>> = {
  'checkpointnodes/retention': { get: 'retention', create: 'retention', delete: 'sweep' },
  'checkpointnodes/custody': { get: 'custody' },
  'nodes/metrics': { get: 'metrics' },
}

function isAllowed({ namespaces, permissions }: TokenUser, question: Question): boolean {
  const { verb, group, namespace = '', subresource, resource } = question
  const isOurs = group === GROUP || (group === '' && resource === 'nodes')
  const key = subresource === undefined ? resource : `${resource}/${subresource}`
  const isEverywhere = namespaces.includes('*')
  const has = (permission: TokenPermission | undefined, isInReach: boolean) => {
    return isOurs && isInReach && permission !== undefined && permissions.includes(permission)
  }
  return (
    has(BY_RESOURCE[key]?.[verb], isEverywhere || (namespace !== '' && namespaces.includes(namespace))) ||
    has(BY_NODE_RESOURCE[key]?.[verb], isEverywhere) ||
    has(OF_NODE[key]?.[verb], true)
  )
}
