import type { AgentChannel } from './agent-channel.ts'
import { MAX_PAGE_BYTES } from './reader-limits.ts'
import type { ReaderRefusal, SentSummary } from './reader-messages.ts'

const MAX_HELD = 16
const MAX_HELD_MS = 5

/**
 * Collects summaries and sends several at once. Single messages would cost the agent more than the summaries cost the
 * reader.
 */
export class HeldOutcomes {
  readonly #channel: AgentChannel
  #texts: string[] = []
  #bytes = 0
  #first = 0
  #sentMs = performance.now()

  constructor(channel: AgentChannel) {
    this.#channel = channel
  }

  get isDue(): boolean {
    return this.#texts.length >= MAX_HELD || performance.now() - this.#sentMs > MAX_HELD_MS
  }

  add(outcome: SentSummary | ReaderRefusal): void {
    const text = JSON.stringify(outcome)
    const bytes = Buffer.byteLength(text)
    if (this.#bytes + bytes > MAX_PAGE_BYTES) this.send()
    this.#texts.push(text)
    this.#bytes += bytes
  }

  send(): void {
    if (this.#texts.length > 0) {
      this.#channel.sendText(`{"kind":"outcomes","first":${this.#first},"outcomes":[${this.#texts.join(',')}]}`)
    }
    this.#first += this.#texts.length
    this.#texts = []
    this.#bytes = 0
    this.#sentMs = performance.now()
  }
}
