import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import { SHIPPED_POLICY } from '../../src/retention/policy.ts'
import { ConfigError, loadConfig } from '../../src/config/load-config.ts'
import { SETTING_KEYS, variableName } from '../../src/config/settings.ts'

const AGE_RECIPIENT = 'age10gl9dll8vgqspj9a946ymy5gw0hs5xagfqfv4p57nhmzpmna2f6svt6r42'

const numRuns = process.env['SLOW'] === '1' ? 20_000 : 300

interface Given {
  readonly argv?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly yaml?: string
}

function load({ argv = [], env = {}, yaml }: Given): Config {
  const withFile = yaml === undefined ? argv : ['--config', 'agent.yaml', ...argv]
  return loadConfig({ argv: withFile, env, readFile: () => yaml ?? '', hostName: 'Node-A' })
}

function readMissingFile(): string {
  return readFileSync('/nowhere/agent.yaml', 'utf8')
}

function failingReadFile(): string {
  throw new Error('ENOENT: no such file or directory')
}

function mistakesOf(given: Given): readonly string[] {
  try {
    load(given)
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes
    throw error
  }
  return []
}

describe('loadConfig', () => {
  it('needs nothing: the defaults are a whole configuration', () => {
    expect(load({})).toEqual({
      node: { name: 'node-a' },
      checkpoints: { directory: '/var/lib/kubelet/checkpoints', permissions: 'enforce', rescanIntervalMs: 60_000 },
      state: { directory: '/var/lib/checkpoint-agent' },
      runtime: {
        socket: undefined,
        containerdNamespace: 'k8s.io',
        crioStorage: '/var/lib/containers/storage/overlay-containers',
      },
      server: {
        address: '127.0.0.1:9443',
        socket: '/run/checkpoint-agent/agent.sock',
        kubeletEndpoint: true,
        limits: {
          connections: 512,
          capturesPerMinute: 60,
          contentPerMinute: 600,
          inspectionsPerMinute: 120,
          verifiesPerMinute: 12,
          changesPerMinute: 120,
          accessPerMinute: 60,
        },
        auth: { mode: 'none' },
        tls: { kind: 'none' },
      },
      capture: {
        concurrency: 1,
        queueLimit: 64,
        maxDurationMs: 3_600_000,
        minimumWaitMs: 120_000,
        diskFloor: { fraction: 0.05, minFreeBytes: 2_147_483_648 },
        sizeFactor: undefined,
      },
      content: { concurrency: 8, perUser: 4, maxHoldMs: 21_600_000, requireEncryption: false, recipients: [] },
      inspection: { concurrency: 2, perUser: 1 },
      custody: { maxBytes: 1_073_741_824 },
      retention: { policy: SHIPPED_POLICY, file: undefined },
      freezeGuard: { foreign: 'report', foreignAfterMs: 300_000, intervalMs: 30_000, cgroupRoot: '/sys/fs/cgroup' },
      shutdown: { captureGraceMs: 600_000 },
      log: { level: 'info' },
      debug: { failPoint: undefined },
    } satisfies Config)
  })

  it('with authentication listens everywhere, with TLS', () => {
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' }
    const { server } = load({ argv: ['--server.auth.mode=kubernetes', '--server.auth.audiences=a, b,a'], env })
    expect(server).toMatchObject({ address: '[::]:9443', tls: { kind: 'selfSigned' } })
    expect(server.auth).toEqual({
      mode: 'kubernetes',
      api: {
        url: 'https://[fd00::1]:6443',
        tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
        caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
      },
      audiences: ['a', 'b'],
      tokenTtlMs: 120_000,
      allowTtlMs: 300_000,
      denyTtlMs: 30_000,
      clientCaFile: undefined,
      clusterCertificates: true,
    })
    const tokens = ['--server.auth.mode=tokens', '--server.auth.tokensFile=/etc/tokens.yaml']
    expect(load({ argv: [...tokens, '--server.address=10.0.0.1:1'] }).server).toMatchObject({
      address: '10.0.0.1:1',
      auth: { mode: 'tokens', tokensFile: '/etc/tokens.yaml' },
      tls: { kind: 'selfSigned' },
    })
    const files = ['--server.tls.certFile=/etc/cert', '--server.tls.keyFile=/etc/key', '--server.address=']
    expect(load({ argv: [...tokens, ...files] }).server).toMatchObject({ address: undefined, tls: { kind: 'files' } })
  })

  it('with authentication needs to know whom to ask', () => {
    expect(mistakesOf({ argv: ['--server.auth.mode=kubernetes'] })).toEqual([
      expect.stringMatching(/^kubernetes\.apiServer.*it is missing/),
    ])
    expect(mistakesOf({ argv: ['--server.auth.mode=tokens'] })).toEqual([
      expect.stringMatching(/^server\.auth\.tokensFile.*it is missing/),
    ])
  })

  it.each<{ key: string; text: string; pick: (config: Config) => unknown; expected: unknown }>([
    { key: 'node.name', text: 'ip-10-0-0-1.internal', pick: (c) => c.node.name, expected: 'ip-10-0-0-1.internal' },
    {
      key: 'checkpoints.directory',
      text: '/data//ckpt/',
      pick: (c) => c.checkpoints.directory,
      expected: '/data/ckpt',
    },
    { key: 'state.directory', text: '/', pick: (c) => c.state.directory, expected: '/' },
    {
      key: 'runtime.socket',
      text: '/run/crio/crio.sock',
      pick: (c) => c.runtime.socket,
      expected: '/run/crio/crio.sock',
    },
    { key: 'runtime.socket', text: 'unix:///run/c.sock', pick: (c) => c.runtime.socket, expected: '/run/c.sock' },
    { key: 'runtime.crioStorage', text: '/srv/crio', pick: (c) => c.runtime.crioStorage, expected: '/srv/crio' },
    { key: 'runtime.containerdNamespace', text: 'moby', pick: (c) => c.runtime.containerdNamespace, expected: 'moby' },
    { key: 'server.address', text: '[::1]:80', pick: (c) => c.server.address, expected: '[::1]:80' },
    { key: 'server.address', text: 'localhost:0', pick: (c) => c.server.address, expected: 'localhost:0' },
    { key: 'server.address', text: '127.9.9.9:65535', pick: (c) => c.server.address, expected: '127.9.9.9:65535' },
    { key: 'server.address', text: '', pick: (c) => c.server.address, expected: undefined },
    { key: 'server.socket', text: '', pick: (c) => c.server.socket, expected: undefined },
    { key: 'server.kubeletEndpoint', text: 'False', pick: (c) => c.server.kubeletEndpoint, expected: false },
    { key: 'server.limits.connections', text: '16', pick: (c) => c.server.limits.connections, expected: 16 },
    {
      key: 'server.limits.capturesPerMinute',
      text: '1',
      pick: (c) => c.server.limits.capturesPerMinute,
      expected: 1,
    },
    {
      key: 'server.limits.contentPerMinute',
      text: '100000',
      pick: (c) => c.server.limits.contentPerMinute,
      expected: 100_000,
    },
    ...(['inspectionsPerMinute', 'verifiesPerMinute', 'changesPerMinute', 'accessPerMinute'] as const).map((name) => ({
      key: `server.limits.${name}` as const,
      text: '7',
      pick: (c: Config) => c.server.limits[name],
      expected: 7,
    })),
    { key: 'inspection.concurrency', text: '64', pick: (c) => c.inspection.concurrency, expected: 64 },
    { key: 'inspection.perUser', text: '3', pick: (c) => c.inspection.perUser, expected: 3 },
    { key: 'server.tls.selfSigned', text: 'true', pick: (c) => c.server.tls, expected: { kind: 'selfSigned' } },
    { key: 'capture.concurrency', text: '16', pick: (c) => c.capture.concurrency, expected: 16 },
    { key: 'capture.queueLimit', text: '1', pick: (c) => c.capture.queueLimit, expected: 1 },
    { key: 'capture.maxDuration', text: '7d', pick: (c) => c.capture.maxDurationMs, expected: 604_800_000 },
    { key: 'capture.minimumWait', text: '1s', pick: (c) => c.capture.minimumWaitMs, expected: 1000 },
    { key: 'capture.diskFloor.percent', text: '0%', pick: (c) => c.capture.diskFloor.fraction, expected: 0 },
    { key: 'capture.diskFloor.minFree', text: '500M', pick: (c) => c.capture.diskFloor.minFreeBytes, expected: 5e8 },
    { key: 'capture.sizeFactor', text: '2.5', pick: (c) => c.capture.sizeFactor, expected: 2.5 },
    { key: 'content.concurrency', text: '1000', pick: (c) => c.content.concurrency, expected: 1000 },
    { key: 'custody.maxSize', text: '64MiB', pick: (c) => c.custody.maxBytes, expected: 67_108_864 },
    { key: 'content.perUser', text: '1', pick: (c) => c.content.perUser, expected: 1 },
    { key: 'content.maxHold', text: '0s', pick: (c) => c.content.maxHoldMs, expected: 0 },
    {
      key: 'content.recipients',
      text: ` ${AGE_RECIPIENT.toUpperCase()},${AGE_RECIPIENT}  `,
      pick: (c) => c.content.recipients,
      expected: [AGE_RECIPIENT],
    },
    { key: 'freezeGuard.foreign', text: 'resume', pick: (c) => c.freezeGuard.foreign, expected: 'resume' },
    { key: 'freezeGuard.foreignAfter', text: '0s', pick: (c) => c.freezeGuard.foreignAfterMs, expected: 0 },
    { key: 'freezeGuard.interval', text: '100ms', pick: (c) => c.freezeGuard.intervalMs, expected: 100 },
    {
      key: 'freezeGuard.cgroupRoot',
      text: '/host/cgroup',
      pick: (c) => c.freezeGuard.cgroupRoot,
      expected: '/host/cgroup',
    },
    { key: 'shutdown.captureGrace', text: '0s', pick: (c) => c.shutdown.captureGraceMs, expected: 0 },
    { key: 'log.level', text: 'debug', pick: (c) => c.log.level, expected: 'debug' },
    {
      key: 'debug.failPoint',
      text: 'capture.after-dump',
      pick: (c) => c.debug.failPoint,
      expected: 'capture.after-dump',
    },
  ])('takes $key: "$text" from file, variable and flag alike', ({ key, text, pick, expected }) => {
    const parts = key.split('.')
    const yaml = parts.map((part, depth) => `${'  '.repeat(depth)}${part}:`).join('\n') + ` ${JSON.stringify(text)}`
    expect(pick(load({ yaml }))).toEqual(expected)
    expect(pick(load({ env: { [variableName(key as 'node.name')]: text } }))).toEqual(expected)
    expect(pick(load({ argv: [`--${key}=${text}`] }))).toEqual(expected)
    expect(pick(load({ argv: [`--${key}`, text] }))).toEqual(expected)
  })

  it.each([
    ['node.name=a b', 'it must be letters and digits, with ".", "_" and "-" only between them'],
    [`node.name=${'a'.repeat(254)}`, 'it must not have more than 253 characters'],
    ['checkpoints.directory=', 'it must not be empty'],
    ['checkpoints.directory=data', 'it must be an absolute path, one that begins with "/"'],
    ['checkpoints.directory=/data\0', 'it must not hold a zero byte'],
    [
      'state.directory=/var/lib/kubelet/checkpoints/state',
      'it must not be inside checkpoints.directory: others delete files there',
    ],
    [
      'state.directory=/var/lib/kubelet/checkpoints',
      'it must not be inside checkpoints.directory: others delete files there',
    ],
    ['runtime.socket=tcp://127.0.0.1:1', 'it must be an absolute path, one that begins with "/"'],
    ['runtime.socket=/run/', 'it must be the path of a socket, not of a folder'],
    ['runtime.containerdNamespace=', 'it must be letters and digits, with ".", "_" and "-" only between them'],
    ['server.address=9443', 'it must be host:port, an IPv6 address in brackets, such as 127.0.0.1:9443 or [::1]:9443'],
    [
      'server.address=::1:9443',
      'it must be host:port, an IPv6 address in brackets, such as 127.0.0.1:9443 or [::1]:9443',
    ],
    [
      'server.address=[::g]:1',
      'it must be host:port, an IPv6 address in brackets, such as 127.0.0.1:9443 or [::1]:9443',
    ],
    [
      'server.address=127.0.0.300:1',
      'it must be host:port, an IPv6 address in brackets, such as 127.0.0.1:9443 or [::1]:9443',
    ],
    [
      'server.address=127.0.0.1:70000',
      'it must be host:port, an IPv6 address in brackets, such as 127.0.0.1:9443 or [::1]:9443',
    ],
    ['server.address=0.0.0.0:9443', expect.stringContaining('it must be a loopback address')],
    ['server.address=[::]:9443', expect.stringContaining('it must be a loopback address')],
    ['server.address=127.0.0.1.example.com:80', expect.stringContaining('it must be a loopback address')],
    [
      `server.socket=/${'a'.repeat(107)}`,
      'it must not be longer than 107 bytes: the system allows no more for a socket',
    ],
    ['server.kubeletEndpoint=yes', 'it must be true or false'],
    ['kubernetes.apiServer=http://10.96.0.1', 'it must be https://host:port and nothing more'],
    ['kubernetes.apiServer=https://ada:secret@10.96.0.1', 'it must be https://host:port and nothing more'],
    ['kubernetes.apiServer=https://10.96.0.1/api', 'it must be https://host:port and nothing more'],
    ['server.auth.mode=open', 'it must be kubernetes, tokens or none'],
    ['server.tls.certFile=cert.pem', 'it must be an absolute path, one that begins with "/"'],
    ['capture.concurrency=0', 'it must be a whole number from 1 to 16'],
    ['capture.concurrency=17', 'it must be a whole number from 1 to 16'],
    ['capture.concurrency=1.5', 'it must be a whole number from 1 to 16'],
    ['capture.queueLimit=-1', 'it must be a whole number from 1 to 10000'],
    ['capture.maxDuration=90', 'it needs a unit, such as "90h"'],
    ['content.maxHold=6', 'it needs a unit, such as "6h"'],
    ['freezeGuard.interval=30', 'it needs a unit, such as "30s" or "30m"'],
    ['capture.maxDuration=30d', 'it must not be more than 7d'],
    ['capture.minimumWait=500ms', 'it must not be less than 1s'],
    ['capture.minimumWait=1s500ms', 'it must be whole seconds, not 1s500ms'],
    ['capture.diskFloor.percent=5', 'it needs a percent sign, such as "5%"'],
    ['capture.diskFloor.percent=0.05', 'it needs a percent sign, such as "5%"'],
    ['capture.diskFloor.percent=100%', 'it must be less than 100%'],
    ['capture.diskFloor.minFree=lots', 'it must be bytes, with or without a unit, such as "2GiB", "500M" or "4096"'],
    ['capture.sizeFactor=0', 'it must be a number greater than 0 and not more than 100, such as 4 or 2.5'],
    ['capture.sizeFactor=many', 'it must be a number greater than 0 and not more than 100, such as 4 or 2.5'],
    ['content.concurrency=0', 'it must be a whole number from 1 to 1000'],
    ['content.recipients=age1', 'it is too short'],
    [
      `content.recipients=${AGE_RECIPIENT},ssh-ed25519`,
      'number 2 is no recipient: it is an SSH key; only age keys are supported',
    ],
    ['freezeGuard.foreign=kill', 'it must be report or resume'],
    ['freezeGuard.interval=10ms', 'it must not be less than 100ms'],
    ['log.level=loud', 'it must be debug, info, warn or error'],
  ])('refuses %s', (assignment, reason: string) => {
    const [key, text] = [assignment.slice(0, assignment.indexOf('=')), assignment.slice(assignment.indexOf('=') + 1)]
    const mistakes = mistakesOf({ argv: [`--${assignment}`] })
    expect(mistakes).toHaveLength(1)
    const shown = (text.length > 200 ? `${text.slice(0, 200)}…` : text).replace('\0', String.raw`\x00`)
    const [, found] = new RegExp(`^${key}: (.*) \\(got "`, 's').exec(mistakes[0] ?? '') ?? []
    expect(found).toEqual(reason)
    expect(mistakes[0]).toContain(`(got "${shown}") in flag --${key}`)
  })

  it.each([
    [
      'neither address nor socket',
      ['--server.address=', '--server.socket='],
      'server.address: it must not be empty together with server.socket',
    ],
    ['a certificate without its key', ['--server.tls.certFile=/c'], 'server.tls.keyFile: it is missing'],
    ['a key without its certificate', ['--server.tls.keyFile=/k'], 'server.tls.certFile: it is missing'],
    [
      'a certificate beside selfSigned',
      ['--server.tls.keyFile=/k', '--server.tls.certFile=/c', '--server.tls.selfSigned'],
      'server.tls.selfSigned: it must be false where server.tls.certFile',
    ],
  ])('refuses %s', (_, argv, beginning) => {
    const mistakes = mistakesOf({ argv })
    expect(mistakes).toHaveLength(1)
    expect(mistakes[0]?.slice(0, beginning.length)).toBe(beginning)
  })

  it('takes certificate and key together', () => {
    const { tls } = load({ argv: ['--server.tls.keyFile=/k.pem', '--server.tls.certFile=/c.pem'] }).server
    expect(tls).toEqual({ kind: 'files', certFile: '/c.pem', keyFile: '/k.pem' })
  })
})

describe('the order of the sources', () => {
  const yaml = 'log:\n  level: warn\ncapture:\n  concurrency: 2\n  queueLimit: 2\n'
  const env = { CHECKPOINT_AGENT_CAPTURE_CONCURRENCY: '3', CHECKPOINT_AGENT_CAPTURE_QUEUE_LIMIT: '3' }
  const argv = ['--capture.queueLimit=4']

  it('is defaults, file, variables, flags', () => {
    const { log, capture, freezeGuard } = load({ yaml, env, argv })
    expect([freezeGuard.foreign, log.level, capture.concurrency, capture.queueLimit]).toEqual(['report', 'warn', 3, 4])
  })

  it('does not hide what is wrong in a source that is overridden', () => {
    expect(mistakesOf({ yaml: 'capture:\n  queueLimit: none\n', argv })).toEqual([
      'capture.queueLimit: it must be a whole number from 1 to 10000 (got "none") in agent.yaml line 2',
    ])
  })

  it('lets the last of two equal flags count', () => {
    expect(load({ argv: ['--log.level=warn', '--log.level', 'error'] }).log.level).toBe('error')
  })
})

describe('the name of the node', () => {
  it.each([
    { name: 'is the setting', argv: ['--node.name=from-flag'], env: { NODE_NAME: 'from-env' }, expected: 'from-flag' },
    { name: 'is NODE_NAME without the setting', argv: [], env: { NODE_NAME: 'from-env' }, expected: 'from-env' },
    { name: 'is the name of the host without both', argv: [], env: { NODE_NAME: '' }, expected: 'node-a' },
  ])('$name', ({ argv, env, expected }) => {
    expect(load({ argv, env }).node.name).toBe(expected)
  })

  it('must be a name in NODE_NAME too', () => {
    expect(mistakesOf({ env: { NODE_NAME: '$(NODE)' } })).toEqual([
      'node.name: it must be letters and digits, with ".", "_" and "-" only between them (got "$(NODE)") in variable NODE_NAME',
    ])
  })
})

describe('mistakes', () => {
  it('are reported all at once, each with key, reason, value and place', () => {
    const yaml = `
capture:
  minimumWait: 3 weeks
  concurency: 2
  diskFloor: 4
queueLimit: 3
log:
  level:
server:
  address: [a, b]
  tls.certFile: /c
`
    const given = {
      yaml,
      env: { CHECKPOINT_AGENT_SERVER_ADRESS: 'x' },
      argv: ['--freezeGuard.intervall=1s', 'stray', '--server.socket'],
    }
    expect(mistakesOf(given)).toEqual([
      'capture.concurency: there is no such setting; did you mean capture.concurrency? in agent.yaml line 4',
      'capture.diskFloor: it must be a section, with settings below it (got "4") in agent.yaml line 5',
      'queueLimit: there is no such setting; did you mean capture.queueLimit? in agent.yaml line 6',
      'log.level: it has no value; to leave it empty write "" in agent.yaml line 8',
      'server.address: it must be a single value in agent.yaml line 10',
      'server.tls.certFile: write it nested, one section for each dot in agent.yaml line 11',
      'CHECKPOINT_AGENT_SERVER_ADRESS: there is no such setting; did you mean CHECKPOINT_AGENT_SERVER_ADDRESS? (got "x")',
      '--freezeGuard.intervall: there is no such flag; did you mean --freezeGuard.interval?',
      'command line: it takes flags only, such as --server.address=127.0.0.1:9443 (got "stray")',
      '--server.socket: it needs a value',
      'capture.minimumWait: it must be whole numbers with the units d, h, m, s or ms, such as "90s" or "1h30m" (got "3 weeks") in agent.yaml line 3',
    ])
  })

  it('make one error that shows them all', () => {
    expect(() => load({ argv: ['--log.level=x', '--capture.concurrency=y'] })).toThrow(
      new ConfigError([
        'capture.concurrency: it must be a whole number from 1 to 16 (got "y") in flag --capture.concurrency',
        'log.level: it must be debug, info, warn or error (got "x") in flag --log.level',
      ]),
    )
  })

  it.each([
    [
      'a file that is not YAML',
      'a: [',
      expect.stringMatching(/^--config: cannot be read as YAML: .* in agent\.yaml line 1$/),
    ],
    [
      'a key given twice',
      'log: {}\nlog: {}',
      '--config: cannot be read as YAML: Map keys must be unique in agent.yaml line 2',
    ],
    [
      'two documents',
      'log: {}\n---\nlog: {}',
      '--config: cannot be read as YAML: it must hold one document in agent.yaml line 2',
    ],
    ['a list', '- a', '--config: must hold keys and values in agent.yaml'],
    ['a key that is no word', '{a: b}: c', '?: a key must be a plain word in agent.yaml line 1'],
    ['a tag', 'log: !secret {level: info}', expect.stringContaining('Unresolved tag: !secret')],
    [
      'very deep nesting',
      `log: ${'['.repeat(20_000)}${']'.repeat(20_000)}`,
      '--config: cannot be read as YAML: it is nested too deeply in agent.yaml line 1',
    ],
  ])('name %s', (_, yaml, mistake: string) => {
    expect(mistakesOf({ yaml })).toContainEqual(mistake)
  })

  it('name a file that cannot be read', () => {
    expect(() => loadConfig({ argv: ['--config=/etc/none.yaml'], env: {}, readFile: failingReadFile })).toThrow(
      new ConfigError(['--config: cannot be read: ENOENT: no such file or directory (got "/etc/none.yaml")']),
    )
  })

  it('name a file that is not there, and say what to do', () => {
    expect(() => loadConfig({ argv: ['--config=agent.yaml'], env: {}, readFile: readMissingFile })).toThrow(
      /--config: there is no such file; write it \(docs\/reference\/configuration\.md\), or leave --config out .*\(got "agent\.yaml"\)/,
    )
  })

  it('name a second --config and one without a value', () => {
    expect(mistakesOf({ yaml: '', argv: ['--config', 'b.yaml', '--config'] })).toEqual([
      '--config: it was given twice (got "b.yaml")',
      '--config: it needs a value',
    ])
  })

  it('show control characters escaped and long values cut', () => {
    const [mistake] = mistakesOf({ argv: [`--log.level=\u001b[2J${'x'.repeat(1000)}`] })
    expect(mistake).toContain(String.raw`(got "\x1b[2Jxxx`)
    expect(mistake?.length).toBeLessThan(400)
  })
})

describe('a YAML file', () => {
  it.each([
    ['is empty', ''],
    ['has only comments', '# nothing\n'],
    ['has a section with all its settings commented out', 'capture:\n#  concurrency: 2\n'],
  ])('may be one that %s', (_, yaml) => {
    const { retention } = load({})
    expect(load({ yaml })).toEqual({ ...load({}), retention: { ...retention, file: 'agent.yaml' } })
  })

  it('may use anchors', () => {
    expect(
      load({ yaml: 'capture: {maxDuration: &time 5m}\nshutdown: {captureGrace: *time}' }).shutdown.captureGraceMs,
    ).toBe(300_000)
  })

  it('gives numbers as they are written', () => {
    expect(mistakesOf({ yaml: 'capture: {concurrency: 0x2}' })).toEqual([
      'capture.concurrency: it must be a whole number from 1 to 16 (got "0x2") in agent.yaml line 1',
    ])
  })
})

describe('variables that Kubernetes sets for Services', () => {
  it('are ignored', () => {
    const env = {
      CHECKPOINT_AGENT_SERVICE_HOST: '10.96.0.7',
      CHECKPOINT_AGENT_SERVICE_PORT: '9443',
      CHECKPOINT_AGENT_SERVICE_PORT_HTTPS: '9443',
      CHECKPOINT_AGENT_PORT: 'tcp://10.96.0.7:9443',
      CHECKPOINT_AGENT_PORT_9443_TCP: 'tcp://10.96.0.7:9443',
      CHECKPOINT_AGENT_PORT_9443_TCP_ADDR: '10.96.0.7',
      CHECKPOINT_AGENT_PORT_9443_TCP_PORT: '9443',
      CHECKPOINT_AGENT_PORT_9443_TCP_PROTO: 'tcp',
      CHECKPOINT_AGENT_METRICS_SERVICE_HOST: '10.96.0.8',
      CHECKPOINT_AGENT_METRICS_PORT_80_TCP_ADDR: '10.96.0.8',
    }
    expect(load({ env })).toEqual(load({}))
  })

  it.each(['CHECKPOINT_AGENT_SERVER_PORT', 'CHECKPOINT_AGENT_PORT'])(
    'are told from a %s that is no such address',
    (variable) => {
      expect(mistakesOf({ env: { [variable]: '9443' } })).toEqual([
        `${variable}: there is no such setting (got "9443")`,
      ])
    },
  )
})

it('leaves the folders of the development tools alone', () => {
  const env = { CHECKPOINT_AGENT_CACHE: '/var/cache/x', CHECKPOINT_AGENT_CLUSTER: '/var/tmp/x' }
  expect(load({ env })).toEqual(load({}))
})

describe('any input', () => {
  const keys = fc.constantFrom(...SETTING_KEYS)
  const texts = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', 'true', '5%', '1h', '2GiB', '/a', '127.0.0.1:1', '[::1]:1', 'none', '__proto__', 'constructor'),
  )
  const words = fc.oneof(
    texts,
    fc.tuple(keys, texts).map(([key, text]) => `--${key}=${text}`),
    keys.map((key) => `--${key}`),
    texts.map((text) => `--${text}`),
  )
  const yamls = fc.oneof(
    texts,
    fc.json(),
    fc
      .dictionary(
        fc.oneof(fc.constantFrom('server', 'capture', 'log', '__proto__', 'toString', '*a', '<<'), texts),
        fc.jsonValue(),
      )
      .map((value) => JSON.stringify(value)),
    fc
      .array(
        fc.constantFrom(
          'server:',
          'log:',
          '  level:',
          ' &a',
          ' *a',
          '\n',
          ' ',
          '- ',
          '? ',
          ': ',
          '{',
          '}',
          '!!set',
          '"',
          '|',
          '%',
          '\t',
          '<<:',
        ),
      )
      .map((parts) => parts.join('')),
  )

  it('gives a configuration or a ConfigError, nothing else', { timeout: 300_000 }, () => {
    const env = fc.dictionary(
      fc.oneof(
        keys.map(variableName),
        texts.map((text) => `CHECKPOINT_AGENT_${text}`),
      ),
      texts,
      { maxKeys: 4 },
    )
    fc.assert(
      fc.property(fc.array(words, { maxLength: 5 }), env, yamls, (argv, variables, yaml) => {
        expect(outcomeOf({ argv, env: variables, yaml })).toMatch(/^(?:loaded|refused with reasons)$/)
      }),
      { numRuns },
    )
  })
})

function outcomeOf(given: Given): string {
  try {
    load(given)
    return 'loaded'
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.mistakes.length > 0 ? 'refused with reasons' : 'refused'
  }
}
