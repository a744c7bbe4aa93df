import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { explainFailedDump } from '../../src/runtime/dump-log.ts'
import { RuntimeFailureError, UnavailableError } from '../../src/shared/errors.ts'

const ID = '3d49'.repeat(16)

/** As CRIU 4.2 wrote it for containerd 2.4. */
const TCP_LOG = `(00.062014) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.090586) Warn  (compel/arch/x86/src/lib/infect.c:419): Will restore 841 with interrupted system call
(00.090883) Error (criu/sk-inet.c:200): inet: Connected TCP socket, consider using --tcp-established option.
(00.090891) Error (criu/cr-dump.c:1545): Dump files (pid: 841) failed with -1
(00.091145) Unfreezing tasks into 1
(00.091162) Error (criu/cr-dump.c:1975): Dumping FAILED.
`

describe('explainFailedDump', () => {
  let folder: string
  let log: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'dump-log-'))
    mkdirSync(join(folder, ID))
    log = join(folder, ID, 'criu-dump.log')
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  it('finds the cause in the log and keeps both texts', async () => {
    writeFileSync(log, TCP_LOG)
    const explained = (await explain(failureNaming(log))) as RuntimeFailureError
    expect(explained).toMatchObject({ code: 'TcpEstablished', hint: expect.stringContaining('/etc/criu/runc.conf') })
    const lines = explained.runtimeMessage?.split('\n')
    expect(lines?.[0]).toBe(textNaming(log))
    expect(lines?.slice(1)).toEqual(TCP_LOG.split('\n').filter((line) => line.includes(' Error (')))
  })

  it('shows errors that it does not know', async () => {
    writeFileSync(log, '(00.1) Error (criu/new.c:1): the moon is full\n')
    expect(await explain(failureNaming(log))).toMatchObject({
      code: 'CriuCannotDump',
      message: 'CRIU could not dump the container',
      runtimeMessage: expect.stringMatching(/criu-dump\.log\n\(00\.1\) Error \(criu\/new\.c:1\): the moon is full$/),
    })
  })

  it('reads no more than the end of a log without end, and keeps 8 KiB', async () => {
    writeFileSync(log, `${'(00.1) Error (criu/a.c:1): noise\n'.repeat(100_000)}${TCP_LOG}`)
    const explained = (await explain(failureNaming(log))) as RuntimeFailureError
    expect(explained.code).toBe('TcpEstablished')
    expect(Buffer.byteLength(explained.runtimeMessage ?? '')).toBeLessThanOrEqual(8192)
  })

  it('escapes what cannot be shown', async () => {
    writeFileSync(log, Buffer.from('(00.1) Error (criu/a.c:1): \u001b[31m\xff\n', 'latin1'))
    expect(await explain(failureNaming(log))).toMatchObject({
      runtimeMessage: expect.stringContaining('\\x1b[31m\\xff'),
    })
  })

  it.each<{ name: string; prepare: () => RuntimeFailureError }>([
    { name: 'the file is not there', prepare: () => failureNaming(log) },
    {
      name: 'the file is of an earlier dump',
      prepare: () => {
        writeFileSync(log, TCP_LOG)
        utimesSync(log, new Date(0), new Date(0))
        return failureNaming(log)
      },
    },
    {
      name: 'the file is a link',
      prepare: () => {
        writeFileSync(join(folder, 'elsewhere'), TCP_LOG)
        symlinkSync(join(folder, 'elsewhere'), log)
        return failureNaming(log)
      },
    },
    {
      name: 'it is a folder',
      prepare: () => {
        mkdirSync(log)
        return failureNaming(log)
      },
    },
    {
      name: 'the log is of another container',
      prepare: () => {
        const other = join(folder, 'f'.repeat(64))
        mkdirSync(other)
        writeFileSync(log, TCP_LOG)
        linkSync(log, join(other, 'criu-dump.log'))
        return failureNaming(join(other, 'criu-dump.log'))
      },
    },
    {
      name: 'the path climbs',
      prepare: () => {
        writeFileSync(log, TCP_LOG)
        return failureNaming(`${folder}/${ID}/../${ID}/criu-dump.log`)
      },
    },
    {
      name: 'the log has no errors',
      prepare: () => {
        writeFileSync(log, '(00.1) Unfreezing tasks into 1\n')
        return failureNaming(log)
      },
    },
    { name: 'no log is named', prepare: () => failure('CriuCannotDump', 'criu failed: type DUMP errno 0') },
    {
      name: 'it is another failure',
      prepare: () => {
        writeFileSync(log, TCP_LOG)
        return failure('DiskFull', textNaming(log))
      },
    },
  ])('leaves the failure as it is where $name', async ({ prepare }) => {
    const before = prepare()
    expect(await explain(before)).toBe(before)
  })

  it('leaves other errors as they are', async () => {
    const gone = new UnavailableError('gone', { code: 'RuntimeUnavailable' })
    expect(await explain(gone)).toBe(gone)
  })
})

function explain(error: unknown): Promise<unknown> {
  return explainFailedDump(error, { containerId: ID, begunAt: new Date(Date.now() - 1000) })
}

function textNaming(path: string): string {
  return `checkpointing container "${ID}" failed: runc did not terminate successfully: exit status 1: criu failed: type DUMP errno 0 path= ${path}`
}

function failureNaming(path: string): RuntimeFailureError {
  return failure('CriuCannotDump', textNaming(path))
}

function failure(code: string, runtimeMessage: string): RuntimeFailureError {
  const hint = 'See the log.'
  return new RuntimeFailureError('CRIU could not dump the container', { code, hint, runtimeMessage })
}
