import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')

/** Languages of a fence that mean commands; `console` is the one to write. */
const SHELLS: ReadonlySet<string> = new Set(['console', 'sh', 'bash', 'shell', 'zsh'])

/** The pages whose commands readers paste. */
export const PAGES_WITH_COMMANDS: readonly string[] = [
  'README.md',
  ...globSync('docs/**/*.md', { cwd: ROOT }),
].toSorted()

/** Commands of a page, as they stand between its fences. */
export interface ConsoleBlock {
  readonly page: string
  /** Of its first command. */
  readonly line: number
  readonly language: string
  readonly text: string
}

export function consoleBlocksOf(
  page: string,
  markdown: string = readFileSync(join(ROOT, page), 'utf8'),
): ConsoleBlock[] {
  return fencesOf(markdown)
    .filter(({ language }) => SHELLS.has(language))
    .map((fence) => ({ page, ...fence }))
}

/** The blocks of a language, in a list item or not. */
export function fencesOf(markdown: string): Omit<ConsoleBlock, 'page'>[] {
  return [...markdown.matchAll(/^( *)```(\w+)\n([\s\S]*?)^\1```$/gm)].map((match) => {
    const [, indent = '', language = '', text = ''] = match
    const line = markdown.slice(0, match.index).split('\n').length + 1
    return { language, line, text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), '') }
  })
}

/** The commands of a block one by one, without comments: a shell says where each ends. */
export function commandsIn(text: string): string[] {
  const commands: string[] = []
  let begun = ''
  for (const line of text.trimEnd().split('\n')) {
    begun += begun === '' ? line : `\n${line}`
    if (line.endsWith('\\') || !isWhole(begun)) continue
    const command = begun.replaceAll(/(?:^| +)# .*$/gm, '').trim()
    if (command !== '') commands.push(command)
    begun = ''
  }
  if (begun !== '') throw new Error(`Cannot take commands from a block: this one does not end: ${begun}`)
  return commands
}

function isWhole(command: string): boolean {
  return spawnSync('bash', ['-n', '-c', command]).status === 0
}
