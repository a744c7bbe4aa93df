import type { z } from 'zod'

/** The query of an operation as its callers in TypeScript give it: every parameter optional, numbers and booleans as such. */
export type QueryArguments<Schema extends z.ZodObject> = {
  readonly [Name in keyof z.output<Schema>]?: QueryArgument<Exclude<z.output<Schema>[Name], undefined>> | undefined
}

type QueryArgument<Value> = string extends Value
  ? Value
  : 'true' extends Value
    ? boolean
    : Value extends readonly (infer Item)[]
      ? readonly Item[]
      : Value
