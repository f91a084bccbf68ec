/**
 * Names of lanes and queues to lines. The name of a lane is stored once, under 8 bytes that stand for it in
 * keys: a hash of it, or the next free number behind the hash when another lane has that. It comes with the
 * first stored segment of the lane, and goes with the last. Lanes that have stored segments are known from
 * the start, so a name is looked for by its hash only where it has none.
 *
 *     lane   [lane 8]  name
 */
import { createHash } from 'node:crypto';
import { limitLane } from '../../task/lane.js';
import { PLAIN_LANE } from './keys.js';
import { LEVELS, type LevelQueue, Line, type QueueLines } from './line.js';
import type { Names } from './names.js';
import type { Tables } from './tables.js';

export class Lanes {
  readonly #tables: Tables;
  readonly #queueNames: Names;
  readonly #hash: (name: string) => string;
  /** By queue name. */
  readonly #plain = new Map<string, Line>();
  /** By lane name, one for each queue that has such tasks. */
  readonly #others = new Map<string, Line[]>();
  /** Names of lanes that have no stored segment yet. */
  readonly #unstored = new Map<string, string>();

  constructor(tables: Tables, queueNames: Names, hash = hashOf) {
    this.#tables = tables;
    this.#queueNames = queueNames;
    this.#hash = hash;
  }

  /**
   * Made on first use.
   * @param lane  Where its segments are in the store, if it has any.
   */
  line(queueName: string, laneName = '', lane?: string): Line {
    if (laneName === '') {
      const line = this.#plain.get(queueName);
      return line ?? this.#addPlain(queueName);
    }
    const lines = this.#others.get(laneName);
    const known = lines?.find((line) => line.queueName === queueName);
    if (known !== undefined) return known;
    const { siblings } = this.line(queueName);
    const line = new Line(siblings, lines?.[0]?.lane ?? lane ?? this.#laneOf(laneName), laneName);
    if (lines === undefined) this.#others.set(laneName, [line]);
    else lines.push(line);
    return line;
  }

  /** If there is such a line. */
  find(queueName: string, laneName: string): Line | undefined {
    if (laneName === '') return this.#plain.get(queueName);
    return this.#others.get(laneName)?.find((line) => line.queueName === queueName);
  }

  /** The level queue that a key of `ready` begins with. */
  levelQueue(prefix: string): LevelQueue {
    const lane = prefix.slice(2, 10);
    const queueName = this.#queueNames.name((prefix.charCodeAt(0) << 8) | prefix.charCodeAt(1));
    const laneName = lane === PLAIN_LANE ? '' : (this.#nameAt(lane) ?? nameOfLost(lane));
    return this.line(queueName, laneName, lane).at(9 - prefix.charCodeAt(10));
  }

  *[Symbol.iterator](): Iterator<Line> {
    yield* this.#plain.values();
    for (const lines of this.#others.values()) yield* lines;
  }

  /** Of a line that has no tasks. Without other lines its lane goes from the store, too. */
  forget(line: Line): void {
    const { laneName, lane } = line;
    const lines = this.#others.get(laneName)!;
    lines.splice(lines.indexOf(line), 1);
    if (lines.length > 0) return;
    this.#others.delete(laneName);
    if (!this.#unstored.delete(lane)) this.#tables.delete('lane', lane);
  }

  /** For the commit that stores a segment of this lane. */
  putName(lane: string): void {
    const name = this.#unstored.get(lane);
    if (name === undefined) return;
    this.#unstored.delete(lane);
    this.#tables.put('lane', lane, Buffer.from(name, 'utf8'));
  }

  #addPlain(queueName: string): Line {
    const number = this.#queueNames.number(queueName);
    const siblings: QueueLines = { number, name: queueName, skippedIn: 0, turns: new Array(LEVELS) };
    const line = new Line(siblings, PLAIN_LANE, '');
    this.#plain.set(queueName, line);
    return line;
  }

  #laneOf(name: string): string {
    for (let lane = this.#hash(name); ; lane = nextLane(lane)) {
      const stored = this.#nameAt(lane);
      if (stored === name) return lane;
      if (stored !== undefined || lane === PLAIN_LANE) continue;
      this.#unstored.set(lane, name);
      return lane;
    }
  }

  #nameAt(lane: string): string | undefined {
    const unstored = this.#unstored.get(lane);
    if (unstored !== undefined) return unstored;
    const row = this.#tables.get('lane', lane);
    return row === undefined ? undefined : Buffer.from(row).toString('utf8');
  }
}

/** A name that no task has: if that of a lane is lost, its tasks run without the limits of their key. */
function nameOfLost(lane: string): string {
  return limitLane('', Buffer.from(lane, 'latin1').toString('hex'));
}

function hashOf(name: string): string {
  return createHash('sha256').update(name).digest().toString('latin1', 0, 8);
}

/** The number behind it, in 8 bytes. */
function nextLane(lane: string): string {
  const bytes = Buffer.from(lane, 'latin1');
  bytes.writeBigUInt64BE(BigInt.asUintN(64, bytes.readBigUInt64BE() + 1n));
  return bytes.toString('latin1');
}
