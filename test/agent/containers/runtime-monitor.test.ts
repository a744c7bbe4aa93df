import { describe, expect, it } from 'vitest'
import { RuntimeMonitor } from '../../../src/agent/containers/runtime-monitor.ts'
import type { ContainerRuntime } from '../../../src/runtime/container-runtime.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { RuntimeFailureError } from '../../../src/shared/errors.ts'
import { silentLogger } from '../../../src/shared/logger.ts'

/** CRI-O looked for criu when it started: its probe finds nothing wrong, whatever crun needs. */
function monitor() {
  const version = { name: 'cri-o', version: '1.36.3' }
  const runtime = {
    version: async () => ({ ...version }),
    notReadyReason: async () => undefined,
    checkpoint: async () => {
      throw new RuntimeFailureError('the runtime knows no such container', { code: 'ContainerNotFound' })
    },
  } as unknown as ContainerRuntime
  return {
    version,
    watched: new RuntimeMonitor({ runtime, clock: systemClock, logger: silentLogger, abilityHoldsMs: 0 }),
  }
}

const failed = (code: string) => ({ state: 'failed', failure: { code, detail: 'why', hint: 'what to do' } }) as const

describe('whether the node can checkpoint', () => {
  it('is no after a dump that failed for want of CRIU, whatever a probe says, until one succeeds', async () => {
    const { watched } = monitor()
    expect((await watched.look()).ability).toEqual({ state: 'yes' })
    watched.noteCapture(failed('CriuMissing'))
    const missing = {
      state: 'no',
      code: 'CriuMissing',
      reason: 'the last checkpoint failed: why',
      hint: 'what to do',
    }
    expect(watched.state.ability).toEqual(missing)
    expect((await watched.look()).ability).toEqual(missing)
    watched.noteCapture({ state: 'succeeded' })
    expect((await watched.look()).ability).toEqual({ state: 'yes' })
  })

  it('is asked anew of a runtime that was replaced', async () => {
    const { watched, version } = monitor()
    await watched.look()
    watched.noteCapture(failed('CriuMissing'))
    version.version = '1.37.0'
    expect((await watched.look()).ability).toEqual({ state: 'yes' })
  })

  it.each(['TcpEstablished', 'ContainerPaused', 'DiskFull'])('says nothing after %s', async (code) => {
    const { watched } = monitor()
    await watched.look()
    watched.noteCapture(failed(code))
    expect(watched.state.ability).toEqual({ state: 'yes' })
  })
})
