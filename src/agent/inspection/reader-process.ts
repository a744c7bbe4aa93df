import process from 'node:process'
import { collectWhenIdle } from '../../shared/idle-collection.ts'
import { lockDown } from './reader-lockdown.ts'
import { serveAgent } from './reader-service.ts'

// Entry point of the reader process, which runs under Node.js's permission model (decision 15). Even if content of an
// archive takes control, the process can only read the checkpoint directory and answer the agent. All modules are
// loaded before this point.

const [, , directory = ''] = process.argv
const requests = process.stdin
const endSelf = () => process.exit()
collectWhenIdle()
lockDown(directory)
serveAgent({ directory, requests, endSelf })
