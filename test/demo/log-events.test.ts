import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeEvent, followLog } from '../../tools/demo/log-events.ts'

const TIME = new Date(2026, 0, 2, 3, 4, 5).toISOString()
const POST = { level: 'info', time: TIME, msg: 'Answered', method: 'POST', url: '/v1/captures', status: 202, millis: 7 }

describe('describeEvent', () => {
  it.each([
    { name: 'a request that changes something', entry: POST, line: '03:04:05  POST /v1/captures: 202 in 7 ms' },
    { name: 'a request that only asks', entry: { ...POST, method: 'GET' }, line: undefined },
    { name: 'plain information', entry: { level: 'info', time: TIME, msg: 'Listening' }, line: undefined },
    {
      name: 'a capture that failed',
      entry: {
        level: 'warn',
        time: TIME,
        msg: 'A capture failed',
        failure: { code: 'DiskFull', detail: 'no space left' },
      },
      line: '03:04:05  A capture failed: no space left',
    },
    {
      name: 'an error',
      entry: { level: 'error', time: TIME, msg: 'Cannot recover a capture', error: 'gone' },
      line: '03:04:05  Cannot recover a capture: gone',
    },
    {
      name: 'control characters',
      entry: { ...POST, url: '/v1/captures?\u001b[2J' },
      line: String.raw`03:04:05  POST /v1/captures?\x1b[2J: 202 in 7 ms`,
    },
  ])('shows $name as $line', ({ entry, line }) => {
    expect(describeEvent(JSON.stringify(entry))).toBe(line)
  })

  it.each(['', 'node:internal/errors', '"text"', 'null', '{"level":'])('passes over %j', (line) => {
    expect(describeEvent(line)).toBeUndefined()
  })
})

describe('followLog', () => {
  it('tells of what is written after it began, line by line however it arrives', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-test-'))
    const path = join(folder, 'agent.log')
    writeFileSync(path, `${JSON.stringify({ ...POST, status: 500 })}\n`)
    const events: string[] = []
    const follower = followLog(path, (line) => events.push(line))
    const line = `${JSON.stringify({ ...POST, url: '/ä' })}\n`
    const bytes = Buffer.from(line)
    // cut within the two bytes of the letter
    const cut = bytes.indexOf(0xc3) + 1
    appendFileSync(path, bytes.subarray(0, cut))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(events).toEqual([])
    appendFileSync(path, bytes.subarray(cut))
    await expect.poll(() => events).toEqual(['03:04:05  POST /ä: 202 in 7 ms'])
    appendFileSync(path, `${JSON.stringify(POST)}\n`)
    follower.stop()
    expect(events).toHaveLength(2)
    rmSync(folder, { recursive: true })
  })
})
