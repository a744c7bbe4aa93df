import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { selfSignedCertificate } from '../../src/http/self-signed-certificate.ts'
import { loadServingCertificate } from '../../src/http/serving-certificate.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { recordingLogger } from './http-services.ts'
import { temporaryFolder } from './temporary-folder.ts'

describe('loadServingCertificate', () => {
  it('gives the pair in the files and its fingerprint', async () => {
    const files = await pairInFiles()
    const certificate = await load(files)
    expect(certificate.current()).toEqual(files.pair)
    expect(certificate.fingerprint()).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
  })

  it('makes and keeps a self-signed pair', async () => {
    const stateDirectory = temporaryFolder()
    const source = { kind: 'selfSigned' } as const
    const first = await load({ source, stateDirectory })
    const second = await load({ source, stateDirectory })
    expect(second.fingerprint()).toBe(first.fingerprint())
  })

  it('tells of a pair that took the place of the old one', async () => {
    const files = await pairInFiles()
    const certificate = await load(files)
    const before = certificate.fingerprint()
    const told: object[] = []
    certificate.onChange((pair) => told.push(pair))
    await certificate.refresh()
    expect(told).toEqual([])

    const next = await newPair()
    writeFileSync(files.source.keyFile, next.key)
    await certificate.refresh()
    expect(certificate.current(), 'a key whose certificate is not there yet').toEqual(files.pair)
    writeFileSync(files.source.certFile, next.certificate)
    await certificate.refresh()
    expect(told).toEqual([next])
    expect(certificate.fingerprint()).not.toBe(before)
  })

  it('logs files that cannot be read any more, and goes on', async () => {
    const files = await pairInFiles()
    const logger = recordingLogger()
    const certificate = await load(files, logger)
    writeFileSync(files.source.certFile, 'damaged')
    await certificate.refresh()
    expect(certificate.current()).toEqual(files.pair)
    expect(logger.lines).toEqual([expect.objectContaining({ level: 'warn' })])
  })

  it('refuses at the start what cannot be used, and says which file', async () => {
    const { source, pair } = await pairInFiles()
    const other = await newPair()
    const refusal = () =>
      load({ source }).then(
        () => undefined,
        (error: unknown) => error as Error,
      )

    writeFileSync(source.keyFile, other.key)
    expect(await refusal()).toMatchObject({
      name: 'InvalidInputError',
      message: `Cannot use TLS certificate "${source.certFile}": the key in "${source.keyFile}" is not its key`,
      code: 'InvalidCertificate',
      hint: expect.stringContaining('server.tls.certFile') as string,
    })
    writeFileSync(source.keyFile, 'damaged')
    expect((await refusal())?.message).toContain(`Cannot use TLS file "${source.keyFile}": `)
    writeFileSync(source.keyFile, pair.key)
    writeFileSync(source.certFile, '')
    expect((await refusal())?.message).toContain(`Cannot use TLS file "${source.certFile}": `)
  })

  it('refuses a file that is not there', async () => {
    const source = { kind: 'files', certFile: '/nonexistent/c.pem', keyFile: '/nonexistent/k.pem' } as const
    await expect(load({ source })).rejects.toThrow(
      'Cannot read TLS file "/nonexistent/c.pem": there is no such file or directory (ENOENT)',
    )
  })
})

async function pairInFiles() {
  const folder = temporaryFolder()
  const pair = await newPair()
  const source = { kind: 'files', certFile: join(folder, 'c.pem'), keyFile: join(folder, 'k.pem') } as const
  writeFileSync(source.certFile, pair.certificate)
  writeFileSync(source.keyFile, pair.key)
  return { source, pair }
}

function newPair() {
  return selfSignedCertificate({ directory: temporaryFolder(), nodeName: 'node-a', clock: systemClock })
}

async function load(
  options: Pick<Parameters<typeof loadServingCertificate>[0], 'source'> & { readonly stateDirectory?: string },
  logger = recordingLogger(),
) {
  const certificate = await loadServingCertificate({
    source: options.source,
    stateDirectory: options.stateDirectory ?? '/nonexistent',
    nodeName: 'node-a',
    clock: systemClock,
    logger,
  })
  onTestFinished(() => certificate.stop())
  return certificate
}
