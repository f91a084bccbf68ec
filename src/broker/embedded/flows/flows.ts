/**
 * The port of flows on ordered tables: wires its verbs to the parts that do them, and tells these parts what
 * happens to tasks elsewhere in the broker. `rows.ts` has the layout.
 */
import {
  FlowExpiredError,
  InvalidArgumentError,
  UnknownFlowError,
  WrongFlowStateError,
} from '../../../errors.js';
import { parseId } from '../../../task/id.js';
import type { FinalState, NewTask, TaskView } from '../../../task/task.js';
import type { Claim, Settlement } from '../../broker.js';
import type { FlowHead, FlowId, FlowIntake, FlowPage, Flows, FlowView, SettledFlow } from '../../flows.js';
import type { Depth, Page } from '../../inspect.js';
import { isFlow, readId } from '../claim.js';
import type { Core } from '../core.js';
import type { Finals } from '../finals.js';
import type { FlowHooks } from '../flow-hooks.js';
import type { Intake } from '../intake.js';
import { readU48 } from '../keys.js';
import { isInGap } from '../numbering.js';
import type { Readying } from '../readying.js';
import type { TaskRecord } from '../record.js';
import type { Settling } from '../settling.js';
import type { Uniques } from '../uniques.js';
import type { Views } from '../views.js';
import { FlowAdding } from './adding.js';
import { FlowBook, isFinalFlow } from './book.js';
import { FlowErrands } from './errands.js';
import { FlowGraph, isChildIn } from './graph.js';
import { EmbeddedFlowIntake, type IntakeParts } from './intake.js';
import { FlowReading } from './reading.js';
import { FlowRedrives } from './redrive.js';
import type { Flow } from './rows.js';
import { FlowSettling } from './settling.js';
import { FIRST_EDGES, FlowWork } from './work.js';

export class EmbeddedFlows implements Flows, FlowHooks {
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #graph: FlowGraph;
  readonly #work: FlowWork;
  readonly #errands: FlowErrands;
  readonly #redrives: FlowRedrives;
  readonly #settling: FlowSettling;
  readonly #reading: FlowReading;
  readonly #parts: IntakeParts;
  /** Flows whose deletion has begun here. */
  deleted = 0;
  readonly listen: Flows['listen'] = (listener) => this.#book.telling.listen(listener);

  constructor(
    core: Core,
    parts: {
      readonly settling: Settling;
      readonly readying: Readying;
      readonly uniques: Uniques;
      readonly finals: Finals;
      readonly intake: Intake;
      readonly views: Views;
    },
  ) {
    const { settling, readying, uniques, finals, intake, views } = parts;
    this.#core = core;
    this.#book = new FlowBook(core);
    this.#graph = new FlowGraph(core, this.#book, settling, readying);
    this.#redrives = new FlowRedrives(
      core,
      this.#book,
      this.#graph,
      (record) => finals.takeUnique(record),
      (key) => this.#work.awaitOutside(key),
    );
    this.#errands = new FlowErrands(core, this.#book, this.#graph, finals, this.#redrives);
    this.#work = new FlowWork(core, this.#graph, (errand, steps) => this.#errands.run(errand, steps));
    this.#errands.use(this.#work);
    const adding = new FlowAdding(core, this.#book, this.#graph, this.#work, uniques);
    this.#settling = new FlowSettling(core, this.#book, adding, this.#errands);
    this.#reading = new FlowReading(core, this.#book, views);
    const book = this.#book;
    this.#parts = { core, book, graph: this.#graph, work: this.#work, uniques, intake, finals, open: 0 };
  }

  /** Goes on where the last owner ended. */
  recover(): void {
    this.#work.recover();
  }

  end(error: Error): void {
    this.#book.end(error);
    this.#work.end();
  }

  /** Resolves when nothing is under way; `undefined` when that is so now. */
  idle(): Promise<void> | undefined {
    return this.#work.idle();
  }

  // The port.

  flow(head: FlowHead): FlowIntake {
    return new EmbeddedFlowIntake(this.#parts, head);
  }

  async get(id: FlowId): Promise<FlowView | undefined> {
    this.#core.commits.checkOpen();
    const flow = this.#find(id);
    return flow instanceof Error ? undefined : this.#reading.view(flow);
  }

  async list(limit: number, after?: string): Promise<FlowPage> {
    this.#core.commits.checkOpen();
    return this.#reading.list(limit, after);
  }

  async tasks(id: FlowId, limit: number, after?: string, depth: Depth = 'whole'): Promise<Page> {
    this.#core.commits.checkOpen();
    return this.#reading.tasks(this.#must(id), limit, after, depth);
  }

  async settled(id: FlowId): Promise<SettledFlow> {
    this.#core.commits.checkOpen();
    return this.#book.settled(this.#must(id));
  }

  async parents(child: string, label: string, limit: number, after?: string) {
    this.#core.commits.checkOpen();
    return this.#reading.parents(child, label, limit, after);
  }

  async cancel(id: FlowId, reason: string): Promise<{ readonly running: readonly Claim[] } | undefined> {
    this.#core.commits.check();
    const flow = this.#must(id);
    if (isFinalFlow(flow)) return undefined;
    if (flow.phase !== 'cancelling') {
      this.#book.change(flow.number, { phase: 'cancelling', reason });
      this.#work.begin(flow.number, 'cancel');
    }
    const running = this.#runningOf(flow.number);
    await this.#core.commits.changed();
    return { running };
  }

  async redrive(id: FlowId): Promise<void> {
    this.#core.commits.check();
    const flow = this.#must(id);
    if (flow.phase === 'cancelling') throw new WrongFlowStateError(id, 'being cancelled', 'redriven');
    const isStarting = this.#work.errandOf(flow.number)?.kind === 'start';
    if (isStarting) throw new WrongFlowStateError(id, 'still letting its first tasks go', 'redriven');
    if (flow.dead + flow.cancelled === 0)
      throw new WrongFlowStateError(id, 'without dead members', 'redriven');
    this.#book.change(flow.number, { phase: 'redriving', reason: '', settledAt: 0, expiresAt: 0 });
    this.#work.begin(flow.number, 'redrive');
    await this.#core.commits.changed();
  }

  async delete(id: FlowId): Promise<void> {
    this.#core.commits.check();
    const flow = this.#must(id);
    if (!isFinalFlow(flow)) throw new WrongFlowStateError(id, 'not final', 'deleted');
    this.#delete(flow.number);
    await this.#core.commits.changed();
  }

  // For the rest of the broker; see `FlowHooks`.

  get outside(): ReadonlySet<string> {
    return this.#graph.outside;
  }

  ended(key: string, state: FinalState, record?: TaskRecord): void {
    if (record?.meta.flow === undefined && !this.outside.has(key)) return;
    this.#core.tryRead(() => this.#ended(key, state, record?.meta.flow?.number));
  }

  #ended(key: string, state: FinalState, number: number | undefined): void {
    const edges = this.#graph.edgesOf(key, FIRST_EDGES);
    if (edges.length > 0) this.#work.changed(key, state === 'completed' ? 'completed' : 'died', edges);
    if (number === undefined) return;
    const flow = this.#book.known(number);
    const isAwaited = edges.some(([edge]) => isChildIn(flow, edge));
    const isEnd = !isAwaited && (edges.length < FIRST_EDGES || !this.#graph.hasChildrenIn(flow, key));
    this.#book.memberEnded(number, state, isEnd, 1);
    if (isFinalFlow(this.#book.known(number))) this.#work.drop(number);
  }

  redriven(key: string): void {
    if (this.outside.has(key)) this.#work.changed(key, 'open', this.#graph.edgesOf(key, FIRST_EDGES));
  }

  isHidden(record: TaskRecord): boolean {
    const number = record.meta.flow?.number;
    const phase = number === undefined ? undefined : this.#book.get(number)?.phase;
    return phase === 'staging' || phase === 'deleted';
  }

  firstParentsOf(record: TaskRecord): TaskView['after'] {
    return this.#reading.firstParentsOf(record);
  }

  unblock(record: TaskRecord): void {
    this.#graph.unblock(record);
  }

  redriveMember(record: TaskRecord): void {
    this.#redrives.redrive(record);
    this.#work.advance();
  }

  settlementOf(record: TaskRecord | undefined, settlement: Settlement): Settlement {
    return this.#settling.settlementOf(record!, settlement);
  }

  add(by: TaskRecord | undefined, tasks: readonly NewTask[]): readonly NewTask[] {
    return this.#settling.add(by!, tasks);
  }

  prune(key: string, now: number): void {
    const flow = this.#book.get(readU48(key, 0));
    if (flow !== undefined && isFinalFlow(flow) && flow.expiresAt <= now) this.#delete(flow.number);
  }

  flush(): void {
    this.#book.flush();
  }

  #delete(number: number): void {
    this.deleted++;
    this.#book.change(number, { phase: 'deleted' });
    this.#work.begin(number, 'delete');
  }

  #runningOf(number: number): Claim[] {
    const running: Claim[] = [];
    for (const { claims } of this.#core.segments.values()) {
      for (const claim of claims) if (claim?.record?.meta.flow?.number === number) running.push(claim);
    }
    return running;
  }

  #must(id: FlowId): Flow {
    const flow = this.#find(id);
    if (flow instanceof Error) throw flow;
    return flow;
  }

  #find(id: FlowId): Flow | Error {
    if (typeof id !== 'string') return new InvalidArgumentError('id', 'the id of a flow', id);
    const bytes = parseId(id);
    const parts = bytes === undefined ? undefined : readId(bytes);
    const { storeNumber, nextSegment, tables } = this.#core;
    if (parts === undefined || !isFlow(parts) || parts.store !== storeNumber || parts.segment >= nextSegment)
      return new UnknownFlowError(id);
    const flow = this.#book.get(parts.segment);
    if (flow === undefined && isInGap(tables, parts.segment)) return new UnknownFlowError(id);
    if (flow === undefined || flow.phase === 'deleted') return new FlowExpiredError(id);
    return flow.phase === 'staging' ? new UnknownFlowError(id) : flow;
  }
}
