import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { status as Code } from '@grpc/grpc-js'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findNode, isSameProcess, nodeFolder } from './harness/node-registry.ts'
import { leftoversOf, removeDeadNodes } from './harness/node-removal.ts'
import { startRuntimeNode } from './harness/runtime-node.ts'
import type { RuntimeNode } from './harness/runtime-node.ts'
import { hogPod, readContainerFreezer, readCounter, removePod, runWebPod } from './harness/test-pods.ts'
import type { WebPod } from './harness/test-pods.ts'

// Nobody else clears away what is left dead here.
vi.hoisted(() => vi.stubEnv('CHECKPOINT_AGENT_NODES', '/var/tmp/checkpoint-agent-harness-nodes'))

describe.each(['2.1', '2.4'] as const)('a node with containerd %s', (containerd) => {
  let node: RuntimeNode
  let pod: WebPod

  beforeAll(async () => {
    node = await startRuntimeNode({ containerd })
    pod = await runWebPod(node.admin, node.placement)
  })
  afterAll(async () => {
    await node.stop()
  })

  it('runs the containerd it was asked for', async () => {
    expect((await node.admin.version()).runtimeVersion).toMatch(new RegExp(`^v?${containerd.replace('.', '\\.')}\\.`))
  })

  it('shows the web pod as a kubelet would have made it', async () => {
    const listed = await node.admin.listContainers(pod.sandboxId)
    const states = Object.fromEntries(listed.map((container) => [container.metadata.name, container.state]))
    expect(states).toEqual({ init: 'CONTAINER_EXITED', counter: 'CONTAINER_RUNNING', crash: 'CONTAINER_EXITED' })
    const { status } = await node.admin.containerStatus(pod.containers.counter)
    expect(status.labels).toEqual({
      'io.kubernetes.container.name': 'counter',
      'io.kubernetes.pod.name': 'web-node-a',
      'io.kubernetes.pod.namespace': 'shop',
      'io.kubernetes.pod.uid': pod.uid,
    })
    expect((await node.admin.containerStatus(pod.containers.crash)).status.exitCode).toBe(3)
    expect((await node.admin.containerStatus(pod.containers.init)).status.exitCode).toBe(0)
    expect(readFileSync(status.logPath, 'utf8')).toContain('count 1')
  })

  it('checkpoints a running container into a readable archive', async () => {
    const archive = join(node.checkpointsDir, 'counter.tar')
    await node.admin.checkpointContainer(pod.containers.counter, archive)
    const members = execFileSync('tar', ['-tf', archive], { encoding: 'utf8' }).split('\n')
    expect(members).toEqual(expect.arrayContaining(['spec.dump', 'config.dump', 'checkpoint/inventory.img']))
    await expectCounting(node, pod)
  })

  it('refuses to checkpoint a container that has exited', async () => {
    const refused = node.admin.checkpointContainer(pod.containers.crash, join(node.checkpointsDir, 'crash.tar'))
    await expect(refused).rejects.toMatchObject({
      code: Code.UNKNOWN,
      details: expect.stringContaining('CONTAINER_EXITED') as string,
    })
  })

  it('shows a paused task that CRI calls running', async () => {
    const { counter } = pod.containers
    await node.admin.pauseTask(counter)
    expect(await node.admin.taskStatus(counter)).toBe('PAUSED')
    expect(await readContainerFreezer(node.admin, counter)).toBe('FROZEN')
    expect((await node.admin.containerStatus(counter)).status.state).toBe('CONTAINER_RUNNING')
    await node.admin.resumeTask(counter)
    expect(await node.admin.taskStatus(counter)).toBe('RUNNING')
    expect(await readContainerFreezer(node.admin, counter)).toBe('THAWED')
  })

  it('keeps containers running while containerd is dead and after it is back', async () => {
    const before = await readCounter(node.admin, pod.containers.counter)
    const oldPid = node.containerdPid
    await node.killContainerd()
    expect(() => node.containerdPid).toThrow('it does not run')
    await expect(node.admin.version()).rejects.toMatchObject({ code: Code.UNAVAILABLE })
    // Time enough to count on in.
    await sleep(1_000)
    await node.restartContainerd()
    expect(node.containerdPid).not.toBe(oldPid)
    expect(await readCounter(node.admin, pod.containers.counter)).toBeGreaterThan(before)
    await expectCounting(node, pod)
  })

  it('gives a pod with as much memory to dump as asked for', async () => {
    const hog = await hogPod(node.admin, node.placement, { sizeMiB: 256 })
    const archive = join(node.checkpointsDir, 'hog.tar')
    await node.admin.checkpointContainer(hog.containers.hog, archive)
    expect(statSync(archive).size).toBeGreaterThan(256 * 1024 * 1024)
    await removePod(node.admin, hog)
  })
})

describe('a node with containerd 1.6', () => {
  it('runs pods but has no checkpoint call', async () => {
    await using node = await startRuntimeNode({ containerd: '1.6' })
    expect((await node.admin.version()).runtimeVersion).toMatch(/^1\.6\./)
    const pod = await runWebPod(node.admin, node.placement)
    await expectCounting(node, pod)
    const archive = join(node.checkpointsDir, 'counter.tar')
    await expect(node.admin.checkpointContainer(pod.containers.counter, archive)).rejects.toMatchObject({
      code: Code.UNIMPLEMENTED,
    })
  })
})

describe('options of a node', () => {
  it('withoutCriu gives the failure of a node that lacks CRIU', async () => {
    await using node = await startRuntimeNode({ containerd: '2.1', withoutCriu: true })
    const pod = await runWebPod(node.admin, node.placement)
    const refused = node.admin.checkpointContainer(pod.containers.counter, join(node.checkpointsDir, 'counter.tar'))
    await expect(refused).rejects.toMatchObject({ details: expect.stringContaining('CRIU') as string })
    expect((await node.run(['which', 'criu'])).exitCode).toBe(1)
  })

  it('checkpointsSizeMiB, criuOptions, extraConfig and sharedDirs reach the node', async () => {
    await using node = await startRuntimeNode({
      containerd: '2.1',
      name: 'optioned',
      checkpointsSizeMiB: 16,
      criuOptions: ['tcp-established', 'log-level=4'],
      extraConfig: '[debug]\n  level = "debug"\n',
      sharedDirs: [import.meta.dirname],
    })
    expect(readFileSync('/proc/self/mounts', 'utf8')).toContain(` ${node.checkpointsDir} ext4 `)
    expect(statSync(node.checkpointsDir).mode & 0o777).toBe(0o700)
    const seen = await node.run([
      'sh',
      '-c',
      `hostname; cat /etc/criu/runc.conf; df -m --output=size ${node.checkpointsDir} | tail -1`,
    ])
    expect(seen.stdout.split(/\s+/).slice(0, 3)).toEqual(['optioned', 'tcp-established', 'log-level=4'])
    expect(Number(seen.stdout.trim().split(/\s+/).at(-1))).toBeLessThanOrEqual(16)
    expect(readFileSync(node.containerdLog, 'utf8')).toContain('level=debug')
    expect((await node.run(['ls', import.meta.filename])).exitCode).toBe(0)
  })
})

describe('the end of a node', () => {
  it('leaves nothing behind, not even of a frozen container', async () => {
    const node = await startRuntimeNode({ containerd: '2.1', checkpointsSizeMiB: 16 })
    const pod = await runWebPod(node.admin, node.placement)
    await node.admin.pauseTask(pod.containers.counter)
    expect(await readContainerFreezer(node.admin, pod.containers.counter)).toBe('FROZEN')
    const network = readlinkSync(`/proc/${node.containerdPid}/ns/net`)
    // containerd, the holder of the namespaces, a shim, the pause process, the counter and its sleep
    expect(processesIn(network).length).toBeGreaterThanOrEqual(5)
    expect(leftoversOf(node.name)).not.toEqual([])
    await node.stop()
    expect(leftoversOf(node.name)).toEqual([])
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(node.name)
    expect(processesIn(network)).toEqual([])
    await node.stop()
    await expect(node.run(['true'])).rejects.toThrow('it is stopped')
  })

  it.each(['SIGKILL', 'SIGINT'] as const)('comes with the %s of the process that started it', async (signal) => {
    const owner = await startOwner(`owned-${signal.toLowerCase()}`)
    expect(leftoversOf(owner.name)).not.toEqual([])
    owner.signal(signal)
    await expectGone(owner.name)
  })

  it('comes with the next start when the keeper was killed too', async () => {
    const owner = await startOwner('orphaned')
    const keeper = findNode(owner.name)?.keeper
    if (keeper === undefined) throw new Error('the node has no keeper')
    process.kill(keeper.pid, 'SIGKILL')
    // the signal takes effect when the process is next scheduled
    await expect.poll(() => isSameProcess(keeper), { timeout: 10_000, interval: 10 }).toBe(false)
    const ended = once(owner.process, 'exit')
    owner.signal('SIGKILL')
    await ended
    expect(leftoversOf(owner.name)).not.toEqual([])
    await removeDeadNodes()
    expect(leftoversOf(owner.name)).toEqual([])
  })

  it('does not touch a node whose owner lives', async () => {
    await using node = await startRuntimeNode({ containerd: '2.1' })
    await removeDeadNodes()
    expect((await node.run(['true'])).exitCode).toBe(0)
    expect(existsSync(nodeFolder(node.name))).toBe(true)
    await expect(startRuntimeNode({ containerd: '2.1', name: node.name })).rejects.toThrow(
      `Cannot start node "${node.name}": process ${process.pid} runs a node of this name`,
    )
  })
})

/** By namespace, so that a process which left the node's cgroups is seen too. */
function processesIn(network: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readlinkSync(`/proc/${pid}/ns/net`) === network
    } catch {
      return false // it has ended
    }
  })
}

async function expectCounting(node: RuntimeNode, pod: WebPod): Promise<void> {
  const before = await readCounter(node.admin, pod.containers.counter)
  await expect.poll(() => readCounter(node.admin, pod.containers.counter)).toBeGreaterThan(before)
}

async function expectGone(name: string): Promise<void> {
  await expect.poll(() => leftoversOf(name), { timeout: 20_000, interval: 50 }).toEqual([])
}

interface Owner {
  readonly name: string
  readonly process: ChildProcess
  /** To its whole process group, as a terminal does on Ctrl-C. */
  signal(name: 'SIGKILL' | 'SIGINT'): void
}

/** Another process that starts a node with a frozen pod, and then only waits. */
async function startOwner(name: string): Promise<Owner> {
  const program = `
    const { startRuntimeNode } = await import('${import.meta.dirname}/harness/runtime-node.ts')
    const { runWebPod } = await import('${import.meta.dirname}/harness/test-pods.ts')
    const node = await startRuntimeNode({ containerd: '2.1', name: '${name}', checkpointsSizeMiB: 16 })
    const pod = await runWebPod(node.admin, node.placement)
    await node.admin.pauseTask(pod.containers.counter)
    console.log('ready')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const chunk of child.stdout) {
    if (!String(chunk).includes('ready')) continue
    return { name, process: child, signal: (signal) => process.kill(-Number(child.pid), signal) }
  }
  throw new Error(`Cannot start the owner of node "${name}": it ended`)
}
