import Database from 'better-sqlite3'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CheckpointList, CheckpointResponse } from '../../src/http/checkpoint-api-types.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import type { AgentInNode } from './agent-in-node.ts'

const POLL_MS = 5

export async function listCheckpoints(agent: AgentInNode): Promise<readonly CheckpointResponse[]> {
  const { items, remaining } = (await agent.request('GET', '/v1/checkpoints?limit=1000')).json<CheckpointList>()
  if (remaining > 0) throw new Error(`Cannot list the checkpoints: ${remaining} are left out`)
  return items
}

/** The row of this file as soon as it is so. */
export async function waitForRow(
  agent: AgentInNode,
  fileName: string,
  isSo: (row: CheckpointResponse) => boolean,
  withinMs = 10_000,
): Promise<CheckpointResponse> {
  for (const start = performance.now(); ; await sleep(POLL_MS)) {
    const row = (await listCheckpoints(agent)).find((candidate) => candidate.fileName === fileName)
    if (row !== undefined && isSo(row)) return row
    if (performance.now() - start > withinMs)
      throw new Error(`Cannot wait for "${fileName}": after ${withinMs} ms its row is ${JSON.stringify(row)}`)
  }
}

/** Whether the archive belongs to the namespace that it names. The API does not show it, so this reads the agent's index. */
export function isTrusted({ stateFolder }: AgentInNode, id: string): boolean {
  const database = new Database(join(stateFolder, 'index.db'), { readonly: true })
  try {
    return new CheckpointStore(database).get(id).identity.isTrusted
  } finally {
    database.close()
  }
}
