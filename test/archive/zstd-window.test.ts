import { buffer } from 'node:stream/consumers'
import { constants, createZstdCompress } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { decompressedSource, LargeWindowError } from '../../src/archive/decompression.ts'

/** As one packs what comes from a pipe: the size of the content is not known, so there is a window. */
async function packed(windowLog: number): Promise<Buffer> {
  const packer = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: windowLog } })
  packer.write(Buffer.alloc(500, 'x'))
  packer.flush(() => packer.end(Buffer.alloc(500, 'y')))
  return await buffer(packer)
}

async function read(bytes: Buffer, freeWindowLog?: number): Promise<number> {
  const source = decompressedSource({ ...bufferSource(bytes), freeWindowLog }, 'zstd')
  try {
    return await source.read(Buffer.alloc(10), 0, 10, 0)
  } finally {
    source.close?.()
  }
}

describe('a source that grants a small window', () => {
  it('refuses a larger one as something to ask for, not as a problem of the archive', async () => {
    await expect(read(await packed(24), 23)).rejects.toThrow(LargeWindowError)
    await expect(read(await packed(23), 23)).resolves.toBe(10)
    await expect(read(await packed(24))).resolves.toBe(10)
  })

  it('leaves windows beyond the limit of all archives a problem', async () => {
    await expect(read(await packed(30))).rejects.toThrow('CompressionWindow')
  })

  it('looks at each frame', async () => {
    const bytes = Buffer.concat([await packed(20), await packed(24)])
    const source = decompressedSource({ ...bufferSource(bytes), freeWindowLog: 23 }, 'zstd')
    await expect(source.read(Buffer.alloc(10), 0, 10, 1000)).rejects.toThrow(LargeWindowError)
    source.close?.()
  })
})
