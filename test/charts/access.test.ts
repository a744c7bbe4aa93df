import { describe, expect, it } from 'vitest'
import { helm, ofKind, render, renderScenario, type Rule, rulesOf } from './rendered-chart.ts'

const OURS = 'checkpoint-agent.dev'
const READ = ['get', 'list', 'watch']

const AGENT: Readonly<Record<string, Rule[]>> = {
  'ClusterRole agent-checkpoint-agent': [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
  ],
  'Role ckpt-agent-checkpoint-agent': [
    {
      apiGroups: [''],
      resources: ['configmaps'],
      resourceNames: ['extension-apiserver-authentication'],
      verbs: ['get'],
    },
  ],
  'Role agent-checkpoint-agent-connect': [
    { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] },
    { apiGroups: [''], resources: ['pods/portforward'], verbs: ['create'] },
  ],
}

const USERS: Readonly<Record<string, Rule[]>> = {
  'ClusterRole checkpoint-viewer': [{ apiGroups: [OURS], resources: ['checkpoints'], verbs: READ }],
  'ClusterRole checkpoint-taker': [{ apiGroups: [OURS], resources: ['checkpoints'], verbs: [...READ, 'create'] }],
  'ClusterRole checkpoint-forensics': [
    { apiGroups: [OURS], resources: ['checkpoints'], verbs: [...READ, 'create', 'update'] },
    { apiGroups: [OURS], resources: ['checkpoints/proxy'], verbs: ['get'] },
  ],
  'ClusterRole checkpoint-admin': [
    {
      apiGroups: [OURS],
      resources: ['checkpoints', 'checkpointnodes/checkpoints'],
      verbs: [...READ, 'create', 'update', 'delete'],
    },
    { apiGroups: [OURS], resources: ['checkpoints/proxy', 'checkpointnodes/proxy'], verbs: ['get'] },
    { apiGroups: [OURS], resources: ['checkpointnodes/retention'], verbs: ['get', 'create', 'delete'] },
    { apiGroups: [OURS], resources: ['checkpointnodes/custody'], verbs: ['get'] },
  ],
}

describe.skipIf(helm === undefined)('who may do what', () => {
  it('is said by these roles and no others', () => {
    expect(rulesOf(render())).toEqual({ ...AGENT, ...USERS })
  })

  it('the agent has two roles, its own account, and nobody else has them', () => {
    const agent = { kind: 'ServiceAccount', name: 'agent-checkpoint-agent', namespace: 'ckpt' }
    const manifests = render()
    const bindings = [...ofKind(manifests, 'ClusterRoleBinding'), ...ofKind(manifests, 'RoleBinding')]
    expect(bindings.map(({ roleRef, subjects }) => ({ roleRef, subjects }))).toMatchObject([
      { roleRef: { kind: 'ClusterRole', name: 'agent-checkpoint-agent' }, subjects: [agent] },
      { roleRef: { kind: 'Role', name: 'ckpt-agent-checkpoint-agent' }, subjects: [agent] },
    ])
    expect(bindings).toHaveLength(2)
  })

  it('the way in is for the groups that are named', () => {
    const bindings = ofKind(renderScenario('access'), 'RoleBinding').filter(
      ({ metadata }) => metadata.namespace === 'ckpt',
    )
    expect(bindings).toMatchObject([
      {
        roleRef: { kind: 'Role', name: 'agent-checkpoint-agent-connect' },
        subjects: [
          { kind: 'Group', name: 'incident-response' },
          { kind: 'Group', name: 'oidc:platform' },
        ],
      },
    ])
  })

  it.each([
    { aggregate: false, joined: [] },
    { aggregate: true, joined: ['checkpoint-taker', 'checkpoint-viewer'] },
  ])('content never joins the roles of Kubernetes: aggregate $aggregate', ({ aggregate, joined }) => {
    const roles = ofKind(render('--set', `access.aggregate=${aggregate}`), 'ClusterRole')
    const labelled = (target: string) =>
      roles
        .filter(({ metadata }) => metadata.labels[`rbac.authorization.k8s.io/aggregate-to-${target}`] === 'true')
        .map(({ metadata }) => metadata.name)
        .toSorted()
    expect({ edit: labelled('edit'), admin: labelled('admin'), view: labelled('view') }).toEqual({
      edit: joined,
      admin: joined,
      view: [],
    })
  })

  it('Prometheus may read numbers and nothing else', () => {
    const { 'ClusterRole agent-checkpoint-agent-metrics': rules, ...others } = rulesOf(renderScenario('monitored'))
    expect(rules).toEqual([{ apiGroups: [''], resources: ['nodes/metrics'], verbs: ['get'] }])
    expect(others).toEqual({ ...AGENT, ...USERS })
  })

  it('a second release leaves the roles of users to the first', () => {
    expect(rulesOf(render('--set', 'access.roles=false'))).toEqual(AGENT)
  })

  it('nothing is asked of the cluster when only root on the node may call', () => {
    expect(rulesOf(renderScenario('socket-only'))).toEqual({})
  })
})
