/** Loads the library on demand, because most agents are given a certificate. It takes about 20 MB and 200 ms. */
export async function importX509() {
  provideReflectMetadata()
  return import('@peculiar/x509')
}

/** Provides the three metadata functions of a TC39 proposal that the library's injector needs. */
function provideReflectMetadata(): void {
  if ('getMetadata' in Reflect) return
  const known = new WeakMap<object, Map<unknown, unknown>>()
  const getOwnMetadata = (key: unknown, target: object) => known.get(target)?.get(key)
  const getMetadata = (key: unknown, target: object | null): unknown => {
    return target === null
      ? undefined
      : (getOwnMetadata(key, target) ?? getMetadata(key, Reflect.getPrototypeOf(target)))
  }
  const defineMetadata = (key: unknown, value: unknown, target: object) => {
    known.set(target, (known.get(target) ?? new Map<unknown, unknown>()).set(key, value))
  }
  Object.assign(Reflect, { getOwnMetadata, getMetadata, defineMetadata })
}
