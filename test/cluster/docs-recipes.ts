import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandsIn, fencesOf } from '../support/console-blocks.ts'
import { ROOT } from './agent-image.ts'

/** The commands of the one block of docs that contains this text, in their order and without comments. */
export function commandsOf(text: string): readonly string[] {
  return commandsIn(blockWith('console', text))
}

/** The one YAML block of docs that contains this text. */
export function manifestOf(text: string): string {
  return blockWith('yaml', text)
}

function blockWith(language: string, text: string): string {
  const pages = globSync('docs/**/*.md', { cwd: ROOT }).toSorted()
  const found = pages.flatMap((page) =>
    fencesOf(readFileSync(join(ROOT, page), 'utf8'))
      .filter((fence) => fence.language === language && fence.text.includes(text))
      .map((fence) => ({ page, text: fence.text })),
  )
  const [block] = found
  if (block === undefined || found.length > 1)
    throw new Error(
      `Cannot take the block with "${text}" from docs: found ${found.map(({ page }) => page).join(', ') || 'none'}`,
    )
  return block.text
}
