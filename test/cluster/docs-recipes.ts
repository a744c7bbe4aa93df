import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './agent-image.ts'

/** The commands (`$ …`) of the block of docs/operations.md that has this text in it, in their order and without comments. */
export function commandsOf(text: string): readonly string[] {
  const commands = blockWith('console', text).split(/^\$ /m).slice(1)
  return commands.map((command) => command.replaceAll(/ +# .*$/gm, '').trim())
}

/** The YAML block of docs/operations.md that has this text in it. */
export function manifestOf(text: string): string {
  return blockWith('yaml', text)
}

function blockWith(language: string, text: string): string {
  const page = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')
  const blocks = [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].filter(([, its]) => its === language)
  const found = blocks.map(([, , block = '']) => block).filter((block) => block.includes(text))
  const [block] = found
  if (block === undefined || found.length > 1)
    throw new Error(`Cannot take the block with "${text}" from docs/operations.md: there are ${found.length}`)
  return block
}
