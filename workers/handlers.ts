/**
 * Which function runs for which name: imports tasks modules, finds the handlers among their exports, runs
 * their setups. Code is chosen by the modules alone; a task's data only ever selects a name that is
 * registered here.
 */
import { InvalidArgumentError } from '../src/errors.js';
import { checkName } from '../src/options.js';
import type { Codec } from '../src/task/codec.js';
import {
  SETUP,
  type StandardSchema,
  type StartApp,
  TASK,
  type TaskDefinition,
} from '../src/task/define-types.js';
import type { DefinedOptions } from '../src/task/task-options.js';
import type { HandlerDescription } from './protocol.js';

/** A module as `import()` gives it. */
type Exports = Readonly<Record<string, unknown>>;

/** A function ready to run. */
export interface LoadedHandler extends HandlerDescription {
  readonly handler: (payload: unknown, context: unknown) => unknown;
  readonly schema?: StandardSchema;
  readonly module: LoadedModule;
}

export interface LoadedModule {
  readonly url: string;
  readonly handlers: readonly LoadedHandler[];
  /** Exported formats, named by `codec` in the options of a task. */
  readonly codecs: readonly Codec[];
  /** What its setup returned. */
  readonly app: unknown;
  readonly stop?: (app: never) => unknown;
}

/** Why a module cannot be used; becomes a `TasksModuleError` on the host. */
export class ModuleRefused extends Error {
  readonly url: string;

  constructor(url: string, why: string, options?: ErrorOptions) {
    super(why, options);
    this.url = url;
  }
}

/** All handlers of a thread. */
export class HandlerTable {
  readonly #modules = new Map<string, LoadedModule>();
  readonly #exact = new Map<string, LoadedHandler>();
  /** Longest first, so the first that fits is the right one. */
  #patterns: LoadedHandler[] = [];
  readonly #import: (url: string) => Promise<Exports>;

  constructor(importModule: (url: string) => Promise<Exports>) {
    this.#import = importModule;
  }

  /**
   * Imports a module, finds its handlers and runs its setup. A module that is loaded already stays as it is.
   * @throws {ModuleRefused}
   */
  async load(url: string): Promise<LoadedModule> {
    const known = this.#modules.get(url);
    if (known !== undefined) return known;
    const exported = await this.#importOrRefuse(url);
    const found = findHandlers(url, exported);
    for (const { name } of found) {
      if (this.#has(name)) throw new ModuleRefused(url, `another module already handles "${name}"`);
    }
    const module: { -readonly [Key in keyof LoadedModule]: LoadedModule[Key] } = {
      url,
      handlers: [],
      codecs: findCodecs(exported),
      ...(await startApp(url, exported)),
    };
    module.handlers = found.map((each) => Object.freeze({ ...each, module }));
    this.#add(module);
    return module;
  }

  /** The handler of `name`: an exact one, or that of the longest pattern. */
  find(name: string): LoadedHandler | undefined {
    const exact = this.#exact.get(name);
    if (exact !== undefined || this.#patterns.length === 0) return exact;
    return this.#patterns.find((each) => name.startsWith(each.name.slice(0, -1)));
  }

  /**
   * Runs the `stop` of every setup, once, the last one first. An error of one does not keep the others from
   * running.
   */
  async stop(): Promise<void> {
    const modules = [...this.#modules.values()].reverse();
    this.#modules.clear();
    for (const { stop, app } of modules) {
      try {
        await stop?.(app as never);
      } catch {
        // The thread ends now in any case, and its tasks are settled.
      }
    }
  }

  async #importOrRefuse(url: string): Promise<Exports> {
    try {
      return await this.#import(url);
    } catch (error) {
      throw new ModuleRefused(url, `importing it failed: ${messageOf(error)}`, { cause: error });
    }
  }

  #has(name: string): boolean {
    return this.#exact.has(name) || this.#patterns.some((each) => each.name === name);
  }

  #add(module: LoadedModule): void {
    this.#modules.set(module.url, module);
    for (const each of module.handlers) {
      if (each.pattern) this.#patterns.push(each);
      else this.#exact.set(each.name, each);
    }
    this.#patterns.sort((a, b) => b.name.length - a.name.length);
  }
}

/** The manifest of a module: plain data that can be sent and stored. */
export function describe(module: LoadedModule): HandlerDescription[] {
  return module.handlers.map(({ name, pattern, options }) => ({ name, pattern, options }));
}

type FoundHandler = Omit<LoadedHandler, 'module'>;

function findHandlers(url: string, exported: Exports): FoundHandler[] {
  const found = new Map<string, FoundHandler>();
  for (const [key, value] of Object.entries(exported)) {
    if (key === 'default' || key === 'module.exports' || key.startsWith('_')) continue;
    const each = toHandler(url, key, value);
    if (each === undefined) continue;
    if (found.has(each.name)) throw new ModuleRefused(url, `two of its exports are named "${each.name}"`);
    found.set(each.name, each);
  }
  if (found.size === 0) {
    throw new ModuleRefused(url, 'it exports no handler (a function, or what task() returns)');
  }
  return [...found.values()];
}

function toHandler(url: string, key: string, value: unknown): FoundHandler | undefined {
  if (typeof value !== 'function') return undefined;
  const definition = (value as { readonly [TASK]?: TaskDefinition })[TASK];
  if (definition === undefined && isClass(value)) return undefined;
  const name = definition?.name ?? key;
  const pattern = name.endsWith('*');
  try {
    if (name !== '*') checkName('task', pattern ? name.slice(0, -1) : name);
  } catch (error) {
    throw new ModuleRefused(url, messageOf(error), { cause: error });
  }
  return {
    name,
    pattern,
    options: definition?.options ?? NO_OPTIONS,
    handler: (definition?.handler ?? value) as LoadedHandler['handler'],
    ...(definition?.schema === undefined ? {} : { schema: definition.schema }),
  };
}

const NO_OPTIONS: DefinedOptions = Object.freeze({});

function isClass(value: object): boolean {
  return /^class\b/.test(Function.prototype.toString.call(value));
}

async function startApp(url: string, exported: Exports): Promise<Pick<LoadedModule, 'app' | 'stop'>> {
  const setups = Object.values(exported).filter(isSetup);
  const [first] = setups;
  if (first === undefined) return { app: undefined };
  if (setups.length > 1) throw new ModuleRefused(url, 'it exports more than one setup()');
  try {
    const started = await first[SETUP]();
    if (typeof started !== 'object' || started === null) {
      throw new InvalidArgumentError('the result of setup', 'an object { app, stop? }', started);
    }
    const { app, stop } = started;
    if (stop === undefined) return { app };
    if (typeof stop !== 'function') throw new InvalidArgumentError('stop of setup', 'a function', stop);
    return { app, stop };
  } catch (error) {
    throw new ModuleRefused(url, `its setup failed: ${messageOf(error)}`, { cause: error });
  }
}

/** The formats among a module's exports. */
export function findCodecs(exported: Exports): Codec[] {
  return Object.values(exported).filter(isCodec);
}

function isCodec(value: unknown): value is Codec {
  if (typeof value !== 'object' || value === null) return false;
  const { name, encode, decode } = value as Partial<Codec>;
  return typeof name === 'string' && typeof encode === 'function' && typeof decode === 'function';
}

function isSetup(value: unknown): value is { readonly [SETUP]: StartApp<unknown> } {
  return typeof value === 'object' && value !== null && SETUP in value;
}

/** The message of anything thrown; never throws itself. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error);
  } catch {
    return 'something that cannot be shown';
  }
}
