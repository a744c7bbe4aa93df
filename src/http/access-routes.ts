import { Router } from 'express'
import type { Question } from '../access/question.ts'
import { resourceName } from '../access/question.ts'
import { accessQuery, type AccessResponse } from '../api/access-schemas.ts'
import { principalOf } from './caller.ts'
import type { Judge } from './judge.ts'
import { readQuery } from './request-input.ts'

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'delete'] as const

/** Serves the caller's own permissions on this node, so that clients need not find out by trial. */
export function accessRoutes(judge: Judge, { nodeName }: { readonly nodeName: string }): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/access').get(async (req, res) => {
    const { namespace } = readQuery(req, accessQuery)
    const principal = principalOf(req)
    const permissions = await Promise.all(
      questionsOf(judge, namespace).map(async (question) => {
        const { isAllowed } = await judge.mayAny(principal, question)
        return toPermission(question, isAllowed)
      }),
    )
    const { user, groups } = principal
    const body: AccessResponse = { user, groups: [...groups], node: nodeName, namespace, permissions }
    res.json(body)
  })

  return router
}

function questionsOf(judge: Judge, namespace: string | undefined): Question[] {
  const content = { verb: 'get', isContent: true } as const
  const all = VERBS.map((verb) => ({ verb, isContent: false }))
  return [
    ...[...all, content].map((wanted) => judge.inNamespace(wanted, namespace)),
    ...[...all, content].map((wanted) => judge.onNode(wanted)),
    ...(['get', 'create', 'delete'] as const).map((verb) => judge.ofNode(verb, 'retention')),
    judge.ofNode('get', 'custody'),
    judge.ofCoreNode('create', 'checkpoint'),
    judge.ofCoreNode('get', 'metrics'),
  ]
}

function toPermission(question: Question, allowed: boolean): AccessResponse['permissions'][number] {
  const { verb, group, namespace, name } = question
  return { verb, group, resource: resourceName(question), namespace, name, allowed }
}
