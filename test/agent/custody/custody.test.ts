import { execFileSync } from 'node:child_process'
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import type { CustodyEntry } from '../../../src/custody/custody-entry.ts'
import { runVerifyManifestCommand } from '../../../src/custody/manifest-command.ts'
import { runVerifyCommand } from '../../../src/custody/verify-command.ts'
import { verifyCustody } from '../../../src/custody/custody-verify.ts'
import { slow } from '../../support/simulated-runtime-faults.ts'
import { startTestAgent, type TestAgent } from '../../support/test-agent.ts'
import { custodyEntries, custodyFiles } from '../../support/custody-files.ts'

const WISH = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }
const ALICE = { user: 'alice', groups: ['responders'], address: '10.0.0.7', requestId: 'r-1' }

function entriesOf({ folder }: TestAgent): CustodyEntry[] {
  return custodyEntries(join(folder.state, 'custody'))
}

const ofAction = (test: TestAgent, action: string) => entriesOf(test).filter((entry) => entry.action === action)

async function capture(test: TestAgent) {
  const { id } = await test.agent.captures.request({
    ...WISH,
    requestedBy: 'alice',
    actor: ALICE,
    reason: 'incident 7',
  })
  const archive = (await test.agent.captures.wait(id, {})).captures[0]?.archive
  if (archive === undefined) throw new Error('the capture failed')
  await vi.waitUntil(() => isReady(test, archive.checkpointId), { timeout: 20_000 })
  await vi.waitUntil(() => ofAction(test, 'digest').length > 0, { timeout: 20_000 })
  return { ...archive, path: join(test.folder.checkpoints, archive.fileName) }
}

async function isReady({ agent }: TestAgent, id: string): Promise<boolean> {
  const { items } = await agent.checkpoints.list({
    filter: {},
    order: { key: 'takenAt', isDescending: true },
    limit: 100,
  })
  return items.some((item) => item.id === id && item.state === 'ready')
}

describe('the custody log of an agent', () => {
  it('has the start, the intent before the runtime is asked, the outcome, the digest and the stop', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next(slow(300))
    const { id } = await test.agent.captures.request({
      ...WISH,
      requestedBy: 'alice',
      actor: ALICE,
      reason: 'incident 7',
    })
    await vi.waitUntil(() => test.runtime.dumpsRunning === 1, { timeout: 10_000, interval: 5 })
    expect(ofAction(test, 'capture')).toMatchObject([
      { outcome: 'intended', actor: ALICE, detail: { job: id, identity: WISH, reason: 'incident 7' } },
    ])
    const job = await test.agent.captures.wait(id, {})
    const archive = job.captures[0]?.archive
    const stat = statSync(join(test.folder.checkpoints, archive?.fileName ?? ''))
    expect(ofAction(test, 'capture')[1]).toMatchObject({
      outcome: 'done',
      actor: ALICE,
      checkpoint: { id: archive?.checkpointId, fileName: archive?.fileName, sizeBytes: stat.size },
      detail: {
        inode: stat.ino,
        modifiedAt: stat.mtime.toISOString(),
        reason: 'incident 7',
        place: { kernel: expect.any(String) as string },
      },
    })
    await vi.waitUntil(() => ofAction(test, 'digest').length === 1, { timeout: 20_000 })
    await test.restart()
    await vi.waitUntil(() => ofAction(test, 'agent.start').length === 2, { timeout: 20_000 })
    expect(ofAction(test, 'agent.stop')).toHaveLength(1)
    expect(ofAction(test, 'discovery')).toEqual([])
    expect((await verifyCustody(join(test.folder.state, 'custody'))).problems).toEqual([])
  })

  it('describes an archive that it discovers by the field names of its first entries', async () => {
    await using test = await startTestAgent()
    writeFileSync(join(test.folder.checkpoints, 'checkpoint-web_shop-counter-2026-01-31T12:00:00Z.tar'), 'no archive')
    await vi.waitUntil(() => ofAction(test, 'discovery').length > 0, { timeout: 20_000 })
    expect(ofAction(test, 'discovery')[0]?.detail?.['identity']).toEqual({
      pod: 'web',
      namespace: 'shop',
      container: 'counter',
      source: 'name',
      isBelieved: false,
    })
  })

  it('gives back what only we knew of a capture when the database is lost', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { checkpointId, sizeBytes, path } = await capture(test)
    const sha256 = (await test.agent.checkpoints.get(checkpointId)).sha256
    const inode = statSync(path).ino
    await test.agent.captures.shutDown(0)
    await test.restart()
    await vi.waitUntil(() => ofAction(test, 'agent.start').length === 2, { timeout: 20_000 })
    expect(test.agent.custody.findObservedCapture({ checkpointId, inode, sizeBytes })).toMatchObject({
      identity: WISH,
      reason: 'incident 7',
      podLabels: {},
    })
    expect(test.agent.custody.findObservedCapture({ checkpointId, inode: inode + 1, sizeBytes })).toBeUndefined()
    expect(test.agent.custody.findRecordedSha256({ id: checkpointId })).toBe(sha256)
  })

  it('is where the reason of an archive comes from when the database is lost, by which it is found', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { checkpointId } = await capture(test)
    const order = { key: 'takenAt', isDescending: true } as const
    const found = async (reason: string) => {
      const { items } = await test.agent.checkpoints.list({ filter: { reason }, order, limit: 10 })
      return items.map(({ id, reason: why }) => ({ id, why }))
    }
    expect(await found('incident 7')).toEqual([{ id: checkpointId, why: 'incident 7' }])
    expect(await found('incident')).toEqual([])
    await test.agent.captures.shutDown(0)
    await test.agent.stop()
    for (const name of ['index.db', 'index.db-wal', 'index.db-shm']) {
      rmSync(join(test.folder.state, name), { force: true })
    }
    await test.restart()
    await expect.poll(() => found('incident 7'), { timeout: 20_000 }).toEqual([{ id: checkpointId, why: 'incident 7' }])
    const row = await test.agent.checkpoints.get(checkpointId)
    await test.agent.actions.pin(row, { actor: ALICE, reason: 'evidence' })
    await expect.poll(() => found('evidence')).toHaveLength(1)
  })

  it('is not taken for empty while it is being opened', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    await capture(test)
    await test.agent.captures.shutDown(0)
    await test.restart()
    const page = await test.agent.custody.page({ after: 0, limit: 100 })
    expect(page.entries.map(({ action }) => action)).toContain('capture')
  })

  it('makes up at its start for the outcome of a capture that was killed before it was written', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { checkpointId, path } = await capture(test)
    await test.agent.captures.shutDown(0)
    await test.agent.stop()
    rmSync(join(test.folder.state, 'custody'), { recursive: true })
    await test.restart()
    await vi.waitUntil(() => ofAction(test, 'capture').length > 0, { timeout: 20_000 })
    expect(ofAction(test, 'capture')).toMatchObject([
      {
        outcome: 'done',
        actor: { user: 'alice' },
        checkpoint: { id: checkpointId },
        detail: { inode: statSync(path).ino },
      },
    ])
    expect(ofAction(test, 'tampering')).toMatchObject([{ detail: { what: 'custody-log', problem: 'LogGone' } }])
  })

  it.each([
    { how: 'and is whole', offset: -1_600, problem: 'DigestChanged' },
    { how: 'and is damaged by it', offset: 600, problem: 'NotWhole' },
  ])('reports an archive whose bytes were replaced $how, once', async ({ offset, problem }) => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { checkpointId, path } = await capture(test)
    // Known once the log of earlier runs, empty here, was read.
    const recorded = await vi.waitUntil(() => test.agent.custody.findRecordedSha256({ id: checkpointId }))
    const bytes = readFileSync(path)
    const at = offset < 0 ? bytes.length + offset : offset
    bytes[at] = (bytes[at] ?? 0) ^ 1
    writeFileSync(path, bytes)
    await vi.waitUntil(() => ofAction(test, 'tampering').length > 0, { timeout: 20_000 })
    const found = await test.agent.actions.verify(await test.agent.checkpoints.get(checkpointId), {
      signal: new AbortController().signal,
      actor: ALICE,
    })
    expect(found).toMatchObject({ custody: 'different', isIntact: false })
    // Everybody who asks finds it, and it is on record once.
    expect(ofAction(test, 'verify')).toHaveLength(1)
    const reports = ofAction(test, 'tampering')
    expect(reports).toMatchObject([{ checkpoint: { id: checkpointId }, detail: { problem, recordedSha256: recorded } }])
  })

  it('reports an archive that somebody else removed, while it ran or not, and not one that it removed itself', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const first = await capture(test)
    rmSync(first.path)
    await vi.waitUntil(() => ofAction(test, 'tampering').length === 1, { timeout: 20_000 })
    expect(ofAction(test, 'tampering')[0]).toMatchObject({
      checkpoint: { id: first.checkpointId },
      detail: { problem: 'Gone' },
    })

    const second = await capture(test)
    await test.agent.actions.remove(await test.agent.checkpoints.get(second.checkpointId), { actor: ALICE })
    expect(ofAction(test, 'delete').map(({ outcome }) => outcome)).toEqual(['intended', 'done'])

    const third = await capture(test)
    await test.agent.captures.shutDown(0)
    await test.agent.stop()
    rmSync(third.path)
    for (const name of ['index.db', 'index.db-wal', 'index.db-shm'])
      rmSync(join(test.folder.state, name), { force: true })
    await test.restart()
    await vi.waitUntil(() => ofAction(test, 'tampering').length === 2, { timeout: 20_000 })
    expect(ofAction(test, 'tampering')[1]).toMatchObject({ checkpoint: { id: third.checkpointId } })
  })

  it('refuses removals and lets captures go on while it cannot be written, and has all of it afterwards', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { checkpointId, path } = await capture(test)
    const custody = join(test.folder.state, 'custody')
    renameSync(custody, `${custody}-away`)
    const removal = test.agent.actions.remove(await test.agent.checkpoints.get(checkpointId), { actor: ALICE })
    await expect(removal).rejects.toMatchObject({ code: 'CustodyUnavailable', hint: expect.any(String) })
    expect(statSync(path).isFile()).toBe(true)
    expect(test.agent.health()).toContainEqual(expect.objectContaining({ name: 'custody', state: 'degraded' }))

    const { id } = await test.agent.captures.request({ ...WISH, requestedBy: 'alice' })
    const job = await test.agent.captures.wait(id, {})
    expect(job.captures[0]?.state).toBe('succeeded')

    renameSync(`${custody}-away`, custody)
    await vi.waitUntil(() => ofAction(test, 'log.resume').length === 1, { timeout: 20_000 })
    const later = ofAction(test, 'capture').filter(({ detail }) => detail?.['job'] === id)
    expect(later.map(({ outcome }) => outcome)).toEqual(['intended', 'done'])
    // The entry is on the disk before the log has been told so.
    await expect.poll(() => test.agent.health()).toContainEqual({ name: 'custody', state: 'ok' })
    expect((await verifyCustody(custody)).problems).toEqual([])
  })
})

describe('what an agent signs', () => {
  it('is found authentic by the commands that need no agent, and by the agent itself', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { checkpointId, path } = await capture(test)
    const { custody } = test.agent
    const files = {
      manifest: join(test.folder.path, 'manifest.json'),
      head: join(test.folder.path, 'head.json'),
      key: join(test.folder.path, 'pinned.pem'),
    }
    writeFileSync(files.key, custody.key.publicKey)
    writeFileSync(files.manifest, JSON.stringify(test.agent.manifest(await test.agent.checkpoints.get(checkpointId))))
    const manifest = await runVerifyManifestCommand([files.manifest, path, '--public-key', files.key])
    expect(manifest).toMatchObject({ exitCode: 0, text: expect.stringContaining('shop/web-node-a/counter') as string })
    expect(await custody.verify(undefined)).toMatchObject({ verdict: 'authentic', keyId: custody.key.id })

    writeFileSync(files.head, JSON.stringify(await custody.head()))
    await test.agent.captures.shutDown(0)
    await test.agent.stop()
    const folder = join(test.folder.state, 'custody')
    const log = await runVerifyCommand([folder, '--head', files.head, '--public-key', files.key])
    expect(log).toMatchObject({ exitCode: 0 })
    const { head } = await verifyCustody(folder, { headText: readFileSync(files.head, 'utf8') })
    rmSync(join(folder, 'head.json'))
    // Cut to before that head.
    const [name = ''] = custodyFiles(folder)
    const lines = readFileSync(join(folder, name), 'utf8').split('\n')
    writeFileSync(join(folder, name), `${lines.slice(0, (head?.seq ?? 0) - 1).join('\n')}\n`)
    const cut = await runVerifyCommand([folder, '--head', files.head, '--public-key', files.key])
    expect(cut).toMatchObject({ exitCode: 1, text: expect.stringContaining('EndMissing') as string })
    await test.restart()
  })
})

describe('the manifest', () => {
  it('is verified by openssl with the commands of docs/concepts/custody.md, and not when a byte of it is changed', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { checkpointId, path } = await capture(test)
    const page = readFileSync(join(import.meta.dirname, '../../../docs/concepts/custody.md'), 'utf8')
    const commands = [...page.matchAll(/```console\n([^`]*)```/g)].map(([, text = '']) => text)
    const script = `set -e\n${commands.find((text) => text.includes('DSSEv1')) ?? 'false'}`
    const manifest = test.agent.manifest(await test.agent.checkpoints.get(checkpointId))
    const folder = test.folder.path
    const { custody } = await test.agent.status(undefined)
    writeFileSync(join(folder, 'public-key.pem'), custody.publicKey)
    writeFileSync(join(folder, 'archive.tar'), readFileSync(path))
    const verify = (envelope: object) => {
      writeFileSync(join(folder, 'manifest.json'), JSON.stringify(envelope))
      return execFileSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
    }
    expect(verify(manifest)).toMatch(/Signature Verified Successfully\narchive.tar: OK\n$/)
    const payload = Buffer.from(manifest.payload, 'base64').toString()
    const forged = Buffer.from(payload.replace('shop', 'shot')).toString('base64')
    expect(() => verify({ ...manifest, payload: forged })).toThrow(/Signature Verification Failure|Command failed/)
    const pin = commands.find((text) => text.includes('-outform DER')) ?? 'false'
    expect(execFileSync('bash', ['-c', pin], { cwd: folder, encoding: 'utf8' })).toContain(custody.keyId)

    const statement = JSON.parse(payload) as object
    expect(statement).toMatchObject({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [
        { name: expect.stringContaining('checkpoint-') as string, digest: { sha256: expect.any(String) as string } },
      ],
      predicate: {
        checkpoint: { id: checkpointId, identity: { ...WISH, source: 'observed' } },
        capture: { reason: 'incident 7', kernel: expect.any(String) as string, image: expect.any(String) as string },
        node: { name: 'node-a', cpuModel: expect.any(String) as string },
        custodyHead: { seq: expect.any(Number) as number },
        keyId: custody.keyId,
      },
    })
  })
})
