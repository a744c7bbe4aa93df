import { beforeAll } from 'vitest'
import { describeApiServer, NODE_VIEWER } from '../support/api-server-contract.ts'
import { askApiServer, type RemoteApiServer } from './api-server-in-node.ts'
import { cluster } from './cluster-harness.ts'

const NAMESPACE = 'access-contract'

const rbac = 'rbac.authorization.k8s.io'

const objects = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'agent', namespace: NAMESPACE } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'taker', namespace: 'shop' } },
  clusterRole('access-contract-agent', [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
  ]),
  clusterBinding('access-contract-agent', { kind: 'ServiceAccount', name: 'agent', namespace: NAMESPACE }),
  {
    apiVersion: `${rbac}/v1`,
    kind: 'RoleBinding',
    metadata: { name: 'access-contract', namespace: 'kube-system' },
    roleRef: { apiGroup: rbac, kind: 'Role', name: 'extension-apiserver-authentication-reader' },
    subjects: [{ kind: 'ServiceAccount', name: 'agent', namespace: NAMESPACE }],
  },
  {
    apiVersion: `${rbac}/v1`,
    kind: 'Role',
    metadata: { name: 'access-contract', namespace: 'shop' },
    rules: [
      { apiGroups: ['checkpoint-agent.dev'], resources: ['checkpoints'], verbs: ['get', 'list', 'create'] },
      { apiGroups: ['checkpoint-agent.dev'], resources: ['checkpoints/proxy'], verbs: ['get'] },
    ],
  },
  {
    apiVersion: `${rbac}/v1`,
    kind: 'RoleBinding',
    metadata: { name: 'access-contract', namespace: 'shop' },
    roleRef: { apiGroup: rbac, kind: 'Role', name: 'access-contract' },
    subjects: [{ kind: 'ServiceAccount', name: 'taker', namespace: 'shop' }],
  },
  clusterRole('access-contract-node', [
    {
      apiGroups: ['checkpoint-agent.dev'],
      resources: ['checkpointnodes/checkpoints'],
      resourceNames: ['node-a'],
      verbs: ['get'],
    },
    { apiGroups: [''], resources: ['nodes/checkpoint'], verbs: ['create'] },
  ]),
  clusterBinding('access-contract-node', { kind: 'User', name: NODE_VIEWER.user, apiGroup: rbac }),
]

let api: RemoteApiServer
let strangerApi: RemoteApiServer

beforeAll(async () => {
  await cluster.up()
  await cluster.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'))
  api = await askApiServer('access-contract-token', await token('agent', NAMESPACE))
  strangerApi = await askApiServer('access-contract-stranger', 'nobody')
  return cleanUp
})

async function cleanUp(): Promise<void> {
  api.stop()
  strangerApi.stop()
  await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--wait=false'])
  await cluster.kubectl(['delete', 'clusterrole,clusterrolebinding', 'access-contract-agent', 'access-contract-node'])
  await cluster.kubectl(['delete', 'rolebinding', '-n', 'kube-system', 'access-contract'])
  await cluster.kubectl(['delete', 'role,rolebinding', '-n', 'shop', 'access-contract'])
}

describeApiServer('the real API server', async () => ({
  api,
  strangerApi,
  token: (...audiences) => token('taker', 'shop', audiences),
}))

async function token(name: string, namespace: string, audiences: readonly string[] = []): Promise<string> {
  const wanted = audiences.map((audience) => `--audience=${audience}`)
  return (await cluster.kubectl(['create', 'token', name, '-n', namespace, ...wanted])).trim()
}

function clusterRole(name: string, rules: readonly object[]): object {
  return { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name }, rules }
}

function clusterBinding(name: string, subject: object): object {
  return {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
    subjects: [subject],
  }
}
