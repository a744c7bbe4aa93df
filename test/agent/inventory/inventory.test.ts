import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { copyFile, open } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Inventory, type InventoryOptions } from '../../../src/agent/inventory/inventory.ts'
import type { CheckpointFilter } from '../../../src/store/checkpoint-query.ts'
import { CheckpointStore } from '../../../src/store/checkpoint-store.ts'
import { openDatabase } from '../../../src/store/database.ts'
import { JobStore } from '../../../src/store/job-store.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { writeArchive } from '../../support/archive-builder.ts'
import { inProcessReader } from '../../support/in-process-reader.ts'
import { makeTestFolder, type TestFolder } from '../../support/test-agent.ts'

interface TestInventory {
  readonly folder: TestFolder
  readonly inventory: Inventory
  readonly store: CheckpointStore
  rows(filter?: CheckpointFilter): { fileName: string; state: string }[]
  stop(): Promise<void>
}

const running: TestInventory[] = []

afterEach(async () => {
  for (const test of running.splice(0)) {
    await test.stop()
    test.folder.remove()
  }
})

function startInventory(folder = makeTestFolder(), settings: Partial<InventoryOptions> = {}): TestInventory {
  mkdirSync(folder.checkpoints, { recursive: true, mode: 0o700 })
  const database = openDatabase({ file: join(folder.state, 'index.db'), logger: silentLogger, clock: systemClock })
  const store = new CheckpointStore(database)
  const inventory = new Inventory({
    directory: folder.checkpoints,
    store,
    jobs: new JobStore(database),
    reader: inProcessReader(folder.checkpoints),
    permissions: 'enforce',
    rescanMs: 60_000,
    clock: systemClock,
    logger: silentLogger,
    settleMs: 300,
    ...settings,
  })
  inventory.start()
  const test: TestInventory = {
    folder,
    inventory,
    store,
    rows: (filter = {}) =>
      store
        .list({ filter, order: { key: 'fileName', isDescending: false }, limit: 1000 })
        .items.map(({ fileName, state }) => ({ fileName, state })),
    async stop() {
      await inventory.stop()
      database.close()
    },
  }
  running.push(test)
  return test
}

const NAME = 'checkpoint-web-0_shop-counter-2026-11-20T10:00:00Z.tar'

async function stopFirst(test: TestInventory): Promise<void> {
  running.splice(running.indexOf(test), 1)
  await test.stop()
}

function onlyRow({ store }: TestInventory) {
  return store.list({ filter: {}, order: { key: 'takenAt', isDescending: true }, limit: 1 }).items[0]
}

const codes = (test: TestInventory) => onlyRow(test)?.problems.map(({ code }) => code)
const isTrusted = (test: TestInventory) => onlyRow(test)?.identity.isTrusted

function getOnlyRow(test: TestInventory) {
  const row = onlyRow(test)
  if (row === undefined) throw new Error('There is no row')
  return row
}

async function waitForState(test: TestInventory, fileName: string, state: string): Promise<void> {
  await vi.waitUntil(() => test.rows().some((row) => row.fileName === fileName && row.state === state), {
    timeout: 10_000,
    interval: 10,
  })
}

/** Everything but when it was found. */
function listAll({ store }: TestInventory): object[] {
  return store
    .list({ filter: {}, order: { key: 'fileName', isDescending: false }, limit: 10 })
    .items.map((row) => ({ ...row, discoveredAt: undefined }))
}

describe('Inventory', () => {
  it('knows an archive that was there before, whose it is and its digest', async () => {
    const folder = makeTestFolder()
    mkdirSync(folder.checkpoints, { mode: 0o700 })
    const path = join(folder.checkpoints, NAME)
    writeArchive(path, { namespace: 'shop', pod: 'web-0', container: 'counter' })
    const test = startInventory(folder)
    await waitForState(test, NAME, 'ready')
    const [row] = test.store.list({ filter: {}, order: { key: 'takenAt', isDescending: true }, limit: 10 }).items
    const { readFileSync } = await import('node:fs')
    expect(row).toMatchObject({
      fileName: NAME,
      engine: 'containerd',
      identity: { namespace: 'shop', pod: 'web-0', container: 'counter', source: 'archive', isTrusted: true },
      sizeBytes: statSync(path).size,
      sha256: createHash('sha256').update(readFileSync(path)).digest('hex'),
    })
  })

  it('sees a rename into place at once', async () => {
    const test = startInventory()
    await test.inventory.rescan()
    const aside = join(test.folder.path, 'aside.tar')
    writeArchive(aside, {})
    const begun = performance.now()
    renameSync(aside, join(test.folder.checkpoints, NAME))
    await vi.waitUntil(() => test.rows().length === 1, { timeout: 5_000, interval: 5 })
    expect(performance.now() - begun).toBeLessThan(1_000)
    await waitForState(test, NAME, 'ready')
  })

  it('never shows an archive as ready while it is being written', async () => {
    const test = startInventory()
    await test.inventory.rescan()
    const whole = join(test.folder.path, 'whole.tar')
    writeArchive(whole, {})
    const { readFileSync } = await import('node:fs')
    const bytes = readFileSync(whole)
    const file = await open(join(test.folder.checkpoints, NAME), 'w', 0o600)
    const states = new Set<string>()
    for (let at = 0; at < bytes.length; at += 16_384) {
      await file.write(bytes.subarray(at, at + 16_384))
      await new Promise((resolve) => setTimeout(resolve, 40))
      for (const { state } of test.rows()) if (at + 16_384 < bytes.length) states.add(state)
    }
    await file.close()
    expect([...states]).not.toContain('ready')
    expect([...states]).not.toContain('hashing')
    await waitForState(test, NAME, 'ready')
  })

  it('looks at one that is being written now and then, not at each of its writes', async () => {
    // However the machine holds up the writer, it does not seem to have finished.
    const test = startInventory(makeTestFolder(), { settleMs: 5_000 })
    await test.inventory.rescan()
    let told = 0
    test.inventory.events.watch(undefined, () => {
      told += 1
    })
    const file = await open(join(test.folder.checkpoints, NAME), 'w', 0o600)
    const begun = performance.now()
    for (let written = 0; written < 400; written += 1) {
      await file.write(Buffer.alloc(65_536, 1))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await file.close()
    const seconds = (performance.now() - begun) / 1000
    await vi.waitUntil(() => test.rows()[0]?.state !== undefined, { timeout: 5_000, interval: 10 })
    expect(told).toBeGreaterThan(1)
    expect(told).toBeLessThan(2 + 12 * seconds)
  })

  it('shows one that was cut off as incomplete, with the age of its discovery', async () => {
    const test = startInventory()
    const path = join(test.folder.checkpoints, NAME)
    writeArchive(path, {})
    truncateSync(path, 100_000)
    await waitForState(test, NAME, 'incomplete')
    const [row] = test.store.list({ filter: {}, order: { key: 'takenAt', isDescending: true }, limit: 10 }).items
    expect(row?.sha256).toBeUndefined()
    expect(row?.problems.map(({ code }) => code)).toContain('CutOff')
  })

  it('reads a replaced file anew, and forgets one that is gone', async () => {
    const test = startInventory()
    const path = join(test.folder.checkpoints, NAME)
    writeArchive(path, { namespace: 'shop', pod: 'web-0', container: 'counter' })
    await waitForState(test, NAME, 'ready')
    const before = test.store.list({ filter: {}, order: { key: 'takenAt', isDescending: true }, limit: 1 }).items[0]
    const other = join(test.folder.path, 'other.tar')
    writeArchive(other, { namespace: 'bank', pod: 'ledger-0', container: 'app' })
    renameSync(other, path)
    await vi.waitUntil(
      () => {
        const [row] = test.store.list({
          filter: { state: 'ready' },
          order: { key: 'takenAt', isDescending: true },
          limit: 1,
        }).items
        return row !== undefined && row.sha256 !== before?.sha256
      },
      { timeout: 10_000, interval: 10 },
    )
    const [after] = test.store.list({ filter: {}, order: { key: 'takenAt', isDescending: true }, limit: 1 }).items
    expect(after?.id).toBe(before?.id)
    // The name speaks of another container than the archive does: nobody's namespace opens it.
    expect(after?.identity).toMatchObject({ namespace: 'bank', source: 'archive', isTrusted: false })
    rmSync(path)
    await vi.waitUntil(() => test.rows().length === 0, { timeout: 5_000, interval: 10 })
  })

  it('leaves what is set aside to whoever removes it', async () => {
    const test = startInventory()
    const others = NAME.replace('web-0', 'web-1')
    for (const name of [NAME, others]) writeArchive(join(test.folder.checkpoints, name), {})
    await waitForState(test, NAME, 'ready')
    await waitForState(test, others, 'ready')
    const ids = test.store
      .list({ filter: {}, order: { key: 'fileName', isDescending: false }, limit: 1 })
      .items.map(({ id }) => id)
    const goes = ids.flatMap((id) => test.store.findFile(id) ?? [])
    test.inventory.exclude(ids)
    rmSync(join(test.folder.checkpoints, NAME))
    rmSync(join(test.folder.checkpoints, others))
    await vi.waitUntil(() => test.rows().length === 1, { timeout: 5_000, interval: 10 })
    expect(test.rows()).toEqual([{ fileName: NAME, state: 'ready' }])
    test.inventory.forget(goes)
    test.inventory.release(ids)
    expect(test.rows()).toEqual([])
    writeArchive(join(test.folder.checkpoints, NAME), {})
    await waitForState(test, NAME, 'ready')
  })

  it('takes only regular files directly in the directory for archives', async () => {
    const test = startInventory()
    const outside = join(test.folder.path, 'secret.tar')
    writeArchive(outside, {})
    symlinkSync(outside, join(test.folder.checkpoints, 'link.tar'))
    mkdirSync(join(test.folder.checkpoints, 'folder.tar'))
    mkdirSync(join(test.folder.checkpoints, 'sub'))
    await copyFile(outside, join(test.folder.checkpoints, 'sub', NAME))
    await copyFile(outside, join(test.folder.checkpoints, '.hidden.tar'))
    writeFileSync(join(test.folder.checkpoints, 'notes.txt'), 'x')
    execFileSync('mkfifo', [join(test.folder.checkpoints, 'pipe.tar'), join(test.folder.checkpoints, `${NAME}.keep`)])
    await using server = createServer().listen(join(test.folder.checkpoints, 'socket.tar'))
    await once(server, 'listening')
    await copyFile(outside, join(test.folder.checkpoints, NAME))
    await waitForState(test, NAME, 'ready')
    await test.inventory.rescan()
    expect(test.rows()).toEqual([{ fileName: NAME, state: 'ready' }])
  })

  it('believes no claim of a file that has a second name', async () => {
    const test = startInventory()
    const path = join(test.folder.checkpoints, NAME)
    const aside = join(test.folder.path, 'aside.tar')
    writeArchive(aside, { namespace: 'shop', pod: 'web-0', container: 'counter' })
    linkSync(aside, path)
    await waitForState(test, NAME, 'ready')
    const [row] = test.store.list({ filter: {}, order: { key: 'takenAt', isDescending: true }, limit: 1 }).items
    expect(row?.identity).toMatchObject({ namespace: 'shop', isTrusted: false })
  })

  it('notices pins that others set and remove', async () => {
    const test = startInventory()
    const path = join(test.folder.checkpoints, NAME)
    writeArchive(path, {})
    await waitForState(test, NAME, 'ready')
    writeFileSync(`${path}.keep`, 'for the lawyers')
    await vi.waitUntil(() => test.rows({ pinned: true }).length === 1, { timeout: 5_000, interval: 10 })
    rmSync(`${path}.keep`)
    await vi.waitUntil(() => test.rows({ pinned: false }).length === 1, { timeout: 5_000, interval: 10 })
    expect(test.rows({ pinned: true })).toEqual([])
  })

  it('takes rights away from others, and says so where it may not', async () => {
    const test = startInventory()
    const path = join(test.folder.checkpoints, NAME)
    writeArchive(path, {})
    chmodSync(path, 0o644)
    utimesSync(path, new Date(0), new Date(1_000_000))
    await waitForState(test, NAME, 'ready')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('finds without events what the rescan finds', async () => {
    const folder = makeTestFolder()
    const test = startInventory(folder)
    writeArchive(join(folder.path, 'one.tar'), {})
    const raw = Buffer.concat([
      Buffer.from(`${folder.checkpoints}/`),
      Buffer.from([0x63, 0xff, 0x2e, 0x74, 0x61, 0x72]),
    ])
    renameSync(join(folder.path, 'one.tar'), raw)
    await test.inventory.rescan()
    await waitForState(test, 'c\\xff.tar', 'ready')
    expect(test.rows()).toHaveLength(1)
  })

  it('has the same list after the index was lost', async () => {
    const folder = makeTestFolder()
    const first = startInventory(folder)
    for (let at = 0; at < 5; at += 1) {
      writeArchive(join(folder.checkpoints, `checkpoint-web-${at}_shop-counter-2026-11-20T10:00:00Z.tar`), {})
    }
    await vi.waitUntil(() => first.rows({ state: 'ready' }).length === 5, { timeout: 10_000, interval: 20 })
    const before = listAll(first)
    await first.stop()
    running.splice(running.indexOf(first), 1)
    rmSync(folder.state, { recursive: true })
    const second = startInventory(folder)
    await vi.waitUntil(() => second.rows({ state: 'ready' }).length === 5, { timeout: 10_000, interval: 20 })
    expect(listAll(second)).toEqual(before)
  })

  it('hashes one that is whole, unhashed and forgotten, as after a moment away from its place', async () => {
    const test = startInventory()
    writeArchive(join(test.folder.checkpoints, NAME), {})
    await waitForState(test, NAME, 'ready')
    const { sha256, ...rest } = getOnlyRow(test)
    for (const look of [() => test.inventory.rescan(), () => test.inventory.refresh(Buffer.from(NAME))]) {
      test.store.saveAll([{ ...rest, state: 'hashing' }])
      await look()
      await waitForState(test, NAME, 'ready')
      expect(onlyRow(test)?.sha256).toBe(sha256)
    }
  })
})

describe('what changes around an archive and not in it', () => {
  const TEAM = { namespace: 'shop', pod: 'web-0', container: 'counter' }

  async function startWithArchive(settings: Partial<InventoryOptions> = {}) {
    const test = startInventory(makeTestFolder(), settings)
    const path = join(test.folder.checkpoints, NAME)
    writeArchive(path, TEAM)
    await waitForState(test, NAME, 'ready')
    const states: (string | undefined)[] = []
    test.inventory.events.watch(undefined, ({ checkpoint }) => states.push(checkpoint?.state))
    return { test, path, states, sha256: onlyRow(test)?.sha256 }
  }

  it('takes rights away that somebody gives later, and what is known of the bytes stays', async () => {
    const { test, path, states, sha256 } = await startWithArchive()
    chmodSync(path, 0o644)
    await expect.poll(() => statSync(path).mode & 0o777, { timeout: 5_000 }).toBe(0o600)
    await test.inventory.rescan()
    expect(onlyRow(test)).toMatchObject({ state: 'ready', sha256, problems: [] })
    expect(states).not.toContain('hashing')
  })

  it('names with `report` what others may do, for as long as they may', async () => {
    const { test, path, states, sha256 } = await startWithArchive({ permissions: 'report' })
    chmodSync(path, 0o644)
    await expect.poll(() => codes(test), { timeout: 5_000 }).toEqual(['PermissionsTooWide'])
    expect(onlyRow(test)).toMatchObject({ state: 'ready', sha256 })
    chmodSync(path, 0o600)
    await expect.poll(() => codes(test), { timeout: 5_000 }).toEqual([])
    expect(states).toEqual(['ready', 'ready'])
  })

  it('is found by the first look of a new run as well', async () => {
    const { test, path } = await startWithArchive({ permissions: 'report' })
    await stopFirst(test)
    chmodSync(path, 0o640)
    const second = startInventory(test.folder, { permissions: 'report' })
    await expect.poll(() => codes(second), { timeout: 5_000 }).toEqual(['PermissionsTooWide'])
    await stopFirst(second)
    chmodSync(path, 0o600)
    const third = startInventory(test.folder, { permissions: 'report' })
    await expect.poll(() => codes(third), { timeout: 5_000 }).toEqual([])
  })

  it('believes a claim for as long as the file has one name', async () => {
    const { test, path, sha256 } = await startWithArchive()
    const aside = join(test.folder.path, 'aside.tar')
    expect(isTrusted(test)).toBe(true)
    linkSync(path, aside)
    await test.inventory.rescan()
    expect(isTrusted(test)).toBe(false)
    rmSync(aside)
    await test.inventory.rescan()
    expect(isTrusted(test)).toBe(true)
    expect(onlyRow(test)).toMatchObject({ state: 'ready', sha256 })
  })

  it('believes one that was linked into place once the other name is gone, though no event tells', async () => {
    const test = startInventory()
    await test.inventory.rescan()
    const aside = join(test.folder.path, 'aside.tar')
    writeArchive(aside, TEAM)
    linkSync(aside, join(test.folder.checkpoints, NAME))
    await vi.waitUntil(() => isTrusted(test) === false, { timeout: 10_000, interval: 1 })
    rmSync(aside)
    await expect.poll(() => isTrusted(test), { timeout: 10_000 }).toBe(true)
  })
})
