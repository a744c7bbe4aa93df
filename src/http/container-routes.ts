import { Router } from 'express'
import { namespaceQuery } from '../api/checkpoint-schemas.ts'
import { type RunningContainerList, type RunningContainerResponse } from '../api/container-schemas.ts'
import { visibleRows } from './authorize.ts'
import { toIdentity } from './identity-response.ts'
import { readQuery } from './request-input.ts'
import type { HttpServices } from './services.ts'
import type { RunningContainer, RunningLook } from './node-services.ts'

/** Serves the running containers of the node. */
export function containerRoutes(containers: HttpServices['containers']): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/containers').get(async (req, res) => {
    readQuery(req, namespaceQuery)
    let look: RunningLook | undefined
    // Access to the node or to a named namespace is decided before the runtime is queried.
    const { sees } = await visibleRows(req).among(async () => (look = await containers.look()).namespaces)
    look ??= await containers.look()
    const visible = await look.describe(sees)
    const body: RunningContainerList = { items: visible.map(toResponse) }
    res.json(body)
  })

  return router
}

function toResponse(container: RunningContainer): RunningContainerResponse {
  const { identity, lastCheckpoint } = container
  return {
    identity: toIdentity(identity),
    containerId: identity.containerId,
    image: container.image,
    startedAt: container.startedAt?.toISOString(),
    memoryBytes: container.memoryBytes,
    writableLayerBytes: container.writableLayerBytes,
    lastCheckpoint: lastCheckpoint && { id: lastCheckpoint.id, takenAt: lastCheckpoint.takenAt.toISOString() },
    captureInFlight: container.captureInFlight,
  }
}
