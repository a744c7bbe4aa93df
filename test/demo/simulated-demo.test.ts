import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { expectPrintedLinesWork } from './pasted-lines.ts'
import { agentsNaming, beginDemo, hasProgram, isListening, paste, processesNaming, startDemo } from './running-demo.ts'
import type { DemoStart, RunningDemo } from './running-demo.ts'

/** Each test starts several processes that compile their sources; other test files run beside it. */
const TIMEOUT_MS = 90_000
const NOBODY = 65_534

const isRoot = process.getuid?.() === 0
const canPaste = hasProgram('curl')
if (!canPaste) console.warn('Skipping what runs the printed lines: curl is not installed')
const nobodyReason = whyNotNobody()
if (nobodyReason !== undefined) console.warn(`Skipping the demo of another user: ${nobodyReason}`)

/** What the first has compiled, demo and agent, serves those that come after it. */
const compiled = mkdtempSync(join(tmpdir(), 'compiled-demo-'))
vi.stubEnv('NODE_COMPILE_CACHE', compiled)
afterAll(() => rmSync(compiled, { recursive: true }))

const begun: RunningDemo[] = []
afterEach(async () => {
  for (const demo of begun.splice(0)) {
    demo.process.kill('SIGKILL')
    await demo.ended
  }
})

async function start(options: DemoStart = {}): Promise<RunningDemo> {
  const demo = await startDemo({ demo: 'simulated', ...options })
  begun.push(demo)
  return demo
}

describe('the simulated demo', { timeout: TIMEOUT_MS }, () => {
  it('says what it is first, prints lines that work, and leaves nothing after Ctrl-C', async () => {
    // what the user has set for another agent has no say in the demo
    const demo = await start({ env: { CHECKPOINT_AGENT_SERVER_ADDRESS: '', CHECKPOINT_AGENT_LOG_LEVEL: 'loud' } })
    expect(demo.output()).toMatch(/^SIMULATED runtime: DEMO=simulated asks for it\n/)
    expect(demo.output()).not.toContain('\u001b')
    expect(await isListening(demo.port())).toBe(true)
    expect(agentsNaming(demo.folder())).toHaveLength(1)
    if (canPaste) {
      expectPrintedLinesWork(demo)
      await demo.untilOutput('POST /v1/captures?wait=true: 201 in ')
    }
    const signalledAt = Date.now()
    await expectOrderlyEnd(demo, 'SIGINT')
    expect(Date.now() - signalledAt).toBeLessThan(10_000)
  })

  it('ends in order when it is only just starting', async () => {
    const demo = beginDemo({ demo: 'simulated' })
    begun.push(demo)
    await demo.untilOutput('Starting the agent')
    demo.process.kill('SIGINT')
    expect(await demo.ended).toBe(0)
    expect(demo.output()).toContain('Everything of the demo is gone again')
    expect(demo.output()).not.toContain('Next, in another terminal')
  })

  it('takes another port than one that runs, removes what a killed one left, and hurries when asked twice', async () => {
    const first = await start()
    const second = await start()
    expect(second.port()).not.toBe(first.port())
    expect(second.output()).toContain(`port ${first.port()} is taken`)
    await expectOrderlyEnd(second, 'SIGHUP')
    expect(existsSync(first.folder())).toBe(true)
    expect(await isListening(first.port())).toBe(true)

    first.process.kill('SIGKILL')
    expect(await first.ended).toBe('SIGKILL')
    await expect.poll(() => processesNaming(first.folder()), { timeout: 10_000 }).toEqual([])
    expect(existsSync(first.folder())).toBe(true)
    const third = await start()
    expect(existsSync(first.folder())).toBe(false)
    expect(existsSync(third.folder())).toBe(true)
    await expectHurriedEnd(third)
  })

  it('ends with what the agent said when the agent ends', async () => {
    const demo = await start()
    for (const pid of agentsNaming(demo.folder())) process.kill(pid, 'SIGKILL')
    expect(await demo.ended).toBe(1)
    expect(demo.output()).toMatch(
      /\nThe agent has ended by itself; the end of its log:\n.*"checkpoint-agent is ready"/s,
    )
    await expectNothingLeft(demo)
  })
})

describe('the demo of an ordinary user', { timeout: TIMEOUT_MS }, () => {
  const user = isRoot ? { uid: NOBODY } : {}

  it.skipIf(nobodyReason !== undefined)('is the simulated one by itself, and works, also without jq', async () => {
    const programs = folderOfPrograms(canPaste ? ['curl', 'tar', 'gzip', 'sh'] : ['sh'])
    const demo = await startDemo({ ...user, env: { PATH: programs } })
    begun.push(demo)
    expect(demo.output()).toMatch(/^SIMULATED runtime: not (?:root|Linux); as root on Linux .*\n/)
    expect(demo.output()).not.toContain('jq')
    if (canPaste) expectPrintedLinesWork(demo, (command) => paste(`PATH='${programs}'; ${command}`, user.uid))
    await expectOrderlyEnd(demo, 'SIGTERM')
    rmSync(programs, { recursive: true })
  })

  it.skipIf(nobodyReason !== undefined)('refuses what only root can have', async () => {
    const demo = beginDemo({ demo: 'real', ...user })
    begun.push(demo)
    expect(await demo.ended).toBe(1)
    expect(demo.output()).toMatch(/^Cannot start the demo with DEMO="real": not (?:root|Linux)\n$/)
  })
})

async function expectOrderlyEnd(demo: RunningDemo, signal: NodeJS.Signals): Promise<void> {
  const port = demo.port()
  demo.process.kill(signal)
  expect(await demo.ended).toBe(0)
  expect(demo.output()).toMatch(/\nEverything of the demo is gone again: .*\n$/)
  await expectNothingLeft(demo)
  expect(await isListening(port)).toBe(false)
}

/** An agent that does not end by itself, and a user who does not want to wait for it. */
async function expectHurriedEnd(demo: RunningDemo): Promise<void> {
  for (const pid of agentsNaming(demo.folder())) process.kill(pid, 'SIGSTOP')
  demo.process.kill('SIGINT')
  await demo.untilOutput('Ending: ')
  demo.process.kill('SIGINT')
  await demo.untilOutput('Hurrying: ')
  const hurriedAt = Date.now()
  expect(await demo.ended).toBe(0)
  expect(Date.now() - hurriedAt).toBeLessThan(5000)
  await expectNothingLeft(demo)
}

/** Readable by everyone. */
function folderOfPrograms(programs: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-test-'))
  chmodSync(folder, 0o755)
  for (const program of programs) symlinkSync(paste(`command -v ${program}`).trim(), join(folder, program))
  return folder
}

async function expectNothingLeft(demo: RunningDemo): Promise<void> {
  expect(existsSync(demo.folder())).toBe(false)
  // A process that reads archives ends by itself once its agent has.
  await expect.poll(() => processesNaming(demo.folder()), { timeout: 10_000 }).toEqual([])
}

/** Undefined where the test can run the demo as nobody, or need not because it runs as an ordinary user itself. */
function whyNotNobody(): string | undefined {
  if (!isRoot) return undefined
  const read = `require('node:fs').readFileSync(${JSON.stringify(import.meta.filename)})`
  const result: SpawnSyncReturns<Buffer> = spawnSync(process.execPath, ['--eval', read], { uid: NOBODY, gid: NOBODY })
  return result.status === 0 ? undefined : 'nobody may not read this folder, or not run this Node.js'
}
