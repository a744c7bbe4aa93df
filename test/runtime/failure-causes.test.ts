import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { classifyFailure, keptRuntimeText, type FailureCode } from '../../src/runtime/failure-causes.ts'

const ID = '3d49'.repeat(16)
const { UNKNOWN, UNIMPLEMENTED, NOT_FOUND, UNAVAILABLE, ALREADY_EXISTS, DEADLINE_EXCEEDED, CANCELLED } = status

interface Row {
  readonly from: string
  readonly code: number
  readonly text: string
  readonly expected: FailureCode
}

describe('classifyFailure: the node cannot checkpoint', () => {
  it.each<Row>([
    {
      from: 'containerd 1.6.8',
      code: UNIMPLEMENTED,
      text: 'unknown method CheckpointContainer for service runtime.v1.RuntimeService',
      expected: 'CheckpointNotImplemented',
    },
    {
      from: 'containerd 1.7.24',
      code: UNIMPLEMENTED,
      text: 'method CheckpointContainer not implemented',
      expected: 'CheckpointNotImplemented',
    },
    { from: 'containerd 2 on Windows', code: UNIMPLEMENTED, text: '', expected: 'CheckpointNotImplemented' },
    {
      from: 'CRI-O 1.24',
      code: UNIMPLEMENTED,
      text: 'unknown method CheckpointContainer for service runtime.v1.RuntimeService',
      expected: 'CheckpointNotImplemented',
    },
    {
      from: 'CRI-O with a crun that has no libcriu',
      code: UNKNOWN,
      text: `failed to checkpoint container ${ID}: running "/usr/bin/crun" ["checkpoint" "--leave-running" "${ID}"] failed: \`/usr/bin/crun checkpoint ${ID}\` failed: could not load \`libcriu.so.2\`: libcriu.so.2: cannot open shared object file: No such file or directory: exit status 1`,
      expected: 'CriuMissing',
    },
    {
      from: 'CRI-O with crun, whose dump fails',
      code: UNKNOWN,
      text: `failed to checkpoint container ${ID}: running "/usr/bin/crun" ["checkpoint" "${ID}"] failed: \`/usr/bin/crun checkpoint ${ID}\` failed: CRIU checkpointing failed: -52: Invalid exchange: exit status 1`,
      expected: 'CriuCannotDump',
    },
    {
      from: 'CRI-O 1.37 that is told to take none',
      code: UNKNOWN,
      text: 'checkpoint/restore is disabled: container_level_enabled is "none"',
      expected: 'CriuDisabled',
    },
    {
      from: 'CRI-O with a VM handler',
      code: UNKNOWN,
      text: `failed to checkpoint container ${ID}: checkpointing not implemented for runtimeVM`,
      expected: 'CheckpointNotImplemented',
    },
    {
      from: 'CRI-O with a runtime that cannot',
      code: UNKNOWN,
      text: 'configured runtime does not support checkpoint/restore',
      expected: 'CheckpointNotImplemented',
    },
    {
      from: 'containerd without its CRI plugin',
      code: UNIMPLEMENTED,
      text: 'unknown service runtime.v1.RuntimeService',
      expected: 'CriPluginDisabled',
    },
    {
      from: 'containerd 1.7 at its start',
      code: UNKNOWN,
      text: 'server is not initialized yet',
      expected: 'RuntimeNotInitialized',
    },
    {
      from: 'containerd 2 at its start',
      code: UNAVAILABLE,
      text: 'server is not initialized yet',
      expected: 'RuntimeNotInitialized',
    },
    {
      from: 'containerd 2.4 with enable_criu = false',
      code: UNKNOWN,
      text: `failed to checkpoint container "${ID}": criu support is disabled by configuration`,
      expected: 'CriuDisabled',
    },
    { from: 'CRI-O', code: UNKNOWN, text: 'checkpoint/restore support not available', expected: 'CriuDisabled' },
    {
      from: 'containerd 2.1',
      code: UNKNOWN,
      text: `CRIU binary not found or too old (<31600). Failed to checkpoint container "${ID}": failed to check for criu version: exec: "criu": executable file not found in $PATH`,
      expected: 'CriuMissing',
    },
    {
      from: 'containerd 2.1, no reason told',
      code: UNKNOWN,
      text: `CRIU binary not found or too old (<31600). Failed to checkpoint container "${ID}"`,
      expected: 'CriuMissing',
    },
    {
      from: 'containerd 2.4',
      code: UNKNOWN,
      text: `failed to checkpoint container "${ID}": criu binary not found in shim path or system PATH`,
      expected: 'CriuMissing',
    },
    {
      from: 'containerd 2.1',
      code: UNKNOWN,
      text: `CRIU binary not found or too old (<31600). Failed to checkpoint container "${ID}": checkpoint/restore requires at least CRIU 31600, current version is 31500`,
      expected: 'CriuTooOld',
    },
    {
      from: 'containerd 2.4',
      code: UNKNOWN,
      text: `failed to checkpoint container "${ID}": checkpoint/restore requires at least CRIU 31600, current version is 31500`,
      expected: 'CriuTooOld',
    },
    {
      from: 'CRI-O at dump time',
      code: UNKNOWN,
      text: `failed to checkpoint container ${ID}: check for CRIU 31600 failed: CRIU version is 31500`,
      expected: 'CriuMissing',
    },
  ])('$from: $expected', ({ code, text, expected }) => {
    expect(classifyFailure({ code, text })).toMatchObject({ code: expected })
  })
})

describe('classifyFailure: this container cannot be checkpointed now', () => {
  it.each<Row>([
    {
      from: 'containerd 2.1',
      code: NOT_FOUND,
      text: `an error occurred when try to find container "${ID}": not found`,
      expected: 'ContainerNotFound',
    },
    {
      from: 'containerd 2.4',
      code: NOT_FOUND,
      text: `an error occurred when trying to find container "${ID}": not found`,
      expected: 'ContainerNotFound',
    },
    {
      from: 'CRI-O 1.36',
      code: NOT_FOUND,
      text: `could not find container "${ID}": container with ID starting with ${ID} not found: ID does not exist`,
      expected: 'ContainerNotFound',
    },
    {
      from: 'CRI-O 1.25',
      code: NOT_FOUND,
      text: `could not find container or pod "${ID}"`,
      expected: 'ContainerNotFound',
    },
    {
      from: 'CRI-O that forgot the code',
      code: UNKNOWN,
      text: `could not find container "${ID}": ID does not exist`,
      expected: 'ContainerNotFound',
    },
    {
      from: 'containerd, half an id',
      code: UNKNOWN,
      text: 'multiple IDs found with provided prefix: 3d49',
      expected: 'ContainerIdAmbiguous',
    },
    {
      from: 'CRI-O, half an id',
      code: NOT_FOUND,
      text: 'could not find container "3d49": multiple IDs found with provided prefix: 3d49',
      expected: 'ContainerIdAmbiguous',
    },
    ...(['CREATED', 'EXITED', 'UNKNOWN'] as const).map((state): Row => ({
      from: `containerd, ${state}`,
      code: UNKNOWN,
      text: `container "${ID}" is in CONTAINER_${state} state. only CONTAINER_RUNNING containers can be checkpointed`,
      expected: 'ContainerNotRunning',
    })),
    { from: 'CRI-O', code: UNKNOWN, text: `container ${ID} is not running`, expected: 'ContainerNotRunning' },
    {
      from: 'CRI-O, wrapped',
      code: UNKNOWN,
      text: `failed to checkpoint container ${ID}: container ${ID} is not running`,
      expected: 'ContainerNotRunning',
    },
    {
      from: 'CRI-O, frozen behind its back',
      code: UNKNOWN,
      text: `failed to pause container "${ID}" before checkpointing: container ${ID} is already paused`,
      expected: 'ContainerPaused',
    },
    {
      from: 'containerd, twice in one second',
      code: ALREADY_EXISTS,
      text: `checkpointing container "${ID}" failed: image "containerd.io/checkpoint/${ID}:06-12-2026-10:00:00": already exists`,
      expected: 'CheckpointNameTaken',
    },
  ])('$from: $expected', ({ code, text, expected }) => {
    expect(classifyFailure({ code, text })).toMatchObject({ code: expected })
  })
})

const CRIO_LONG = crioDumpFailure('criu failed: type NOTIFY errno 0')
const CONTAINERD_LONG = `checkpointing container "${ID}" failed: runc did not terminate successfully: exit status 1: criu failed: type NOTIFY errno 0 path= /run/containerd/io.containerd.runtime.v2.task/k8s.io/${ID}/criu-dump.log`

describe('classifyFailure: the dump failed', () => {
  it.each<Row>([
    { from: 'containerd', code: UNKNOWN, text: CONTAINERD_LONG, expected: 'CriuCannotDump' },
    { from: 'CRI-O, which passes --file-locks itself', code: UNKNOWN, text: CRIO_LONG, expected: 'CriuCannotDump' },
    {
      from: 'CRI-O, with a log full of files that CRIU looked for in vain',
      code: UNKNOWN,
      text: crioDumpFailure(
        [
          'criu failed: type NOTIFY errno 0',
          "(00.000102) Warn  (criu/kerndat.c:1153): Can't open /proc/sys/kernel/x: No such file or directory",
          "(00.004711) Warn  (criu/util.c:88): Can't open /sys/fs/cgroup/unified: Permission denied",
          '(00.020114) Error (criu/cr-dump.c:2111): Dumping FAILED.',
        ].join('\n'),
      ),
      expected: 'CriuCannotDump',
    },
    ...(['containerd', 'CRI-O'] as const).flatMap((from): Row[] => {
      const wrap = from === 'CRI-O' ? crioDumpFailure : containerdDumpFailure
      return [
        {
          from,
          code: UNKNOWN,
          text: wrap(
            'Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.',
          ),
          expected: 'TcpEstablished',
        },
        {
          from,
          code: UNKNOWN,
          text: wrap(
            'Error (criu/file-lock.c:112): Some file locks are hold by dumping tasks! You can try --file-locks to dump them.',
          ),
          expected: 'FileLocks',
        },
        {
          from,
          code: UNKNOWN,
          text: wrap('Error (criu/sk-unix.c:740): unix: External socket is used. Consider using --ext-unix-sk option.'),
          expected: 'ExternalUnixSocket',
        },
        {
          from,
          code: UNKNOWN,
          text: wrap('Error (criu/tty.c:1233): tty: Found slave peer index 1 without correspond master peer'),
          expected: 'TerminalAttached',
        },
        {
          from,
          code: UNKNOWN,
          text: wrap("Error (criu/seize.c:310): Can't seize 4711: task is in state D"),
          expected: 'TaskStuck',
        },
        {
          from,
          code: UNKNOWN,
          text: wrap('Error (criu/page-xfer.c:90): Unable to spawn data: No space left on device'),
          expected: 'DiskFull',
        },
      ]
    }),
    {
      from: 'CRI-O whose runc is gone',
      code: UNKNOWN,
      text: `failed to checkpoint container ${ID}: exec: "criu": executable file not found in $PATH`,
      expected: 'CriuMissing',
    },
  ])('$from: $expected', ({ code, text, expected }) => {
    expect(classifyFailure({ code, text })).toMatchObject({ code: expected })
  })
})

describe('classifyFailure: the archive could not be written, or nobody answered', () => {
  it.each<Row>([
    {
      from: 'containerd, no folder',
      code: UNKNOWN,
      text: 'open /var/lib/kubelet/checkpoints/.checkpoint-agent/x/archive.tar: no such file or directory',
      expected: 'DirectoryMissing',
    },
    {
      from: 'CRI-O, no folder',
      code: UNKNOWN,
      text: `failed to write file system changes of container ${ID}: error creating checkpoint export file open /x/archive.tar: no such file or directory`,
      expected: 'DirectoryMissing',
    },
    {
      from: 'containerd, not allowed',
      code: UNKNOWN,
      text: 'open /x/archive.tar: permission denied',
      expected: 'LocationNotWritable',
    },
    {
      from: 'CRI-O, not allowed',
      code: UNKNOWN,
      text: `failed to write file system changes of container ${ID}: error creating checkpoint export file open /x/archive.tar: permission denied`,
      expected: 'LocationNotWritable',
    },
    {
      from: 'containerd, a read-only disk',
      code: UNKNOWN,
      text: 'open /x/archive.tar: read-only file system',
      expected: 'LocationNotWritable',
    },
    {
      from: 'containerd, a full disk',
      code: UNKNOWN,
      text: 'write /x/archive.tar: no space left on device',
      expected: 'DiskFull',
    },
    {
      from: 'CRI-O, a full disk',
      code: UNKNOWN,
      text: `failed to write file system changes of container ${ID}: error creating checkpoint export file write /x/archive.tar: no space left on device`,
      expected: 'DiskFull',
    },
    { from: 'a quota', code: UNKNOWN, text: 'write /x/archive.tar: disk quota exceeded', expected: 'DiskFull' },
    {
      from: 'the deadline of the kubelet',
      code: DEADLINE_EXCEEDED,
      text: 'context deadline exceeded',
      expected: 'RuntimeDeadline',
    },
    { from: 'our own cancel', code: CANCELLED, text: 'Cancelled on client', expected: 'CaptureCancelled' },
    { from: 'a runtime that ended', code: UNAVAILABLE, text: 'transport is closing', expected: 'RuntimeUnavailable' },
    {
      from: 'a socket with nobody behind it',
      code: UNAVAILABLE,
      text: 'No connection established. Last error: connect ECONNREFUSED /run/containerd/containerd.sock',
      expected: 'RuntimeUnavailable',
    },
    {
      from: 'a list that is too long',
      code: status.RESOURCE_EXHAUSTED,
      text: 'Received message larger than max (16777300 vs 16777216)',
      expected: 'RuntimeAnswerTooLarge',
    },
    { from: 'somebody new', code: UNKNOWN, text: 'a novel misfortune', expected: 'Unclassified' },
    { from: 'nobody in particular', code: UNKNOWN, text: '', expected: 'Unclassified' },
  ])('$from: $expected', ({ code, text, expected }) => {
    expect(classifyFailure({ code, text })).toMatchObject({ code: expected })
  })
})

/** What other people name does not decide: neither a path, nor what stands in quotation marks, nor the command line. */
describe('classifyFailure: names that read like a cause', () => {
  const TRAPS = [
    'no space left on device',
    '--tcp-established',
    '--file-locks',
    '--shell-job',
    'criu failed',
    'ambiguous',
    'criu binary not found in shim path',
    'checkpoint/restore support not available',
    'server is not initialized yet',
    'failed to pause container',
    'device or resource busy',
  ]

  it.each(TRAPS)('a container called "%s" that is not found', (name) => {
    const text = `an error occurred when try to find container "${name}": not found`
    expect(classifyFailure({ code: NOT_FOUND, text }).code).toBe('ContainerNotFound')
  })

  it.each(TRAPS)('a directory called "%s" that is missing', (name) => {
    const text = `open /srv/${name}/.checkpoint-agent/x/archive.tar: no such file or directory`
    expect(classifyFailure({ code: UNKNOWN, text }).code).toBe('DirectoryMissing')
  })

  it.each(TRAPS)('a command line that holds "%s"', (name) => {
    const text = crioDumpFailure('criu failed: type NOTIFY errno 0', name)
    expect(classifyFailure({ code: UNKNOWN, text }).code).toBe('CriuCannotDump')
  })

  it.each(TRAPS)('an image called "%s" that is there already', (name) => {
    const text = `checkpointing container "${ID}" failed: image "${name}": already exists`
    expect(classifyFailure({ code: ALREADY_EXISTS, text }).code).toBe('CheckpointNameTaken')
  })
})

describe('classifyFailure', () => {
  it('gives each cause a sentence and a next step', () => {
    const { cause, hint } = classifyFailure({ code: UNKNOWN, text: CRIO_LONG })
    expect(cause).toMatch(/^\S.*[^.]$/)
    expect(hint).toMatch(/^[A-Z].*\.$/)
  })

  it('takes no longer for a text that is made to take long', () => {
    const begun = performance.now()
    for (const piece of ['task ', 'open /', '"', '`runc ', '["', 'container "', 'checkpoint/restore requires ']) {
      classifyFailure({ code: UNKNOWN, text: piece.repeat(60_000 / piece.length) })
    }
    expect(performance.now() - begun).toBeLessThan(5_000)
  })
})

describe('keptRuntimeText', () => {
  it('keeps a text of 8 KiB as it is', () => {
    const text = 'x'.repeat(8192)
    expect(keptRuntimeText(text)).toBe(text)
  })

  it('keeps the beginning and the end of a longer one, in whole characters', () => {
    const text = `failed to checkpoint container ${ID}: ${'ü€🙂'.repeat(5000)} Dumping FAILED.`
    const kept = keptRuntimeText(text)
    expect(Buffer.byteLength(kept)).toBeLessThanOrEqual(8192)
    expect(Buffer.byteLength(kept)).toBeGreaterThan(8192 - 16)
    expect(kept).toMatch(/^failed to checkpoint container/)
    expect(kept).toMatch(/Dumping FAILED\.$/)
    expect(kept).not.toContain('\ufffd')
  })
})

function containerdDumpFailure(criuSays: string): string {
  return `checkpointing container "${ID}" failed: runc did not terminate successfully: exit status 1: criu failed: type NOTIFY errno 0\n${criuSays} path= /run/containerd/io.containerd.runtime.v2.task/k8s.io/${ID}/criu-dump.log`
}

/** CRI-O shows the command line twice and then all that runc said, which quotes the end of dump.log. */
function crioDumpFailure(criuSays: string, argument = '--leave-running'): string {
  const folder = `/var/lib/containers/storage/overlay-containers/${ID}/userdata`
  const argv = [
    'checkpoint',
    '--file-locks',
    '--image-path',
    `${folder}/checkpoint`,
    '--work-path',
    folder,
    argument,
    ID,
  ]
  const quoted = argv.map((word) => JSON.stringify(word)).join(' ')
  const said = `time="2026-11-20T21:34:07Z" level=error msg="criu failed: type NOTIFY errno 0\\nlog file: ${folder}/dump.log"\n${criuSays}`
  return `failed to checkpoint container ${ID}: running "/usr/bin/runc" [${quoted}] failed: \`/usr/bin/runc ${argv.join(' ')}\` failed: ${said}: exit status 1`
}
