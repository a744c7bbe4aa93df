import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { engineCode, READ_COLUMNS, sourceCode, stateCode } from './checkpoint-row.ts'
import { numberOfName } from './names.ts'

/** Filter of a checkpoint list; all given conditions must hold. */
export interface CheckpointFilter {
  readonly namespace?: string
  readonly pod?: string
  readonly container?: string
  readonly podUid?: string
  readonly engine?: string
  readonly state?: string
  readonly identitySource?: string
  readonly pinned?: boolean
  /** Exact reason of the capture or of the pin. */
  readonly reason?: string
  /** Exclusive. */
  readonly takenAfter?: Date
  /** Exclusive. */
  readonly takenBefore?: Date
  readonly minBytes?: number
  /** Limits the list to archives with a trusted identity in one of these namespaces, or in any. */
  readonly belongsTo?: 'any' | readonly string[]
}

export type SortKey = 'takenAt' | 'discoveredAt' | 'sizeBytes' | 'fileName'

export interface CheckpointOrder {
  readonly key: SortKey
  readonly isDescending: boolean
}

/** End of a page: the sort value and id of its last row. */
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
  /** Rows after this page. */
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
  /** Index that groups the matching rows and has the condition's column. */
  readonly index: string
  readonly isEquality: boolean
  /** Condition that every index for a sort order can answer. */
  readonly sql: string
}

export type Parameters = Readonly<Record<string, string | number | bigint>>

export interface ListSql {
  readonly conditions: readonly Condition[]
  readonly parameters: Parameters
}

/** Rows up to which sorting is cheaper than scanning the index of the requested order. */
export const FEW_ROWS = 2_000

/**
 * Rows up to which a page counts as near the beginning; the rows before it are then counted instead
 * of those after it.
 */
export const NEAR_ROWS = 20_000

/**
 * Translates the filter to SQL. If a range and the cursor bound the same side of the sort column,
 * only the cursor seeks.
 */
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
    // Reasons of pins are stored in escaped form.
    parameters['shownReason'] = escapeUnreadable(filter.reason)
  }
  for (const { column, bounds } of RANGES) {
    const parts: string[] = []
    for (const { key, operator, side } of bounds) {
      const value = filter[key]
      if (value === undefined) continue
      const isCursors =
        after !== undefined && SORT_COLUMNS[order.key] === column && order.isDescending === (side === 'upper')
      // The plus sign keeps the planner from seeking by the bound, where the cursor is better.
      parts.push(`${isCursors ? '+' : ''}${column} ${operator} :${key}`)
      parameters[key] = typeof value === 'number' ? value : value.getTime()
    }
    if (parts.length === 0) continue
    conditions.push({ index: `checkpoints_by_${column}`, isEquality: false, sql: parts.join(' AND ') })
  }
  return { conditions, parameters }
}

/**
 * Chooses the index for the list. `countUpTo` returns how many rows match a condition, at most
 * `FEW_ROWS` + 1. The SQL names the index, because the planner without statistics cannot know which
 * one matches few rows.
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
  // The default order never needs sorting, because those indexes have that order.
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

/** Names the index of a sort order, which contains every column that lists filter by. */
export function indexOfOrder({ key }: CheckpointOrder): string {
  return `checkpoints_by_${SORT_COLUMNS[key]}`
}

/** Selects the rows of a page. Every page but the first takes `:afterValue` and `:afterId`. */
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

/** Counts all matching rows. Reads only the index. */
export function countSql(conditions: readonly Condition[], index: string | undefined): string {
  const all = conditions.map(({ sql }) => sql)
  return `SELECT count(*) AS rows FROM checkpoints ${index === undefined ? '' : `INDEXED BY ${index}`} ${where(all)}`
}

/**
 * Counts the rows after the cursor, in two ranges. SQLite rechecks a comparison of pairs on every
 * row, which takes five times as long as the scan itself.
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
 * Counts the rows up to and including the cursor, and how many of them match the filter; stops
 * after `NEAR_ROWS` + 1 rows.
 */
export function countBeforeSql(conditions: readonly Condition[], order: CheckpointOrder): string {
  const column = SORT_COLUMNS[order.key]
  const matches = conditions.length === 0 ? '1' : conditions.map(({ sql }) => sql).join(' AND ')
  return `SELECT count(*) AS rows, coalesce(sum(matches), 0) AS matching FROM
    (SELECT (${matches}) AS matches FROM checkpoints INDEXED BY ${indexOfOrder(order)}
     WHERE (${column}, checkpoints.id) ${order.isDescending ? '>=' : '<='} (:afterValue, :afterId) LIMIT ${NEAR_ROWS + 1})`
}

/** Counts the rows that match the condition, stopping after `FEW_ROWS` + 1. */
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
