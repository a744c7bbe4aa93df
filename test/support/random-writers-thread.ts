import { parentPort, workerData } from 'node:worker_threads'
import { randomWriters, type RandomWritersOptions } from './random-writers.ts'

const writers = randomWriters(workerData as RandomWritersOptions)

parentPort?.on('message', (times: number) => {
  writers.act(times)
  parentPort?.postMessage(writers.counts)
})
