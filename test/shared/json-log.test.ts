import { describe, expect, it } from 'vitest'
import { InvalidInputError, UnavailableError } from '../../src/shared/errors.ts'
import { fatalText, jsonLog, logFatal } from '../../src/shared/json-log.ts'

describe('jsonLog', () => {
  it.each([
    '\u001b[31mred',
    'a\nb\r\tc',
    '\u009b2J',
    'a\u202eb',
    'a\u2028b\u2029c',
    'tag \u{e0041}\u{e007f}',
    '\ud800 alone',
    '\u007f',
    'C:\\x \\u202e',
    'prüfung-检查-🙂',
  ])('writes %j as one line that only has letters in it, and that reads back as the same', (text) => {
    const lines: string[] = []
    const log = jsonLog({ level: 'info', node: 'node-a', write: (line) => lines.push(line) })
    log.info({ fileName: text, [text]: { deep: [text] } }, text)
    log.debug({}, 'not at this level')
    const [line = '', ...others] = lines
    expect(others).toEqual([])
    expect(line).toMatch(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+\n$/u)
    expect(JSON.parse(line)).toMatchObject({
      node: 'node-a',
      level: 'info',
      msg: text,
      fileName: text,
      [text]: { deep: [text] },
    })
  })
})

describe('the log', () => {
  it.each(['debug', 'info', 'warn', 'error'] as const)('says %s and the time in text', (level) => {
    const lines: string[] = []
    jsonLog({ level: 'debug', node: 'node-a', write: (line) => lines.push(line) })[level]({}, 'x')
    const { time, ...entry } = JSON.parse(lines[0] ?? '') as Record<string, unknown>
    expect(entry).toEqual({ level, node: 'node-a', msg: 'x' })
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(Math.abs(Date.parse(String(time)) - Date.now())).toBeLessThan(60_000)
  })
})

describe('a fatal error', () => {
  const locked = new UnavailableError('Cannot use it: it is held', { code: 'DirectoryLocked', hint: 'Stop the other.' })
  const wrong = new InvalidInputError('Cannot use the configuration: 2 mistakes\n  a\n  b', {
    code: 'InvalidConfiguration',
    extra: { mistakes: ['a', 'b'] },
  })

  it('is one line with code, cause and next step', () => {
    expect(fatalLine(locked)).toMatchObject({
      level: 'fatal',
      node: 'node-a',
      code: 'DirectoryLocked',
      hint: 'Stop the other.',
      msg: 'Cannot use it: it is held',
    })
    expect(fatalText(locked)).toBe('checkpoint-agent: Cannot use it: it is held (DirectoryLocked)\n  Stop the other.\n')
  })

  it('has each mistake once', () => {
    expect(fatalLine(wrong)).toMatchObject({
      code: 'InvalidConfiguration',
      mistakes: ['a', 'b'],
      msg: 'Cannot use the configuration: 2 mistakes',
    })
    expect(fatalText(wrong)).toBe(
      'checkpoint-agent: Cannot use the configuration: 2 mistakes (InvalidConfiguration)\n  a\n  b\n',
    )
  })

  it.each([
    { thrown: new TypeError('x is not a function'), err: { type: 'TypeError', stack: expect.any(String) as string } },
    { thrown: 'thrown text', err: 'thrown text' },
  ])('that is a bug asks for a report: $thrown', ({ thrown, err }) => {
    expect(fatalLine(thrown)).toMatchObject({
      code: 'InternalError',
      hint: expect.stringContaining('report') as string,
      err,
    })
    expect(fatalText(thrown)).toContain('(InternalError)\n  This is a bug')
  })
})

function fatalLine(error: unknown): unknown {
  const lines: string[] = []
  logFatal({ node: 'node-a', write: (line) => lines.push(line) }, error)
  expect(lines).toHaveLength(1)
  return JSON.parse(lines[0] ?? '')
}
