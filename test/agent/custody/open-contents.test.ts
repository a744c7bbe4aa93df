import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ContentCustody } from '../../../src/agent/custody/content-custody.ts'
import { Custody } from '../../../src/agent/custody/custody.ts'
import type { ContentIntent } from '../../../src/agent/content/content-recorder.ts'
import { verifyCustody } from '../../../src/custody/custody-verify.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { draft, writtenLog } from '../../custody/custody-fixture.ts'
import { loadSigningKey } from '../../../src/custody/signing-key.ts'
import { checkpoint } from '../../http/http-services.ts'
import { custodyEntries } from '../../support/custody-files.ts'

const GIB = 1024 ** 3

function place(): string {
  const root = mkdtempSync(join(tmpdir(), 'open-contents-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  return root
}

/** One run of an agent, as far as its log goes; without `stop` it was killed. */
async function run(root: string, maxBytes = GIB): Promise<Custody> {
  const custody = new Custody({
    stateDirectory: root,
    node: 'node-a',
    agentVersion: '0',
    maxBytes,
    clock: systemClock,
    logger: silentLogger,
  })
  await custody.start()
  return custody
}

function intent(id: string, first: number, changes: Partial<ContentIntent> = {}): ContentIntent {
  const range = { first, end: first + 100, sizeBytes: 8 * GIB }
  return {
    actor: { user: 'alice', groups: [] },
    checkpoint: checkpoint({ id }),
    what: 'archive',
    recipients: [],
    range,
    ...changes,
  }
}

const contentsIn = (root: string) => custodyEntries(join(root, 'custody')).filter(({ action }) => action === 'content')

describe('the start of an agent', () => {
  it('ends what the run before left open, up to what was announced, once', async () => {
    const root = place()
    const first = await run(root)
    const content = new ContentCustody({ custody: first, node: 'node-a', logger: silentLogger, idleMs: 5 })
    await content.begin(intent('a', 0))
    await content.begin(intent('a', GIB))
    const closed = intent('b', 0)
    await content.begin(closed)
    await content.end({ intent: closed, result: 'sent', sentBytes: 100 })
    await expect.poll(() => contentsIn(root).length).toBe(4)

    await run(root)
    const ends = contentsIn(root).slice(4)
    expect(ends).toMatchObject([
      {
        actor: { user: 'alice' },
        outcome: 'unknown',
        checkpoint: { id: 'a' },
        detail: {
          intent: contentsIn(root)[0]?.seq,
          what: 'archive',
          result: 'agent-ended',
          announced: `0-${GIB + 99}`,
        },
      },
    ])
    const last = await run(root)
    expect(contentsIn(root)).toHaveLength(5)
    await last.stop()
    expect(await verifyCustody(join(root, 'custody'))).toMatchObject({ problems: [] })
  })

  it('ends what an agent of an earlier version left open', async () => {
    const root = place()
    mkdirSync(join(root, 'custody'))
    const key = loadSigningKey(join(root, 'custody-key.pem'))
    // Intended, and without an end, as `draft` makes them.
    await writtenLog({ folder: join(root, 'custody'), key }, 2)
    const custody = await run(root)
    await custody.stop()
    expect(contentsIn(root).map(({ outcome, detail }) => [outcome, detail?.['intent']])).toEqual([
      ['intended', undefined],
      ['intended', undefined],
      ['unknown', 1],
      ['unknown', 2],
    ])
  })

  it('comes before any content of its run, also where that was asked for earlier', async () => {
    const root = place()
    const custody = new Custody({
      stateDirectory: root,
      node: 'node-a',
      agentVersion: '0',
      maxBytes: GIB,
      clock: systemClock,
      logger: silentLogger,
    })
    const early = custody.recordContent(draft(1))
    await custody.start()
    await early
    await custody.stop()
    expect(custodyEntries(join(root, 'custody')).map(({ action }) => action)).toEqual([
      'agent.start',
      'content',
      'agent.stop',
    ])
  })
})

describe('a full log', () => {
  it('takes no content, and goes on for captures, removals and the agent itself', async () => {
    const root = place()
    const custody = await run(root, 64 * 1024)
    const content = new ContentCustody({ custody, node: 'node-a', logger: silentLogger })
    const groups = Array.from({ length: 2_000 }, (_, index) => `group-${index}-${'x'.repeat(300)}`)
    const flood = async () => {
      for (let user = 0; user < 1_000; user += 1) {
        await content.begin(intent('a', 0, { actor: { user: `user-${user}`, groups } }))
      }
    }
    await expect(flood()).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    expect(custody.state.sizeBytes).toBeLessThan(40 * 1024)
    const actor = { user: 'bob', groups }
    await custody.recordRemovals([draft(1, { actor, action: 'delete' })])
    await custody.note(draft(1, { actor, action: 'capture' }))
    await content.close()
    await custody.stop()
    expect(custody.state.error).toBeUndefined()
    const entries = custodyEntries(join(root, 'custody'))
    expect(entries.at(-1)?.action).toBe('agent.stop')
    expect(entries.filter(({ action }) => action === 'delete' || action === 'capture')).toHaveLength(2)
    expect(await verifyCustody(join(root, 'custody'))).toMatchObject({ problems: [], entries: entries.length })
  })
})
