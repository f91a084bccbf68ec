/**
 * Where the runtime says what an operator should know. Shaped like pino, so that an application's own logger
 * can be given. Payloads, results and handlers' errors are never handed to a logger; what a line is about is
 * in its fields.
 */

/** What a line is about, for example `{ taskId, queue, attempt }`. */
export type LogFields = Readonly<Record<string, unknown>>;

/** pino's order of arguments: fields first. Called with both, always. */
export type LogMethod = (fields: LogFields, message: string) => void;

/** The methods of a pino logger that are used; called as methods of the object given. */
export interface Logger {
  trace?(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** A logger that adds `fields` to each line. */
  child?(fields: LogFields): Logger;
}

const nothing: LogMethod = () => {};

/** Says nothing. */
export const silentLogger: Logger = Object.freeze({
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silentLogger,
});

/** Longest text of one field or message, characters. */
const MAX_CHARS = 500;

/** Fields that could hold what belongs to the user's users. */
const PRIVATE_FIELDS: ReadonlySet<string> = new Set(['payload', 'result', 'body', 'value', 'data']);

/**
 * Warnings and errors only, one line each, without control characters.
 *
 * @param write  Takes one line without its line break.
 */
export function lineLogger(write: (line: string) => void, bound: LogFields = {}): Logger {
  return Object.freeze({
    trace: nothing,
    debug: nothing,
    info: nothing,
    warn: (fields: LogFields, message: string) => write(lineOf('warn', message, { ...bound, ...fields })),
    error: (fields: LogFields, message: string) => write(lineOf('error', message, { ...bound, ...fields })),
    child: (fields: LogFields) => lineLogger(write, { ...bound, ...fields }),
  });
}

/** Used when no logger is given: warnings and errors on stderr. `console` survives a closed stderr. */
export const defaultLogger: Logger = lineLogger((line) => console.error(line));

function lineOf(level: string, message: string, fields: LogFields): string {
  let line = `millrace ${level}: ${clean(message)}`;
  for (const [key, value] of Object.entries(fields)) {
    const text = textOf(value);
    if (text !== undefined && !PRIVATE_FIELDS.has(key)) line += ` ${clean(key)}=${clean(text)}`;
  }
  return line;
}

/** Scalars and errors; objects could hold anything and are left out. */
function textOf(value: unknown): string | undefined {
  if (value instanceof Error) {
    const code = (value as { code?: unknown }).code;
    return `${value.name}${typeof code === 'string' ? ` [${code}]` : ''}: ${value.message}`;
  }
  const isScalar = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
  return isScalar || typeof value === 'bigint' ? String(value) : undefined;
}

/** Cut, and without characters that move a terminal's cursor, break the line or turn its direction. */
function clean(text: string): string {
  const short = text.length > MAX_CHARS ? `${text.slice(0, MAX_CHARS - 3)}...` : text;
  return short.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/gu, ' ');
}
