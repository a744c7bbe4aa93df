/** The verbs of Kubernetes RBAC that the agent asks about. The empty one stands for a method that has no verb. */
export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | ''
