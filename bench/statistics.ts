/** The few numbers a benchmark may show, and how they are written. */

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** Nearest-rank percentile of the values in any order. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function perSecond(count: number, ms: number): number {
  return (count / ms) * 1_000;
}

/** Three significant digits, thousands separated: 1,230,000 · 12.3 · 0.0123. */
export function show(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value >= 1_000) return Number(value.toPrecision(3)).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}

/** A Markdown table, its columns aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => (row[at] ?? '').length)),
  );
  const cell = (text: string, at: number): string =>
    at === 0 ? text.padEnd(widths[at]!) : text.padStart(widths[at]!);
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((_, at) => cell(cells[at] ?? '', at)).join(' | ')} |`;
  const dashes = (width: number, at: number): string =>
    at === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`;
  const rule = `|${widths.map(dashes).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
