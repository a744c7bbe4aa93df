import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import {
  type Manifest,
  render,
  renderHooks,
  renderScenario,
  SCENARIOS,
  scenarioFile,
} from '../charts/rendered-chart.ts'
import { cluster } from './cluster-harness.ts'
import { installMonitoringKinds } from './monitoring-kinds.ts'

/** Kinds that come with cert-manager or with OpenShift; no API server without them can say anything about these. */
const OF_OTHERS = /^(?:Certificate|SecurityContextConstraints)$/

const OURS = 'checkpoint-agent.dev'
const AGENT = 'system:serviceaccount:ckpt:agent-checkpoint-agent'

beforeAll(async () => {
  await cluster.up()
  await cluster.apply(namespace('ckpt'))
})
afterAll(() => cluster.kubectl(['delete', 'namespace', 'ckpt', '--wait=false']))

describe('the real API server', () => {
  beforeAll(installMonitoringKinds)

  it.each(SCENARIOS)('takes what helm makes of the chart: %s', async (scenario) => {
    const hooks = renderHooks('--values', scenarioFile(scenario))
    const manifests = [...renderScenario(scenario), ...hooks].filter(({ kind }) => !OF_OTHERS.test(kind))
    const text = manifests.map((manifest) => stringify(withoutAccount(manifest))).join('---\n')
    const flags = ['--dry-run=server', '--validate=strict', '-f', '-']
    const answer = await cluster.kubectl(['apply', ...flags], { input: text })
    expect(answer.match(/created \(server dry run\)/g)).toHaveLength(manifests.length)
  })
})

describe('the roles of the chart, as the real API server understands them', () => {
  let manifest = ''

  beforeAll(async () => {
    const roles = renderScenario('access').filter(({ kind }) => /Role|ServiceAccount/.test(kind))
    manifest = roles.map((role) => stringify(role)).join('---\n')
    await cluster.apply(manifest)
    const bindings = { editor: 'edit', viewer: 'checkpoint-viewer', responder: 'checkpoint-forensics' }
    await cluster.apply(
      Object.entries(bindings)
        .map(([user, role]) => roleBinding(user, role))
        .join('---\n'),
    )
  })
  afterAll(() => cluster.kubectl(['delete', '--ignore-not-found', '-f', '-'], { input: manifest }))

  it.each([
    { who: 'a responder', user: 'responder', may: 'get', what: `${OURS}/checkpoints/proxy`, answer: true },
    { who: 'a responder', user: 'responder', may: 'delete', what: `${OURS}/checkpoints`, answer: false },
    { who: 'a viewer', user: 'viewer', may: 'list', what: `${OURS}/checkpoints`, answer: true },
    { who: 'a viewer', user: 'viewer', may: 'create', what: `${OURS}/checkpoints`, answer: false },
    { who: 'an editor', user: 'editor', may: 'create', what: `${OURS}/checkpoints`, answer: true },
    { who: 'an editor', user: 'editor', may: 'get', what: `${OURS}/checkpoints/proxy`, answer: false },
    { who: 'an editor', user: 'editor', may: 'get', what: `${OURS}/checkpointnodes/custody`, answer: false },
    { who: 'a group', group: 'incident-response', may: 'create', what: '/pods/portforward', answer: true },
    { who: 'a group', group: 'incident-response', may: 'get', what: '/pods', answer: true },
    { who: 'a group', group: 'incident-response', may: 'create', what: '/pods/exec', answer: false },
    { who: 'a group', group: 'incident-response', may: 'list', what: `${OURS}/checkpoints`, answer: false },
    { who: 'the agent', user: AGENT, may: 'create', what: 'authentication.k8s.io/tokenreviews', answer: true },
    { who: 'the agent', user: AGENT, may: 'list', what: '/pods', answer: false },
    { who: 'the agent', user: AGENT, may: 'get', what: '/secrets', answer: false },
  ])('$who: $may $what: $answer', async ({ user, group, may, what, answer }) => {
    // what is aggregated, a controller joins
    await expect.poll(() => isAllowed({ user, group, verb: may, what })).toBe(answer)
  })
})

describe('Pod Security of the real API server', () => {
  beforeAll(() => cluster.apply(namespace('strict', { 'pod-security.kubernetes.io/warn': 'restricted' })))
  afterAll(() => cluster.kubectl(['delete', 'namespace', 'strict', '--wait=false']))

  it('has nothing against the pods but the hostPaths and the user root', async () => {
    const daemonSet = render('--namespace', 'strict').find(({ kind }) => kind === 'DaemonSet')
    const flags = ['--dry-run=server', '--warnings-as-errors', '-f', '-']
    const answer = cluster.kubectl(['apply', ...flags], { input: stringify(daemonSet) })
    await expect(answer).rejects.toThrow(
      'would violate PodSecurity "restricted:latest": ' +
        'restricted volume types (volumes "checkpoints", "state", "runtime" use restricted volume type "hostPath"), ' +
        'runAsNonRoot != true (pod or container "agent" must set securityContext.runAsNonRoot=true), ' +
        'runAsUser=0 (container "agent" must not set runAsUser=0)\n',
    )
  })
})

/** With the label that docs/install.md gives it. */
function namespace(name: string, labels: object = { 'pod-security.kubernetes.io/enforce': 'privileged' }): string {
  return stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
}

function roleBinding(user: string, clusterRole: string): string {
  return stringify({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: user, namespace: 'ckpt' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: clusterRole },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
  })
}

/**
 * The API server refuses a pod whose ServiceAccount does not exist, and a dry run creates none. It checks the fields of a
 * PodTemplate all the same.
 */
function withoutAccount(manifest: Manifest): object {
  if (manifest.kind !== 'Pod') return manifest
  const { kind, apiVersion, metadata, ...pod } = manifest
  const { labels, annotations, ...place } = metadata
  return {
    apiVersion,
    kind: `${kind}Template`,
    metadata: place,
    template: { metadata: { labels, annotations }, ...pod },
  }
}

interface Asked {
  readonly user?: string | undefined
  readonly group?: string | undefined
  readonly verb: string
  /** `group/resource` or `group/resource/subresource`. */
  readonly what: string
}

/** In the namespace ckpt. */
async function isAllowed({ user = 'somebody', group: member, verb, what }: Asked): Promise<boolean> {
  const [group, resource, subresource] = what.split('/')
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user,
      groups: member === undefined ? [] : [member],
      resourceAttributes: {
        namespace: 'ckpt',
        verb,
        group,
        resource,
        ...(subresource === undefined ? {} : { subresource }),
      },
    },
  }
  const flags = ['-o', 'jsonpath={.status.allowed}', '-f', '-']
  return (await cluster.kubectl(['create', ...flags], { input: stringify(review) })) === 'true'
}
