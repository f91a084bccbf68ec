/** `limits` of a runtime and of a client: rules that change while tasks run. */
import type { Desk } from './run/desk.js';
import type { LimitInForce } from './run/limiting.js';
import type { LaneRule, LimitRule, LimitScope, TaskLimits } from './task/limit-rule.js';

/** What may be said of a scope: `weight` of names and keys, `limitKey` and `total` of names only. */
export type RuleFor<Scope extends LimitScope> = Scope extends { readonly key: string }
  ? LaneRule
  : Scope extends { readonly task: string }
    ? TaskLimits
    : LimitRule;

/** What is done with limits while tasks run; `runtime.limits` and `client.limits`. */
export class LimitCalls {
  readonly #desk: Desk;

  /** Use `runtime.limits`. */
  constructor(desk: Desk) {
    this.#desk = desk;
  }

  /**
   * Sets what holds for all tasks (`'runtime'`), for those of a queue (`{ queue }`), of a name (`{ task }`)
   * or of one key of a name (`{ task, key }`). What the rule names holds at once, over what options and the
   * definition say, until it is removed, also after a restart; resolves when that is flushed. Tasks that
   * run go on, and count. Another `limitKey` holds for tasks enqueued from then on.
   *
   * @throws (rejects) {@link InvalidArgumentError} {@link UnknownOptionError} {@link InvalidNameError}
   *   {@link StoreFencedError} {@link StoppedError}
   */
  set<const Scope extends LimitScope>(scope: Scope, rule: RuleFor<Scope>): Promise<void> {
    return this.#desk.setLimit(scope, rule);
  }

  /**
   * Takes back what was set: options and definitions hold again. What starts have taken stays counted, should
   * the rule be set again. @returns whether anything was set.
   * @throws (rejects) as {@link LimitCalls.set}
   */
  remove(scope: LimitScope): Promise<boolean> {
    return this.#desk.removeLimit(scope);
  }

  /** All scopes of which something was said, with what holds for them. */
  list(): Promise<readonly LimitInForce[]> {
    return this.#desk.listLimits();
  }
}
