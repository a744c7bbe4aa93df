import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { errorText } from '../../src/shared/errors.ts'
import { leftoversOf } from '../../test/e2e/harness/node-removal.ts'
import { type RuntimeNode, startRuntimeNode } from '../../test/e2e/harness/runtime-node.ts'
import { runPod } from '../../test/e2e/harness/test-pods.ts'
import { DemoError } from './demo-mode.ts'
import type { DemoNode, DemoNodeOptions } from './demo-node.ts'
import { DEMO_PODS } from './demo-pods.ts'

const PREPARE = join(import.meta.dirname, '../../test/e2e/harness/prepare')

const OTHERWISE = 'DEMO=simulated runs without packages and without root'

/** Needs root. Whatever happens to this process, the node ends with it. */
export async function startRealNode(options: DemoNodeOptions): Promise<DemoNode> {
  const { screen, leaving } = options
  await screen.step('Looking for the root folder of a node; the first time it is made, in about 30 s', () =>
    prepareRoot(options),
  )
  leaving.throwIfAborted()
  const name = `demo-${randomBytes(3).toString('hex')}`
  let node: RuntimeNode | undefined
  try {
    node = await screen.step('Starting containerd in a node of its own, about 3 s', () =>
      startRuntimeNode({ containerd: '2.1', name }),
    )
    leaving.throwIfAborted()
    await startPods(node, options)
    return await describe(node)
  } catch (error) {
    await node?.stop().catch(() => undefined)
    const left = leftoversOf(name)
    if (left.length > 0) throw new DemoError(`Cannot remove node "${name}": left behind: ${left.join('; ')}`)
    if (leaving.aborted) throw error
    throw new DemoError(`Cannot run a real runtime here: ${errorText(error)}\n${OTHERWISE}`)
  }
}

async function describe(node: RuntimeNode): Promise<DemoNode> {
  const { runtimeVersion } = await node.admin.version()
  return {
    runtime: `containerd ${runtimeVersion.replace(/^v|\+.*$/g, '')}, CRIU ${await criuVersion(node)}`,
    socketPath: node.socketPath,
    checkpointsDirectory: node.checkpointsDir,
    cgroupRoot: '/sys/fs/cgroup',
    stop: () => node.stop(),
  }
}

/**
 * The same that `startRuntimeNode` would do; here it can be given up. In a process group of its own, which a Ctrl-C in
 * the terminal does not reach, so that it gets one signal and not two.
 */
async function prepareRoot({ screen, leaving, hurry }: DemoNodeOptions): Promise<void> {
  leaving.throwIfAborted()
  const child = spawn(PREPARE, ['root'], { detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  const signalGroup = (signal: NodeJS.Signals) => () => {
    try {
      process.kill(-Number(child.pid), signal)
    } catch {
      // it has just ended
    }
  }
  const end = signalGroup('SIGTERM')
  const kill = signalGroup('SIGKILL')
  // not its exit: what it has started holds standard error open until it has ended, too
  const closed = once(child, 'close')
  leaving.addEventListener('abort', end)
  hurry.addEventListener('abort', kill)
  createInterface({ input: child.stderr }).on('line', (line) => {
    screen.line(`    ${line}`)
  })
  try {
    const [exitCode] = (await closed) as [number | null]
    leaving.throwIfAborted()
    if (exitCode !== 0) {
      throw new DemoError(`Cannot make the root folder of a node: see above\n${OTHERWISE}`)
    }
  } finally {
    leaving.removeEventListener('abort', end)
    hurry.removeEventListener('abort', kill)
  }
}

async function startPods(node: RuntimeNode, { screen, leaving }: DemoNodeOptions): Promise<void> {
  await screen.step('Starting three pods, about 2 s', async () => {
    for (const pod of DEMO_PODS) {
      leaving.throwIfAborted()
      await runPod(node.admin, { ...pod, ...node.placement })
    }
  })
}

async function criuVersion(node: RuntimeNode): Promise<string> {
  const { stdout } = await node.run(['criu', '--version'])
  return /^Version: (\S+)/m.exec(stdout)?.[1] ?? 'of unknown version'
}
