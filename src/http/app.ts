import express, { type Express } from 'express'
import type { Access } from '../access/access.ts'
import { systemClock, type Clock } from '../shared/clock.ts'
import type { Logger } from '../shared/logger.ts'
import { accessRoutes } from './access-routes.ts'
import { authorize } from './authorize.ts'
import { captureRoutes } from './capture-routes.ts'
import { checkpointActionRoutes } from './checkpoint-action-routes.ts'
import { checkpointRoutes } from './checkpoint-routes.ts'
import { containerRoutes } from './container-routes.ts'
import { contentRoutes } from './content-routes.ts'
import { custodyRoutes } from './custody-routes.ts'
import { errorHandler, unknownRoute } from './error-handler.ts'
import { requireHost } from './host-header.ts'
import { Judge } from './judge.ts'
import { kubeletGuard } from './kubelet-access.ts'
import { kubeletRoutes } from './kubelet-routes.ts'
import { loopbackGuard } from './loopback-guard.ts'
import { nodeRoutes } from './node-routes.ts'
import { operationsRoutes } from './operations-routes.ts'
import { Rates, type RateLimits } from './rates.ts'
import { requestLog } from './request-log.ts'
import { requestTurns } from './request-turns.ts'
import { retentionRoutes } from './retention-routes.ts'
import { rootfsDiffRoutes } from './rootfs-diff-routes.ts'
import type { HttpServices } from './services.ts'
import { watchRoutes } from './watch-routes.ts'

export interface AppOptions {
  readonly logger: Logger
  readonly nodeName: string
  readonly access: Access
  /** Clock for the expiry of access decisions. */
  readonly clock?: Clock
  /** Rate limits per user; requests without a limit here are unlimited. */
  readonly rates?: Partial<RateLimits>
  /** Aborts when the agent starts to shut down; open-ended responses end then. */
  readonly ending?: AbortSignal
}

/** Creates the HTTP API on top of these services. The app does not listen; `listeners.ts` does that. */
export function createApp(services: HttpServices, options: AppOptions): Express {
  const { logger, nodeName, access, clock = systemClock, ending, rates: limits = {} } = options
  const judge = new Judge(access.authorizer, nodeName)
  const rates = new Rates(judge, limits)
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  // `request-input.ts` parses queries because it knows the parameters of each route.
  app.set('query parser', false)

  app.use(requestLog(logger))
  app.use(requireHost())
  if (access.isLoopbackOnly === true) app.use(loopbackGuard())
  app.use(requestTurns())
  app.use(kubeletRoutes(services.kubelet, { logger, rates, guard: kubeletGuard(access, judge) }))
  // From here on, every request has the permission that its operation declares.
  app.use(authorize({ access, judge, rates, services, clock }))
  app.use(operationsRoutes(services))
  app.use(nodeRoutes(services.node))
  app.use(accessRoutes(judge, { nodeName }))
  app.use(containerRoutes(services.containers))
  app.use(captureRoutes(services.captures, { nodeName, rates }))
  app.use(checkpointActionRoutes(services.actions, { nodeName }))
  app.use(checkpointRoutes(services.checkpoints, { nodeName }))
  app.use(contentRoutes(services.contents))
  app.use(rootfsDiffRoutes(services.contents))
  app.use(watchRoutes(services.checkpoints, { nodeName, clock, ...(ending !== undefined && { ending }) }))
  app.use(custodyRoutes(services))
  app.use(retentionRoutes(services.retention))
  app.use(unknownRoute())
  app.use(errorHandler(logger))
  return app
}
