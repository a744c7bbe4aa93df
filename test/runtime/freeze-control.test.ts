import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CriClient } from '../../src/runtime/cri-client.ts'
import { createFreezeControl, type FreezeControl } from '../../src/runtime/freeze-control.ts'
import type { SimulatedContainer } from '../support/simulated-container.ts'
import { slow } from '../support/simulated-runtime-faults.ts'
import { startSimulatedRuntime, type SimulatedRuntime } from '../support/simulated-runtime.ts'

let folder: string
let runtime: SimulatedRuntime
let client: CriClient
let counter: SimulatedContainer
let control: FreezeControl

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'freeze-control-'))
})

afterEach(async () => {
  client.close()
  await runtime.stop()
  rmSync(folder, { recursive: true })
})

interface Node {
  readonly is: string
  readonly version: 'v1' | 'v2'
  readonly subgroup?: string
}

async function start({ is, version, subgroup }: Node, { isMounted = true } = {}): Promise<void> {
  const socketPath = join(folder, 'runtime.sock')
  const freezer = { root: join(folder, 'cgroup'), version, ...(subgroup !== undefined && { subgroup }) }
  runtime = await startSimulatedRuntime({ socketPath, is, freezer, taskStateTimeoutMs: 50 })
  counter = runtime.webPod().container('counter')
  client = new CriClient({ socketPath })
  control = createFreezeControl({ runtime: client, cgroupRoot: isMounted ? freezer.root : join(folder, 'nothing') })
}

/** What somebody with a shell on the node would write into the freezer. */
function writeFreezer(isFrozen: boolean): void {
  const file = join(counter.cgroup?.folder ?? '', isFreezerV1() ? 'freezer.state' : 'cgroup.freeze')
  writeFileSync(file, isFreezerV1() ? (isFrozen ? 'FROZEN' : 'THAWED') : isFrozen ? '1' : '0')
  expect(counter.isFrozen).toBe(isFrozen)
}

function isFreezerV1(): boolean {
  return counter.cgroup?.folder.includes('/freezer/') === true
}

const NODES: readonly Node[] = [
  { is: 'containerd 2.1.9', version: 'v1' },
  { is: 'containerd 2.1.9', version: 'v2' },
  { is: 'containerd 2.4.2', version: 'v2' },
  { is: 'cri-o 1.36.3', version: 'v1' },
  { is: 'cri-o 1.36.3', version: 'v2' },
  { is: 'cri-o 1.36.3 crun', version: 'v1', subgroup: 'container' },
  { is: 'cri-o 1.36.3 crun', version: 'v2', subgroup: 'container' },
]

describe.each(NODES)('the freeze control on $is, cgroup $version', (node) => {
  it('sees a container run, be paused, and run again', async () => {
    await start(node)
    expect(await control.look(counter.id)).toBe('running')
    counter.pause()
    expect(await control.look(counter.id)).toBe('frozen')
    await control.resume(counter.id)
    expect(await control.look(counter.id)).toBe('running')
    expect(counter.isFrozen).toBe(false)
  })

  it('does a running container no harm', async () => {
    await start(node)
    await control.resume(counter.id)
    expect(await control.look(counter.id)).toBe('running')
    expect(counter.canExec).toBe(true)
  })

  it.each([
    { name: 'an ended container', id: () => counter.id, end: () => counter.exit() },
    { name: 'a removed container', id: () => counter.id, end: () => runtime.pods.removeContainer(counter) },
    { name: 'an unknown container', id: () => 'f'.repeat(64), end: () => undefined },
  ])('sees that $name is gone', async ({ id, end }) => {
    await start(node)
    end()
    expect(await control.look(id())).toBe('gone')
  })
})

describe.each(NODES.filter(({ is }) => is.startsWith('containerd')))('Resume on $is, cgroup $version', (node) => {
  it('frees what a deadline left frozen and paused', async () => {
    await start(node)
    counter.pause()
    await control.resume(counter.id)
    expect(counter.canExec).toBe(true)
  })

  it('mends a container that somebody thawed by hand, whose shim still thinks it paused', async () => {
    await start(node)
    counter.pause()
    writeFreezer(false)
    await expect(client.resumeTask(counter.id)).rejects.toMatchObject({
      runtimeMessage: 'OCI runtime resume failed: container not paused',
    })
    expect(await control.look(counter.id)).toBe('frozen')
    expect(counter.canExec).toBe(false)
    await control.resume(counter.id)
    expect(await control.look(counter.id)).toBe('running')
    expect(counter.canExec).toBe(true)
  })

  it('fails, and leaves the processes running, where it cannot see the freezer of such a container', async () => {
    await start(node, { isMounted: false })
    counter.pause()
    writeFreezer(false)
    await expect(control.resume(counter.id)).rejects.toMatchObject({
      runtimeMessage: 'OCI runtime resume failed: container not paused',
    })
    expect(counter.isFrozen).toBe(false)
  })

  it('needs no cgroup tree for a paused task', async () => {
    await start(node, { isMounted: false })
    counter.pause()
    expect(await control.look(counter.id)).toBe('frozen')
    await control.resume(counter.id)
    expect(counter.canExec).toBe(true)
  })

  it('thaws again what it froze when the resume fails all the same', async () => {
    await start(node)
    counter.pause()
    writeFreezer(false)
    let resumes = 0
    const stubborn = createFreezeControl({
      runtime: {
        ...bound(client),
        resumeTask: async (id) => {
          resumes += 1
          if (resumes > 1) throw new Error('the shim does not answer')
          await client.resumeTask(id)
        },
      },
      cgroupRoot: join(folder, 'cgroup'),
    })
    await expect(stubborn.resume(counter.id)).rejects.toThrow('the shim does not answer')
    expect(counter.isFrozen).toBe(false)
  })
})

describe.each(NODES.filter(({ is }) => is.startsWith('cri-o')))('/unpause on $is, cgroup $version', (node) => {
  it('frees what was left paused, and CRI-O knows of it', async () => {
    await start(node)
    counter.pause()
    await control.resume(counter.id)
    expect(counter.canExec).toBe(true)
    expect(counter.task).toBe('running')
  })

  it('needs no cgroup tree', async () => {
    await start(node, { isMounted: false })
    counter.pause()
    await control.resume(counter.id)
    expect(counter.canExec).toBe(true)
  })

  it('mends a container that somebody thawed by hand, which CRI-O still thinks paused', async () => {
    await start(node)
    counter.pause()
    writeFreezer(false)
    const dump = () => client.checkpoint(counter.id, join(folder, 'a.tar'), new AbortController().signal)
    await expect(dump()).rejects.toMatchObject({
      code: 'ContainerPaused',
      hint: expect.stringContaining('/unpause/ID'),
    })
    expect(await client.unpause(counter.id)).toBe('thawed')
    await control.resume(counter.id)
    expect(counter.canExec).toBe(true)
    await dump()
  })

  it('leaves the processes running where it cannot see the freezer of such a container', async () => {
    await start(node, { isMounted: false })
    counter.pause()
    writeFreezer(false)
    await expect(control.resume(counter.id)).rejects.toThrow("somebody thawed it behind the runtime's back")
    expect(counter.isFrozen).toBe(false)
  })

  it('gives way to the raw freezer where CRI-O knows of no pause', async () => {
    await start(node)
    writeFreezer(true)
    expect(await client.unpause(counter.id)).toBe('running')
    expect(await control.look(counter.id)).toBe('frozen')
    await control.resume(counter.id)
    expect(counter.canExec).toBe(true)
  })
})

describe('whether a node can see pauses at all', () => {
  it.each([
    { is: 'containerd 2.1.9', isMounted: false, isBlind: false },
    { is: 'cri-o 1.36.3', isMounted: true, isBlind: false },
    { is: 'cri-o 1.36.3', isMounted: false, isBlind: true },
  ])('$is, cgroup tree mounted: $isMounted', async ({ is, isMounted, isBlind }) => {
    await start({ is, version: 'v2' }, { isMounted })
    expect(await control.isBlind(counter.id)).toBe(isBlind)
    expect(client.heedsCancel).toBe(is.startsWith('containerd'))
  })
})

describe('the freeze control while a task is being dumped', () => {
  it('does not take silence of the shim for anything', async () => {
    await start({ is: 'containerd 2.1.9', version: 'v2' })
    runtime.faults.next(slow(400))
    const dump = client.checkpoint(counter.id, join(folder, 'a.tar'), new AbortController().signal)
    await expect.poll(() => counter.isFrozen, { interval: 5 }).toBe(true)
    expect(await control.look(counter.id)).toBe('unknown')
    await dump
    expect(await control.look(counter.id)).toBe('running')
  })
})

describe('the freeze control on a runtime without a task API', () => {
  it('cannot see a freeze where no cgroup tree is mounted, and says so', async () => {
    await start({ is: 'cri-o 1.36.3', version: 'v2' }, { isMounted: false })
    expect(await control.look(counter.id)).toBe('unknown')
    await expect(control.resume(counter.id)).rejects.toThrow(
      `Cannot thaw container "${counter.id}": its cgroup cannot be seen under "${join(folder, 'nothing')}"`,
    )
  })

  it('thaws with the freezer', async () => {
    await start({ is: 'cri-o 1.36.3', version: 'v2' })
    counter.freeze(true)
    await control.resume(counter.id)
    expect(readFileSync(join(counter.cgroup?.folder ?? '', 'cgroup.freeze'), 'utf8').trim()).toBe('0')
    expect(counter.isFrozen).toBe(false)
  })
})

/** The client's methods live on its prototype. */
function bound(runtimeClient: CriClient) {
  return {
    version: () => runtimeClient.version(),
    notReadyReason: () => runtimeClient.notReadyReason(),
    listSandboxes: () => runtimeClient.listSandboxes(),
    listContainers: () => runtimeClient.listContainers(),
    findContainer: (id: string) => runtimeClient.findContainer(id),
    listUsage: () => runtimeClient.listUsage(),
    checkpoint: (id: string, location: string, signal: AbortSignal) => runtimeClient.checkpoint(id, location, signal),
    taskState: (id: string) => runtimeClient.taskState(id),
    resumeTask: (id: string) => runtimeClient.resumeTask(id),
    unpause: (id: string) => runtimeClient.unpause(id),
    heedsCancel: runtimeClient.heedsCancel,
  }
}
