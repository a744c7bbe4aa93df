import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startSimulatedNode } from '../tools/demo/simulated-node.ts'
import { startAgentProcess, type AgentProcess } from './support/agent-process.ts'
import { commandsIn, consoleBlocksOf, PAGES_WITH_COMMANDS, type ConsoleBlock } from './support/console-blocks.ts'
import { COPIES, HERE, IN_CLUSTER, NOWHERE, type Named, type Scene } from './support/documented-commands.ts'
import { openTerminal } from './support/pasted-commands.ts'

const ROOT = join(import.meta.dirname, '..')

/** The checkpoint that the pages speak of. */
const ID_IN_PAGES = '9f2c4e5a7b1d3c60'
const FIRST_PORT = '9443'

const READY_WITHIN_MS = 20_000

const BLOCKS = PAGES_WITH_COMMANDS.flatMap((page) => consoleBlocksOf(page))

describe('the commands of README.md and docs', () => {
  it('are all of a kind that is run by a test, or listed with the reason why not', () => {
    const known: readonly Named[] = [...HERE, ...IN_CLUSTER, ...COPIES, ...NOWHERE]
    for (const { page, has, reason } of NOWHERE) console.log(`not run by any test: ${page}, "${has}": ${reason}`)
    const blocks = BLOCKS.map((block) => ({
      at: `${block.page}:${block.line}`,
      named: known.filter((each) => isOf(each, block)).length,
    }))
    expect(blocks.filter(({ named }) => named !== 1)).toEqual([])
    const names = known.map((each) => ({ ...each, blocks: BLOCKS.filter((block) => isOf(each, block)).length }))
    expect(names.filter((each) => each.blocks !== 1)).toEqual([])
  })

  it.each(BLOCKS)('can be pasted: $page:$line', ({ text, language }) => {
    expect(language).toBe('console')
    expect(text).not.toMatch(/^\s*\$ /m)
    expect(commandsIn(text)).not.toEqual([])
  })

  it.each(IN_CLUSTER)('are taken from the page by $by: $has', ({ by, has }) => {
    expect(readFileSync(join(ROOT, by), 'utf8')).toContain(`commandsOf('${has}')`)
  })
})

describe('the commands that two pages have', () => {
  it.each(COPIES)('are the same on both: $page, $has', ({ of, ...copy }) => {
    const [ofCopy, ofOriginal] = [copy, of].map((each) => BLOCKS.find((block) => isOf(each, block))?.text)
    expect(ofCopy).toBeDefined()
    expect(ofCopy).toBe(ofOriginal)
    expect([...HERE, ...IN_CLUSTER].map(({ page, has }) => ({ page, has }))).toContainEqual(of)
  })
})

const obstacle = whyNotHere()
if (obstacle !== undefined) console.log(`the commands of README.md and docs are not run: ${obstacle}`)

describe.skipIf(obstacle !== undefined)('with an agent, the commands of', () => {
  let scene: Scene
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'pasted-')))
    closers.push(async () => {
      rmSync(folder, { recursive: true })
    })
    const node = await startSimulatedNode({ folder } as Parameters<typeof startSimulatedNode>[0])
    closers.push(() => node.stop())
    const agent = await startAgentProcess({
      folder,
      settings: {
        'node.name': 'node-a',
        'checkpoints.directory': node.checkpointsDirectory,
        'runtime.socket': node.socketPath,
        'freezeGuard.cgroupRoot': node.cgroupRoot,
        'capture.diskFloor.percent': '0%',
        'capture.diskFloor.minFree': '64MiB',
      },
    })
    closers.push(() => agent.sigterm())
    await agent.request('POST', '/checkpoint/shop/web-0/counter')
    const checkpoint = await firstReady(agent)
    mkdirSync(join(folder, 'pages'))
    const terminal = openTerminal({ folder: join(folder, 'pages'), env: environmentFor(folder) })
    scene = { agent, folder, terminal, checkpoint }
  })

  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it.for(HERE)('$page do what it says: $has', async ({ page, has, run, missing }, { skip }) => {
    const reason = missing?.()
    if (reason !== undefined) {
      console.log(`the commands with "${has}" of ${page} are not run: ${reason}`)
      skip(reason)
    }
    const block = BLOCKS.find((each) => isOf({ page, has }, each))
    const { agent, checkpoint } = scene
    const commands = (block?.text ?? '')
      .replaceAll(FIRST_PORT, String(agent.port))
      .replaceAll(ID_IN_PAGES, checkpoint.id)
    expect.hasAssertions()
    await run(commands, scene)
  })
})

function isOf({ page, has }: Named, block: ConsoleBlock): boolean {
  return block.page === page && block.text.includes(has)
}

/** A checkpoint has its digest a moment after the capture was answered. */
async function firstReady(agent: AgentProcess): Promise<Scene['checkpoint']> {
  for (const start = performance.now(); performance.now() - start < READY_WITHIN_MS; await sleep(50)) {
    const page = (await agent.request('GET', '/v1/checkpoints?state=ready')).json() as {
      readonly items: readonly Scene['checkpoint'][]
    }
    if (page.items[0] !== undefined) return page.items[0]
  }
  throw new Error('Cannot run commands: there is no checkpoint')
}

/** For the agent that a page starts by itself: without the directories of this machine. */
function environmentFor(folder: string): Readonly<Record<string, string>> {
  return {
    CHECKPOINT_AGENT_STATE_DIRECTORY: join(folder, 'node-state'),
    CHECKPOINT_AGENT_SERVER_ADDRESS: '127.0.0.1:0',
    CHECKPOINT_AGENT_RUNTIME_SOCKET: join(folder, 'none.sock'),
  }
}

function whyNotHere(): string | undefined {
  if (process.platform !== 'linux') return 'they are for Linux'
  const missing = ['bash', 'curl', 'jq', 'openssl', 'make', 'sha256sum'].filter(
    (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0,
  )
  return missing.length === 0 ? undefined : `missing on this machine: ${missing.join(', ')}`
}
