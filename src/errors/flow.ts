/** Errors of a flow. */
import { MillraceError, show } from './base.js';

/** No flow with this id was ever accepted by this store. */
export class UnknownFlowError extends MillraceError {
  readonly code = 'ERR_MILLRACE_UNKNOWN_FLOW';
  readonly flowId: string;

  constructor(flowId: string) {
    super(`No flow ${show(flowId)} was ever accepted by this store`);
    this.flowId = flowId;
  }
}

/** The flow ended so long ago that it has been pruned with its members (`retentionMs`), or it was deleted. */
export class FlowExpiredError extends MillraceError {
  readonly code = 'ERR_MILLRACE_FLOW_EXPIRED';
  readonly flowId: string;

  constructor(flowId: string) {
    super(`Flow ${flowId} has ended and is no longer kept (retentionMs)`);
    this.flowId = flowId;
  }
}

/** The flow is not in a state in which this can be done to it, for example a delete of a running flow. */
export class WrongFlowStateError extends MillraceError {
  readonly code = 'ERR_MILLRACE_WRONG_FLOW_STATE';
  readonly flowId: string;
  readonly state: string;

  constructor(flowId: string, state: string, action: string) {
    super(`Flow ${flowId} is ${state}; it cannot be ${action}`);
    this.flowId = flowId;
    this.state = state;
  }
}
