import {
  isAlias,
  isMap,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type Scalar,
  type YAMLMap,
} from 'yaml'
import { nearestName } from '../shared/did-you-mean.ts'
import { describeMistake, type GivenText, type SourceReading } from './setting-source.ts'
import { errorText } from '../shared/errors.ts'
import { isSettingKey, SETTING_KEYS, type SettingKey } from './settings.ts'

export interface YamlReading extends SourceReading {
  /** Content of the `retention` section; undefined without one. */
  readonly retention?: unknown
}

/** Reads the settings of a YAML file; `fileName` is for messages. */
export function readYamlSettings(text: string, fileName: string): YamlReading {
  return new YamlReader(text, fileName).read()
}

// Parser errors reported per file, because one mistake often causes many of them.
const SHOWN_PROBLEMS = 3

class YamlReader {
  readonly #given = new Map<SettingKey, GivenText>()
  readonly #mistakes: string[] = []
  readonly #lines = new LineCounter()
  readonly #document: Document.Parsed
  readonly #fileName: string
  #retention: unknown

  constructor(text: string, fileName: string) {
    this.#fileName = fileName
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, version: '1.2' })
  }

  read(): YamlReading {
    const problems = [...this.#document.errors, ...this.#document.warnings]
    for (const { message, pos } of problems.slice(0, SHOWN_PROBLEMS)) {
      const reason = `cannot be read as YAML: ${plainReason(message)}`
      this.#mistakes.push(describeMistake('--config', reason, { origin: this.#at(pos[0]) }))
    }
    // The content of a broken file is ignored: one mistake would be reported as many.
    const root: Node | null = this.#document.contents
    if (problems.length === 0 && !isEmpty(root)) {
      if (isMap(root)) this.#readSection(root, '')
      else this.#mistakes.push(describeMistake('--config', 'must hold keys and values', { origin: this.#fileName }))
    }
    return { given: this.#given, mistakes: this.#mistakes, retention: this.#retention }
  }

  #readSection(section: YAMLMap, prefix: string): void {
    for (const { key: keyNode, value } of section.items) {
      const origin = this.#at((keyNode as Node | null)?.range?.[0] ?? 0)
      if (!isScalar(keyNode)) {
        this.#mistakes.push(describeMistake(`${prefix}?`, 'a key must be a plain word', { origin }))
        continue
      }
      const name = String(keyNode.value)
      if (name.includes('.')) {
        this.#mistakes.push(describeMistake(prefix + name, 'write it nested, one section for each dot', { origin }))
      } else this.#readEntry(prefix + name, value as Node | null, origin)
    }
  }

  #readEntry(key: string, written: Node | null, origin: string): void {
    const value = isAlias(written) ? (written.resolve(this.#document) ?? null) : written
    if (key === 'retention') {
      this.#readRetention(value, origin)
      return
    }
    if (isSettingKey(key)) this.#readSetting(key, value, origin)
    else if (!SETTING_KEYS.some((known) => known.startsWith(`${key}.`))) {
      this.#mistakes.push(describeMistake(key, `there is no such setting${suggestion(key)}`, { origin }))
    } else if (isMap(value)) this.#readSection(value, `${key}.`)
    else if (!isEmpty(value)) {
      this.#mistakes.push(
        describeMistake(key, 'it must be a section, with settings below it', { ...textOf(value), origin }),
      )
    }
  }

  /** Reads the policy, whose lists and sections flags and variables cannot express. */
  #readRetention(value: Node | null, origin: string): void {
    try {
      visit(this.#document, { Scalar: (_, scalar) => asWritten(scalar) })
      this.#retention = value === null ? null : value.toJS(this.#document)
    } catch (error) {
      this.#mistakes.push(describeMistake('retention', plainReason(errorText(error)), { origin }))
    }
  }

  #readSetting(key: SettingKey, value: Node | null, origin: string): void {
    if (isEmpty(value)) {
      this.#mistakes.push(describeMistake(key, 'it has no value; to leave it empty write ""', { origin }))
    } else if (!isScalar(value)) {
      this.#mistakes.push(describeMistake(key, 'it must be a single value', { origin }))
    } else {
      this.#given.set(key, { text: textOf(value).text ?? '', origin })
    }
  }

  #at(offset: number): string {
    return `${this.#fileName} line ${this.#lines.linePos(offset).line}`
  }
}

function isEmpty(node: Node | null): boolean {
  return node === null || (isScalar(node) && node.value === null)
}

/**
 * Returns a scalar as written in the file: only a setting decides whether `0x10` or `1e3` is a
 * number.
 */
function textOf(node: Node | null): { text?: string } {
  return isScalar(node) ? { text: node.source ?? String(node.value) } : {}
}

/** Restores a number as written: the namespace `007` is not the namespace `7`. */
function asWritten(scalar: Scalar): void {
  if (typeof scalar.value === 'number' && scalar.source !== undefined) scalar.value = scalar.source
}

function plainReason(message: string): string {
  if (message.startsWith('Source contains multiple documents')) return 'it must hold one document'
  return message.startsWith('Maximum call stack') ? 'it is nested too deeply' : message
}

function suggestion(key: string): string {
  const meant = nearestName(key, SETTING_KEYS)
  return meant === undefined ? '' : `; did you mean ${meant}?`
}
