import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandsIn, fencesOf } from '../support/console-blocks.ts'
import { ROOT } from './agent-image.ts'

/** The commands of the block of docs/operations.md that has this text in it, in their order and without comments. */
export function commandsOf(text: string): readonly string[] {
  return commandsIn(blockWith('console', text))
}

/** The YAML block of docs/operations.md that has this text in it. */
export function manifestOf(text: string): string {
  return blockWith('yaml', text)
}

function blockWith(wanted: string, text: string): string {
  const page = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')
  const found = fencesOf(page).filter((fence) => fence.language === wanted && fence.text.includes(text))
  const [block] = found
  if (block === undefined || found.length > 1)
    throw new Error(`Cannot take the block with "${text}" from docs/operations.md: there are ${found.length}`)
  return block.text
}
