import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { expect, it, onTestFinished } from 'vitest'
import { writeArchive } from '../../support/archive-builder.ts'

const ROOT = join(import.meta.dirname, '../../..')

const SCRIPT = `
import { statSync } from 'node:fs'
const [, , directory, state] = process.argv
const { ReaderProcesses } = await import('./src/agent/inspection/reader-processes.ts')
const { generationOf } = await import('./src/checkpoint/generation.ts')
const logger = { debug() {}, info() {}, warn: (fields) => console.error(fields), error: (fields) => console.error(fields) }
const reader = new ReaderProcesses({ directory, stateDirectory: state, logger })
const stat = statSync(directory + '/a.tar', { bigint: true })
const file = { path: Buffer.from('a.tar'), generation: generationOf(stat), sizeBytes: Number(stat.size) }
const { members } = await reader.listMembers(file, { skip: 0, limit: 1000, signal: new AbortController().signal })
console.log(members.length)
await reader.close()
`

it('starts where node_modules is a link, as workspaces and package stores make them', () => {
  const place = mkdtempSync(join(tmpdir(), 'linked-modules-'))
  onTestFinished(() => {
    rmSync(place, { recursive: true })
  })
  const [program, archives, state] = ['program', 'archives', 'state'].map((name) => {
    mkdirSync(join(place, name), { mode: 0o700 })
    return join(place, name)
  }) as [string, string, string]
  cpSync(join(ROOT, 'src'), join(program, 'src'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(program, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(program, 'node_modules'))
  writeFileSync(join(program, 'list.mjs'), SCRIPT)
  writeArchive(join(archives, 'a.tar'), { namespace: 'shop', pod: 'web-0', container: 'counter' })
  const listed = execFileSync(process.execPath, ['list.mjs', archives, state], { cwd: program, encoding: 'utf8' })
  expect(Number(listed)).toBeGreaterThan(5)
})
