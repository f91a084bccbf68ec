/** Checks what is set with `runtime.limits`: whom a rule is for, and what such a rule may say. */
import { InvalidArgumentError } from '../errors.js';
import type { AnyLimitRule, LimitScope } from '../task/limit-rule.js';
import { checkLimitKey, LANE_RULE_FIELDS, NAME_RULE_FIELDS, RULE_FIELDS } from './limit-table.js';
import { checkName } from './rule.js';
import { checkObject, plainObject } from './shape.js';

const EXPECTED = "'runtime', { queue }, { task } or { task, key }";

/** @throws {InvalidArgumentError} {@link InvalidNameError} */
export function validateLimitScope(scope: unknown): LimitScope {
  if (scope === 'runtime') return scope;
  if (typeof scope !== 'object' || scope === null) throw new InvalidArgumentError('scope', EXPECTED, scope);
  const { queue, task, key, ...rest } = plainObject(scope, 'scope');
  if (Object.keys(rest).length > 0) throw new InvalidArgumentError('scope', EXPECTED, Object.keys(rest)[0]);
  if (queue !== undefined) {
    if (task !== undefined || key !== undefined) throw new InvalidArgumentError('scope', EXPECTED);
    return { queue: checkName('queue', queue) };
  }
  if (task === undefined) throw new InvalidArgumentError('scope', EXPECTED);
  const name = checkName('task', task);
  return key === undefined ? { task: name } : { task: name, key: checkLimitKey(key, 'scope.key') };
}

/** @throws {InvalidArgumentError} {@link UnknownOptionError} */
export function validateLimitRule(rule: unknown, scope: LimitScope): AnyLimitRule {
  return checkObject(fieldsOf(scope), rule, 'rule') as AnyLimitRule;
}

function fieldsOf(scope: LimitScope) {
  if (scope === 'runtime' || 'queue' in scope) return RULE_FIELDS;
  return 'key' in scope ? LANE_RULE_FIELDS : NAME_RULE_FIELDS;
}
