/** What a list of checkpoints can be narrowed to; all that is given must hold. */
export interface CheckpointFilter {
  readonly namespace?: string
  readonly pod?: string
  readonly container?: string
  readonly podUid?: string
  readonly engine?: string
  readonly state?: string
  readonly identitySource?: string
  readonly pinned?: boolean
  /** Exclusive. */
  readonly takenAfter?: Date
  /** Exclusive. */
  readonly takenBefore?: Date
  readonly minBytes?: number
}

export type SortKey = 'takenAt' | 'discoveredAt' | 'sizeBytes' | 'fileName'

export interface CheckpointOrder {
  readonly key: SortKey
  readonly isDescending: boolean
}

/** Where a page ended: its last row's sort value and id. */
export interface CheckpointCursor {
  readonly value: string | number
  readonly id: string
}

export interface CheckpointQuery {
  readonly filter: CheckpointFilter
  readonly order: CheckpointOrder
  readonly after?: CheckpointCursor
  readonly limit: number
}

export interface SqlQuery {
  readonly page: string
  readonly count: string
  readonly parameters: Readonly<Record<string, string | number>>
}

export const SORT_COLUMNS: Readonly<Record<SortKey, string>> = {
  takenAt: 'taken_at',
  discoveredAt: 'discovered_at',
  sizeBytes: 'size_bytes',
  fileName: 'file_name',
}

/** Filters by equality, those that usually leave the fewest rows first: the first one given picks the index. */
const EQUALITY = {
  podUid: 'pod_uid',
  pod: 'pod',
  container: 'container',
  namespace: 'namespace',
  pinned: 'pinned',
  state: 'state',
  engine: 'engine',
  identitySource: 'identity_source',
} as const

/**
 * The page after the cursor, and how many rows of the list come behind the cursor in all. The index is named, not left
 * to the planner: without statistics it cannot know that one holds the order and another only the filter.
 */
export function toSql({ filter, order, after, limit }: CheckpointQuery): SqlQuery {
  const column = SORT_COLUMNS[order.key]
  const parameters: Record<string, string | number> = {}
  const conditions: string[] = []
  let index = `checkpoints_by_${column}`
  for (const [key, filterColumn] of Object.entries(EQUALITY) as [keyof typeof EQUALITY, string][]) {
    const value = filter[key]
    if (value === undefined) continue
    if (conditions.length === 0 && order.key === 'takenAt') index = `checkpoints_${filterColumn}`
    conditions.push(`${filterColumn} = :${key}`)
    parameters[key] = typeof value === 'boolean' ? Number(value) : value
  }
  const range = (name: string, condition: string, value: number | undefined) => {
    if (value === undefined) return
    conditions.push(condition)
    parameters[name] = value
  }
  range('takenAfter', 'taken_at > :takenAfter', filter.takenAfter?.getTime())
  range('takenBefore', 'taken_at < :takenBefore', filter.takenBefore?.getTime())
  range('minBytes', 'size_bytes >= :minBytes', filter.minBytes)
  if (after !== undefined) {
    conditions.push(`(${column}, id) ${order.isDescending ? '<' : '>'} (:afterValue, :afterId)`)
    parameters['afterValue'] = after.value
    parameters['afterId'] = after.id
  }
  const from = `FROM checkpoints INDEXED BY ${index}${conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`}`
  const direction = order.isDescending ? 'DESC' : 'ASC'
  return {
    page: `SELECT * ${from} ORDER BY ${column} ${direction}, id ${direction} LIMIT ${limit}`,
    count: `SELECT count(*) AS rows ${from}`,
    parameters,
  }
}
