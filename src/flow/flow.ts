/**
 * The builder of a flow: takes down what its user says in one function, and refuses what cannot be: cycles,
 * steps of another flow, labels used twice, too much of anything. Encodes nothing and stores nothing.
 */
import { InvalidArgumentError } from '../errors.js';
import { checkName, validateFlowTaskOptions } from '../options.js';
import type { PayloadOf, ResultOf, TasksOf } from '../task/define-types.js';
import { parseId } from '../task/id.js';
import type { TaskId } from '../task/task.js';
import { addLabel, Draft, type DraftTask, draftTask, endOf, isFilled, isStep, startsOf } from './draft.js';
import { planOf } from './plan.js';
import {
  FlowChain,
  FlowGroup,
  type FlowPlan,
  type FlowStep,
  FlowTask,
  type FlowTaskOptions,
  MAX_FLOW_TASKS,
  MAX_RETURNED_NAMES,
  PREVIOUS,
  type StepResult,
} from './types.js';

/**
 * What the builder function has made, in order.
 *
 * @throws {InvalidArgumentError} for a function that is async or returns anything but steps by name, for a
 *   cycle, and as the methods of {@link FlowBuilder}. @throws what the function throws.
 */
// biome-ignore lint/suspicious/noExplicitAny: which names there are is the caller's to say
export function planFlow(build: (flow: FlowBuilder<any>) => unknown): FlowPlan {
  if (typeof build !== 'function') throw new InvalidArgumentError('build', 'a function', build);
  const draft = new Draft();
  const builder = new FlowBuilder(draft);
  let returned: unknown;
  try {
    returned = build(builder);
  } finally {
    draft.isOpen = false;
  }
  return planOf(draft, namedSteps(returned, builder));
}

/** What `runtime.flow` gives to its function: it says which tasks there are and what they wait for. */
export class FlowBuilder<Module = never> {
  readonly #draft: Draft;

  constructor(draft: Draft) {
    this.#draft = draft;
  }

  /**
   * A task of this flow; it waits for what `options.after` names, and for what else is put before it.
   *
   * @throws {InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError}, also for a parent of
   *   another flow, and beyond 10,000,000 tasks, 20,000,000 parents in all, or 100 labels of one task.
   */
  task<Name extends keyof TasksOf<Module> & string>(
    name: Name,
    payload: PayloadOf<TasksOf<Module>, Name>,
    options?: FlowTaskOptions,
  ): FlowTask<ResultOf<TasksOf<Module>, Name>> {
    const draft = this.#open('f.task');
    checkName('task', name);
    if (draft.taskCount === MAX_FLOW_TASKS) {
      throw new InvalidArgumentError('f.task', `called at most ${MAX_FLOW_TASKS} times`);
    }
    const node =
      options === undefined ? draftTask(name, payload, 'fail') : this.#with(name, payload, options);
    const place = draft.nodes.push(node) - 1;
    draft.taskCount++;
    return new FlowTask(this, place);
  }

  /**
   * Steps that run beside each other, as one step. What comes after it waits for all of them, and gets their
   * results in this order. An empty group is done at once.
   *
   * @throws {InvalidArgumentError} for what is no step of this flow, and beyond 20,000,000 parents in all.
   */
  group<Step extends FlowStep>(steps: Iterable<Step>): FlowGroup<StepResult<Step>> {
    const draft = this.#open('f.group');
    const given: FlowStep[] = [];
    const before: number[] = [];
    if (typeof steps !== 'object' || steps === null || !(Symbol.iterator in steps)) {
      throw new InvalidArgumentError('steps', 'an array of steps of this flow', steps);
    }
    for (const step of steps) {
      const at = `steps[${given.length}]`;
      this.#checkStep(step, at);
      draft.count(at);
      given.push(step);
      before.push(endOf(step));
    }
    const place = draft.nodes.push({ kind: 'join', before }) - 1;
    return new FlowGroup(this as GroupsOwner, place, given);
  }

  /**
   * Lets each step come after the one before it, whose results it gets under the label `previous`. Of a group
   * that comes after something each step does.
   *
   * @throws {InvalidArgumentError} for fewer than two steps, for what is no step of this flow, and for a task
   *   that has parents under `previous` already.
   */
  chain<const Steps extends readonly [FlowStep, FlowStep, ...FlowStep[]]>(
    ...steps: Steps
  ): FlowChain<LastOf<Steps>> {
    const draft = this.#open('f.chain');
    if (steps.length < 2) throw new InvalidArgumentError('f.chain', 'called with two steps or more');
    for (const [at, step] of steps.entries()) this.#checkStep(step, `steps[${at}]`);
    // What holds no task stands for nothing: what comes after it comes after what was before it.
    const filled = steps.map((step, at) => ({ step, at })).filter(({ step }) => isFilled(step));
    for (let nth = 1; nth < filled.length; nth++) {
      const { step, at } = filled[nth]!;
      const from = endOf(filled[nth - 1]!.step);
      for (const place of startsOf(step)) {
        const node = draft.nodes[place] as DraftTask;
        addLabel(node, PREVIOUS, `steps[${at}]`);
        draft.connect(node, PREVIOUS, from, `steps[${at}]`);
      }
    }
    const last = steps.at(-1) as LastOf<Steps>;
    return new FlowChain(this, last, filled[0]?.step ?? last, filled.at(-1)?.step ?? last);
  }

  #with(name: string, payload: unknown, options: FlowTaskOptions): DraftTask {
    const { after = {}, whenParentDies = 'fail', ...own } = validateFlowTaskOptions(options, 'options');
    const node = draftTask(name, payload, whenParentDies);
    if (Object.keys(own).length > 0) node.options = own;
    for (const label of Object.keys(after)) this.#follow(node, label, after[label]);
    return node;
  }

  #follow(node: DraftTask, label: string, parents: unknown): void {
    const at = `options.after.${label}`;
    checkName('label', label);
    if (parents === undefined) return;
    addLabel(node, label, at);
    if (!Array.isArray(parents)) {
      this.#addParent(node, label, parents, at);
      return;
    }
    // Not `forEach`, which passes over holes.
    for (const [index, parent] of parents.entries()) this.#addParent(node, label, parent, `${at}[${index}]`);
  }

  #addParent(node: DraftTask, label: string, parent: unknown, at: string): void {
    if (isStep(parent)) {
      this.#checkStep(parent, at);
      this.#draft.connect(node, label, endOf(parent), at);
      return;
    }
    const id = typeof parent === 'string' ? parent : (parent as { id?: unknown } | null | undefined)?.id;
    if (parseId(id as TaskId) === undefined) {
      throw new InvalidArgumentError(at, 'a step of this flow, or the handle or id of a task', parent);
    }
    this.#draft.connect(node, label, id as TaskId, at);
  }

  #checkStep(step: unknown, at: string): void {
    if (!isStep(step)) throw new InvalidArgumentError(at, 'a step of this flow', step);
    if (step.builder !== this) throw new InvalidArgumentError(at, 'a step of this flow, not of another one');
  }

  #open(method: string): Draft {
    if (!this.#draft.isOpen) {
      throw new InvalidArgumentError(
        method,
        'called before the builder function returns, which is not async',
      );
    }
    return this.#draft;
  }
}

type LastOf<Steps extends readonly FlowStep[]> = Steps extends readonly [
  ...unknown[],
  infer Last extends FlowStep,
]
  ? Last
  : FlowStep;
type GroupsOwner = ConstructorParameters<typeof FlowGroup>[0];

function namedSteps(returned: unknown, builder: FlowBuilder): ReadonlyMap<string, FlowStep> {
  const steps = new Map<string, FlowStep>();
  if (returned === undefined) return steps;
  const expected = 'a function that returns at once, nothing or steps by name, as { book }';
  if (typeof returned !== 'object' || returned === null || Array.isArray(returned) || isStep(returned)) {
    throw new InvalidArgumentError('build', expected);
  }
  if (typeof (returned as { then?: unknown }).then === 'function') {
    // What becomes of it nobody asks for any more.
    void (returned as Promise<unknown>).then(undefined, () => {});
    throw new InvalidArgumentError('build', `${expected}; this one is async`);
  }
  for (const [name, step] of Object.entries(returned)) {
    checkName('step', name);
    if (!isStep(step) || step.builder !== builder) {
      throw new InvalidArgumentError(`the returned ${name}`, 'a step of this flow', step);
    }
    steps.set(name, step);
  }
  if (steps.size > MAX_RETURNED_NAMES) {
    throw new InvalidArgumentError('build', `a function that returns at most ${MAX_RETURNED_NAMES} steps`);
  }
  return steps;
}
