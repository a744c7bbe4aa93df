import { accessOperations } from './access-operations.ts'
import { agentOperations } from './agent-operations.ts'
import { captureOperations } from './capture-operations.ts'
import { checkpointOperations } from './checkpoint-operations.ts'
import { containerOperations } from './container-operations.ts'
import { contentOperations } from './content-operations.ts'
import { custodyOperations } from './custody-operations.ts'
import { kubeletOperations } from './kubelet-operations.ts'
import { nodeOperations } from './node-operations.ts'
import { retentionOperations } from './retention-operations.ts'
import { watchOperations } from './watch-operations.ts'
import type { Operation } from './operation.ts'

/** Every operation of the API by its id. */
export const operations = {
  ...kubeletOperations,
  ...nodeOperations,
  ...containerOperations,
  ...captureOperations,
  ...checkpointOperations,
  ...contentOperations,
  ...watchOperations,
  ...custodyOperations,
  ...accessOperations,
  ...retentionOperations,
  ...agentOperations,
} as const satisfies Readonly<Record<string, Operation>>

export type OperationId = keyof typeof operations

export const operationList: readonly Operation[] = Object.values(operations)
