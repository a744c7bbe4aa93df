import { writeSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { isSystemError } from '../../shared/errors.ts'
import { encodeFrame, encodeJson, type Frame, FrameDecoder } from './frame-codec.ts'

/** Descriptor of the answers. */
const ANSWERS = 1

export interface AgentChannel {
  readonly sendJson: (value: unknown) => void
  /** Sends text that is already JSON. */
  readonly sendText: (text: string) => void
  readonly sendBytes: (bytes: Buffer) => void
}

export interface AgentChannelOptions {
  readonly requests: Readable
  readonly onFrame: (frame: Frame) => void
  /** Called once the agent has closed its end or has sent an invalid frame. */
  readonly onEnd: () => void
}

/**
 * Opens the reader's side of its two pipes. The end of the agent is noticed at each turn of the event loop. Each answer
 * is written completely before anything else is done, so the reader waits for a slow agent.
 */
export function openAgentChannel({ requests, onFrame, onEnd }: AgentChannelOptions): AgentChannel {
  const decoder = new FrameDecoder()
  requests.on('data', (piece: Buffer) => {
    try {
      for (const frame of decoder.add(piece)) onFrame(frame)
    } catch {
      onEnd()
    }
  })
  requests.on('error', onEnd)
  requests.on('close', onEnd)
  requests.on('end', onEnd)
  const write = (frame: Buffer) => {
    try {
      writeAll(frame)
    } catch {
      onEnd()
    }
  }
  return {
    sendJson: (value) => write(encodeJson(value)),
    sendText: (text) => write(encodeFrame('json', Buffer.from(text))),
    sendBytes: (bytes) => write(encodeFrame('bytes', bytes)),
  }
}

function writeAll(frame: Buffer): void {
  for (let at = 0; at < frame.length;) {
    try {
      at += writeSync(ANSWERS, frame, at)
    } catch (error) {
      if (!isSystemError(error, 'EAGAIN')) throw error
      // The pipe is full, so wait before the next attempt.
      Atomics.wait(sleeper, 0, 0, RETRY_MS)
    }
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4))
const RETRY_MS = 1
