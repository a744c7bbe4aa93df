import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { engineCode, READ_COLUMNS, sourceCode, stateCode } from './checkpoint-row.ts'
import { numberOfName } from './names.ts'

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
  /** Why it was taken or why it is pinned, word for word. */
  readonly reason?: string
  /** Exclusive. */
  readonly takenAfter?: Date
  /** Exclusive. */
  readonly takenBefore?: Date
  readonly minBytes?: number
  /** Only what belongs to one of these namespaces, or to any, and does not merely claim to. */
  readonly belongsTo?: 'any' | readonly string[]
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

export interface CheckpointPage {
  readonly items: readonly Checkpoint[]
  /** How many come after these. */
  readonly remaining: number
  /** Undefined on the last page. */
  readonly next: CheckpointCursor | undefined
}

export const SORT_COLUMNS = {
  takenAt: 'taken_at',
  discoveredAt: 'discovered_at',
  sizeBytes: 'size_bytes',
  fileName: 'file_name',
} as const satisfies Readonly<Record<SortKey, string>>

/** One part of a filter. */
export interface Condition {
  /** The index that has its rows together, and its own column in it. */
  readonly index: string
  readonly isEquality: boolean
  /** Answered from any of the indexes that hold an order. */
  readonly sql: string
}

export type Parameters = Readonly<Record<string, string | number | bigint>>

export interface ListSql {
  readonly conditions: readonly Condition[]
  readonly parameters: Parameters
}

/** A filter that leaves no more rows than this is answered by sorting them, not by a walk through the order asked for. */
export const FEW_ROWS = 2_000

/** Up to here a page is near the beginning: what came before it is counted, not what follows. */
export const NEAR_ROWS = 20_000

/** The filter in SQL. A range on the column of the order gives way to the cursor where both bound the same side. */
export function toConditions({ filter, order, after }: CheckpointQuery): ListSql {
  const conditions: Condition[] = []
  const parameters: Record<string, string | number> = {}
  for (const { key, column } of NAMES) {
    const name = filter[key]
    if (name === undefined) continue
    const sql = `${column}_number = ${numberOfName(`:${key}`)}`
    conditions.push({ index: `checkpoints_${column}`, isEquality: true, sql })
    parameters[key] = name
  }
  for (const { key, column, codeOf } of WORDS) {
    const word = filter[key]
    if (word === undefined) continue
    conditions.push({ index: `checkpoints_${column}`, isEquality: true, sql: `${column} = :${key}` })
    parameters[key] = codeOf(word)
  }
  if (filter.belongsTo !== undefined) {
    conditions.push(filter.belongsTo === 'any' ? belongsToAny(order) : BELONGS_TO_ONE)
    if (filter.belongsTo !== 'any') parameters['namespaces'] = JSON.stringify(filter.belongsTo)
  }
  if (filter.pinned !== undefined) {
    conditions.push({ index: 'checkpoints_pinned', isEquality: true, sql: 'pinned = :pinned' })
    parameters['pinned'] = Number(filter.pinned)
  }
  if (filter.reason !== undefined) {
    conditions.push({ index: indexOfOrder(order), isEquality: false, sql: HAS_REASON })
    parameters['reason'] = filter.reason
    // The reason of a pin is kept as it is shown.
    parameters['shownReason'] = escapeUnreadable(filter.reason)
  }
  for (const { column, bounds } of RANGES) {
    const parts: string[] = []
    for (const { key, operator, side } of bounds) {
      const value = filter[key]
      if (value === undefined) continue
      const isCursors =
        after !== undefined && SORT_COLUMNS[order.key] === column && order.isDescending === (side === 'upper')
      // The plus sign keeps the planner from seeking with the bound, where the cursor does it better.
      parts.push(`${isCursors ? '+' : ''}${column} ${operator} :${key}`)
      parameters[key] = typeof value === 'number' ? value : value.getTime()
    }
    if (parts.length === 0) continue
    conditions.push({ index: `checkpoints_by_${column}`, isEquality: false, sql: parts.join(' AND ') })
  }
  return { conditions, parameters }
}

/**
 * Which index answers the list; `countUpTo` says how many rows a condition leaves, as far as `FEW_ROWS` + 1. It is named
 * in the SQL, not left to the planner: without statistics that cannot know which one holds few rows.
 */
export function chooseIndex(
  conditions: readonly Condition[],
  { order, countUpTo }: { readonly order: CheckpointOrder; readonly countUpTo: (condition: Condition) => number },
): string {
  const ordered = indexOfOrder(order)
  const only = conditions.find(({ index }) => index !== ordered)
  if (only === undefined) return ordered
  const isInOrder = order.key === 'takenAt' && only.isEquality
  if (isInOrder && conditions.every((other) => other === only || other.index === ordered)) return only.index
  // In the default order nothing is ever sorted: those indexes are in that order themselves.
  const candidates = conditions.filter(
    ({ index, isEquality }) => index !== ordered && (isEquality || order.key !== 'takenAt'),
  )
  let best = { index: ordered, rows: FEW_ROWS + 1 }
  for (const candidate of candidates) {
    const rows = countUpTo(candidate)
    if (rows < best.rows) best = { index: candidate.index, rows }
  }
  return best.index
}

/** The index that holds the order, and in it every column that a list can be filtered by. */
export function indexOfOrder({ key }: CheckpointOrder): string {
  return `checkpoints_by_${SORT_COLUMNS[key]}`
}

/** The rows of a page. With `:afterValue` and `:afterId` where it is not the first one. */
export function pageSql(
  conditions: readonly Condition[],
  { index, order, isFirst }: { readonly index: string; readonly order: CheckpointOrder; readonly isFirst: boolean },
): string {
  const column = SORT_COLUMNS[order.key]
  const all = [
    ...conditions.map(({ sql }) => sql),
    ...(isFirst ? [] : [`(${column}, checkpoints.id) ${order.isDescending ? '<' : '>'} (:afterValue, :afterId)`]),
  ]
  const direction = order.isDescending ? 'DESC' : 'ASC'
  return `SELECT ${READ_COLUMNS} FROM checkpoints INDEXED BY ${index} ${where(all)}
    ORDER BY ${column} ${direction}, checkpoints.id ${direction} LIMIT :limit`
}

/** How many rows there are in all. Reads the index only. */
export function countSql(conditions: readonly Condition[], index: string | undefined): string {
  const all = conditions.map(({ sql }) => sql)
  return `SELECT count(*) AS rows FROM checkpoints ${index === undefined ? '' : `INDEXED BY ${index}`} ${where(all)}`
}

/**
 * How many rows there are behind the cursor. In two ranges, since SQLite checks a comparison of pairs once more on every
 * row, which takes five times as long as the walk itself.
 */
export function countBehindSql(
  conditions: readonly Condition[],
  { index, order }: { readonly index: string; readonly order: CheckpointOrder },
): string {
  const column = SORT_COLUMNS[order.key]
  const operator = order.isDescending ? '<' : '>'
  const count = (...range: string[]) =>
    `(SELECT count(*) FROM checkpoints INDEXED BY ${index} ${where([...range, ...conditions.map(({ sql }) => sql)])})`
  return `SELECT ${count(`${column} ${operator} :afterValue`)} +
    ${count(`${column} = :afterValue`, `checkpoints.id ${operator} :afterId`)} AS rows`
}

/**
 * How many rows there are up to the cursor, its own included, and how many of them the filter leaves; as far as
 * `NEAR_ROWS` + 1 rows.
 */
export function countBeforeSql(conditions: readonly Condition[], order: CheckpointOrder): string {
  const column = SORT_COLUMNS[order.key]
  const matches = conditions.length === 0 ? '1' : conditions.map(({ sql }) => sql).join(' AND ')
  return `SELECT count(*) AS rows, coalesce(sum(matches), 0) AS matching FROM
    (SELECT (${matches}) AS matches FROM checkpoints INDEXED BY ${indexOfOrder(order)}
     WHERE (${column}, checkpoints.id) ${order.isDescending ? '>=' : '<='} (:afterValue, :afterId) LIMIT ${NEAR_ROWS + 1})`
}

/** How many rows the condition leaves, if not more than `FEW_ROWS`. */
export function countUpToSql({ index, sql }: Condition): string {
  return `SELECT count(*) AS rows FROM
    (SELECT 1 FROM checkpoints INDEXED BY ${index} WHERE ${sql} LIMIT ${FEW_ROWS + 1})`
}

const NAMES = [
  { key: 'podUid', column: 'pod_uid' },
  { key: 'pod', column: 'pod' },
  { key: 'container', column: 'container' },
  { key: 'namespace', column: 'namespace' },
] as const

const BELONGS_TO_ONE: Condition = {
  index: 'checkpoints_namespace',
  isEquality: false,
  sql: `namespace_number IN (SELECT number FROM names WHERE name IN (SELECT value FROM json_each(:namespaces)))
    AND is_believed = 1`,
}

function belongsToAny(order: CheckpointOrder): Condition {
  return { index: indexOfOrder(order), isEquality: false, sql: 'namespace_number IS NOT NULL AND is_believed = 1' }
}

const HAS_REASON = `checkpoints.id IN (
  SELECT id FROM checkpoints INDEXED BY checkpoints_reason WHERE reason = :reason
  UNION ALL SELECT id FROM checkpoints INDEXED BY checkpoints_pin_reason WHERE pin_reason IN (:reason, :shownReason))`

const WORDS = [
  { key: 'state', column: 'state', codeOf: stateCode },
  { key: 'engine', column: 'engine', codeOf: engineCode },
  { key: 'identitySource', column: 'identity_source', codeOf: sourceCode },
] as const

const RANGES = [
  {
    column: 'taken_at',
    bounds: [
      { key: 'takenAfter', operator: '>', side: 'lower' },
      { key: 'takenBefore', operator: '<', side: 'upper' },
    ],
  },
  { column: 'size_bytes', bounds: [{ key: 'minBytes', operator: '>=', side: 'lower' }] },
] as const

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
}
