import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeFrame, encodeJson, FrameDecoder, FrameError } from '../../../src/agent/inspection/frame-codec.ts'
import { MAX_FRAME_BYTES } from '../../../src/agent/inspection/reader-limits.ts'

function decode(pieces: readonly Uint8Array[]) {
  const decoder = new FrameDecoder()
  const frames: { kind: string; text: string }[] = []
  for (const piece of pieces) {
    for (const { kind, content } of decoder.add(Buffer.from(piece)))
      frames.push({ kind, text: content.toString('latin1') })
  }
  return frames
}

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(length)
  return bytes
}

describe('frames', () => {
  it('come out as they went in, in whatever pieces', () => {
    const contents = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 })
    fc.assert(
      fc.property(contents, fc.array(fc.nat({ max: 400 }), { maxLength: 10 }), (frames, cuts) => {
        const whole = Buffer.concat(frames.map((content) => encodeFrame('bytes', Buffer.from(content))))
        const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).toSorted((a, b) => a - b), whole.length]
        const pieces = at.slice(1).map((end, index) => whole.subarray(at[index], end))
        expect(decode(pieces)).toEqual(
          frames.map((content) => ({ kind: 'bytes', text: Buffer.from(content).toString('latin1') })),
        )
      }),
    )
  })

  it('are refused by their length, before their bytes are there', () => {
    for (const length of [0, MAX_FRAME_BYTES + 1, 0xffff_ffff]) {
      expect(() => decode([lengthOf(length)])).toThrow(FrameError)
    }
    const decoder = new FrameDecoder()
    expect([...decoder.add(lengthOf(MAX_FRAME_BYTES))]).toEqual([])
  })

  it('are refused where their kind is none', () => {
    expect(() => decode([Buffer.concat([lengthOf(1), Buffer.from([2])])])).toThrow(FrameError)
  })

  it('have the same bound where they are sent', () => {
    expect(() => encodeJson('x'.repeat(MAX_FRAME_BYTES))).toThrow(FrameError)
    expect(encodeJson('x'.repeat(MAX_FRAME_BYTES - 3))).toHaveLength(MAX_FRAME_BYTES + 4)
  })
})
