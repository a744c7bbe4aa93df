import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import {
  CHART,
  configOf,
  helm,
  KUBERNETES,
  ofKind,
  podOf,
  readChartFile,
  render,
  renderScenario,
  runHelm,
  SCENARIOS,
  scenarioFile,
} from './rendered-chart.ts'

if (helm === undefined)
  console.warn('charts: helm is not there, its tests are skipped; test/cluster/prepare helm builds it')

describe.skipIf(helm === undefined)('the chart, as helm renders it', () => {
  it.each(SCENARIOS)('has nothing that helm complains about: %s', (scenario) => {
    const output = runHelm('lint', '--strict', '--kube-version', KUBERNETES, '--values', scenarioFile(scenario), CHART)
    expect(output).toContain('0 chart(s) failed')
  })

  it.each(SCENARIOS)('keeps everything with a namespace in its own, kube-system aside: %s', (scenario) => {
    const manifests = renderScenario(scenario)
    const elsewhere = manifests.filter(({ metadata }) => ![undefined, 'ckpt'].includes(metadata.namespace))
    expect(elsewhere.map(({ kind, metadata }) => `${kind} in ${metadata.namespace}`)).toEqual(
      scenario === 'socket-only' ? [] : ['Role in kube-system', 'RoleBinding in kube-system'],
    )
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''} ${metadata.name}`)
    expect(new Set(names).size).toBe(names.length)
  })

  it('gives the agent the configuration of the values', () => {
    const config = configOf(render('--set', 'config.capture.minimumWait=60s', '--set', 'config.capture.queueLimit=7'))
    expect(config.capture).toMatchObject({ minimumWaitMs: 60_000, queueLimit: 7 })
  })

  it.each(SCENARIOS)('gives the agent a configuration that it takes: %s', (scenario) => {
    expect(configOf(renderScenario(scenario)).checkpoints.directory).toMatch(/^\//)
  })

  it.each([
    { name: 'a setting that does not exist', flags: ['config.capture.queueLimits=7'], says: /queueLimits/ },
    { name: 'a preset that does not exist', flags: ['preset=k4s'], says: /preset/ },
    {
      name: 'a reachable port without a check of who calls',
      flags: ['config.server.auth.mode=none'],
      says: /loopback/,
    },
    { name: 'a grace that ends captures early', flags: ['terminationGracePeriodSeconds=600'], says: /at least 630/ },
    { name: 'a certificate without an issuer', flags: ['tls.certManager.enabled=true'], says: /which issuer/ },
    {
      name: 'neither an address nor a socket',
      flags: ['config.server.address='],
      says: /config\/server\/address': minLength.*\n.*config\/server\/socket': minLength/,
    },
    {
      name: 'both monitors',
      flags: ['metrics.podMonitor.enabled=true', 'metrics.serviceMonitor.enabled=true'],
      says: /enable one of them, because with both Prometheus scrapes every agent twice/,
    },
    {
      name: 'a pod that must not run as root',
      flags: ['podSecurityContext.runAsNonRoot=true'],
      says: /podSecurityContext\/runAsNonRoot/,
    },
    { name: 'another NODE_NAME', flags: ['extraEnv[0].name=NODE_NAME'], says: /extraEnv\/0\/name/ },
    {
      name: 'a scrape interval without a unit',
      flags: ['metrics.podMonitor.interval=30'],
      says: /podMonitor\/interval/,
    },
  ])('refuses $name', ({ flags, says }) => {
    expect(() => render(...flags.flatMap((flag) => ['--set', flag]))).toThrow(says)
  })

  it.each([
    ['10m', 630],
    ['1h30m', 5430],
    ['1d', 86_430],
    ['90s', 120],
    ['1m500ms', 90],
    ['0s', 30],
  ])('waits for captures in flight when a pod ends: a grace of %s is %i seconds', (grace, seconds) => {
    expect(podOf(render('--set', `config.shutdown.captureGrace=${grace}`)).terminationGracePeriodSeconds).toBe(seconds)
  })

  it('takes null and 0 for a computed grace period', () => {
    const seconds = ['null', '0'].map(
      (value) => podOf(render('--set', `terminationGracePeriodSeconds=${value}`)).terminationGracePeriodSeconds,
    )
    expect(seconds).toEqual([630, 630])
    expect(parse(readChartFile('values.yaml'))).toMatchObject({ terminationGracePeriodSeconds: null })
  })

  it('makes new pods when the configuration changes, and only then', () => {
    const [checksum, same, other] = [[], ['--set', 'access.aggregate=true'], ['--set', 'config.log.level=debug']].map(
      (flags) => /"checksum\/config":"(\w+)"/.exec(JSON.stringify(ofKind(render(...flags), 'DaemonSet')))?.[1],
    )
    expect(checksum).toHaveLength(64)
    expect(same).toBe(checksum)
    expect(other).not.toBe(checksum)
  })

  it.each([
    { flags: [], image: 'checkpoint-agent:0.1.0' },
    {
      flags: ['--set', 'image.repository=localhost/checkpoint-agent,image.tag=dev'],
      image: 'localhost/checkpoint-agent:dev',
    },
    {
      flags: ['--values', scenarioFile('own-folders')],
      image: /^registry\.example\.com\/tools\/checkpoint-agent@sha256:0{64}$/,
    },
    {
      flags: ['--set', 'image.registry=registry.example.com,image.repository=tools/agent'],
      image: /^registry\.example\.com\/tools\/agent:0\.1\.0$/,
    },
    {
      flags: ['--set', 'global.imageRegistry=mirror.example.com,image.registry=registry.example.com'],
      image: /^mirror\.example\.com\/checkpoint-agent:0\.1\.0$/,
    },
    {
      flags: ['--values', scenarioFile('own-folders'), '--set', 'global.imageRegistry=mirror.example.com/all'],
      image: /^mirror\.example\.com\/all\/tools\/checkpoint-agent@sha256:0{64}$/,
    },
  ])('runs the image it is told to: $image', ({ flags, image }) => {
    expect(podOf(render(...flags)).containers[0]?.image).toMatch(image)
  })

  it('asks over the unix socket where there is no port', () => {
    const manifests = renderScenario('socket-only')
    expect(JSON.stringify(podOf(manifests).containers[0]?.['readinessProbe'])).toContain(
      '/run/checkpoint-agent/agent.sock',
    )
    expect(ofKind(manifests, 'Service')).toEqual([])
  })

  it('asks over TLS where there is one', () => {
    expect(podOf(render()).containers[0]).toMatchObject({
      readinessProbe: { httpGet: { path: '/readyz', scheme: 'HTTPS' } },
      livenessProbe: { httpGet: { path: '/healthz', scheme: 'HTTPS' } },
    })
  })

  it('gives the agent the certificate that cert-manager makes', () => {
    const manifests = renderScenario('service-monitor')
    expect(ofKind(manifests, 'Certificate')[0]).toMatchObject({ spec: { secretName: 'agent-checkpoint-agent-tls' } })
    expect(podOf(manifests).volumes).toContainEqual({
      name: 'tls',
      secret: { secretName: 'agent-checkpoint-agent-tls', defaultMode: 0o400 },
    })
  })
})
