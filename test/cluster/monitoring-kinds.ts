import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { cluster } from './cluster-harness.ts'

/** PodMonitor, ServiceMonitor and PrometheusRule, as the Prometheus operator defines them. Resolves with what takes them away. */
export async function installMonitoringKinds(): Promise<() => Promise<void>> {
  const folder = prepare('monitoring')
  await cluster.kubectl(['apply', '--server-side', '-f', folder])
  await cluster.kubectl(['wait', '--for=condition=Established', '-f', folder])
  return async () => void (await cluster.kubectl(['delete', '--ignore-not-found', '-f', folder]))
}

/** The folder of a part that is made once and kept: see `prepare` beside this. */
export function prepare(part: string): string {
  const script = join(import.meta.dirname, 'prepare')
  return execFileSync(script, [part], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
}
