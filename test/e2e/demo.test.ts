import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { relative } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectPrintedLinesWork } from '../demo/pasted-lines.ts'
import { beginDemo, isListening, paste, processesNaming, startDemo } from '../demo/running-demo.ts'
import type { RunningDemo } from '../demo/running-demo.ts'
import { archiveProblem } from '../support/archive-check.ts'
import { findNode, nodeCgroup, NODES_FOLDER } from './harness/node-registry.ts'
import { leftoversOf, removeDeadNodes } from './harness/node-removal.ts'
import { prepareParts } from './harness/prepared-parts.ts'

const begun: RunningDemo[] = []
afterEach(async () => {
  for (const demo of begun.splice(0)) {
    demo.process.kill('SIGKILL')
    await demo.ended
  }
  await removeDeadNodes()
})

async function start(): Promise<RunningDemo> {
  const demo = await startDemo({ demo: 'real' })
  begun.push(demo)
  return demo
}

describe('the real demo', () => {
  it('prints lines that work on a real runtime, and leaves nothing', async () => {
    const demo = await start()
    expect(demo.output()).toMatch(/^REAL runtime: containerd 2\.1 and CRIU /)
    expect(demo.running('runtime')).toMatch(/^containerd 2\.1\.\d+, CRIU \d+\.\d+/)
    expectPrintedLinesWork(demo)
    expectRealArchive(demo)

    const node = nodeOf(demo)
    expect(leftoversOf(node)).not.toEqual([])
    const signalledAt = Date.now()
    demo.process.kill('SIGINT')
    expect(await demo.ended).toBe(0)
    expect(Date.now() - signalledAt).toBeLessThan(20_000)
    expect(demo.output()).toMatch(/\nEverything of the demo is gone again: .*\n$/)
    await expectNothingLeft(demo, node)
  })

  it('is the one that root gets without asking, and two of them do not meet', async () => {
    const first = await start()
    const second = await startDemo()
    begun.push(second)
    expect(second.output()).toMatch(/^REAL runtime: /)
    expect(second.output()).toContain(`port ${first.port()} is taken`)
    expect(nodeOf(second)).not.toBe(nodeOf(first))
    second.process.kill('SIGINT')
    expect(await second.ended).toBe(0)
    await expectNothingLeft(second, nodeOf(second))
    const containers = first.commands()[0] ?? ''
    expect((JSON.parse(paste(containers)) as { items: unknown[] }).items).toHaveLength(4)
    first.process.kill('SIGTERM')
    expect(await first.ended).toBe(0)
    await expectNothingLeft(first, nodeOf(first))
  })

  it('takes node and agent along when it is killed, and the next one works', async () => {
    const killed = await start()
    killed.process.kill('SIGKILL')
    expect(await killed.ended).toBe('SIGKILL')
    await expect.poll(() => leftoversOf(nodeOf(killed)), { timeout: 30_000 }).toEqual([])
    await expect.poll(() => processesNaming(killed.folder()), { timeout: 10_000 }).toEqual([])
    const next = await start()
    expect(existsSync(killed.folder())).toBe(false)
    next.process.kill('SIGHUP')
    expect(await next.ended).toBe(0)
    await expectNothingLeft(next, nodeOf(next))
  })

  it.each(['Starting containerd', 'Starting three pods', 'Starting the agent', 'Taking a first checkpoint'])(
    'leaves nothing when it is ended at "%s"',
    async (step) => {
      await prepareParts('2.1')
      const demo = beginDemo({ demo: 'real' })
      begun.push(demo)
      await demo.untilOutput(step)
      const nodes = nodesOwnedBy(demo)
      demo.process.kill('SIGINT')
      expect(await demo.ended).toBe(0)
      expect(demo.output()).toMatch(/\nEverything of the demo is gone again: .*\n$/)
      expect(nodes.flatMap((name) => leftoversOf(name))).toEqual([])
      expect(nodesOwnedBy(demo)).toEqual([])
    },
  )
})

/** The first checkpoint: of this node's own cgroup, with the process that the demo describes. */
function expectRealArchive(demo: RunningDemo): void {
  const path =
    demo
      .commands()
      .find((command) => command.startsWith('tar -tvf '))
      ?.slice('tar -tvf '.length) ?? ''
  expect(archiveProblem(path)).toBeUndefined()
  const spec = JSON.parse(execFileSync('tar', ['-xOf', path, 'spec.dump'], { encoding: 'utf8' })) as {
    process: { args: string[] }
    linux: { cgroupsPath: string }
  }
  expect(spec.linux.cgroupsPath).toContain(nodeCgroup(nodeOf(demo)))
  expect(spec.process.args.join(' ')).toContain('/tmp/count')
}

function nodeOf(demo: RunningDemo): string {
  return relative(NODES_FOLDER, demo.running('archives')).split('/')[0] ?? ''
}

function nodesOwnedBy(demo: RunningDemo): readonly string[] {
  if (!existsSync(NODES_FOLDER)) return []
  return readdirSync(NODES_FOLDER).filter((name) => findNode(name)?.owner.pid === demo.process.pid)
}

async function expectNothingLeft(demo: RunningDemo, node: string): Promise<void> {
  expect(leftoversOf(node)).toEqual([])
  expect(existsSync(demo.folder())).toBe(false)
  expect(processesNaming(demo.folder())).toEqual([])
  expect(await isListening(demo.port())).toBe(false)
}
