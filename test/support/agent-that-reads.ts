import process from 'node:process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { generationOf } from '../../src/checkpoint/generation.ts'
import { ReaderProcesses } from '../../src/agent/inspection/reader-processes.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { ENTRY_WITH_HOOK } from './reader-hook.ts'

// As much of an agent as reads one archive, and can be killed.

const [, , directory = '', stateDirectory = '', name = ''] = process.argv
const readers = new ReaderProcesses({ directory, stateDirectory, logger: silentLogger, entry: ENTRY_WITH_HOOK })
readers.warm()
const stat = statSync(join(directory, name), { bigint: true })
const file = { path: Buffer.from(name), generation: generationOf(stat), sizeBytes: Number(stat.size) }
process.stdout.write('reading')
await readers.summarize(file, { lane: 'callers' })
