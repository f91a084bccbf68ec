/** Numbers for the names of tasks and queues, so that a stored task carries two bytes instead of a name. */
import { InvalidArgumentError } from '../../errors.js';
import { readU16, u16 } from './keys.js';
import { afterPrefix, type Tables } from './tables.js';

const KIND = { task: '\0', queue: '\x01' } as const;
const MAX_NAMES = 65_535;

export class Names {
  readonly #kind: string;
  readonly #what: string;
  readonly #tables: Tables;
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(what: 'task' | 'queue', tables: Tables) {
    this.#kind = KIND[what];
    this.#what = what;
    this.#tables = tables;
    const range = { start: this.#kind, end: afterPrefix(this.#kind), limit: MAX_NAMES };
    for (const [key, value] of tables.range('name', range)) {
      const name = Buffer.from(value).toString('utf8');
      this.#names[readU16(key, 1)] = name;
      this.#numbers.set(name, readU16(key, 1));
    }
  }

  get all(): readonly string[] {
    return this.#names;
  }

  /** The name's number, if it has one. */
  find(name: string): number | undefined {
    return this.#numbers.get(name);
  }

  hasRoomFor(count: number): boolean {
    return this.#names.length + count <= MAX_NAMES;
  }

  /**
   * Whether all these names have or could get a number.
   * @throws {InvalidArgumentError} when there are too many names.
   */
  check(names: Iterable<string>): void {
    const unknown = new Set<string>();
    for (const name of names) if (!this.#numbers.has(name)) unknown.add(name);
    if (this.#names.length + unknown.size > MAX_NAMES) throw this.#tooMany();
  }

  /** The name's number, given on first use and stored with the next commit. */
  number(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#names.length;
    if (number >= MAX_NAMES) throw this.#tooMany();
    this.#names.push(name);
    this.#numbers.set(name, number);
    this.#tables.put('name', this.#kind + u16(number), Buffer.from(name, 'utf8'));
    return number;
  }

  name(number: number): string {
    return this.#names[number] ?? `unknown-${number}`;
  }

  #tooMany(): InvalidArgumentError {
    return new InvalidArgumentError(
      `${this.#what} names`,
      `at most ${MAX_NAMES} different ones in one store`,
    );
  }
}
