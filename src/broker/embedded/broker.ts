/**
 * The broker that lives in the process: one implementation of the port over ordered tables. With LMDB tables
 * it is the durable default, with memory tables the reference. This file only wires the verbs to the parts
 * that do them.
 */
import { StoppedError } from '../../errors.js';
import { formatId } from '../../task/id.js';
import type { NewTask } from '../../task/task.js';
import type {
  Backend,
  Broker,
  Claim,
  Enqueued,
  Head,
  Hold,
  Lacks,
  OrderRules,
  Pace,
  Settlement,
  ShedRequest,
  ShedTask,
  Stage,
  Verdict,
} from '../broker.js';
import type { FactChange } from '../key-value.js';
import type { Otherwise } from '../settlement.js';
import { type BlobFiles, EmbeddedBlobs } from './blobs.js';
import type { EmbeddedClaim } from './claim.js';
import { Claiming } from './claiming.js';
import { CommitCycle } from './commit.js';
import { Core, type CoreOptions } from './core.js';
import { Finals } from './finals.js';
import { EmbeddedFlows } from './flows/flows.js';
import { EmbeddedInspect } from './inspect.js';
import { Intake, type IntakeLimits } from './intake.js';
import { embeddedKeyValue } from './key-value.js';
import { Pruning } from './pruning.js';
import { Readying } from './readying.js';
import { decodeNote, type Note, sealNote } from './record.js';
import { Settling } from './settling.js';
import { Shedding } from './shed.js';
import { EmbeddedStage } from './staging/stage.js';
import { Stages } from './staging/stages.js';
import { Uniques } from './uniques.js';
import { Views } from './views.js';

/** How long a task that was replaced stays listed as cancelled. */
const REPLACED_KEPT_MS = 86_400_000;

export interface EmbeddedOptions extends CoreOptions {
  readonly kind: string;
  readonly lacks: Lacks;
  readonly limits: IntakeLimits;
  /** Where claims are noted before a hand-over; absent when nothing survives the process anyway. */
  readonly hold?: (claims: readonly EmbeddedClaim[]) => Hold;
  /** Where large payloads and results are kept; absent: in the tables, whatever their size. */
  readonly blobFiles?: BlobFiles;
  /** Called last by `close`. */
  readonly onClose?: () => Promise<void>;
}

/** Assumed of what waits in the store only: enough for full batches. */
const SPILLED_BACKLOG = 1_024;

const NO_HOLD: Hold = { release() {} };

export function openEmbedded(options: EmbeddedOptions): Backend {
  const core = new Core(options);
  const broker = new EmbeddedBroker(core, options);
  const { blobs } = core;
  return {
    broker,
    ...(blobs === undefined ? {} : { blobs }),
    keyValue: embeddedKeyValue(core),
    flows: broker.flows,
    inspect: new EmbeddedInspect(core, broker.finals, (claim) => broker.isUnstarted(claim)),
    close: () => broker.close(),
  };
}

function keepApart(core: Core, files: BlobFiles, limits: IntakeLimits): void {
  const { tables, commits, onCorrupt } = core;
  const { maxPendingBytes, checkSpace } = limits;
  const bounds = checkSpace === undefined ? { maxPendingBytes } : { maxPendingBytes, checkSpace };
  const blobs = new EmbeddedBlobs({ tables, commits, limits: bounds, onCorrupt }, files);
  core.blobs = blobs;
  core.waiters.whole = (settled) => blobs.whole(settled);
}

export class EmbeddedBroker implements Broker {
  readonly kind: string;
  readonly lacks: Lacks;
  readonly finals: Finals;
  readonly flows: EmbeddedFlows;
  readonly #core: Core;
  readonly #commits: CommitCycle;
  readonly #intake: Intake;
  readonly #uniques: Uniques;
  readonly #settling: Settling;
  readonly #readying: Readying;
  readonly #claiming: Claiming;
  readonly #pruning: Pruning;
  readonly #shedding: Shedding;
  readonly #stages: Stages;
  readonly #limits: IntakeLimits;
  readonly #hold: (claims: readonly EmbeddedClaim[]) => Hold;
  readonly #onClose: () => Promise<void>;
  #closing: Promise<void> | undefined;
  /** Set by the executor: a claimed task counts as ready until its handler has started. */
  isUnstarted: (claim: Claim) => boolean = () => false;

  constructor(core: Core, options: EmbeddedOptions) {
    this.kind = options.kind;
    this.lacks = options.lacks;
    this.#core = core;
    this.#commits = core.commits = new CommitCycle(core);
    if (options.blobFiles !== undefined) keepApart(core, options.blobFiles, options.limits);
    const uniques = new Uniques(core, (holder) => this.#replace(holder));
    this.#uniques = uniques;
    this.#settling = new Settling(core, uniques, (batch) => this.#intake.addAll(batch));
    this.#readying = new Readying(core, this.#settling);
    this.#claiming = new Claiming(core, this.#readying);
    this.finals = new Finals(core, this.#settling, this.#readying, uniques);
    this.#intake = new Intake(core, uniques, options.limits, this.finals);
    this.#pruning = new Pruning(core);
    this.#shedding = new Shedding(core, this.finals);
    this.#limits = options.limits;
    const [settling, readying, { finals }, intake] = [this.#settling, this.#readying, this, this.#intake];
    const views = new Views(core, (claim) => this.isUnstarted(claim));
    core.flows = this.flows = new EmbeddedFlows(core, { settling, readying, uniques, finals, intake, views });
    this.#stages = new Stages(core);
    this.#stages.recover();
    this.flows.recover();
    this.#hold = options.hold ?? (() => NO_HOLD);
    this.#onClose = options.onClose ?? (() => Promise.resolve());
  }

  enqueue(batch: readonly NewTask[], fact?: FactChange): Enqueued {
    return this.#intake.enqueue(batch, fact);
  }

  stage(): Stage {
    return new EmbeddedStage(this.#core, this.#stages, this.#limits, this.finals);
  }

  claim(accept: (head: Head) => Verdict, max: number): readonly EmbeddedClaim[] {
    return this.#commits.ended === undefined ? this.#claiming.claim(accept, max) : [];
  }

  get endedEarly(): boolean {
    return this.#claiming.endedEarly;
  }

  hold(claims: readonly Claim[]): Hold {
    return this.#hold(claims as readonly EmbeddedClaim[]);
  }

  settle(settlements: readonly Settlement[], otherwise?: Otherwise): Promise<void> {
    return this.#settling.settle(settlements, otherwise);
  }

  note(claim: Claim, note: Note): void {
    const { isOver, key, segment, index } = claim as EmbeddedClaim;
    if (isOver || this.#commits.ended !== undefined) return;
    const { tables } = this.#core;
    const before = segment.noted?.has(index) === true ? decodeNote(tables.get('note', key)) : undefined;
    const row = sealNote({ ...before, ...note });
    if (row === undefined) return;
    segment.noted ??= new Set();
    segment.noted.add(index);
    tables.put('note', key, row);
    this.#commits.changed();
  }

  promote(now: number, limit: number): number | Promise<number> {
    const linked = this.#stages.linked();
    if (linked !== undefined) return linked.then(() => this.promote(now, limit));
    return this.#commits.ended === undefined ? this.#readying.promote(now, limit) : 0;
  }

  nextDueAt(): number | undefined {
    return this.#commits.ended === undefined ? this.#readying.nextDueAt() : undefined;
  }

  /** A flow that was met is deleted with all its members when this resolves. */
  prune(now: number, limit: number): number | Promise<number> {
    if (this.#commits.ended !== undefined) return 0;
    const { deleted } = this.flows;
    const looked = this.#pruning.prune(now, limit);
    // What else flows do is no reason to wait: it may take long, and other tasks have become old.
    if (this.flows.deleted === deleted) return looked;
    return this.flows.idle()?.then(() => looked) ?? looked;
  }

  cancel(id: string, reason: string, now: number, keepMs: number) {
    return this.finals.cancel(id, reason, now, keepMs);
  }

  redrive(id: string): Promise<void> {
    return this.finals.redrive(id);
  }

  delete(id: string): Promise<void> {
    return this.finals.delete(id);
  }

  shed(request: ShedRequest): readonly ShedTask[] {
    return this.#shedding.shed(request);
  }

  settled(id: string) {
    return this.finals.settled(id);
  }

  get lostSettlements(): number {
    return this.#settling.lost;
  }

  resumeLine(queue: string, lane: string): void {
    const line = this.#core.lanes.find(queue, lane);
    if (line !== undefined && this.#claiming.resume(line)) this.#core.wake();
  }

  resumeAll(): void {
    let isWoken = false;
    for (const line of this.#core.lanes) if (this.#claiming.resume(line)) isWoken = true;
    if (isWoken) this.#core.wake();
  }

  order(rules: OrderRules): void {
    this.#core.lines.order(rules);
  }

  backlog(): number {
    const { residentTasks, heldTasks, lines } = this.#core;
    return residentTasks - heldTasks + (lines.hasSpilled ? SPILLED_BACKLOG : 0);
  }

  waiting(queue?: string): number {
    const { counters, queueNames } = this.#core;
    if (queue === undefined) return counters.waiting();
    const number = queueNames.find(queue);
    return number === undefined ? 0 : counters.waiting(number);
  }

  hasRoom(bytes: number): boolean {
    return this.#limits.hasSpace?.(bytes) ?? true;
  }

  isTaken(name: string, key: string): boolean {
    return this.#uniques.isTaken(name, key);
  }

  onReady(wake: () => void): void {
    this.#core.wake = wake;
  }

  onFenced(tell: (error: Error) => void): void {
    this.#commits.onFenced(tell);
  }

  pace(pace: () => Pace): void {
    this.#commits.pace = pace;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const stopped = new StoppedError('The backend');
    await this.#commits.finish(stopped).catch(() => {});
    this.#core.waiters.end(stopped, this.#core.segments.values());
    this.flows.end(stopped);
    await this.#core.blobs?.close();
    await this.#core.tables.close();
    await this.#onClose();
  }

  #replace(holder: Uint8Array): void {
    try {
      const found = this.finals.locate(formatId(holder));
      this.finals.cancelNow(found, 'replaced', this.#core.now(), REPLACED_KEPT_MS);
    } catch {
      // The holder has been pruned: nothing is left to replace.
    }
  }
}
