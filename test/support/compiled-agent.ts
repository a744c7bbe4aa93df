import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, vi } from 'vitest'
import { startAgentProcess } from './agent-process.ts'

/** For a file that starts many agents: what the first has compiled serves them all. One that is killed leaves nothing. */
export function compileAgentOnce(): void {
  const root = mkdtempSync(join(tmpdir(), 'compiled-agent-'))
  const directory = join(root, 'checkpoints')
  vi.stubEnv('NODE_COMPILE_CACHE', join(root, 'compiled'))
  beforeAll(async () => {
    mkdirSync(directory, { mode: 0o700 })
    const settings = { 'checkpoints.directory': directory, 'runtime.socket': join(root, 'none.sock') }
    const agent = await startAgentProcess({ folder: join(root, 'agent'), settings })
    const exitCode = await agent.sigterm()
    if (exitCode !== 0) throw new Error(`Cannot end the agent: exit code ${exitCode}`)
  })
  afterAll(() => rmSync(root, { recursive: true }))
}
