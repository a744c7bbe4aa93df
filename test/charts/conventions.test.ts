import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { helm, type Manifest, ofKind, podOf, readChartFile, render, renderScenario } from './rendered-chart.ts'

describe.skipIf(helm === undefined)('names of objects', () => {
  it.each([
    { flags: [], name: 'agent-checkpoint-agent', label: 'checkpoint-agent' },
    { flags: ['nameOverride=ckpt'], name: 'agent-ckpt', label: 'ckpt' },
    { flags: ['nameOverride=agent'], name: 'agent', label: 'agent' },
    { flags: ['fullnameOverride=evidence'], name: 'evidence', label: 'checkpoint-agent' },
    { flags: ['nameOverride=ckpt', 'fullnameOverride=evidence'], name: 'evidence', label: 'ckpt' },
  ])('$flags: $name', ({ flags, name, label }) => {
    const manifests = render(...flags.flatMap((flag) => ['--set', flag]))
    const [daemonSet] = ofKind(manifests, 'DaemonSet')
    expect(daemonSet?.metadata.name).toBe(name)
    expect(selectorOf(daemonSet)).toEqual({
      'app.kubernetes.io/name': label,
      'app.kubernetes.io/instance': 'agent',
    })
    expect(ofKind(manifests, 'Service')[0]).toMatchObject({
      metadata: { name },
      spec: { selector: selectorOf(daemonSet) },
    })
    const shared = /^checkpoint-(?:viewer|creator|taker|forensics|admin)$/
    const others = manifests.map(({ metadata }) => metadata.name).filter((each) => !shared.test(each))
    expect(others.filter((each) => !each.includes(name))).toEqual([])
  })

  it('have room for every suffix', () => {
    const name = 'x'.repeat(53)
    const flags = ['fullnameOverride', 'metrics.podMonitor.enabled=true', 'metrics.grafanaDashboard.enabled=true']
    const manifests = render(...flags.flatMap((flag) => ['--set', flag.replace(/Override$/, `Override=${name}`)]))
    const names = manifests.filter(({ kind }) => !kind.includes('Role')).map(({ metadata }) => metadata.name)
    expect(names).toContain(`${name}-dashboard`)
    expect(names.filter((each) => each.length > 63)).toEqual([])
  })
})

describe.skipIf(helm === undefined)('commonLabels', () => {
  it('are on every object and on the pods', () => {
    const manifests = renderScenario('conventional')
    expect(manifests.length).toBeGreaterThan(10)
    expect(manifests.filter(({ metadata }) => metadata.labels['team'] !== 'platform')).toEqual([])
    expect(podLabelsOf(manifests)).toMatchObject({ team: 'platform' })
  })

  it('do not change what selectors match', () => {
    const sections = ['commonLabels', 'podLabels']
    const flags = sections.map((section) => `${section}.app\\.kubernetes\\.io/instance=other`)
    const manifests = render('--set', flags.join())
    expect(podLabelsOf(manifests)).toMatchObject({ 'app.kubernetes.io/instance': 'agent' })
    expect(selectorOf(ofKind(manifests, 'DaemonSet')[0])).toMatchObject({ 'app.kubernetes.io/instance': 'agent' })
  })
})

describe.skipIf(helm === undefined)('serviceAccount', () => {
  it.each([
    { flags: 'serviceAccount.create=true', created: ['agent-checkpoint-agent'], used: 'agent-checkpoint-agent' },
    { flags: 'serviceAccount.name=own', created: ['own'], used: 'own' },
    { flags: 'serviceAccount.create=false,serviceAccount.name=theirs', created: [], used: 'theirs' },
    { flags: 'serviceAccount.create=false', created: [], used: 'default' },
  ])('$flags: the pods and every binding use $used', ({ flags, created, used }) => {
    const manifests = render('--set', `${flags},preset=openshift`)
    expect(ofKind(manifests, 'ServiceAccount').map(({ metadata }) => metadata.name)).toEqual(created)
    expect(podOf(manifests).serviceAccountName).toBe(used)
    const bindings = manifests.filter(({ kind }) => kind.endsWith('RoleBinding'))
    expect(bindings.map(({ subjects }) => subjects)).toMatchObject([[{ name: used }], [{ name: used }]])
    expect(ofKind(manifests, 'SecurityContextConstraints')[0]).toMatchObject({
      users: [`system:serviceaccount:ckpt:${used}`],
    })
  })

  it('has annotations', () => {
    expect(ofKind(renderScenario('conventional'), 'ServiceAccount')[0]?.metadata.annotations).toEqual({
      'example.com/owner': 'platform',
    })
  })
})

describe.skipIf(helm === undefined)('additions to the pods', () => {
  it('podSecurityContext is merged into what the chart sets', () => {
    expect(podOf(renderScenario('conventional'))['securityContext']).toEqual({
      seccompProfile: { type: 'RuntimeDefault' },
      supplementalGroups: [4000],
    })
    const other = render('--set', 'seLinuxType=spc_t,podSecurityContext.seLinuxOptions.level=s0')
    expect(podOf(other)['securityContext']).toMatchObject({ seLinuxOptions: { type: 'spc_t', level: 's0' } })
  })

  it('extraEnv, extraVolumes and extraVolumeMounts reach the agent', () => {
    const { containers, volumes } = podOf(renderScenario('conventional'))
    expect(containers[0]?.['env']).toEqual([
      { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
      { name: 'NODE_EXTRA_CA_CERTS', value: '/etc/company-ca/ca.crt' },
    ])
    expect(volumes).toContainEqual({ name: 'company-ca', configMap: { name: 'company-ca' } })
    expect(containers[0]?.volumeMounts).toContainEqual({
      name: 'company-ca',
      mountPath: '/etc/company-ca',
      readOnly: true,
    })
  })

  it('nodeSelector adds to Linux and may replace it', () => {
    expect(podOf(renderScenario('conventional')).nodeSelector).toEqual({
      'kubernetes.io/os': 'linux',
      'node-role.kubernetes.io/worker': '',
    })
    const replaced = podOf(render('--set', 'nodeSelector.kubernetes\\.io/os=other'))
    expect(replaced.nodeSelector).toEqual({ 'kubernetes.io/os': 'other' })
  })
})

describe('Chart.yaml', () => {
  const shape = z.looseObject({
    home: z.url(),
    sources: z.array(z.url()).min(1),
    maintainers: z.array(z.looseObject({ name: z.string(), url: z.url() })).min(1),
    annotations: z.record(z.string(), z.string()),
  })
  const chart = shape.parse(parse(readChartFile('Chart.yaml')))

  it('names what Artifact Hub shows', () => {
    expect(chart.annotations).toMatchObject({
      'artifacthub.io/category': 'security',
      'artifacthub.io/license': 'Apache-2.0',
    })
  })

  it('lists changes and links in the form that Artifact Hub reads', () => {
    const kinds = ['added', 'changed', 'deprecated', 'removed', 'fixed', 'security']
    const changes = z.array(z.strictObject({ kind: z.enum(kinds), description: z.string() })).min(1)
    const links = z.array(z.strictObject({ name: z.string(), url: z.url() })).min(1)
    expect(changes.safeParse(parse(chart.annotations['artifacthub.io/changes'] ?? '')).error).toBeUndefined()
    expect(links.safeParse(parse(chart.annotations['artifacthub.io/links'] ?? '')).error).toBeUndefined()
  })
})

function selectorOf(daemonSet: Manifest | undefined): Readonly<Record<string, string>> {
  const shape = z.looseObject({
    spec: z.looseObject({ selector: z.object({ matchLabels: z.record(z.string(), z.string()) }) }),
  })
  return shape.parse(daemonSet).spec.selector.matchLabels
}

function podLabelsOf(manifests: readonly Manifest[]): Readonly<Record<string, string>> {
  const template = z.looseObject({ metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }) })
  const shape = z.looseObject({ spec: z.looseObject({ template }) })
  return shape.parse(ofKind(manifests, 'DaemonSet')[0]).spec.template.metadata.labels
}
