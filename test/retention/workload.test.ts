import { describe, expect, it } from 'vitest'
import { workloadOf } from '../../src/retention/workload.ts'

describe('workloadOf', () => {
  it.each([
    ['web-5d9c7b6f4-x2x9k', 'web'],
    ['web-front-76d4b9fc9c-8bqrz', 'web-front'],
    ['web-0', 'web'],
    ['web-12', 'web'],
    ['fluentd-x7k2p', 'fluentd'],
    ['backup-29340120-q9wzx', 'backup'],
    ['index-3-q9wzx', 'index'],
    ['web', 'web'],
    ['web-front', 'web-front'],
    ['redis-cache', 'redis-cache'],
    ['web-5d9c7b6f4', 'web-5d9c7b6f4'],
    ['-0', '-0'],
    ['', ''],
  ])('%s is one of %s', (pod, workload) => {
    expect(workloadOf(pod)).toBe(workload)
  })

  it.each([
    // 52 characters: the hash was cut in the middle.
    ['a-deployment-whose-name-is-as-long-as-some-names-are', 'a-deployment-whose-name-is-as-long-as-some-names-are'],
    // 57: nothing but its dash is left of the hash, and that one is dropped with it.
    [
      'a-deployment-whose-name-is-longer-than-most-names-are-too',
      'a-deployment-whose-name-is-longer-than-most-names-are-too',
    ],
    // 61: the name itself was cut.
    [
      'a-deployment-whose-name-is-so-long-that-no-pod-can-bear-it-at',
      'a-deployment-whose-name-is-so-long-that-no-pod-can-bear-it',
    ],
  ])('the pods of %s, a name that is cut, are of one workload', (deployment, workload) => {
    const pods = ['5d9c7b6f4', '76d4b9fc9c'].map((hash) => `${`${deployment}-${hash}-`.slice(0, 58)}x2x9k`)
    expect(pods.map((pod) => workloadOf(pod))).toEqual([workload, workload])
  })

  it('takes no time for a name of any length', () => {
    const began = performance.now()
    workloadOf('x2-'.repeat(50_000))
    workloadOf('7'.repeat(100_000))
    expect(performance.now() - began).toBeLessThan(5_000)
  })
})
