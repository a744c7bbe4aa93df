import { describe, expect, it } from 'vitest'
import type { ApiServer } from '../../src/access/api-server-client.ts'
import { readAuthenticationConfigMap } from '../../src/access/authentication-config-map.ts'
import { GROUP, type Question } from '../../src/access/question.ts'
import { reviewAccess } from '../../src/access/subject-access-review.ts'
import { reviewToken } from '../../src/access/token-review.ts'

/** One who may get, list and create checkpoints in the namespace `shop`, and get their content; nothing else. */
export const TAKER = {
  user: 'system:serviceaccount:shop:taker',
  groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'],
}

/** One whom a ClusterRole allows `get` of `checkpointnodes/checkpoints` of the node `node-a` and `create` of `nodes/checkpoint`. */
export const NODE_VIEWER = { user: 'node-viewer', groups: ['system:authenticated'] }

export interface ApiServerUnderTest {
  /** As the agent's service account. */
  readonly api: ApiServer
  /** The same with a token that is none. */
  readonly strangerApi: ApiServer
  /** A token of TAKER, for these audiences or else for the API server. */
  readonly token: (...audiences: string[]) => Promise<string>
}

/** What the agent relies on. Runs against our own server and against the real one. */
export function describeApiServer(name: string, open: () => Promise<ApiServerUnderTest>): void {
  describe(`${name}, as the agent sees it`, () => {
    it('says whose token it is', async () => {
      const { api, token } = await open()
      expect(await reviewToken(api, await token(), [])).toMatchObject({
        user: TAKER.user,
        groups: expect.arrayContaining([...TAKER.groups]),
      })
    })

    it('knows the audience of a token', async () => {
      const { api, token } = await open()
      const ours = await token('checkpoint-agent')
      expect(await reviewToken(api, ours, ['checkpoint-agent'])).toMatchObject({ user: TAKER.user })
      expect(await reviewToken(api, ours, ['other', 'checkpoint-agent'])).toMatchObject({ user: TAKER.user })
      expect(await reviewToken(api, ours, ['other'])).toBeUndefined()
      expect(await reviewToken(api, ours, [])).toBeUndefined()
      expect(await reviewToken(api, await token(), ['checkpoint-agent'])).toBeUndefined()
    })

    it.each(['x', 'a.b.c', 'eyJhbGciOiJub25lIn0.e30.', 'ä'.repeat(100)])('refuses the token %s', async (text) => {
      const { api } = await open()
      expect(await reviewToken(api, text, [])).toBeUndefined()
    })

    it.each<[boolean, string, Partial<Question>]>([
      [true, 'get in the namespace of the role', {}],
      [true, 'create', { verb: 'create' }],
      [true, 'the content', { subresource: 'proxy' }],
      [false, 'another namespace', { namespace: 'bank' }],
      [false, 'all namespaces', { namespace: '' }],
      [false, 'another verb', { verb: 'delete' }],
      [false, 'another resource', { resource: 'checkpointnodes', subresource: 'checkpoints' }],
      [false, 'another group', { group: '' }],
      [false, 'another subresource', { subresource: 'log' }],
      [false, 'no verb', { verb: '' }],
    ])('says %s to %s', async (isAllowed, _, change) => {
      const { api } = await open()
      const question: Question = { verb: 'get', group: GROUP, resource: 'checkpoints', namespace: 'shop', ...change }
      expect(await reviewAccess(api, TAKER, question)).toBe(isAllowed)
    })

    it('knows the name of a node', async () => {
      const { api } = await open()
      const question = { verb: 'get', group: GROUP, resource: 'checkpointnodes', subresource: 'checkpoints' } as const
      expect(await reviewAccess(api, NODE_VIEWER, { ...question, name: 'node-a' })).toBe(true)
      expect(await reviewAccess(api, NODE_VIEWER, { ...question, name: 'node-b' })).toBe(false)
      expect(await reviewAccess(api, NODE_VIEWER, question)).toBe(false)
      const kubelets = {
        verb: 'create',
        group: '',
        resource: 'nodes',
        subresource: 'checkpoint',
        name: 'node-a',
      } as const
      expect(await reviewAccess(api, NODE_VIEWER, kubelets)).toBe(true)
      expect(await reviewAccess(api, TAKER, kubelets)).toBe(false)
    })

    it('allows system:masters everything', async () => {
      const { api } = await open()
      const question = { verb: 'delete', group: GROUP, resource: 'checkpoints', namespace: 'bank' } as const
      expect(await reviewAccess(api, { user: 'ada', groups: ['system:masters'] }, question)).toBe(true)
    })

    it('tells whose client certificates it takes', async () => {
      const { api } = await open()
      const { clients, frontProxy } = await readAuthenticationConfigMap(api)
      expect(clients.length).toBeGreaterThan(0)
      expect(frontProxy.authorities.length).toBeGreaterThan(0)
      expect(frontProxy).toMatchObject({
        userHeaders: ['X-Remote-User'],
        groupHeaders: ['X-Remote-Group'],
        extraPrefixes: ['X-Remote-Extra-'],
        allowedNames: [expect.any(String)],
      })
    })

    it('answers nobody without a token of its own', async () => {
      const { strangerApi } = await open()
      await expect(reviewToken(strangerApi, 'x', [])).rejects.toMatchObject({
        code: 'AuthorizationUnavailable',
        status: 401,
      })
    })
  })
}
