import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { helm } from '../charts/rendered-chart.ts'
import { agentProgram, startAgentProcess, type AgentProcess } from './agent-process.ts'
import { startImageRegistry } from './image-registry.ts'
import { ociImageTar } from './oci-image.ts'
import type { Terminal } from './pasted-commands.ts'

const ROOT = join(import.meta.dirname, '../..')

/** What a block is run with: an agent with the pods of the demo, a terminal, one checkpoint. */
export interface Scene {
  readonly agent: AgentProcess
  readonly folder: string
  readonly terminal: Terminal
  readonly checkpoint: { readonly id: string; readonly sha256: string; readonly sizeBytes: number }
}

/** A block is named by its page and a text that no other block of that page has in it. */
export interface Named {
  readonly page: string
  readonly has: string
}

export interface RunHere extends Named {
  readonly run: (commands: string, scene: Scene) => Promise<void>
  /** What a block needs beyond `bash`, `curl` and the like: without it, the block is skipped with this reason. */
  readonly missing?: () => string | undefined
}

const REGISTRY = 'registry.example.com'

/** Run by this file. */
export const HERE: readonly RunHere[] = [
  {
    page: 'README.md',
    has: 'make demo',
    // The rest of it, until Ctrl-C, is what test/demo and test/e2e/demo.test.ts run.
    run: async (commands, { terminal }) => {
      const printed = await terminal.paste(commands.replace('make ', `make -C '${ROOT}' --dry-run `))
      expect(printed).toContain('node tools/demo/demo.ts')
    },
  },
  {
    page: 'README.md',
    has: '/v1/retention/plan',
    run: async (commands, { terminal }) => {
      const said = await terminal.paste(commands)
      expect(said).toContain('"container":"counter"')
      expect(said).toContain('"reason":"before the update"')
      expect(said).toContain('"action":"content"')
      expect(readdirSync(terminal.folder).filter((name) => name.endsWith('.tar'))).toHaveLength(1)
    },
  },
  {
    page: 'README.md',
    has: 'node dist/main.js --config agent.yaml',
    run: async (commands, { terminal, folder }) => {
      const here = commands
        .replace('make build', `make -C '${ROOT}' --dry-run build`)
        .replace('/run/checkpoint-agent/agent.sock', join(folder, 'run/agent.sock'))
        .replace('/var/lib/kubelet/checkpoints', join(folder, 'node-checkpoints'))
        .replace('dist/main.js', `'${agentProgram()}'`)
      expect(await terminal.pasteUntil(here, /"checkpoint-agent is ready"/)).toContain('node-checkpoints')
    },
  },
  {
    page: 'README.md',
    has: 'buildah push',
    missing: whyNoBuildah,
    run: async (commands, { terminal }) => {
      // As `make image` writes it, which test/e2e/image.test.ts runs.
      const archive = join(terminal.folder, 'checkpoint-agent.tar')
      writeFileSync(
        archive,
        ociImageTar([{ name: 'localhost/checkpoint-agent:dev', entrypoint: ['/x'] }], Buffer.of(0)),
      )
      const registry = await startImageRegistry()
      try {
        const here = commands.replace('make ', `make -C '${ROOT}' --dry-run `).replace(REGISTRY, registry.address)
        await terminal.paste(`${buildahSettings(terminal.folder, registry.address)}\n${here}`)
        expect(registry.pushed()).toEqual(['checkpoint-agent:0.1.0'])
      } finally {
        await registry.close()
        rmSync(archive)
      }
    },
  },
  {
    page: 'docs/install.md',
    has: 'helm push',
    missing: () => (helm === undefined ? 'there is no helm: test/cluster/prepare helm' : undefined),
    run: async (commands, { terminal }) => {
      const registry = await startImageRegistry()
      try {
        const here = commands
          .replace('charts/checkpoint-agent', join(ROOT, 'charts/checkpoint-agent'))
          .replace('helm push', 'helm push --plain-http')
          .replace(REGISTRY, registry.address)
        await terminal.paste(`PATH='${dirname(helm ?? '')}':$PATH\n${here}`)
        expect(registry.pushed()).toEqual(['charts/checkpoint-agent:0.1.0'])
      } finally {
        await registry.close()
      }
    },
  },
  {
    page: 'docs/quickstart.md',
    has: '-X POST http://127.0.0.1:9443/checkpoint/',
    run: async (commands, { terminal }) => {
      expect(JSON.parse(await terminal.paste(commands))).toMatchObject({ items: [expect.stringMatching(/\.tar$/)] })
    },
  },
  {
    page: 'docs/quickstart.md',
    has: 'first try',
    run: async (commands, { terminal }) => {
      expect(JSON.parse(await terminal.paste(commands))).toMatchObject({ items: [{ identity: { pod: 'web-0' } }] })
    },
  },
  {
    page: 'docs/quickstart.md',
    has: 'sort=-takenAt',
    run: async (commands, { agent, terminal }) => {
      await untilAllAreReady(agent)
      const [newest] = (JSON.parse(await terminal.paste(commands)) as { items: object[] }).items
      expect(newest).toMatchObject({ state: 'ready', reason: 'first try', sha256: expect.any(String) as string })
    },
  },
  {
    page: 'docs/quickstart.md',
    has: '-o checkpoint.tar',
    run: async (commands, { terminal }) => {
      expect(await terminal.paste(commands)).toBe('checkpoint.tar: OK\n')
      rmSync(join(terminal.folder, 'checkpoint.tar'))
    },
  },
  {
    page: 'docs/quickstart.md',
    has: 'rootfs-diff',
    run: async (commands, { terminal }) => {
      const said = await terminal.paste(commands)
      expect(said).toContain('config.dump\n')
      expect(said).toContain('"path":"/tmp/count"')
    },
  },
  {
    page: 'docs/quickstart.md',
    has: '/v1/custody',
    run: async (commands, { terminal }) => {
      expect(await terminal.paste(commands)).toMatch(/^\[\d+,"content","intended"\]$/m)
    },
  },
  {
    page: 'docs/guides/incident-runbook.md',
    has: '{canCheckpoint, disk, captures}',
    run: async (commands, { terminal }) => {
      expect(JSON.parse(await terminal.paste(commands))).toMatchObject({ canCheckpoint: { state: 'yes' } })
    },
  },
  {
    page: 'docs/guides/incident-runbook.md',
    has: '"pin":true',
    run: async (commands, { agent, terminal }) => {
      const { items } = JSON.parse(await terminal.paste(commands)) as { items: { id: string }[] }
      expect(items).toHaveLength(1)
      const kept = await agent.request('GET', `/v1/checkpoints/${items[0]?.id ?? ''}`)
      expect(kept.json()).toMatchObject({ reason: 'incident 4711', pin: {} })
    },
  },
  {
    page: 'docs/guides/incident-runbook.md',
    has: 'state, sha256, sizeBytes',
    run: async (commands, { agent, terminal }) => {
      await untilAllAreReady(agent)
      const found = JSON.parse(await terminal.paste(commands)) as object
      expect(found).toMatchObject({ state: 'ready', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string })
    },
  },
  {
    page: 'docs/guides/incident-runbook.md',
    has: 'custody-head.json',
    run: async (commands, { terminal }) => {
      await terminal.paste(commands)
      const head = JSON.parse(readFileSync(join(terminal.folder, 'custody-head.json'), 'utf8')) as object
      expect(head).toMatchObject({ payloadType: expect.any(String) as string })
      expect(readFileSync(join(terminal.folder, 'custody.jsonl'), 'utf8')).toContain('"action":"capture"')
    },
  },
  {
    page: 'docs/guides/incident-runbook.md',
    has: 'verify-manifest',
    run: async (commands, { terminal }) => {
      // With the files that the block before it has fetched.
      expect(await terminal.paste(commands)).toMatch(/\nauthentic\n$/)
    },
  },
  {
    page: 'docs/guides/recover-a-disk.md',
    has: 'jq .disk',
    run: async (commands, { terminal }) => {
      const said = await terminal.paste(commands)
      expect(said).toContain('"archiveBytes": ')
      expect(said).toMatch(/^\[\d+,"ready","checkpoint-/m)
    },
  },
  {
    page: 'docs/guides/recover-a-disk.md',
    has: '{totals, blocked, diskNotOurs}',
    run: async (commands, { terminal }) => {
      expect(JSON.parse(await terminal.paste(commands))).toMatchObject({ totals: { removedArchives: 0 } })
    },
  },
  {
    page: 'docs/guides/recover-a-disk.md',
    has: '"maxCount"',
    run: async (commands, { terminal }) => {
      expect(JSON.parse(await terminal.paste(commands))).toMatchObject({
        removedArchives: expect.any(Number) as number,
      })
    },
  },
  {
    page: 'docs/guides/recover-a-disk.md',
    has: '/v1/retention/sweep',
    run: async (commands, { agent, terminal }) => {
      await terminal.paste(commands)
      const { items } = (await agent.request('GET', '/v1/retention/history')).json() as { items: object[] }
      expect(items[0]).toMatchObject({ trigger: 'api', outcome: 'done', removed: { count: 0 } })
    },
  },
  {
    page: 'docs/guides/restore-elsewhere.md',
    has: 'restore.tar',
    run: async (commands, { terminal, checkpoint }) => {
      expect(await terminal.paste(commands)).toContain('checkpoint/')
      expect(digestOf(join(terminal.folder, 'restore.tar'))).toBe(checkpoint.sha256)
    },
  },
  {
    page: 'docs/concepts/access.md',
    has: 'openssl rand',
    run: async (commands, { terminal }) => {
      const said = await terminal.paste(commands)
      const token = readFileSync(join(terminal.folder, 'token'), 'utf8').trim()
      expect(token).toMatch(/^[0-9a-f]{64}$/)
      expect(said.split(' ')[0]).toBe(createHash('sha256').update(token).digest('hex'))
    },
  },
  {
    page: 'docs/concepts/access.md',
    has: 'openssl s_client',
    run: async (commands, { terminal, folder, agent }) => {
      const secured = await startAgentProcess({
        folder: join(folder, 'secured'),
        settings: {
          'checkpoints.directory': join(folder, 'secured/checkpoints'),
          'runtime.socket': join(folder, 'none.sock'),
          'server.tls.selfSigned': true,
        },
      })
      const said = await terminal.paste(commands.replace(String(agent.port), String(secured.port)))
      const { tlsFingerprint } = (await secured.request('GET', '/v1/node', { overSocket: true })).json() as Node
      expect(said.trim().split('=')[1]).toBe(tlsFingerprint)
      await secured.sigterm()
    },
  },
  {
    page: 'docs/concepts/custody.md',
    has: 'head -n 1 000001.jsonl',
    run: async (commands, { terminal, folder }) => {
      cpSync(join(folder, 'state/custody/000001.jsonl'), join(terminal.folder, '000001.jsonl'))
      const [first = ''] = readFileSync(join(terminal.folder, '000001.jsonl'), 'utf8').split('\n')
      const said = await terminal.paste(commands)
      expect(said.split(' ')[0]).toBe((JSON.parse(first) as { hash: string }).hash)
    },
  },
  {
    page: 'docs/concepts/custody.md',
    has: 'verify-custody ./custody',
    run: async (commands, { terminal, folder }) => {
      // Of an agent that has stopped: its last line of the kind is of the whole log.
      const stopped = await startAgentProcess({
        folder: join(folder, 'stopped'),
        settings: {
          'checkpoints.directory': join(folder, 'stopped/checkpoints'),
          'runtime.socket': join(folder, 'none.sock'),
        },
      })
      await stopped.sigterm()
      cpSync(join(folder, 'stopped/state/custody'), join(terminal.folder, 'custody'), { recursive: true })
      cpSync(join(terminal.folder, 'custody/public-key.pem'), join(terminal.folder, 'pinned-key.pem'))
      const head = stopped.log().findLast(({ msg }) => msg === 'Custody log head')
      writeFileSync(join(terminal.folder, 'head-from-the-log-stream.json'), JSON.stringify(head))
      expect(await terminal.paste(commands)).toContain('authentic, up to entry')
    },
  },
  {
    page: 'docs/concepts/custody.md',
    has: 'openssl pkey -pubin',
    run: async (commands, { terminal, folder, agent }) => {
      cpSync(join(folder, 'state/custody/public-key.pem'), join(terminal.folder, 'public-key.pem'))
      const { custody } = (await agent.request('GET', '/v1/node')).json() as Node
      expect((await terminal.paste(commands)).split(' ')[0]).toBe(custody.keyId)
    },
  },
  {
    page: 'docs/concepts/custody.md',
    has: '/manifest > manifest.json',
    run: async (commands, { terminal, checkpoint }) => {
      await terminal.paste(commands)
      expect(digestOf(join(terminal.folder, 'archive.tar'))).toBe(checkpoint.sha256)
      expect(readFileSync(join(terminal.folder, 'public-key.pem'), 'utf8')).toContain('BEGIN PUBLIC KEY')
    },
  },
  {
    page: 'docs/concepts/custody.md',
    has: 'verify-manifest manifest.json',
    run: async (commands, { terminal }) => {
      // With what the block before it has fetched.
      expect(await terminal.paste(commands)).toMatch(/\nauthentic\n$/)
    },
  },
  {
    page: 'docs/concepts/custody.md',
    has: 'openssl pkeyutl -verify',
    run: async (commands, { terminal }) => {
      // With what the block before it has fetched.
      const said = await terminal.paste(commands)
      expect(said).toContain('Signature Verified Successfully')
      expect(said).toContain('archive.tar: OK')
    },
  },
  {
    page: 'docs/reference/http-api.md',
    has: '/v1/captures?wait=true',
    run: async (commands, { terminal }) => {
      expect(JSON.parse(await terminal.paste(commands))).toMatchObject({ items: [{ identity: { pod: 'web-0' } }] })
    },
  },
  {
    page: 'docs/reference/http-api.md',
    has: 'sort=-sizeBytes',
    run: async (commands, { terminal, checkpoint }) => {
      const { items } = JSON.parse(await terminal.paste(commands)) as { items: { id: string }[] }
      expect(items.map(({ id }) => id)).toContain(checkpoint.id)
    },
  },
  {
    page: 'docs/reference/http-api.md',
    has: '/archive',
    run: async (commands, { terminal, checkpoint }) => {
      const archive = join(terminal.folder, 'checkpoint.tar')
      const whole = await terminal.paste(commands)
      expect(whole.split(' ')[0]).toBe(checkpoint.sha256)
      // Again with all of it there, which versions of curl call a success or a failure, and with a part.
      await terminal.paste(commands).catch(() => undefined)
      expect(digestOf(archive)).toBe(checkpoint.sha256)
      writeFileSync(archive, readFileSync(archive).subarray(0, checkpoint.sizeBytes / 3))
      expect(await terminal.paste(commands)).toBe(whole)
      expect(readFileSync(archive)).toHaveLength(checkpoint.sizeBytes)
    },
  },
  {
    page: 'docs/reference/http-api.md',
    has: '/v1/watch',
    run: async (commands, { terminal, agent }) => {
      const capture = () => agent.request('POST', '/checkpoint/shop/web-0/counter')
      const said = await terminal.pasteUntil(commands, /^event: \w+\ndata: \{"id":/m, async () => {
        while (connectionsTo(agent.port) === 0) await sleep(20)
        await capture()
      })
      expect(said).toMatch(/^id: [0-9A-Z]{26}-\d+$/m)
    },
  },
  {
    page: 'docs/troubleshooting.md',
    has: '/etc/criu/runc.conf',
    // What CRIU makes of it: test/e2e/tcp-established.test.ts.
    run: async (commands, { terminal }) => {
      await terminal.paste(commands.replaceAll('/etc/criu/', './'))
      expect(readFileSync(join(terminal.folder, 'runc.conf'), 'utf8')).toBe('tcp-established\n')
    },
  },
]

/** Run against a real cluster by these files, which take them from the page. */
export const IN_CLUSTER: readonly (Named & { readonly by: string })[] = [
  { page: 'docs/install.md', has: 'helm install', by: 'test/cluster/installed-chart.ts' },
  { page: 'docs/install.md', has: 'rm -rf /host', by: 'test/cluster/chart-life.test.ts' },
  { page: 'docs/guides/give-a-team-access.md', has: 'port-forward "$agent"', by: 'test/cluster/cluster-users.ts' },
  { page: 'docs/guides/give-a-team-access.md', has: 'create token me', by: 'test/cluster/cluster-users.ts' },
]

/** The same text as another block, which is run. */
export const COPIES: readonly (Named & { readonly of: Named })[] = [
  { page: 'README.md', has: 'helm install', of: { page: 'docs/install.md', has: 'helm install' } },
  { page: 'docs/install.md', has: 'buildah push', of: { page: 'README.md', has: 'buildah push' } },
  { page: 'docs/quickstart.md', has: 'make demo', of: { page: 'README.md', has: 'make demo' } },
]

/** Run by nothing. Each is printed with its reason; there is none, and there should be none. */
export const NOWHERE: readonly (Named & { readonly reason: string })[] = []

interface Node {
  readonly tlsFingerprint?: string
  readonly custody: { readonly keyId: string }
}

/** How many connections to this port are established. */
function connectionsTo(port: number): number {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state]) => local.endsWith(wanted) && state === '01').length
}

function whyNoBuildah(): string | undefined {
  if (process.getuid?.() !== 0) return 'buildah needs root to keep images in a directory of this test'
  const { status } = spawnSync('buildah', ['--version'])
  return status === 0 ? undefined : 'there is no buildah (apt-get install buildah)'
}

/** Makes buildah keep its images below the directory, and speak plain HTTP to the registry. */
function buildahSettings(folder: string, registry: string): string {
  const storage = join(folder, 'storage.conf')
  const registries = join(folder, 'registries.conf')
  const images = join(folder, 'images')
  writeFileSync(storage, `[storage]\ndriver = "vfs"\ngraphroot = "${images}"\nrunroot = "${images}-run"\n`)
  writeFileSync(registries, `[[registry]]\nlocation = "${registry}"\ninsecure = true\n`)
  return `export STORAGE_DRIVER=vfs CONTAINERS_STORAGE_CONF='${storage}' CONTAINERS_REGISTRIES_CONF='${registries}'`
}

const READY_WITHIN_MS = 20_000

/** The digest of a checkpoint follows a moment after its capture. */
async function untilAllAreReady(agent: AgentProcess): Promise<void> {
  for (const start = performance.now(); performance.now() - start < READY_WITHIN_MS; await sleep(50)) {
    const { items } = (await agent.request('GET', '/v1/checkpoints')).json() as { items: { state: string }[] }
    if (items.every(({ state }) => state === 'ready')) return
  }
  throw new Error('Cannot run commands: the checkpoints do not become ready')
}

function digestOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}
