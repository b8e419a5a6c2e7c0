/** The ratios as a picture: a row for each workload, a mark for each engine, multiples of native on a logarithmic axis. */
import type { Figure, Table } from './figures.js';
import type { Engine } from './machines.js';
import { engineNames } from './report.js';

const ROW = 18;
const LEFT = 130;
const PANEL = 420;
const TOP = 70;
const marks: Readonly<Record<Engine, string>> = {
  jit: '#0b6e4f',
  again: '#37b37e',
  interpreter: '#8fbfa8',
  qemu: '#d1730f',
  v86: '#5a4fcf',
};

export function plot(tables: readonly Table[]): string {
  const names = [...new Set(tables.flatMap(({ rows }) => rows.map(({ workload }) => workload)))];
  const all = tables.flatMap(({ rows }) => rows.flatMap(({ ratios }) => Object.values(ratios)));
  const greatest = Math.max(10, ...all.map((each) => each.greatest));
  const least = Math.min(1, ...all.map((each) => each.least));
  const [from, to] = [Math.log10(least), Math.log10(greatest)];
  const x = (panel: number, ratio: number): number =>
    LEFT + panel * (PANEL + 30) + ((Math.log10(ratio) - from) / (to - from)) * PANEL;
  const y = (row: number): number => TOP + row * ROW;
  const height = TOP + (names.length + 1) * ROW + 40;
  const width = LEFT + tables.length * (PANEL + 30);
  const parts: string[] = [];
  const text = (at: [number, number], content: string, more = ''): void => {
    parts.push(`<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}"${more}>${content}</text>`);
  };
  const engines = [...new Set(tables.flatMap((table) => table.engines))];
  engines.forEach((engine, i) => {
    parts.push(`<circle cx="${LEFT + i * 150}" cy="18" r="5" fill="${marks[engine]}"/>`);
    text([LEFT + 10 + i * 150, 22], engineNames[engine]);
  });
  names.forEach((name, row) => text([LEFT - 12, y(row) + 4], name, ' text-anchor="end"'));
  text([LEFT - 12, y(names.length) + 4], 'geometric mean', ' text-anchor="end" font-weight="bold"');
  tables.forEach((table, panel) => {
    text([x(panel, least), TOP - 22], `${table.bits} bits: processor time, multiples of native`, ' font-weight="bold"');
    for (const tick of ticks(least, greatest)) {
      const at = x(panel, tick).toFixed(1);
      parts.push(`<line x1="${at}" x2="${at}" y1="${TOP - 10}" y2="${y(names.length) + 10}" stroke="#ddd"/>`);
      text([x(panel, tick), y(names.length) + 26], String(tick), ' text-anchor="middle"');
    }
    const mark = (engine: Engine, row: number, value: Figure, radius: number): void => {
      const [a, b, c] = [value.least, value.median, value.greatest].map((each) => x(panel, each).toFixed(1));
      const colour = marks[engine];
      parts.push(`<line x1="${a}" x2="${c}" y1="${y(row)}" y2="${y(row)}" stroke="${colour}" stroke-width="2"/>`);
      parts.push(`<circle cx="${b}" cy="${y(row)}" r="${radius}" fill="${colour}"/>`);
    };
    for (const { workload, ratios } of table.rows) {
      for (const engine of table.engines) {
        const value = ratios[engine];
        if (value !== undefined) mark(engine, names.indexOf(workload), value, 4);
      }
    }
    for (const engine of table.engines) {
      const mean = table.means[engine];
      if (mean !== undefined) mark(engine, names.length, mean, 6);
    }
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`,
    ' font-family="sans-serif" font-size="12" fill="#222">',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function ticks(least: number, greatest: number): number[] {
  return [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((tick) => tick >= least && tick <= greatest);
}
