/** What a running task is told of its parents. Results are copies: they go to threads, or to user code. */
import type { Backend, Claim } from '../../broker/broker.js';
import { InvalidArgumentError, UnsupportedError } from '../../errors.js';
import type { ParentsPage, ParentsRequest } from '../../task/parents.js';

/** Parents of one page at most; the backend ends it earlier when their results are large. */
const PAGE_PARENTS = 250;

/** @throws (rejects) {InvalidArgumentError} for a label that the task does not have. */
export async function readParents(
  { broker, flows, inspect }: Backend,
  { id }: Claim,
  { label, after }: ParentsRequest,
): Promise<ParentsPage> {
  if (flows === undefined) throw new UnsupportedError('flows', broker.lacks.flows ?? 'not implemented');
  const page = await flows.parents(id, label, PAGE_PARENTS, after);
  if (page.parents.length === 0 && page.after === undefined && after === undefined) {
    const labels = (await inspect?.get(id, 'brief'))?.after?.map((each) => each.label) ?? [];
    if (!labels.includes(label)) {
      const known = labels.length === 0 ? 'none: it came after nothing' : labels.join(', ');
      throw new InvalidArgumentError('label', `one of this task, which has ${known}`, label);
    }
  }
  return { ...page, parents: page.parents.map((parent) => ({ ...parent, ...ownResult(parent.result) })) };
}

function ownResult(result: Uint8Array | undefined): { readonly result?: Uint8Array } {
  return result === undefined ? {} : { result: result.slice() };
}
