import { describe, expect, it } from 'vitest'
import { jsonLog } from '../../src/shared/json-log.ts'

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
      level: 30,
      msg: text,
      fileName: text,
      [text]: { deep: [text] },
    })
  })
})
