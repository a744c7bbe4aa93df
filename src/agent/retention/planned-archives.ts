import type { PlannedArchive } from '../../retention/plan-types.ts'
import type { RetentionRow } from '../../store/retention-rows.ts'

export interface PlanMoment {
  readonly nowMillis: number
  readonly inUse: ReadonlySet<string>
}

/** Rows as a plan takes them. */
export function toPlannedArchives(rows: readonly RetentionRow[], moment: PlanMoment): PlannedArchive[] {
  return rows.map((row) => new PlannedRow(row, moment))
}

/** The same with its values for its own, for another thread. */
export function withOwnValues(archive: PlannedArchive): PlannedArchive {
  return {
    id: archive.id,
    fileName: archive.fileName,
    generation: archive.generation,
    state: archive.state,
    identity: archive.identity,
    engine: archive.engine,
    sizeBytes: archive.sizeBytes,
    takenAtMillis: archive.takenAtMillis,
    modifiedAtMillis: archive.modifiedAtMillis,
    isPinned: archive.isPinned,
    isInUse: archive.isInUse,
    orphanSinceMillis: archive.orphanSinceMillis,
  }
}

/** Looks at its row when it is asked: of most archives a plan wants to know little. */
class PlannedRow implements PlannedArchive {
  readonly #row: RetentionRow
  readonly #moment: PlanMoment

  constructor(row: RetentionRow, moment: PlanMoment) {
    this.#row = row
    this.#moment = moment
  }

  get id() {
    return this.#row.id
  }

  get fileName() {
    return this.#row.fileName
  }

  get generation() {
    return this.#row.generation
  }

  get state() {
    return this.#row.state
  }

  get identity() {
    return this.#row.identity
  }

  get engine() {
    return this.#row.engine
  }

  get sizeBytes() {
    return this.#row.sizeBytes
  }

  get takenAtMillis() {
    return this.#row.takenAtMillis
  }

  get modifiedAtMillis() {
    return this.#row.modifiedAtMillis
  }

  get isPinned() {
    return this.#row.isPinned
  }

  get isInUse() {
    const { inUse } = this.#moment
    return inUse.size > 0 && inUse.has(this.#row.id)
  }

  get orphanSinceMillis() {
    const { goneMillis } = this.#row
    return goneMillis === undefined ? undefined : this.#moment.nowMillis - goneMillis
  }
}
