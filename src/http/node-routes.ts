import { Router } from 'express'
import { noQuery } from '../api/common-schemas.ts'
import { type NodeResponse } from '../api/node-schemas.ts'
import { readQuery } from './request-input.ts'
import type { HttpServices } from './services.ts'
import type { NodeStatus } from './node-services.ts'
import { shownText } from './shown-text.ts'

/** Serves the node's capabilities and counts. Any caller may read them, so they name no pod. */
export function nodeRoutes(node: HttpServices['node']): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/node').get(async (req, res) => {
    readQuery(req, noQuery)
    res.json(toResponse(await node.status()))
  })

  return router
}

function toResponse(status: NodeStatus): NodeResponse {
  const { runtime, canCheckpoint, disk, checkpoints, captures, freezeGuard, leftoverImages } = status
  return {
    node: status.node,
    agentVersion: status.agentVersion,
    runtime: runtime && { name: runtime.name, version: runtime.version },
    canCheckpoint: {
      state: canCheckpoint.state,
      code: canCheckpoint.code,
      reason: canCheckpoint.reason && shownText(canCheckpoint.reason),
      hint: canCheckpoint.hint,
      checkedAt: canCheckpoint.checkedAt?.toISOString(),
    },
    disk: {
      totalBytes: disk.totalBytes,
      freeBytes: disk.freeBytes,
      archiveBytes: disk.archiveBytes,
      floorBytes: disk.floorBytes,
    },
    checkpoints: { count: checkpoints.count, byState: { ...checkpoints.byState } },
    captures: {
      running: captures.running,
      queued: captures.queued,
      queueLimit: captures.queueLimit,
      unpublished: captures.unpublished,
    },
    freezeGuard: {
      policy: freezeGuard.policy,
      frozenNow: freezeGuard.frozenNow,
      resumedTotal: freezeGuard.resumedTotal,
      foreignResumedTotal: freezeGuard.foreignResumedTotal,
      canLook: freezeGuard.canLook,
    },
    leftoverImages: leftoverImages && {
      containers: leftoverImages.containers,
      bytes: leftoverImages.bytes,
      oldestAt: leftoverImages.oldestAt?.toISOString(),
    },
    custody: { keyId: status.custody.keyId, publicKey: status.custody.publicKey },
    tlsFingerprint: status.tlsFingerprint,
  }
}
