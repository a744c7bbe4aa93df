import { describe, expect, it } from 'vitest'
import {
  helm,
  type Manifest,
  ofKind,
  render,
  renderRelease,
  renderScenario,
  type Rule,
  rulesOf,
  scenarioFile,
} from './rendered-chart.ts'

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

const VIEWER = [{ apiGroups: [OURS], resources: ['checkpoints'], verbs: READ }]
const CREATOR = [{ apiGroups: [OURS], resources: ['checkpoints'], verbs: [...READ, 'create'] }]
const FORENSICS = [
  { apiGroups: [OURS], resources: ['checkpoints'], verbs: [...READ, 'create', 'update'] },
  { apiGroups: [OURS], resources: ['checkpoints/proxy'], verbs: ['get'] },
]
const ADMIN = [
  {
    apiGroups: [OURS],
    resources: ['checkpoints', 'checkpointnodes/checkpoints'],
    verbs: [...READ, 'create', 'update', 'delete'],
  },
  { apiGroups: [OURS], resources: ['checkpoints/proxy', 'checkpointnodes/proxy'], verbs: ['get'] },
  { apiGroups: [OURS], resources: ['checkpointnodes/retention'], verbs: ['get', 'create', 'delete'] },
  { apiGroups: [OURS], resources: ['checkpointnodes/custody'], verbs: ['get'] },
]

const OF_RELEASE: Readonly<Record<string, Rule[]>> = {
  'ClusterRole agent-checkpoint-agent-viewer': VIEWER,
  'ClusterRole agent-checkpoint-agent-creator': CREATOR,
  'ClusterRole agent-checkpoint-agent-forensics': FORENSICS,
  'ClusterRole agent-checkpoint-agent-admin': ADMIN,
}

const SHARED: Readonly<Record<string, Rule[]>> = {
  'ClusterRole checkpoint-viewer': VIEWER,
  'ClusterRole checkpoint-creator': CREATOR,
  'ClusterRole checkpoint-taker': CREATOR,
  'ClusterRole checkpoint-forensics': FORENSICS,
  'ClusterRole checkpoint-admin': ADMIN,
}

const USERS = { ...OF_RELEASE, ...SHARED }

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
    { aggregate: true, joined: ['agent-checkpoint-agent-creator', 'agent-checkpoint-agent-viewer'] },
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

  it('the old name of a role says that the next release removes it', () => {
    const old = ofKind(render(), 'ClusterRole').find(({ metadata }) => metadata.name === 'checkpoint-taker')
    expect(old?.metadata.annotations).toEqual({
      'checkpoint-agent.dev/deprecated': 'Bind checkpoint-creator. The next release removes this role.',
    })
  })

  it('a second release leaves the shared names to the first, and shares no cluster-wide name with it', () => {
    expect(rulesOf(render('--set', 'access.sharedRoleNames=false'))).toEqual({ ...AGENT, ...OF_RELEASE })
    const ofFirst = clusterWide(render())
    const ofSecond = clusterWide(renderRelease('second', '--set', 'access.sharedRoleNames=false'))
    expect(ofSecond.length).toBeGreaterThan(4)
    expect(ofSecond.filter((name) => ofFirst.includes(name))).toEqual([])
  })

  it('users get no roles without access.roles', () => {
    expect(rulesOf(render('--set', 'access.roles=false'))).toEqual(AGENT)
  })

  it('no role and no binding without rbac.create', () => {
    const manifests = render('--values', scenarioFile('monitored'), '--set', 'rbac.create=false')
    expect(manifests.filter(({ kind }) => kind.includes('Role')).map(({ kind }) => kind)).toEqual([])
    expect(ofKind(manifests, 'ServiceAccount').map(({ metadata }) => metadata.name)).toEqual([
      'agent-checkpoint-agent-metrics',
      'agent-checkpoint-agent',
    ])
  })

  it('nothing is asked of the cluster when only root on the node may call', () => {
    expect(rulesOf(renderScenario('socket-only'))).toEqual({})
  })
})

function clusterWide(manifests: readonly Manifest[]): string[] {
  return manifests
    .filter(({ metadata }) => metadata.namespace === undefined)
    .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
}
