import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { recordingLogger, startTestAgent } from '../../support/test-agent.ts'

const modeOf = (path: string) => lstatSync(path).mode & 0o777

describe.concurrent('an agent on folders that others can reach', () => {
  it('closes the checkpoint directory at its start, and says so', async () => {
    const logger = recordingLogger()
    await using test = await startTestAgent({ logger })
    chmodSync(test.folder.checkpoints, 0o755)
    await test.restart()
    expect(modeOf(test.folder.checkpoints)).toBe(0o700)
    expect(logger.lines).toContainEqual({
      level: 'warn',
      fields: expect.objectContaining({ what: 'directory', mode: '0755' }),
      message: 'Took away what others than root were allowed to do',
    })
    const { text } = await test.agent.metrics.render()
    expect(text).toContain('checkpoint_agent_permission_repairs_total{what="directory"} 1')
  })

  it('leaves the checkpoint directory as it is with `report`', async () => {
    await using test = await startTestAgent({ permissions: 'report' })
    chmodSync(test.folder.checkpoints, 0o755)
    await test.restart()
    expect(modeOf(test.folder.checkpoints)).toBe(0o755)
  })

  it('closes the folder of the index in any case', async () => {
    await using test = await startTestAgent({ permissions: 'report' })
    chmodSync(test.folder.state, 0o755)
    await test.restart()
    expect(modeOf(test.folder.state)).toBe(0o700)
  })

  it('shows in its health that the index was removed under it, until the next start', async () => {
    await using test = await startTestAgent({}, {})
    const states = () => test.agent.health().find(({ name }) => name === 'index-file')?.state
    expect(states()).toBe('ok')
    unlinkSync(join(test.folder.state, 'index.db'))
    test.agent.checkPermissions()
    expect(states()).toBe('degraded')
    await test.restart()
    expect(states()).toBe('ok')
  })
})
