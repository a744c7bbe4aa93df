import { describe, expect, it } from 'vitest'
import { commandsIn, consoleBlocksOf, fencesOf } from './console-blocks.ts'

const FENCE = '```'

describe('consoleBlocksOf', () => {
  it('finds every block of commands with its line, also within a list, and no other', () => {
    const page = `# Page
${FENCE}console
make demo
${FENCE}
${FENCE}yaml
a: 1
${FENCE}
- item
  ${FENCE}sh
  echo a
    -b
  ${FENCE}
${FENCE}
neither
${FENCE}
`
    expect(consoleBlocksOf('page.md', page)).toEqual([
      { page: 'page.md', line: 3, language: 'console', text: 'make demo\n' },
      { page: 'page.md', line: 10, language: 'sh', text: 'echo a\n  -b\n' },
    ])
    expect(fencesOf(page)).toHaveLength(3)
  })
})

describe('commandsIn', () => {
  it.each([
    ['a line for each', 'a\nb -c\n', ['a', 'b -c']],
    ['a line that goes on', 'a \\\n    -b\nc\n', ['a \\\n    -b', 'c']],
    ['a loop', 'for n in $(a); do\n  b "$n"\ndone\nc', ['for n in $(a); do\n  b "$n"\ndone', 'c']],
    ['text in quotes', `a 'b\nc'\nd`, [`a 'b\nc'`, 'd']],
    ['comments', '# first\na   # why\nb "# not"', ['a', 'b "# not"']],
    ['one in the background', 'a &\nb', ['a &', 'b']],
  ])('takes %s', (_, text, commands) => {
    expect(commandsIn(text)).toEqual(commands)
  })

  it('says which command does not end', () => {
    expect(() => commandsIn('a\nfor n in b; do\n')).toThrow('this one does not end: for n in b; do')
  })
})
