import { array, assert, constantFrom, pre, property, stringMatching } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { withoutHostPaths } from '../../src/shared/host-paths.ts'

describe('withoutHostPaths', () => {
  it.each([
    ['there is no socket at /run/containerd/containerd.sock', 'there is no socket at …/containerd.sock'],
    ['connect ENOENT unix:///run/containerd/containerd.sock', 'connect ENOENT unix:…/containerd.sock'],
    ["EIO: i/o error, open '/var/lib/my archives/a.tar'", "EIO: i/o error, open '…/a.tar'"],
    ['Cannot use "/var/lib/kubelet/checkpoints": no', 'Cannot use "…/checkpoints": no'],
    ['path= /run/a/criu-dump.log', 'path= …/criu-dump.log'],
    ['path=/run/a/criu-dump.log: unknown', 'path=…/criu-dump.log: unknown'],
    ['first\n/var/lib/x\nlast', 'first\n…/x\nlast'],
    ['see (/var/lib/x/) and </a/b>', 'see (…/x) and <…/b>'],
    ['open /var//lib///x failed', 'open …/x failed'],
    ['no "/tmp"/var/lib/x"', 'no "/tmp"…/x"'],
    ['["/usr/bin/runc" "--root=/run/runc"]', '["…/runc" "--root=…/runc"]'],
  ])('%j is %j', (text, shown) => {
    expect(withoutHostPaths(text)).toBe(shown)
  })

  it.each([
    'tty: Found slave peer index 0 without correspond master peer, see /dev/pts/0',
    'cannot open /proc/12/ns/net',
    'Put a line "tcp-established" into /etc/criu/runc.conf',
    'rpc error: code = Unknown desc = 5/6 and/or n/a',
    'see https://example.org/a/b',
    'Only a running container can be checkpointed; see its state with GET /v1/containers.',
    'Wait for it with GET /v1/captures/01M7XXX4Q80GB17Z41EYWSHJDG',
    'curl --unix-socket /run/crio/crio.sock http://localhost/unpause/ID',
    'rm -r /var/lib/containers/storage/overlay-containers/ID/userdata/checkpoint',
    'no path at all, and a lone /',
    '',
  ])('%j stays', (text) => {
    expect(withoutHostPaths(text)).toBe(text)
  })

  it('leaves no folder of any path, and does nothing twice', () => {
    const part = stringMatching(/^[a-z0-9._-]{1,12}$/)
    assert(
      property(array(part, { minLength: 2, maxLength: 6 }), constantFrom('"', "'", '', '('), (parts, quote) => {
        pre(!['dev', 'proc', 'sys', 'v1'].includes(parts[0] ?? ''))
        const text = `it failed: ${quote}/${parts.join('/')}${quote === '(' ? ')' : quote} and so on`
        const shown = withoutHostPaths(text)
        expect(shown).not.toContain(`/${parts.slice(0, 2).join('/')}`)
        expect(shown).toContain(`…/${parts.at(-1) ?? ''}`)
        expect(withoutHostPaths(shown)).toBe(shown)
      }),
    )
  })

  it.each([
    ['slashes in an open quote', (length: number) => `"${'/'.repeat(length)}`],
    ['parts in an open quote', (length: number) => `"${'/a'.repeat(length / 2)}`],
    ['slashes alone', (length: number) => '/'.repeat(length)],
    ['parts', (length: number) => '/a'.repeat(length / 2)],
    ['begun quotes', (length: number) => `'/"/`.repeat(length / 4)],
    ['begun paths', (length: number) => ':/'.repeat(length / 2)],
    ['quotes after slashes', (length: number) => `"${'/'.repeat(31)}'${'/'.repeat(31)}`.repeat(length / 64)],
  ])('takes as much longer as there are more %s', (_, make) => {
    const timeOf = (length: number) => {
      const text = make(length)
      const times = Array.from({ length: 3 }, () => {
        const began = performance.now()
        withoutHostPaths(text)
        return performance.now() - began
      })
      return Math.min(...times)
    }
    // Of a mebibyte in the end; what is quadratic takes 64 times as long for eight times as many: a minute the first time.
    for (const length of [16 * 1024, 128 * 1024]) {
      expect(timeOf(8 * length)).toBeLessThan(24 * timeOf(length) + 2000)
    }
  })
})
