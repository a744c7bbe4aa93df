import { setTimeout as sleep } from 'node:timers/promises'
import type { CaptureJobList, CaptureJobResponse, CaptureResult } from '../../../src/api/capture-schemas.ts'
import type { NodeResponse } from '../../../src/api/node-schemas.ts'
import type { AgentProcess } from '../../support/agent-process.ts'
import type { HttpAnswer } from '../../support/http-client.ts'

export interface Wish {
  readonly namespace: string
  readonly pod: string
  readonly container?: string
  readonly timeoutSeconds?: number
}

const FINAL: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'unknown-outcome'])

/** Asks for a capture and returns its job, which has only just been queued. Throws on anything but 202. */
export async function beginCapture(agent: AgentProcess, wish: Wish): Promise<CaptureJobResponse> {
  const answer = await agent.request('POST', '/v1/captures', { body: wish })
  if (answer.status !== 202) throw new Error(`Cannot begin a capture: ${answer.status} ${answer.text}`)
  return answer.json<CaptureJobResponse>()
}

export function captureAndWait(agent: AgentProcess, wish: Wish): Promise<HttpAnswer> {
  return agent.request('POST', '/v1/captures?wait=true', { body: wish })
}

/** Throws on anything but 201. */
export async function capture(agent: AgentProcess, wish: Wish): Promise<CaptureResult> {
  const answer = await captureAndWait(agent, wish)
  if (answer.status !== 201) throw new Error(`Cannot capture: ${answer.status} ${answer.text}`)
  return answer.json<CaptureResult>()
}

export async function getJob(agent: AgentProcess, id: string): Promise<CaptureJobResponse> {
  return (await agent.request('GET', `/v1/captures/${id}`)).json<CaptureJobResponse>()
}

export async function waitForEnd(agent: AgentProcess, id: string, withinMs = 60_000): Promise<CaptureJobResponse> {
  for (const start = performance.now(); ; await sleep(50)) {
    const job = await getJob(agent, id)
    if (FINAL.has(job.state)) return job
    if (performance.now() - start > withinMs)
      throw new Error(`capture ${id} is still ${job.state} after ${withinMs} ms`)
  }
}

export async function getNode(agent: AgentProcess): Promise<NodeResponse> {
  return (await agent.request('GET', '/v1/node')).json<NodeResponse>()
}

export async function readMetric(agent: AgentProcess, nameAndLabels: string): Promise<number | undefined> {
  const { text } = await agent.request('GET', '/metrics')
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${nameAndLabels} `))
  return line === undefined ? undefined : Number(line.slice(nameAndLabels.length + 1))
}

/** Newest first. */
export async function findJobs(agent: AgentProcess): Promise<readonly CaptureJobResponse[]> {
  const answer = await agent.request('GET', '/v1/captures?limit=1000')
  return answer.json<CaptureJobList>().items
}
