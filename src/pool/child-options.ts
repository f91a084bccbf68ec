/** What a child process is started with, of what its host and the runtime's options say of threads. */
import type { ThreadSetup } from './thread.js';

/** Options of a host that mean its own script, its own terminal or its own debugger. */
const OF_THE_HOST =
  /^(?:-[ceip]|-pe|--(?:check|eval|print|interactive|input-type|debug-port|inspect|test|watch)\b.*)$/;
/** Those of them whose value is the next word. */
const WITH_VALUE = /^(?:-e|-p|-pe|--eval|--print|--input-type|--debug-port|--inspect-port|--watch-path)$/;

/**
 * Options of Node for a child. Of the limits of a thread's heap those that a process has; a limit of its
 * stack is none, since a process has its stack from the system.
 */
export function nodeOptionsOf(
  { execArgv, resourceLimits }: Pick<ThreadSetup, 'execArgv' | 'resourceLimits'>,
  ofHost: readonly string[] = process.execArgv,
): string[] {
  const { maxOldGenerationSizeMb, maxYoungGenerationSizeMb } = resourceLimits ?? {};
  const options = [...(execArgv ?? withoutOwn(ofHost))];
  if (maxOldGenerationSizeMb !== undefined) {
    options.push(`--max-old-space-size=${Math.ceil(maxOldGenerationSizeMb)}`);
  }
  // V8's young generation is three semi-spaces.
  if (maxYoungGenerationSizeMb !== undefined) {
    options.push(`--max-semi-space-size=${Math.max(1, Math.ceil(maxYoungGenerationSizeMb / 3))}`);
  }
  return options;
}

function withoutOwn(options: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < options.length; at++) {
    const option = options[at]!;
    if (!OF_THE_HOST.test(option)) kept.push(option);
    else if (WITH_VALUE.test(option)) at++;
  }
  return kept;
}
