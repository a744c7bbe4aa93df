import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { queryValues, readKubeletTarget, trimOf } from '../../src/http/kubelet-target.ts'

const served = { isServed: true }

describe('readKubeletTarget', () => {
  it.each([
    '/',
    '/v1/node',
    '/checkpoints/a/b/c',
    '/Checkpoint/a/b/c',
    '/v1/checkpoint/a',
    '/checkpoint%2Fa/b/c',
    '*',
    '',
  ])('leaves %j to other routes', (url) => {
    expect(readKubeletTarget(url, served)).toEqual({ kind: 'elsewhere' })
  })

  it.each(['/v1/node/../x', '//v1/node', '/./healthz'])(
    'does not redirect %j, which is no path of the kubelet',
    (url) => {
      expect(readKubeletTarget(url, served)).toEqual({ kind: 'elsewhere' })
    },
  )

  it.each(['/checkpoint/%', '/checkpoint/%4', '/checkpoint/%zz/b/c', '//checkpoint/%zz', '/checkpoint/a/b/c%'])(
    'calls %j malformed',
    (url) => {
      expect(readKubeletTarget(url, served)).toEqual({ kind: 'malformed' })
    },
  )

  it.each(['/v1/checkpoint%', '/%zz/checkpoint'])('leaves malformed %j to other routes', (url) => {
    expect(readKubeletTarget(url, served)).toEqual({ kind: 'elsewhere' })
  })

  it('keeps a byte that is no UTF-8 as one character', () => {
    expect(readKubeletTarget('/checkpoint/%ff/%c3%a9/c', served)).toEqual({
      kind: 'endpoint',
      segments: ['\xff', '\xc3\xa9', 'c'],
      query: '',
    })
  })

  it('never throws, and redirects only to where no further redirect follows but that of an escape', () => {
    const part = fc.constantFrom('checkpoint', '%63heckpoint', '..', '.', '', 'a', '%2F', '%', '%ff', '*', '?x', '//')
    fc.assert(
      fc.property(fc.array(part), fc.boolean(), (parts, isServed) => {
        const target = readKubeletTarget(`/${parts.join('/')}`, { isServed })
        if (target.kind !== 'redirect') return
        expect(target.location.startsWith('/')).toBe(true)
        expect(target.location).not.toMatch(/^\/\//)
        expect(readKubeletTarget(target.location, { isServed }).kind).not.toBe('malformed')
      }),
    )
  })

  it('takes linear time for a long run of slashes', () => {
    const began = performance.now()
    readKubeletTarget(`/checkpoint/${'%2F'.repeat(21_000)}a`, served)
    expect(performance.now() - began).toBeLessThan(2_000)
  })
})

describe('queryValues', () => {
  it('gives every value in order', () => {
    expect(queryValues('a=1&b=2&a=3&a', 'a')).toEqual(['1', '3', ''])
  })

  it('sees nothing in a query of more than 10 000 parameters', () => {
    expect(queryValues(`${'&'.repeat(9_999)}a=1`, 'a')).toEqual(['1'])
    expect(queryValues(`${'&'.repeat(10_000)}a=1`, 'a')).toEqual([])
  })
})

describe('trimOf', () => {
  it.each([
    ['//a//b//', 'a//b'],
    ['////', ''],
    ['', ''],
  ])('makes %j of %j', (text, expected) => {
    expect(trimOf(text, '/')).toBe(expected)
  })
})
