import type Sqlite from 'better-sqlite3'
import { errorText } from '../shared/errors.ts'
import type { CustodyLogState } from '../custody/custody-log.ts'
import type { RuntimeState } from './runtime-monitor.ts'
import type { Staging } from './staging.ts'

export interface HealthCheck {
  readonly name: string
  /** `degraded` is shown, and does not make the agent unready: what it knows can still be asked for. */
  readonly state: 'ok' | 'degraded' | 'failed'
  readonly detail?: string
}

export interface HealthSources {
  readonly runtime: RuntimeState
  readonly staging: Staging
  readonly database: Sqlite.Database
  readonly frozenContainers: number
  readonly canSeeFreezes: boolean
  readonly watchTrouble: string | undefined
  readonly custody: CustodyLogState
  readonly isIndexGone: boolean
}

/** No names in here: anybody may ask. */
export function checkHealth({
  runtime,
  staging,
  database,
  frozenContainers,
  canSeeFreezes,
  watchTrouble,
  custody,
  isIndexGone,
}: HealthSources): readonly HealthCheck[] {
  const { trouble, ability } = runtime
  return [
    check('index', 'failed', () => {
      database.prepare('SELECT 1').get()
    }),
    isIndexGone
      ? { name: 'index-file', state: 'degraded', detail: 'removed while in use; the next start builds it anew' }
      : { name: 'index-file', state: 'ok' },
    check('staging', 'degraded', () => {
      staging.prepare()
    }),
    trouble === undefined
      ? { name: 'runtime', state: 'ok' }
      : { name: 'runtime', state: 'degraded', detail: 'the container runtime does not answer, or is not ready' },
    ability.state === 'yes'
      ? { name: 'can-checkpoint', state: 'ok' }
      : { name: 'can-checkpoint', state: 'degraded', detail: ability.code },
    watchTrouble === undefined
      ? { name: 'directory-watch', state: 'ok' }
      : { name: 'directory-watch', state: 'degraded', detail: 'new archives are found by the rescan only' },
    canSeeFreezes
      ? { name: 'freeze-guard', state: 'ok' }
      : {
          name: 'freeze-guard',
          state: 'degraded',
          detail: 'this runtime has no task API, and no cgroup tree is mounted at freezeGuard.cgroupRoot',
        },
    custodyCheck(custody),
    frozenContainers === 0
      ? { name: 'frozen-containers', state: 'ok' }
      : { name: 'frozen-containers', state: 'degraded', detail: `${frozenContainers} frozen` },
  ]
}

const NEARLY_FULL = 0.8

function custodyCheck({ sizeBytes, maxBytes, trouble }: CustodyLogState): HealthCheck {
  if (trouble !== undefined) {
    return {
      name: 'custody',
      state: 'degraded',
      detail: 'the log cannot be written: no content is given, nothing removed',
    }
  }
  if (sizeBytes < maxBytes * NEARLY_FULL) return { name: 'custody', state: 'ok' }
  return {
    name: 'custody',
    state: 'degraded',
    detail: `${Math.floor((sizeBytes / maxBytes) * 100)}% of custody.maxSize`,
  }
}

function check(name: string, badState: 'degraded' | 'failed', look: () => void): HealthCheck {
  try {
    look()
    return { name, state: 'ok' }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : errorText(error)
    return { name, state: badState, detail: code }
  }
}
