import type { Transform } from 'node:stream'
import { constants, createGzip, createZstdCompress } from 'node:zlib'
import { PendingWrites } from '../shared/pending-writes.ts'
import type { ByteSink } from './byte-sink.ts'

export type ContentCoding = 'gzip' | 'zstd'

const OUTPUT_BYTES = 256 * 1024

/** Compresses bytes on their way to `next`, optimized for speed rather than size. */
export function compressingSink(next: ByteSink, coding: ContentCoding): ByteSink {
  const packer = createPacker(coding)
  const pending = new PendingWrites()
  const passing = passOn(packer, next)
  passing.catch((error: unknown) => {
    pending.fail(error)
    packer.destroy()
  })
  return {
    write: (piece) => pending.add((done) => packer.write(piece, done)),
    end: async () => {
      packer.end()
      await passing
      await next.end()
    },
    close: () => {
      packer.destroy()
      next.close()
    },
  }
}

function createPacker(coding: ContentCoding): Transform {
  const packer =
    coding === 'zstd'
      ? createZstdCompress({ chunkSize: OUTPUT_BYTES, params: { [constants.ZSTD_c_compressionLevel]: 1 } })
      : createGzip({ chunkSize: OUTPUT_BYTES, level: constants.Z_BEST_SPEED })
  // The reader of this stream receives the error.
  packer.on('error', () => undefined)
  return packer
}

async function passOn(packer: Transform, next: ByteSink): Promise<void> {
  for await (const piece of packer) await next.write(piece as Buffer)
}
