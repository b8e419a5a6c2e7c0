/** Debian's control syntax (deb822) and the order of its version numbers (deb-version(7)). */

export type Stanza = ReadonlyMap<string, string>;

/** Stanzas in order. Field names are in lower case; continued lines are joined by newlines. */
export function parseControl(text: string): Stanza[] {
  const stanzas: Map<string, string>[] = [];
  let current: Map<string, string> | undefined;
  let field = '';
  for (const line of text.split('\n')) {
    if (line.trim() === '') {
      current = undefined;
    } else if (/^[ \t]/.test(line)) {
      if (current !== undefined) current.set(field, `${current.get(field) ?? ''}\n${line.trim()}`);
    } else if (!line.startsWith('#')) {
      const colon = line.indexOf(':');
      if (colon <= 0) continue;
      if (current === undefined) {
        current = new Map();
        stanzas.push(current);
      }
      field = line.slice(0, colon).toLowerCase();
      current.set(field, line.slice(colon + 1).trim());
    }
  }
  return stanzas;
}

/** Less than 0 where version `a` is older than `b`, more than 0 where it is newer. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [splitVersion(a), splitVersion(b)];
  return (
    left.epoch - right.epoch || comparePart(left.upstream, right.upstream) || comparePart(left.revision, right.revision)
  );
}

function splitVersion(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(':');
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf('-');
  return {
    epoch: colon < 0 ? 0 : Number.parseInt(version.slice(0, colon), 10) || 0,
    upstream: dash < 0 ? rest : rest.slice(0, dash),
    revision: dash < 0 ? '' : rest.slice(dash + 1),
  };
}

/** Stretches without digits and numbers take turns; a tilde sorts before everything, even the end. */
function comparePart(a: string, b: string): number {
  const left: string[] = a.match(/\D+|\d+/g) ?? [];
  const right: string[] = b.match(/\D+|\d+/g) ?? [];
  if (/^\d/.test(left[0] ?? '')) left.unshift('');
  if (/^\d/.test(right[0] ?? '')) right.unshift('');
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const [x, y] = [left[index] ?? '', right[index] ?? ''];
    const order = index % 2 === 0 ? compareLetters(x, y) : compareNumbers(x, y);
    if (order !== 0) return order;
  }
  return 0;
}

function compareNumbers(a: string, b: string): number {
  const [left, right] = [BigInt(a || '0'), BigInt(b || '0')];
  return left < right ? -1 : left > right ? 1 : 0;
}

function compareLetters(a: string, b: string): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const order = rank(a[index]) - rank(b[index]);
    if (order !== 0) return order;
  }
  return 0;
}

function rank(character: string | undefined): number {
  if (character === undefined) return 0;
  if (character === '~') return -1;
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256;
}
