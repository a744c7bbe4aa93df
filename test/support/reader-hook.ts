import { join } from 'node:path'
import { ReaderChild } from '../../src/agent/inspection/reader-child.ts'
import { readerProgram } from '../../src/agent/inspection/reader-program.ts'
import { askReader } from '../../src/agent/inspection/reader-request.ts'

/** Names the entry that runs code of a test. */
export const ENTRY_WITH_HOOK = join(import.meta.dirname, 'reader-with-hook.ts')

export type HookResult = { readonly value: string } | { readonly error: string }

export function startReaderWithHook(directory: string): ReaderChild {
  return new ReaderChild(readerProgram({ directory, entry: ENTRY_WITH_HOOK }))
}

/** Runs the body of an async function of `(modules, directory)` in there. */
export async function runInReader(reader: ReaderChild, code: string): Promise<HookResult> {
  await reader.ready()
  const answer = await askReader(reader, { kind: 'run', code }, { parse: (value) => value as HookResult })
  if (answer.kind !== 'done') throw new Error(`no answer: ${answer.kind}`)
  return answer.value
}
